"""One row for each arm: how well it does on unseen generators, both intervals, and its gain beside its nulls."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from interp.evaluation.cells import Cells
from interp.protocol.intervals import Interval, holm, two_sided_p, two_way_interval
from interp.protocol.next_generator import next_generator_interval

BASELINE = "embedding"
"""The arm that every gain is counted from: the plain detector on the encoder's embedding."""


def summarise(cells: Cells, nulls: pd.DataFrame, families: Mapping[str, str]) -> pd.DataFrame:
    """Mean transfer of every arm with its gain over the plain embedding.

    Args:
        cells: what `joint_cells` gave.
        nulls: a row for each null draw: arm, null, draw, delta.
        families: family of each generator; whole families are the clusters of the second interval.

    Returns:
        Indexed by arm. mean_ood_auc with low, high (95 % over images: one joint resample of photographs and
        groups, detectors fixed) and generators_low, generators_high (95 % over other generators: two-way
        clustered by train and test family); mean_id_auc; worst_generator, worst_auc; next_low, next_high, where
        the AUC of one more generator is to be expected (95 %,
        `interp.protocol.next_generator.next_generator_interval`); delta_to_embedding with the first two intervals;
        carried_by, the test generator without which the gain changes most, and delta_without_it, the gain over the
        others; p (bootstrap, two-sided), p_holm (over arms); null_delta, the 95th percentile of the strongest
        null's gain, and null_p, the largest share of a null's draws that gain at least as much.
    """
    unseen = cells.unseen
    base = cells.arms.index(BASELINE)
    table = cells.mean(unseen).rename(columns={"auc": "mean_ood_auc"})
    spread = [
        _over_generators(cells.auc[unseen, m], cells.table[unseen], families) for m in range(len(cells.arms))
    ]
    table["generators_low"] = np.clip([s.low for s in spread], 0, 1)
    table["generators_high"] = np.clip([s.high for s in spread], 0, 1)
    table["mean_id_auc"] = cells.auc[~unseen].mean(0) if (~unseen).any() else np.nan
    by_test = cells.by(["test"]).query("test in @names", local_dict={"names": set(cells.table.test[unseen])})
    worst = by_test.loc[by_test.groupby("arm")["auc"].idxmin()].set_index("arm")
    table["worst_generator"], table["worst_auc"] = worst["test"], worst["auc"]

    following = [_next(by_test[by_test["arm"] == arm], families) for arm in table.index]
    table["next_low"], table["next_high"] = [one.low for one in following], [one.high for one in following]

    delta = cells.auc[unseen] - cells.auc[unseen][:, [base]]
    resampled = (cells.resampled[:, unseen] - cells.resampled[:, unseen][:, :, [base]]).mean(1)
    table["delta_to_embedding"] = delta.mean(0)
    _, table["delta_low"], table["delta_high"] = cells.gain(unseen, base)
    spread = [_over_generators(delta[:, m], cells.table[unseen], families) for m in range(len(cells.arms))]
    table["delta_generators_low"] = [s.low for s in spread]
    table["delta_generators_high"] = [s.high for s in spread]
    carried = _without_one(delta, cells.table.loc[unseen, "test"].to_numpy())
    table["carried_by"], table["delta_without_it"] = (
        carried["generator"].to_numpy(),
        carried["delta"].to_numpy(),
    )
    table["p"] = two_sided_p(resampled)
    others = table.index != BASELINE
    table["p_holm"] = np.nan
    table.loc[others, "p_holm"] = holm(table.loc[others, "p"])
    table.loc[BASELINE, ["p", "delta_low", "delta_high", "delta_without_it"]] = np.nan
    table.loc[BASELINE, "carried_by"] = ""
    strongest = nulls.groupby(["arm", "null"])["delta"].quantile(0.95).groupby("arm").max()
    table["null_delta"] = strongest.reindex(table.index)
    table["null_p"] = (
        null_table(nulls, table["delta_to_embedding"]).groupby("arm")["p"].max().reindex(table.index)
    )
    return table.rename_axis("arm")


def null_table(nulls: pd.DataFrame, gains: pd.Series) -> pd.DataFrame:
    """For each arm and null: draws, mean gain, 5th and 95th percentile, and the share that gain as much as the arm.

    Args:
        nulls: arm, null, draw, delta.
        gains: the arms' own gains, indexed by arm.

    Returns:
        arm, null, draws, mean, low, high, p = (1 + draws with at least the arm's gain) / (1 + draws).
    """
    rows = []
    for (arm, null), group in nulls.groupby(["arm", "null"]):
        values = group["delta"].to_numpy()
        p = (1 + (values >= gains[arm]).sum()) / (1 + len(values))
        low, high = np.quantile(values, [0.05, 0.95])
        rows.append([arm, null, len(values), values.mean(), low, high, p])
    return pd.DataFrame(rows, columns=["arm", "null", "draws", "mean", "low", "high", "p"])


def _next(by_test: pd.DataFrame, families: Mapping[str, str]) -> Interval:
    """Where the AUC of one more generator is to be expected, from one arm's AUC on each test generator."""
    return next_generator_interval(by_test["auc"], by_test["test"].map(families).fillna(by_test["test"]))


def _without_one(delta: np.ndarray, test: np.ndarray) -> pd.DataFrame:
    """For each arm (c, m): the test generator whose leaving changes the mean gain most, and the gain without it."""
    names = np.unique(test)
    if len(names) < 2:
        return pd.DataFrame({"generator": names[0], "delta": np.nan}, index=range(delta.shape[1]))
    without = np.stack([delta[test != name].mean(0) for name in names])
    most = np.abs(without - delta.mean(0)).argmax(0)
    return pd.DataFrame({"generator": names[most], "delta": without[most, np.arange(delta.shape[1])]})


def _over_generators(values: np.ndarray, table: pd.DataFrame, families: Mapping[str, str]) -> Interval:
    """Interval over other generators; train clusters count where each split trains on one generator."""
    frame = table[["train", "test"]].assign(value=values)
    frame["test_family"] = frame["test"].map(families)
    single = frame["train"].isin(families).all()
    frame["train_family"] = frame["train"].map(families) if single else frame["test_family"]
    pairs = frame.groupby(["train", "test"], as_index=False).agg(
        value=("value", "mean"), train_family=("train_family", "first"), test_family=("test_family", "first")
    )
    return two_way_interval(pairs, train="train_family", test="test_family")
