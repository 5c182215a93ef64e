"""The batched Newton solver is scikit-learn's logistic regression, converged."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression
from sklearn.utils.class_weight import compute_sample_weight

from interp.analysis.logistic import balanced_weights, coefficient_path, fit_logistic
from interp.analysis.newton import Dual, newton
from interp.errors import InputError

problems = st.fixed_dictionaries(
    {
        "seed": st.integers(0, 2**32 - 1),
        "n": st.integers(6, 40),
        "p": st.integers(1, 60),
        "C": st.floats(-4, 2).map(lambda power: 10.0**power),
        "separation": st.sampled_from([0.0, 1.0, 8.0]),
        "fit_intercept": st.booleans(),
    }
)


def draw(seed: int, n: int, p: int, separation: float, b: int = 1):
    rng = np.random.default_rng(seed)
    y = np.stack([rng.permutation(np.arange(n) % 2) for _ in range(b)])
    X = rng.normal(size=(b, n, p))
    X[..., 0] += separation * (2 * y - 1)
    return X, y, rng.uniform(0.0, 2.0, size=(b, n)) + 1e-3


def gradient(X, y, C, weight, coef, intercept):
    """Of the objective in the coefficients, and in the intercept."""
    pull = C * weight * (y - 1 / (1 + np.exp(-(X @ coef + intercept))))
    return coef - X.T @ pull, pull.sum()


@settings(max_examples=60)
@given(problems)
def test_it_is_scikit_learns_solution(problem):
    X, y, weight = (
        part[0] for part in draw(problem["seed"], problem["n"], problem["p"], problem["separation"])
    )
    C, fit_intercept = problem["C"], problem["fit_intercept"]
    coef, intercept = fit_logistic(X, y, C, weight, fit_intercept)
    reference = LogisticRegression(
        C=C, tol=1e-10, max_iter=10_000, solver="newton-cholesky", fit_intercept=fit_intercept
    ).fit(X, y, weight)
    size = np.abs(reference.coef_).max()
    np.testing.assert_allclose(coef, reference.coef_, rtol=0, atol=1e-6 * size)
    np.testing.assert_allclose(
        intercept, reference.intercept_, rtol=0, atol=1e-5 * max(1, abs(reference.intercept_[0]))
    )


@settings(max_examples=40)
@given(problems)
def test_the_gradient_vanishes_at_every_solution_of_a_batch(problem):
    X, y, weight = draw(problem["seed"], problem["n"], problem["p"], problem["separation"], b=3)
    C = problem["C"] * np.array([0.1, 1.0, 10.0])
    coef, intercept = fit_logistic(X, y, C, weight)
    for one in zip(X, y, C, weight, coef, intercept, strict=True):
        slope, shift = gradient(*one)
        assert np.abs(slope).max() <= 1e-6 * np.abs(one[4]).max()
        assert abs(shift) <= 1e-6 * one[2] * len(one[1])


def dual_fit(X, y, C, weight, start=None):
    """Dual variables (b, n) and intercepts (b,) of the same problems, from their Gram matrices alone."""
    gram, target, each = (
        torch.as_tensor(part, dtype=torch.float64) for part in (X @ X.transpose(0, 2, 1), y, weight)
    )
    strength = torch.as_tensor(C, dtype=torch.float64).expand(len(gram))[:, None]
    target, each = target.expand(len(gram), -1), each.expand(len(gram), -1)
    begin = None if start is None else tuple(torch.as_tensor(part) for part in start)
    dual, intercept = newton(Dual(gram, True), target, strength * each, begin, 1e-8, 100)
    return dual.numpy(), intercept.numpy()


@pytest.mark.parametrize("p", [5, 90])
def test_a_batch_is_its_problems_one_by_one_in_either_form(p):
    X, y, weight = draw(0, 50, p, 0.5, b=4)
    C = np.array([0.01, 0.1, 1.0, 10.0])
    coef, intercept = fit_logistic(X, y, C, weight)
    dual, offset = dual_fit(X, y, C, weight)
    for i in range(4):
        one, shift = fit_logistic(X[i], y[i], C[i], weight[i])
        np.testing.assert_allclose(coef[i], one[0], rtol=1e-7, atol=1e-9)
        np.testing.assert_allclose(intercept[i], shift[0], rtol=1e-7, atol=1e-9)
        np.testing.assert_allclose(X[i].T @ dual[i], one[0], rtol=1e-6, atol=1e-8)
        np.testing.assert_allclose(offset[i], shift[0], rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("p", [5, 90])
def test_a_path_is_its_fits_one_by_one(p):
    X, y, weight = draw(1, 60, p, 1.0, b=2)
    Cs = 10.0 ** np.arange(-4, 3)
    coef, intercept = coefficient_path(X, y, Cs, weight)
    for i, C in enumerate(Cs):
        expected, shift = fit_logistic(X, y, C, weight)
        size = np.abs(expected).max()
        np.testing.assert_allclose(coef[i], expected, rtol=0, atol=1e-7 * size)
        np.testing.assert_allclose(intercept[i], shift, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e4])
def test_it_converges_from_any_start(scale):
    X, y, weight = draw(2, 40, 60, 2.0)
    expected, shift = dual_fit(X, y, 10.0, weight)
    rng = np.random.default_rng(0)
    start = (scale * rng.normal(size=(1, 40)), scale * rng.normal(size=1))
    dual, intercept = dual_fit(X, y, 10.0, weight, start)
    np.testing.assert_allclose(dual, expected, rtol=0, atol=1e-7 * np.abs(expected).max())
    np.testing.assert_allclose(intercept, shift, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("p", [3, 70])
def test_a_row_without_weight_is_as_if_absent(p):
    X, y, weight = (part[0] for part in draw(3, 40, p, 1.0))
    weight[30:] = 0
    with_rows, without = fit_logistic(X, y, 1.0, weight), fit_logistic(X[:30], y[:30], 1.0, weight[:30])
    for left, right in zip(with_rows, without, strict=True):
        np.testing.assert_allclose(left, right, rtol=1e-7, atol=1e-9)


def test_labels_that_no_column_explains_give_the_log_odds_of_the_classes():
    y = np.array([1] * 30 + [0] * 10)
    coef, intercept = fit_logistic(np.zeros((40, 2)), y)
    np.testing.assert_allclose(coef, 0)
    np.testing.assert_allclose(intercept, np.log(3), rtol=1e-9)


def test_tensors_come_back_as_tensors_in_double_precision():
    X, y, _ = draw(4, 20, 3, 1.0)
    coef, intercept = fit_logistic(torch.from_numpy(X).float(), torch.from_numpy(y))
    assert isinstance(coef, torch.Tensor) and coef.dtype == intercept.dtype == torch.float64
    assert coef.shape == (1, 3) and intercept.shape == (1,)


def test_a_fit_that_was_cut_short_says_so():
    X, y, weight = draw(5, 40, 3, 1.0)
    with pytest.warns(RuntimeWarning, match="1 of 1 logistic regressions did not converge in 1 Newton steps"):
        fit_logistic(X, y, 10.0, weight, max_iter=1)


def test_balanced_weights_are_scikit_learns():
    y = np.array([0, 1, 1, 0, 1, 1, 1])
    np.testing.assert_allclose(balanced_weights(y), compute_sample_weight("balanced", y))


def test_wrong_input_says_what_to_give():
    X, y, _ = (part[0] for part in draw(6, 10, 2, 1.0))
    for match, call in {
        "labels 0": lambda: fit_logistic(X, y + 1),
        "one class only": lambda: fit_logistic(X, np.zeros(10)),
        "one class only ": lambda: fit_logistic(X, y, 1.0, 1.0 - y),
        "C > 0": lambda: fit_logistic(X, y, 0.0),
        "weights ≥ 0": lambda: fit_logistic(X, y, 1.0, -np.ones(10)),
        "10 labels": lambda: fit_logistic(X, y[:9]),
        "finite": lambda: fit_logistic(np.full((10, 2), np.nan), y),
        "one number of problems": lambda: fit_logistic(np.stack([X] * 3), y, C=[1.0, 2.0]),
        "ascending C": lambda: coefficient_path(X, y, [1.0, 0.1]),
        "both present": lambda: balanced_weights([1, 1]),
    }.items():
        with pytest.raises(InputError, match=match.strip()):
            call()
