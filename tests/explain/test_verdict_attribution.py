"""Attributions against closed forms: linear models, additive ones, products, all orders of three heads."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest
import torch
from sklearn.ensemble import GradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import nn

from interp.detectors.detector import LinearScore
from interp.encoders.layout import HeadLayout
from interp.errors import InputError
from interp.explain.attribution import METHODS, attribute, compare, score_function
from interp.explain.curves import head_curves

LAYOUT = HeadLayout(2, 3, 4)
RNG = np.random.default_rng(0)
X = RNG.normal(size=(50, LAYOUT.size))
Y = (X[:, :8].sum(1) + 0.5 * RNG.normal(size=50) > 0).astype(int)
BASELINE = RNG.normal(size=LAYOUT.size)


class Scores(nn.Module):
    """A module made of a function of (n, heads, width)."""

    def __init__(self, function, layout=LAYOUT):
        super().__init__()
        self.function, self.shape = function, (layout.n_heads, layout.width)
        self.dtype_of = nn.Parameter(torch.zeros(1, dtype=torch.float64))

    def forward(self, x):
        return self.function(x.unflatten(1, self.shape))


@pytest.mark.parametrize("baseline", [None, BASELINE])
def test_every_method_gives_a_linear_model_its_exact_parts(baseline):
    model = make_pipeline(StandardScaler(), LogisticRegression()).fit(X, Y)
    exact = attribute(model, X, LAYOUT, method="exact", baseline=baseline)
    for method in METHODS:
        found = attribute(model, X[:8], LAYOUT, method=method, baseline=baseline, samples=3)
        np.testing.assert_allclose(found.heads, exact.heads[:8], rtol=1e-5, atol=1e-5)
        assert found.completeness.max() < (1e-4 if method == "shapley" else 1e-8)
    np.testing.assert_allclose(exact.heads.sum(1) + exact.baseline_score, model.decision_function(X))
    assert compare(model, X[:4], LAYOUT, samples=2)["distance"].max() < 1e-5


def test_a_sum_of_functions_of_single_heads_is_its_own_attribution():
    model = Scores(lambda z: z.square().sum(-1).sin().sum(-1))
    expected = np.sin(np.square(X[:6].reshape(6, 6, 4)).sum(-1))
    for method in ("integrated_gradients", "shapley", "occlusion"):
        found = attribute(model, X[:6], LAYOUT, method=method, samples=2, steps=200)
        np.testing.assert_allclose(found.heads, expected, atol=1e-6)
        assert found.completeness.max() < 1e-5


def test_a_product_of_two_heads_is_shared_equally_and_occlusion_counts_it_twice():
    model = Scores(lambda z: z[:, 0, 0] * z[:, 5, 1])
    product = X[:6, 0] * X[:6, 21]
    for method in ("integrated_gradients", "shapley"):
        found = attribute(model, X[:6], LAYOUT, method=method, samples=400)
        assert found.completeness.max() < 1e-5
        share = found.heads[:, [0, 5]] / product[:, None]
        np.testing.assert_allclose(share, 0.5, atol=1e-6 if method == "integrated_gradients" else 0.1)
    occluded = attribute(model, X[:6], LAYOUT, method="occlusion")
    np.testing.assert_allclose(occluded.completeness, 1)


def test_sampled_shapley_values_are_those_of_all_orders_of_three_heads():
    layout = HeadLayout(1, 3, 2)
    rows = np.random.default_rng(1).normal(size=(40, 6))
    model = GradientBoostingClassifier(n_estimators=8, random_state=0).fit(
        rows, (rows[:, 0] * rows[:, 3] > 0).astype(int)
    )
    score = score_function(model, layout)
    exact = np.zeros((40, 3))
    for order in permutations(range(3)):
        now = np.zeros_like(rows)
        for head in order:
            before = score(now)
            now[:, layout.slice(head)] = rows[:, layout.slice(head)]
            exact[:, head] += (score(now) - before) / 6
    found = attribute(model, rows, layout, samples=600, random_state=1)
    assert np.abs(found.heads - exact).max() < 0.15 * np.abs(exact).max()
    assert np.corrcoef(found.heads.ravel(), exact.ravel())[0, 1] > 0.998
    np.testing.assert_allclose(found.heads.sum(1), found.score - found.baseline_score, atol=1e-4)
    again = attribute(model, rows, layout, samples=5, random_state=2)
    np.testing.assert_array_equal(
        again.heads, attribute(model, rows, layout, samples=5, random_state=2).heads
    )


def test_no_order_inserts_or_deletes_a_linear_model_better_than_its_exact_parts():
    model = LinearScore(np.random.default_rng(2).normal(size=LAYOUT.size), 0.3)
    exact = attribute(model, X[:10], LAYOUT, method="exact", baseline=BASELINE)
    found = head_curves(model, X[:10], LAYOUT, exact, baseline=BASELINE, nulls=39)
    summary = found.summary.set_index("kind")
    assert summary.loc["insertion", "auc"] > summary.loc["insertion", "null_high"]
    assert summary.loc["deletion", "auc"] < summary.loc["deletion", "null_low"]
    assert (summary["p"] == 1 / 40).all()
    gap = np.abs(exact.score - exact.baseline_score).mean()
    assert summary["auc"].sum() == pytest.approx(gap)  # what is inserted is what was deleted
    ends = found.table.groupby("kind")["score"].agg(["first", "last"])
    np.testing.assert_allclose(ends.loc["insertion"], [0, gap], atol=1e-9)
    np.testing.assert_allclose(ends.loc["deletion"], [gap, 0], atol=1e-9)


def test_an_attribution_that_knows_nothing_is_no_better_than_a_random_order():
    model = LinearScore(np.random.default_rng(2).normal(size=LAYOUT.size), 0.3)
    exact = attribute(model, X, LAYOUT, method="exact")
    blind = type(exact)(
        "blind", np.random.default_rng(3).normal(size=exact.heads.shape), exact.score, exact.baseline_score
    )
    assert head_curves(model, X, LAYOUT, blind, nulls=39).summary["p"].min() > 0.02


def test_what_does_not_fit_is_refused():
    trees = GradientBoostingClassifier(n_estimators=3, random_state=0).fit(X, Y)
    with pytest.raises(InputError, match="shapley"):
        attribute(trees, X, LAYOUT, method="integrated_gradients")
    with pytest.raises(InputError, match="not linear"):
        attribute(trees, X, LAYOUT, method="exact")
    with pytest.raises(InputError, match="unknown method"):
        attribute(trees, X, LAYOUT, method="lime")  # type: ignore[arg-type]
    with pytest.raises(InputError, match=r"\(n, 24\)"):
        attribute(trees, X[:, :5], LAYOUT)
    with pytest.raises(InputError, match="one score a row"):
        attribute(nn.Linear(24, 2), X, LAYOUT)
    with pytest.raises(InputError, match="images and heads"):
        head_curves(trees, X[:3], LAYOUT, attribute(trees, X[:2], LAYOUT, method="occlusion"))
