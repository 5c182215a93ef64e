"""Retrieval AUC of phrases: right values, intervals that cover, and the column that greys words out."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy.stats import norm
from sklearn.metrics import roc_auc_score

from interp.errors import InputError
from interp.explain.directions import nearest_texts
from interp.explain.head_words import spans_table
from interp.explain.phrase_reliability import phrase_reliability, reliable_only, with_reliability
from interp.explain.sparse_words import sparse_words
from interp.explain.text_encoder import unit_rows
from interp.explain.text_span import text_span
from interp.protocol.metrics import standard_error_auc


def draw(seed, shift=2.0, n=200, group_of=1):
    """Images (n, 5) of which half have a thing along the first axis; groups of `group_of` are copies of each other."""
    rng = np.random.default_rng(seed)
    many = n // group_of
    shown = rng.permutation(np.arange(many) % 2).astype(bool)
    images = rng.normal(size=(many, 5)) + np.outer(shown * shift, np.eye(5)[0])
    return (
        np.repeat(images, group_of, axis=0),
        np.repeat(shown, group_of),
        np.repeat(np.arange(many), group_of),
    )


def test_the_auc_is_that_of_centred_cosines():
    images, shown, _ = draw(0)
    images += 20  # the cone that images lie in
    table = phrase_reliability(images, np.eye(5), pd.DataFrame({str(i): shown for i in range(5)}))
    scores = unit_rows(images, images.mean(0))
    expected = [roc_auc_score(shown, scores[:, i]) for i in range(5)]
    np.testing.assert_allclose(table["auc"], expected)
    assert table["reliable"].to_list() == [True, False, False, False, False]
    assert (table["low"] < table["auc"]).all() and (table["auc"] < table["high"]).all()


def test_the_pools_mean_may_be_taken_off_as_where_words_are_used():
    images, shown, _ = draw(5)
    shared, has = 5 * np.eye(5)[[1]], pd.DataFrame({"a": shown})
    hidden, apart, bare = (
        phrase_reliability(images, text, has, text_mean=mean)["auc"][0]
        for text, mean in [
            (np.eye(5)[:1] + shared, None),
            (np.eye(5)[:1] + shared, shared[0]),
            (np.eye(5)[:1], None),
        ]
    )
    assert apart == bare > hidden + 0.1


def test_without_groups_the_interval_is_delongs():
    images, shown, _ = draw(1)
    (row,) = phrase_reliability(images, np.eye(5)[:1], pd.DataFrame({"a": shown})).itertuples()
    score = unit_rows(images, images.mean(0))[:, 0]
    half = norm.ppf(0.975) * standard_error_auc(shown.astype(int), score) / (row.auc * (1 - row.auc))
    logits = np.log(row.auc / (1 - row.auc)) + [-half, half]
    np.testing.assert_allclose([row.low, row.high], 1 / (1 + np.exp(-logits)), rtol=0.01)


def test_copies_of_an_image_do_not_narrow_the_interval():
    once = draw(2, n=60)
    many = draw(2, n=300, group_of=5)
    has = pd.DataFrame({"a": once[1]}), pd.DataFrame({"a": many[1]})
    alone = phrase_reliability(once[0], np.eye(5)[:1], has[0])
    grouped = phrase_reliability(many[0], np.eye(5)[:1], has[1], groups=many[2])
    pd.testing.assert_frame_equal(alone[["auc", "low", "high"]], grouped[["auc", "low", "high"]])
    blind = phrase_reliability(many[0], np.eye(5)[:1], has[1])
    assert (blind["high"] - blind["low"])[0] < 0.6 * (grouped["high"] - grouped["low"])[0]


def test_intervals_cover_and_chance_is_not_relied_on():
    covered, relied = 0, 0
    for seed in range(200):
        images, shown, _ = draw(seed, shift=0.0, n=60)
        (row,) = phrase_reliability(images, np.eye(5)[:1], pd.DataFrame({"a": shown})).itertuples()
        covered, relied = covered + (row.low <= 0.5 <= row.high), relied + row.reliable
    assert covered >= 180 and relied <= 14  # 190 and 5 expected


def test_a_phrase_that_never_errs_still_has_an_interval():
    images, shown, _ = draw(0, shift=100.0, n=20)
    texts = np.eye(5)[[0, 0]] * [[1.0], [-1.0]]
    table = phrase_reliability(images, texts, pd.DataFrame({"a": shown, "b": shown}))
    assert table["auc"].to_list() == [1, 0] and table["high"][0] == 1 and table["low"][1] == 0
    assert table["low"][0] == pytest.approx(0.025**0.1) and table["high"][1] == pytest.approx(1 - 0.025**0.1)


def test_images_of_which_it_is_not_known_and_unreadable_ones_are_left_out():
    images, shown, _ = draw(3)
    images[:10] = np.nan
    told = pd.Series(shown, dtype="boolean").mask(np.arange(200) >= 150)
    table = phrase_reliability(images, np.eye(5)[:2], pd.DataFrame({"a": told, "b": [True] * 200}))
    assert table["n_with"][0] + table["n_without"][0] == 140 and table["reliable"][0]
    assert np.isnan(table["auc"][1]) and not table["reliable"][1]


def test_every_table_of_words_says_which_are_reliable():
    phrases = ["a", "b", "c", "d"]
    tried = pd.DataFrame({"phrase": ["a", "b"], "reliable": [True, False]})
    texts = np.vstack([np.eye(2), -np.eye(2)])
    expected = {"a": True, "b": False, "c": pd.NA, "d": pd.NA}
    head = np.random.default_rng(0).normal(size=(20, 2))
    tables = [
        nearest_texts([1.0, 0.5], texts, phrases, k=4, nulls=5, reliability=tried),
        sparse_words([1.0, 0.5], texts, k=4, nulls=0).table(phrases, tried),
        spans_table({"L0.H0": text_span(head, texts, 2)}, phrases, tried),
    ]
    for table in tables:
        assert table["reliable"].dtype == "boolean"
        assert all(
            found is expected[p] or found == expected[p]
            for p, found in zip(table["phrase"], table["reliable"], strict=True)
        )
    assert "reliable" not in with_reliability(tables[1].drop(columns="reliable"), None)
    np.testing.assert_array_equal(reliable_only(phrases, tried), [True, False, False, False])


def test_shapes_that_do_not_fit_are_refused():
    with pytest.raises(InputError, match="must agree"):
        phrase_reliability(np.ones((4, 3)), np.ones((2, 3)), pd.DataFrame({"a": [True] * 4}))
