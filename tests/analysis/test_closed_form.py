"""Ridge probes from moments are scikit-learn's discriminant analysis, its ridge, and a Newton step of the logistic."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from planted_heads import ACCIDENT, GOOD, plant
from scipy.stats import spearmanr
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.linear_model import Ridge

from interp.analysis.closed_form import HeadMoments, RidgeProbes, ridge_probes
from interp.analysis.logistic import balanced_weights
from interp.analysis.ranking import rank_heads, standardised
from interp.encoders.layout import HeadLayout
from interp.errors import InputError

LAYOUT = HeadLayout(2, 2, 5)


def draw(seed: int, real: int = 40, fake: int = 25):
    rng = np.random.default_rng(seed)
    y = rng.permutation(np.r_[np.zeros(real, int), np.ones(fake, int)])
    mix = rng.normal(size=(LAYOUT.size, LAYOUT.size))
    return rng.normal(size=(len(y), LAYOUT.size)) @ mix + 3 * rng.normal(size=LAYOUT.size) + y[:, None], y


def fitted(X, y, C):
    real, fake = (HeadMoments.of(X[y == label], LAYOUT) for label in (0, 1))
    coef, intercept = ridge_probes(real, fake, C)
    return coef.numpy(), intercept.numpy()


drawn = st.tuples(st.integers(0, 2**32 - 1), st.integers(2, 60), st.integers(2, 60), st.floats(-3, 1))


@settings(max_examples=40)
@given(drawn)
def test_it_is_shrunk_discriminant_analysis(case):
    seed, n_real, n_fake, power = case
    X, y = draw(seed, n_real, n_fake)
    C = 10**power
    coef, intercept = fitted(X, y, C)
    for head in range(LAYOUT.n_heads):
        columns = X[:, head * 5 : head * 5 + 5]
        (scaled,) = standardised(columns)
        spread = np.mean([scaled[y == label].var(0).mean() for label in (0, 1)])
        ridge = 4 / C / len(y) / spread  # in units of the mean variance, as scikit-learn's shrinkage
        shrinkage = ridge / (1 + ridge)
        # scikit-learn shrinks each class towards its own variance; the mean of both is ours
        model = LinearDiscriminantAnalysis(solver="lsqr", shrinkage=shrinkage, priors=[0.5, 0.5])
        expected = model.fit(scaled, y).decision_function(scaled) * (1 - shrinkage)
        found = columns @ coef[head] + intercept[head]
        np.testing.assert_allclose(found, expected, atol=1e-9 * (1 + np.abs(expected).max()))


@pytest.mark.parametrize("C", [1e-3, 0.01, 1.0])
def test_its_direction_is_that_of_ridge_regression_and_of_the_first_newton_step(C):
    X, y = draw(1)
    coef, _ = fitted(X, y, C)
    weight = balanced_weights(y)
    for head in range(LAYOUT.n_heads):
        columns = X[:, head * 5 : head * 5 + 5]
        (scaled,) = standardised(columns)
        ridge = Ridge(alpha=4 / C, solver="cholesky").fit(scaled, 2 * y - 1, weight).coef_
        ones = np.c_[scaled, np.ones(len(y))]
        hessian = C * ones.T @ (weight[:, None] / 4 * ones) + np.diag([1.0] * 5 + [0.0])
        step = np.linalg.solve(hessian, C * ones.T @ (weight * (y - 0.5)))[:5]
        np.testing.assert_allclose(step, 2 * ridge, rtol=1e-9, atol=1e-12)
        ours = coef[head] * columns.std(0)
        np.testing.assert_allclose(
            ours / np.linalg.norm(ours), ridge / np.linalg.norm(ridge), rtol=0, atol=1e-9
        )


def test_moments_of_unions_and_folds_are_sums_and_differences():
    X, y = draw(2, 60, 60)
    whole, fold = (HeadMoments.of(part, LAYOUT) for part in (X, X[:30]))
    for found, rows in (
        (whole - fold, X[30:]),
        (fold + HeadMoments.of(X[50:], LAYOUT), np.r_[X[:30], X[50:]]),
    ):
        expected = HeadMoments.of(rows, LAYOUT)
        assert found.n == expected.n
        torch.testing.assert_close(found.total, expected.total, rtol=1e-12, atol=1e-9)
        torch.testing.assert_close(found.gram, expected.gram, rtol=1e-12, atol=1e-9)


def test_probes_of_a_fold_by_down_dating_are_probes_of_the_rows_left():
    X, y = draw(3, 60, 60)
    left = np.arange(120) >= 40
    parts = [HeadMoments.of(X[y == c], LAYOUT) - HeadMoments.of(X[(y == c) & ~left], LAYOUT) for c in (0, 1)]
    coef, intercept = ridge_probes(*parts, C=0.01)
    expected = fitted(X[left], y[left], 0.01)
    np.testing.assert_allclose(coef, expected[0], rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(intercept, expected[1], rtol=1e-9, atol=1e-12)


def test_a_constant_column_has_no_weight():
    X, y = draw(4)
    X[:, 7] = 1e4 / 3
    coef, intercept = fitted(X, y, 0.01)
    assert coef[1, 2] == 0 and np.isfinite(coef).all() and np.isfinite(intercept).all()


def test_scores_of_a_union_of_generators_are_those_of_its_rows():
    planted = plant(seed=1, n=60)
    split = np.flatnonzero(np.isin(planted.generator, ["real", "a", "b"]))
    train, rows = split[::2], split[1::2]
    arrays = planted.X, planted.y, planted.layout
    (found,) = RidgeProbes(*arrays, planted.generator, [train], rows, 0.01).scores(0, planted.layout.n_heads)
    (alone,) = RidgeProbes(*arrays, planted.y, [train], rows, 0.01).scores(0, planted.layout.n_heads)
    np.testing.assert_allclose(found, alone, rtol=1e-9, atol=1e-9)
    for head in range(planted.layout.n_heads):
        columns = planted.X[:, planted.layout.slice(planted.layout.names[head])]
        real, fake = (columns[train][planted.y[train] == label] for label in (0, 1))
        alone_layout = HeadLayout(1, 1, planted.layout.width)
        coef, intercept = ridge_probes(*(HeadMoments.of(part, alone_layout) for part in (real, fake)), 0.01)
        np.testing.assert_allclose(found[head], columns[rows] @ coef[0].numpy() + intercept.item(), atol=1e-9)


def test_heads_and_train_rows_are_independent_of_those_beside_them():
    """Some heads at once, or several sets of train rows that share photographs, change no score."""
    planted = plant(seed=4, n=60)
    splits = list(planted.protocol)[:3]
    trains, rows = [split.train for split in splits], splits[0].select
    arrays = planted.X, planted.y, planted.layout, planted.generator
    together = RidgeProbes(*arrays, trains, rows, 0.01)
    assert len(together.parts) < sum(len(np.unique(planted.generator[train])) for train in trains)
    found = together.scores(0, planted.layout.n_heads)
    np.testing.assert_allclose(together.scores(3, 5), found[:, 3:5], rtol=1e-9, atol=1e-12)
    for train, expected in zip(trains, found, strict=True):
        alone = RidgeProbes(*arrays, [train], rows, 0.01).scores(0, planted.layout.n_heads)[0]
        np.testing.assert_allclose(alone, expected, rtol=1e-9, atol=1e-12)
    assert 1 == together.heads_at_once(1) < together.heads_at_once(2**26)


def test_it_ranks_planted_heads_as_the_logistic_probe_does():
    planted = plant(seed=2)
    found = {
        probe: rank_heads(
            planted.X,
            planted.y,
            planted.layout,
            planted.protocol,
            generator=planted.generator,
            probe=probe,
            progress=False,
        ).table.set_index("head")
        for probe in ("logistic", "ridge")
    }
    ridge = found["ridge"]
    assert ridge["transfer_auc"].idxmax() == GOOD and ridge["gap"].idxmax() == ACCIDENT
    aucs = [table["transfer_auc"].sort_index() for table in found.values()]
    assert float(spearmanr(*aucs).statistic) > 0.95
    assert np.abs(aucs[0] - aucs[1]).max() < 0.02


def test_wrong_input_says_what_to_give():
    X, y = draw(5)
    some = HeadMoments.of(X, LAYOUT)
    for match, call in {
        "X must be": lambda: HeadMoments.of(X[:, :7], LAYOUT),
        "rows of both classes": lambda: ridge_probes(some - some, some, 0.1),
        "C > 0": lambda: ridge_probes(some, some, 0.0),
        "both present": lambda: RidgeProbes(X, y * 0, LAYOUT, y, [np.arange(9)], np.arange(9), 0.1),
    }.items():
        with pytest.raises(InputError, match=match):
            call()
