"""Every problem of a batch is scikit-learn's pipeline of scaler and logistic regression."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from interp.analysis.batched_logistic import BatchedLogisticRegression
from interp.errors import InputError


def draw(seed: int, b: int, n: int, p: int):
    rng = np.random.default_rng(seed)
    y = np.stack([rng.permutation(np.arange(n) % 3 == 0) * 1 for _ in range(b)])
    X = rng.normal(rng.normal(size=p), rng.uniform(0.1, 5, size=p), size=(b, n, p))
    X[..., 0] += 2 * y
    return X, y, rng.uniform(0, 2, size=(b, n)) + 1e-3


def scikit_learns(X, y, weight, C, class_weight, standardise, fit_intercept=True):
    """Weights and intercept on the columns as given."""
    scaler = StandardScaler(with_mean=standardise, with_std=standardise).fit(X, sample_weight=weight)
    model = LogisticRegression(
        C=C,
        class_weight=class_weight,
        solver="newton-cholesky",
        tol=1e-11,
        max_iter=10_000,
        fit_intercept=fit_intercept,
    ).fit(scaler.transform(X), y, weight)
    scale, mean = (scaler.scale_, scaler.mean_) if standardise else (1.0, np.zeros(X.shape[1]))
    coef = model.coef_[0] / scale
    return coef, (model.intercept_[0] if fit_intercept else 0.0) - coef @ mean


problems = st.fixed_dictionaries(
    {
        "seed": st.integers(0, 2**32 - 1),
        "n": st.integers(8, 40),
        "p": st.integers(1, 50),
        "power": st.floats(-3, 1),
        "class_weight": st.sampled_from([None, "balanced"]),
        "standardise": st.booleans(),
        "fit_intercept": st.booleans(),
        "weighted": st.booleans(),
    }
)


@settings(max_examples=25)
@given(problems)
def test_every_problem_is_scikit_learns(case):
    X, y, weight = draw(case["seed"], 3, case["n"], case["p"])
    weight = weight if case["weighted"] else np.ones_like(weight)
    C = 10 ** case["power"] * np.array([0.3, 1.0, 3.0])
    options = {name: case[name] for name in ("class_weight", "standardise", "fit_intercept")}
    found = BatchedLogisticRegression(C, **options).fit(X, y, weight)
    for i in range(3):
        coef, intercept = scikit_learns(X[i], y[i], weight[i], C[i], **options)
        size = np.abs(coef).max()
        np.testing.assert_allclose(found.coef_[i], coef, rtol=0, atol=1e-5 * size)
        scores = found.decision_function(X)[i]
        np.testing.assert_allclose(scores, X[i] @ coef + intercept, atol=1e-5 * (1 + np.abs(scores).max()))


@pytest.mark.parametrize("shared_rows", [True, False])
def test_what_is_shared_may_be_given_once(shared_rows):
    X, y, weight = draw(1, 4, 30, 6)
    X = X[0] if shared_rows else X
    y = y if shared_rows else y[0]
    each = np.broadcast_to(X, (4, 30, 6)), np.broadcast_to(y, (4, 30))
    for given_weight in (None, weight[0], weight):
        for C in (0.5, [0.1, 0.2, 0.3, 0.4]):
            model = BatchedLogisticRegression(C, class_weight="balanced")
            short, full = clone(model).fit(X, y, given_weight), model.fit(*each, given_weight)
            np.testing.assert_allclose(short.coef_, full.coef_, rtol=1e-6, atol=1e-9)
            np.testing.assert_allclose(short.decision_function(X), full.decision_function(each[0]), atol=1e-7)


@pytest.mark.parametrize("p", [4, 60])
def test_memory_bounds_change_no_result(p):
    X, y, weight = draw(2, 7, 30, p)
    C = np.geomspace(0.01, 1, 7)
    whole = BatchedLogisticRegression(C).fit(X, y, weight)
    for size in (1, 200_000):
        parts = BatchedLogisticRegression(C, chunk_bytes=size).fit(X, y, weight)
        np.testing.assert_allclose(parts.coef_, whole.coef_, rtol=1e-6, atol=1e-9)


def test_a_constant_column_has_no_weight_and_moves_no_score():
    X, y, _ = draw(3, 2, 40, 5)
    X[..., 2] = 0.1
    with_column = BatchedLogisticRegression().fit(X, y)
    without = BatchedLogisticRegression().fit(np.delete(X, 2, axis=2), y)
    assert (with_column.coef_[:, 2] == 0).all()
    np.testing.assert_allclose(
        with_column.decision_function(X), without.decision_function(np.delete(X, 2, axis=2)), atol=1e-7
    )


def test_tensors_in_half_precision_are_solved_in_double():
    X, y, _ = draw(4, 2, 30, 3)
    half = torch.from_numpy(X).half()
    found = BatchedLogisticRegression(device="cpu").fit(half, torch.from_numpy(y))
    expected = BatchedLogisticRegression().fit(half.double().numpy(), y)
    np.testing.assert_array_equal(found.coef_, expected.coef_)
    assert found.coef_.dtype == np.float64


def test_what_it_predicts_is_the_sign_of_its_score():
    X, y, _ = draw(5, 2, 200, 3)
    model = BatchedLogisticRegression(class_weight="balanced").fit(X, y)
    assert (model.predict(X) == y).mean() > 0.7
    np.testing.assert_array_equal(model.predict(X) == 1, model.decision_function(X) > 0)


def test_wrong_input_says_what_to_give():
    X, y, _ = draw(6, 3, 20, 2)
    fitted = BatchedLogisticRegression().fit(X, y)
    for match, call in {
        "did you mean 'balanced'": lambda: BatchedLogisticRegression(class_weight="balance").fit(X, y),
        "numbers of problems": lambda: BatchedLogisticRegression([1.0, 2.0]).fit(X, y),
        "X must be": lambda: BatchedLogisticRegression().fit(X[0, :, 0], y[0]),
        "20 labels": lambda: BatchedLogisticRegression().fit(X, y[:, :9]),
        "20 labels and weights": lambda: BatchedLogisticRegression().fit(X, y, np.ones(9)),
        "one class only": lambda: BatchedLogisticRegression().fit(X, np.zeros(20)),
        r"X must be \(n, 2\) or \(3, n, 2\)": lambda: fitted.decision_function(X[:2]),
    }.items():
        with pytest.raises(InputError, match=match):
            call()
