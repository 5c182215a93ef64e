"""From metrics of single splits to curves against severity, with intervals, changes and gains."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from interp.evaluation.robustness_cells import METRICS, SMALL, is_primary
from interp.images.launder_presets import Cell
from interp.protocol.intervals import percentile_interval

ALL_SETS = "(unseen generators)"
"""Stands for the mean over all test generators that have a row of their own."""
ALL_LAUNDERINGS = "(all launderings)"
"""Stands for the mean over all launderings, clean images aside."""
NUMBERS = ("value", "change", "gain", "refit")


@dataclass(frozen=True)
class Detectors:
    """The m detectors of every split: the arm of each, and what it was fitted on; those on clean images come first."""

    arms: Sequence[str]
    fitted: Sequence[str]


def curves_of(
    splits: Iterable[Mapping[str, tuple[np.ndarray, np.ndarray]]],
    cells: Mapping[str, Cell],
    detectors: Detectors,
) -> pd.DataFrame:
    """Average over splits, and tell what each number is worth.

    Args:
        splits: of each, what `split_metrics` gave.
        cells: name, operation and severity of each laundering, the first being none.
        detectors: the first is what gains are counted from.

    Returns:
        The table of `Robustness.curves`.
    """
    sums: dict[str, np.ndarray] = {}
    sizes: dict[str, list[np.ndarray]] = {}
    for split in splits:
        for name, (values, count) in split.items():
            sums[name] = sums[name] + values if name in sums else values.astype(np.float64)
            sizes.setdefault(name, []).append(count)
    means = {name: total / len(sizes[name]) for name, total in sums.items()}
    primary = [name for name in means if is_primary(name)]
    if primary:
        means[ALL_SETS] = np.mean([means[name] for name in primary], axis=0)
        sizes[ALL_SETS] = [np.mean(sizes[name], axis=0) for name in primary]
    frames = []
    for name, values in means.items():
        n_real, n_fake = np.mean(sizes[name], axis=0)
        size = {"n_real": n_real, "n_fake": n_fake, "splits": len(sizes[name])}
        frames.append(_frame(values, cells, detectors).assign(test=name, **size))
    table = pd.concat(frames, ignore_index=True)
    first = ["laundering", "operation", "severity", "arm", "fitted", "test", "metric"]
    return table[[*first, *[c for c in table if c not in first]]]


def _frame(values: np.ndarray, cells: Mapping[str, Cell], detectors: Detectors) -> pd.DataFrame:
    """A row for each laundering, detector and metric of values (1 + B, metrics, s, m)."""
    launderings = [(name, cell.operation, cell.severity) for name, cell in cells.items()]
    if values.shape[2] > 1:
        values = np.concatenate([values, values[:, :, 1:].mean(axis=2, keepdims=True)], axis=2)
        launderings.append((ALL_LAUNDERINGS, ALL_LAUNDERINGS, np.nan))
    plain = [detectors.arms.index(arm) for arm in detectors.arms]  # those fitted on clean images come first
    compared = (values, values - values[:, :, :1], values - values[..., :1], values - values[..., plain])
    index = pd.MultiIndex.from_product(
        [METRICS, range(len(launderings)), range(len(detectors.arms))], names=["metric", "cell", "detector"]
    )
    columns: dict[str, np.ndarray] = {}
    for number, one in zip(NUMBERS, compared, strict=True):
        columns[number] = one[0].ravel()
        low, high = percentile_interval(one[1:]) if len(one) > 1 else (one[0] * np.nan,) * 2
        prefix = "" if number == "value" else f"{number}_"
        columns |= {f"{prefix}low": low.ravel(), f"{prefix}high": high.ravel()}
    table = pd.DataFrame(columns, index=index).reset_index()
    for place, name in enumerate(("laundering", "operation", "severity")):
        table[name] = [launderings[cell][place] for cell in table["cell"]]
    for name in ("arms", "fitted"):
        table[name.removesuffix("s")] = [getattr(detectors, name)[at] for at in table["detector"]]
    return table.drop(columns=["cell", "detector"])


def main_set(curves: pd.DataFrame) -> str:
    """The test set that words, figures and tables speak of: all unseen generators, or the small sets if all are."""
    found = set(curves["test"])
    return ALL_SETS if ALL_SETS in found else SMALL if SMALL in found else curves["test"].iloc[0]


def strongest_nulls(nulls: pd.DataFrame, test: str) -> pd.DataFrame:
    """The largest gain among random choices on one test set, and their number: gain, draws by arm, fitted, laundering.

    Args:
        nulls: of `Robustness`.
        test: one of its test sets.
    """
    gains = nulls[nulls["test"] == test].groupby(["arm", "fitted", "laundering"])["gain"]
    return gains.agg(gain="max", draws="size")


def robustness_sentences(curves: pd.DataFrame, nulls: pd.DataFrame, left_out: int = 0) -> list[str]:
    """What the curves say on unseen generators: the cost of laundering, and the gain of each detector.

    Args:
        curves, nulls: of `Robustness`.
        left_out: images that some laundering could not take.
    """
    table = curves[(curves["test"] == main_set(curves)) & (curves["metric"] == "auc")]
    worst = table[~table["laundering"].isin(["clean", ALL_LAUNDERINGS])]
    strongest, lines = strongest_nulls(nulls, main_set(curves)), []
    for (arm, fitted), group in table.groupby(["arm", "fitted"], sort=False):
        by = group.set_index("laundering")
        line = f"{arm}, fitted {fitted}: AUC {_said(by.loc['clean'])} on clean images"
        if ALL_LAUNDERINGS in by.index:
            line += f", {_said(by.loc[ALL_LAUNDERINGS])} over all launderings"
            hard = worst[(worst["arm"] == arm) & (worst["fitted"] == fitted)]
            low = hard.loc[hard["value"].idxmin()]
            line += f", least under {low['laundering']} ({low['value']:.3f})"
            gain = by.loc[ALL_LAUNDERINGS]
            if gain["gain_low"] > 0 or gain["gain_high"] < 0:
                line += f"; {gain['gain']:+.3f} [{gain['gain_low']:+.3f}, {gain['gain_high']:+.3f}] to the first arm"
            if fitted != "clean":
                shown = f"{gain['refit']:+.3f} [{gain['refit_low']:+.3f}, {gain['refit_high']:+.3f}]"
                line += f"; {shown} to itself fitted on clean images"
            if (arm, fitted, ALL_LAUNDERINGS) in strongest.index:
                null = strongest.loc[(arm, fitted, ALL_LAUNDERINGS)]
                line += f"; {null['draws']:.0f} random choices of as many: {null['gain']:+.3f} at most"
        lines.append(line)
    if left_out:
        lines.append(f"{left_out} test images that some laundering could not take are left out everywhere")
    return lines


def _said(row: pd.Series) -> str:
    return f"{row['value']:.3f} [{row['low']:.3f}, {row['high']:.3f}]"
