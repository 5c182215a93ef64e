"""Few texts with positive weights: planted sums come back, more words never come less near, noise stays at the null."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import nnls

from interp.errors import InputError
from interp.explain.directions import random_directions
from interp.explain.sparse_words import METHODS, sparse_words
from interp.explain.text_encoder import unit_rows

WEIGHTS = np.array([3.0, 2.0, 1.5])


def pool(seed, m=200, width=64):
    texts = unit_rows(np.random.default_rng(seed).normal(size=(m, width)))
    return texts, unit_rows(texts, texts.mean(0))


@pytest.mark.parametrize("method", METHODS)
def test_a_planted_sum_comes_back_with_its_weights(method):
    for seed in range(10):
        texts, apart = pool(seed)
        planted = np.random.default_rng(seed).choice(200, 3, replace=False)
        direction = WEIGHTS @ apart[planted]
        words = sparse_words(direction, texts, k=3, method=method, nulls=0)
        assert words.chosen.tolist() == planted.tolist()
        np.testing.assert_allclose(words.weights, WEIGHTS / np.linalg.norm(direction))
        assert words.curve["cosine"].iloc[-1] == pytest.approx(1)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10**6), st.integers(2, 30), st.integers(2, 12), st.sampled_from(METHODS))
def test_the_curve_rises_and_never_passes_the_whole_cone(seed, m, width, method):
    rng = np.random.default_rng(seed)
    texts, direction = rng.normal(size=(m, width)), rng.normal(size=width)
    words = sparse_words(direction, texts, k=8, method=method, nulls=0)
    cosines = words.curve["cosine"].to_numpy()
    unit = direction / np.linalg.norm(direction)
    apart = unit_rows(texts, texts.mean(0))
    best = np.sqrt(max(0.0, 1 - nnls(apart.T, unit)[1] ** 2))
    assert cosines[0] == 0 and (np.diff(cosines) >= -1e-9).all() and cosines[-1] <= best + 1e-6
    assert (words.weights > 0).all() and len(words.chosen) <= 8
    rebuilt = words.weights @ apart[words.chosen]
    near = rebuilt @ unit / np.linalg.norm(rebuilt) if len(rebuilt) and rebuilt.any() else 0
    assert near == pytest.approx(cosines[-1], abs=1e-6)


def test_planted_sums_pass_the_null_and_random_directions_do_not():
    texts, apart = pool(0)
    planted = sparse_words(WEIGHTS @ apart[:3], texts, k=5)
    assert (planted.curve["cosine"][1:] > planted.curve["null"][1:]).all()
    drawn = random_directions(64, 30, random_state=5)
    curves = [sparse_words(one, texts, k=3, nulls=60).curve.iloc[-1] for one in drawn]
    assert np.mean([last["cosine"] > last["null"] for last in curves]) <= 0.2  # 1.5 of 30 expected


def test_the_lasso_and_the_pursuit_agree_on_texts_at_right_angles():
    rng = np.random.default_rng(1)
    texts = np.vstack([np.eye(10), -np.eye(10)])  # a pool whose mean is zero
    direction = rng.normal(size=10)
    one, other = (sparse_words(direction, texts, k=4, method=method, nulls=0) for method in METHODS)
    np.testing.assert_array_equal(one.chosen, other.chosen)
    np.testing.assert_allclose(one.curve["cosine"], other.curve["cosine"])
    largest = np.sort(direction**2)[::-1][:4].cumsum() / (direction**2).sum()
    np.testing.assert_allclose(one.curve["cosine"][1:], np.sqrt(largest))


def test_a_table_has_the_phrases_by_falling_weight():
    texts, apart = pool(2)
    table = sparse_words(WEIGHTS @ apart[[5, 1, 9]], texts, k=3, nulls=0).table([str(i) for i in range(200)])
    assert table["phrase"].to_list() == ["5", "1", "9"] and table["weight"].is_monotonic_decreasing


def test_a_wrong_method_or_number_is_refused():
    texts, apart = pool(0)
    with pytest.raises(InputError, match="did you mean 'lasso'"):
        sparse_words(apart[0], texts, method="laso")
    with pytest.raises(InputError, match="given 0"):
        sparse_words(apart[0], texts, k=0)
