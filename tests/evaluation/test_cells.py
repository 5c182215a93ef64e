"""Cells equal scikit-learn's AUC, seeds are averaged, and arms are compared on the same resamples."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy.stats import norm
from sklearn.metrics import roc_auc_score

from interp.evaluation.cells import IN_DISTRIBUTION, SplitScores, evaluation_sets, joint_cells
from interp.evaluation.summary import summarise
from interp.protocol.bca import clustered_interval
from interp.protocol.resampling import JointResample, resampled_auc
from interp.protocol.roles import Split
from interp.protocol.splits import Protocol

GENERATORS = ["a", "b", "c", "d"]
NO_NULLS = pd.DataFrame(
    {"arm": pd.Series(dtype=str), "null": pd.Series(dtype=str), "delta": pd.Series(dtype=float)}
)


def table(n: int = 60) -> pd.DataFrame:
    generator = np.repeat(["real", *GENERATORS], n)
    rows = pd.DataFrame({"generator": generator, "label": np.where(generator == "real", "real", "fake")})
    rows["group"] = [f"prompt {i % n}" if g != "real" else f"photo {i}" for i, g in enumerate(generator)]
    rows.index = pd.Index([f"{i}.png" for i in range(len(rows))], name="key")
    return rows


@pytest.fixture
def scored() -> tuple[pd.DataFrame, list[SplitScores]]:
    """Three arms: random, one that sees fakes a little, one that sees them well; both better on generator c."""
    rows = table()
    rng = np.random.default_rng(0)
    fake = (rows["label"] == "fake").to_numpy()
    strength = fake + 0.8 * (rows["generator"] == "c").to_numpy()
    splits = []
    for split in Protocol.pairs(rows, min_train=50, seeds=2):
        positions = np.union1d(split.test, split.in_distribution)
        noise = rng.normal(size=(len(positions), 3))
        signal = strength[positions, None] * np.array([0.5, 0.0, 1.5])
        splits.append(SplitScores(split, ("embedding", "random", "strong"), positions, signal + noise))
    return rows, splits


def test_cells_equal_scikit_learn_and_average_seeds(scored):
    rows, splits = scored
    cells = joint_cells(splits, rows, n_resamples=20)
    assert (
        len(cells.table) == 12 * 3
    )  # 12 ordered pairs, two unseen generators and the in-distribution cell each
    assert (cells.table["seeds"] == 2).all()
    y = (rows["label"] == "fake").to_numpy().astype(int)
    generator = rows["generator"].to_numpy().astype(str)
    for number in (0, 7, 20):
        cell = cells.table.iloc[number]
        found = []
        for one in splits:
            if one.split.name != f"{cell['train']}>{cell['select']}":
                continue
            members = evaluation_sets(one.split, generator, y)[cell["test"]]
            assert set(generator[members]) == {
                "real",
                cell["train"] if cell["test"] == IN_DISTRIBUTION else cell["test"],
            }
            at = np.searchsorted(one.positions, members)
            found.append([roc_auc_score(y[members], one.scores[at, m]) for m in range(3)])
        np.testing.assert_allclose(cells.auc[number], np.mean(found, axis=0))


def test_summary_orders_the_arms_and_its_intervals_hold_the_point(scored):
    rows, splits = scored
    families = {"a": "gan", "b": "gan", "c": "diffusion", "d": "commercial"}
    nulls = pd.DataFrame(
        {"arm": "strong", "null": ["random subsets"] * 9, "delta": np.linspace(-0.1, 0.1, 9)}
    )
    cells = joint_cells(splits, rows, n_resamples=300)
    summary = summarise(cells, nulls, families)
    assert summary.loc["strong", "mean_ood_auc"] > summary.loc["embedding", "mean_ood_auc"] + 0.1
    assert (summary["low"] <= summary["mean_ood_auc"]).all()
    assert (summary["mean_ood_auc"] <= summary["high"]).all()
    strong, weak = summary.loc["strong"], summary.loc["random"]
    assert 0 < strong["delta_low"] < strong["delta_to_embedding"] < strong["delta_high"]
    assert weak["delta_high"] < 0
    assert strong["p_holm"] < 0.05
    assert strong["null_delta"] == pytest.approx(np.quantile(np.linspace(-0.1, 0.1, 9), 0.95))
    assert strong["null_p"] == pytest.approx(1 / 10)  # no null draw gains as much
    assert summary.loc["embedding", "delta_to_embedding"] == 0
    assert summary.loc["strong", "worst_generator"] != "c"
    kept = cells.unseen & (cells.table["test"] != strong["carried_by"]).to_numpy()
    assert strong["delta_without_it"] == pytest.approx((cells.auc[kept, 2] - cells.auc[kept, 0]).mean())
    assert strong["generators_low"] < strong["mean_ood_auc"] < strong["generators_high"]


def test_one_family_gives_no_interval_over_generators(scored):
    rows, splits = scored
    summary = summarise(joint_cells(splits, rows, n_resamples=20), NO_NULLS, dict.fromkeys(GENERATORS, "gan"))
    assert summary["generators_low"].isna().all()


def of_groups(groups: int, target: float, rng: np.random.Generator) -> tuple[pd.DataFrame, list[SplitScores]]:
    """One cell of 2 x 200 images whose groups share a third of the variance; the second arm is blind."""
    rows = table(200).query("generator in ('real', 'a', 'b', 'c')")
    each = -(-200 // groups)
    rows["group"] = [f"{g} {i % 200 // each}" for i, g in enumerate(rows["generator"])]
    y = (rows["label"] == "fake").to_numpy()
    real, seen = (np.flatnonzero(rows["generator"] == name) for name in ("real", "c"))
    test, nobody = np.concatenate([real, seen]), np.empty(0, np.int64)
    split = Split(("a",), ("b",), ("c",), 0, len(rows), train=nobody, select=nobody, test=test)
    shared = dict(zip(rows["group"].unique(), rng.normal(size=rows["group"].nunique()), strict=True))
    own = rng.normal(size=(len(test), 2))
    scores = np.sqrt(2 / 3) * own + np.sqrt(1 / 3) * rows["group"].map(shared).to_numpy()[test, None]
    scores[:, 0] += norm.ppf(target) * np.sqrt(2) * y[test]
    return rows, [SplitScores(split, ("embedding", "blind"), test, scores)]


def test_intervals_are_those_of_a_jackknife_over_groups():
    rows, splits = of_groups(25, 0.85, np.random.default_rng(5))
    cells = joint_cells(splits, rows, n_resamples=2000)
    at, y = splits[0].positions, (rows["label"] == "fake").to_numpy().astype(int)
    expected = clustered_interval(
        resampled_auc, y[at], splits[0].scores, JointResample(rows, n_resamples=2000), at
    )
    found = cells.mean(cells.unseen)
    assert expected.corrected.all()
    np.testing.assert_allclose(found["low"], expected.low, atol=0.002)
    np.testing.assert_allclose(found["high"], expected.high, atol=0.002)
    gain, low, high = cells.gain(cells.unseen, 1)
    assert gain[1] == low[1] == high[1] == 0 and low[0] < gain[0] < high[0]
    assert gain[0] == pytest.approx(found["auc"].iloc[0] - found["auc"].iloc[1])


@pytest.mark.parametrize("groups", [15, 30])
def test_intervals_cover_for_few_groups_and_high_auc(groups: int):
    rng, covered, plain = np.random.default_rng(6), [], []
    for seed in range(200):
        rows, splits = of_groups(groups, 0.95, rng)
        cells = joint_cells(splits, rows, n_resamples=300, random_state=seed)
        low, high = cells.mean(cells.unseen).loc["embedding", ["low", "high"]]
        covered.append(low <= 0.95 <= high)
        bare = replace(cells, influence=None).mean(cells.unseen).loc["embedding"]
        plain.append(bare["low"] <= 0.95 <= bare["high"])
    assert 0.9 <= np.mean(covered) <= 0.985
    assert np.mean(covered) > np.mean(plain)
