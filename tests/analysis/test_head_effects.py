"""The three measures of heads, on a planted embedding whose pruned embeddings are known."""

from __future__ import annotations

import numpy as np
import pytest
from planted_harm import FOLD, HARMFUL, plant_harm
from sklearn.metrics import roc_auc_score

from interp.analysis.head_effects import fixed_detector, head_effects, margins
from interp.errors import InputError

P = 96


@pytest.fixture(scope="module")
def planted():
    return plant_harm(1)


def without_each(planted) -> np.ndarray:
    """(n, heads, P): what pruning gives where no later layer reads a head."""
    heads = planted.X[:, P:].reshape(-1, 12, 8)
    return planted.X[:, None, :P] - np.einsum("nhd,hdp->nhp", heads, FOLD.reshape(12, 8, P))


def measure(planted, pruned):
    return head_effects(
        planted.X[:, :P],
        planted.X[:, P:],
        pruned,
        planted.y,
        planted.layout,
        FOLD,
        planted.protocol,
        generator=planted.generator,
        progress=False,
    )


def test_where_no_later_layer_reads_a_head_both_effects_are_equal(planted):
    table = measure(planted, without_each(planted))
    np.testing.assert_allclose(table["direct_auc"], table["total_auc"], atol=1e-9)
    np.testing.assert_allclose(table["direct_margin"], table["total_margin"], atol=1e-9)
    assert len(table) == 12 * len(planted.protocol)


def test_the_harmful_head_knows_much_and_the_verdict_is_better_without_it(planted):
    means = measure(planted, without_each(planted)).groupby("head").mean(numeric_only=True)
    for column in ("direct_auc", "direct_margin", "total_auc", "total_margin"):
        assert means[column].idxmax() == HARMFUL and means.loc[HARMFUL, column] > 0.02
    others = means.drop(HARMFUL)
    assert others["direct_margin"].mean() < -0.1
    assert means["information"].idxmin() == HARMFUL  # it turns round on other generators


def test_the_effects_are_those_of_one_fixed_detector_on_select_rows(planted):
    pruned = without_each(planted) + np.random.default_rng(0).normal(size=(len(planted.y), 12, P)) * 0.3
    table = measure(planted, pruned)
    split = list(planted.protocol)[1]
    y, rows = planted.y[split.select], split.select
    detector = fixed_detector(planted.X[:, :P], planted.y, split.train, rows, planted.generator)
    before, after = detector.score(planted.X[rows, :P]), detector.score(pruned[rows, 4])
    found = table[(table["seed"] == 1) & (table["head"] == "L1.H0")].iloc[0]
    assert found["auc"] == pytest.approx(roc_auc_score(y, before))
    assert found["total_auc"] == pytest.approx(roc_auc_score(y, after) - roc_auc_score(y, before))
    change = after - before
    assert found["total_margin"] == pytest.approx(change[y == 1].mean() - change[y == 0].mean())


def test_direct_margins_of_all_heads_sum_to_the_whole_margin(planted):
    """The planted embedding is a sum of heads alone."""
    table = measure(planted, without_each(planted)).groupby("seed")
    np.testing.assert_allclose(-table["direct_margin"].sum(), table["margin"].first(), rtol=1e-9)


def test_margins_weigh_generators_the_same():
    y, names = np.array([0, 0, 1, 1, 1]), np.array(["real", "real", "a", "a", "b"])
    scores = np.array([[0.0, 1], [2, 1], [1, 1], [3, 1], [8, 1]])
    np.testing.assert_allclose(margins(y, scores, names), [4.0, 0.0])


def test_arrays_that_do_not_fit_and_missing_prunings_are_refused(planted):
    pruned = without_each(planted)
    with pytest.raises(InputError, match=r"\(750, 12, 96\)"):
        measure(planted, pruned[:, :11])
    pruned[next(iter(planted.protocol)).select[0]] = np.nan
    with pytest.raises(InputError, match="no pruned embeddings"):
        measure(planted, pruned)
