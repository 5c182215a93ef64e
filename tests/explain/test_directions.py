"""Nearest texts find what was planted at either end, and a random direction has no words."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from interp.errors import InputError
from interp.explain.directions import (
    activation_pattern,
    nearest_texts,
    null_cosines,
    random_directions,
    removed_directions,
)
from interp.explain.text_encoder import unit_rows

PHRASES = [f"text {i}" for i in range(300)]


@pytest.fixture(scope="module")
def cone():
    """Texts (300, 64) in a narrow cone, and what sets each apart."""
    rng = np.random.default_rng(0)
    texts = unit_rows(unit_rows(rng.normal(size=(300, 64))) + 4 * unit_rows(rng.normal(size=64)))
    return texts, unit_rows(texts, texts.mean(0))


def test_planted_words_stand_at_their_ends(cone):
    texts, apart = cone
    noise = np.random.default_rng(1).normal(size=64) * 0.05
    found = nearest_texts(apart[7] + 0.9 * apart[70] - 0.8 * apart[200] + noise, texts, PHRASES, k=2)
    assert found["end"].to_list() == ["+", "+", "-", "-"] and found["rank"].to_list() == [1, 2, 1, 2]
    assert found["phrase"].to_list()[:3] == ["text 7", "text 70", "text 200"]
    assert (found["p"][:2] < 0.05).all() and (found["cosine"][:2] > found["null"][:2]).all()


def test_turning_the_direction_swaps_the_ends(cone):
    texts, apart = cone
    one, other = (nearest_texts(sign * apart[3], texts, PHRASES, k=4, nulls=50) for sign in (1, -1))
    np.testing.assert_array_equal(one["phrase"], [*other["phrase"][4:], *other["phrase"][:4]])
    np.testing.assert_allclose(one["cosine"], [*other["cosine"][4:], *other["cosine"][:4]])


def test_the_modality_gap_ranks_nothing_once_it_is_taken_off(cone):
    texts, apart = cone
    rng = np.random.default_rng(2)
    gap = 5 * unit_rows(rng.normal(size=64))[0]
    images = rng.normal(size=(500, 64)) * 0.3 + gap
    point = images.mean(0) + 0.5 * apart[11]
    centred = nearest_texts(point, texts, PHRASES, k=1, origin=images.mean(0))
    assert centred["phrase"][0] == "text 11" and centred["cosine"][0] > 0.99 and centred["p"][0] < 0.01
    assert nearest_texts(point, texts, PHRASES, k=1)["cosine"][0] < 0.7  # the images' own mean hides it


@pytest.mark.parametrize("like_images", [False, True])
def test_random_directions_have_no_words(cone, like_images):
    texts, _ = cone
    rng = np.random.default_rng(3)
    images = rng.normal(size=(200, 64)) * np.linspace(3, 0.1, 64) if like_images else None
    drawn = random_directions(64, 60, images=images, random_state=9)
    options = {"k": 1, "nulls": 199, "images": images}
    smallest = [nearest_texts(one, texts, PHRASES, **options)["p"].min() for one in drawn]
    assert np.mean(np.array(smallest) <= 0.05) <= 0.15  # 3 of 60 expected; more than 9 once in 1,500 times
    assert 0.3 < np.mean(smallest) < 0.7


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10**6), st.integers(2, 30))
def test_the_null_grows_with_the_pool(seed, m):
    texts = unit_rows(np.random.default_rng(seed).normal(size=(2 * m, 8)))
    few, many = (null_cosines(pool, 50, random_state=seed) for pool in (texts[:m], texts))
    assert (many >= few - 1e-12).all() and (many <= 1 + 1e-12).all()


def test_directions_drawn_like_images_have_their_covariance():
    rng = np.random.default_rng(0)
    images = rng.normal(size=(1000, 3)) * [10, 1, 0] + 7
    drawn = random_directions(3, 4000, images=images)
    np.testing.assert_allclose(np.linalg.norm(drawn, axis=1), 1)
    assert np.abs(drawn[:, 2]).max() < 1e-9 and np.median(np.abs(drawn[:, 0])) > 0.95


def test_the_null_is_no_copy_of_vectors_that_the_caller_drew_from_the_same_seed():
    drawn = unit_rows(np.random.default_rng(0).normal(size=(300, 64)))
    assert null_cosines(drawn, 100, random_state=0).max() < 0.9


def test_a_choice_of_texts_may_bring_the_mean_of_all(cone):
    texts, apart = cone
    some = nearest_texts(apart[5], texts[:20], PHRASES[:20], k=1, text_mean=texts.mean(0))
    assert some["phrase"][0] == "text 5" and some["cosine"][0] == pytest.approx(1)


def test_the_pattern_of_a_discriminant_is_the_difference_of_means():
    """Fisher's weights are cov⁻¹ · difference, so that their pattern within classes is the difference itself."""
    rng = np.random.default_rng(0)
    images = rng.normal(size=(500, 6)) @ rng.normal(size=(6, 6))
    difference = rng.normal(size=6)
    weights = np.linalg.solve(np.cov(images.T), difference)
    np.testing.assert_allclose(activation_pattern(weights, images), difference / np.linalg.norm(difference))


def test_a_removed_component_shows_the_direction_it_varied_along(cone):
    texts, apart = cone
    rng = np.random.default_rng(4)
    removed = np.outer(rng.normal(size=100), apart[42]) + 0.01 * rng.normal(size=(100, 64)) + texts.mean(0)
    directions, shares = removed_directions(removed, k=2)
    found = nearest_texts(directions[0], texts, PHRASES, k=1)
    assert "text 42" in found["phrase"].to_list() and shares[0] > 0.95 and shares.sum() <= 1
    assert len(removed_directions(np.ones((5, 3)))[0]) == 0


@pytest.mark.parametrize(
    ("direction", "words"),
    [(np.ones(63), "one model"), (np.zeros(64), "not zero"), (np.full(64, np.nan), "finite")],
)
def test_what_does_not_fit_is_refused(cone, direction, words):
    with pytest.raises(InputError, match=words):
        nearest_texts(direction, cone[0], PHRASES)


def test_a_phrase_is_needed_for_each_text(cone):
    with pytest.raises(InputError, match="299 for 300"):
        nearest_texts(np.ones(64), cone[0], PHRASES[1:])
    with pytest.raises(InputError, match=r"images must be \(n, 64\)"):
        nearest_texts(np.ones(64), cone[0], PHRASES, images=np.ones((4, 3)))
