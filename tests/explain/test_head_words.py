"""TextSpan over the heads of a store, and the embedding that its words make."""

from __future__ import annotations

import numpy as np
import pytest

from interp.errors import InputError
from interp.explain.head_words import embedding_in_words, spans_table, text_spans
from interp.explain.text_encoder import unit_rows
from interp.explain.text_span import text_span


@pytest.fixture(scope="module")
def texts():
    return unit_rows(np.random.default_rng(0).normal(size=(80, 32)))


@pytest.mark.parametrize("center", [True, False])
def test_each_head_is_the_span_of_its_embeddings(small_store, texts, center):
    rows = np.flatnonzero(small_store.usable)[::2]
    heads = ["L0.H1", "L3.H0"]
    spans = text_spans(small_store, texts, 4, heads=heads, rows=rows, center=center)
    embeddings = small_store.head_embeddings(heads)[rows]
    for i, span in enumerate(spans.values()):
        direct = text_span(embeddings[:, i], texts, 4, center=center)
        assert span.chosen.tolist() == direct.chosen.tolist()
        np.testing.assert_allclose(span.explained, direct.explained, atol=1e-4)
        np.testing.assert_allclose(
            span.reconstruct(embeddings[:, i]), direct.reconstruct(embeddings[:, i]), atol=1e-3
        )


def test_the_table_has_every_head_with_its_words_and_nulls(small_store, texts):
    spans = text_spans(small_store, texts, 3, heads=["L1.H0", "L2.H3"], nulls=3)
    table = spans_table(spans, [f"text {i}" for i in range(80)])
    assert table.columns.tolist() == ["head", "rank", "phrase", "explained", "so_far", "null_so_far"]
    assert (
        table["head"].to_list() == ["L1.H0"] * 3 + ["L2.H3"] * 3 and table["rank"].to_list() == [1, 2, 3] * 2
    )
    assert (table["so_far"] <= 1 + 1e-9).all() and table["null_so_far"].between(0, 1).all()


def test_the_embedding_in_words_goes_from_means_to_the_embedding_itself(small_store, texts):
    usable = small_store.usable
    spans = text_spans(small_store, texts, k=16)  # as many texts as a head is wide
    whole = small_store.embedding()[usable]
    scale = np.abs(whole).max()
    np.testing.assert_allclose(embedding_in_words(small_store, spans)[usable], whole, atol=1e-4 * scale)
    means = small_store.embedding(list(spans), replace="mean", rows=np.flatnonzero(usable))[usable]
    np.testing.assert_allclose(embedding_in_words(small_store, spans, k=0)[usable], means, atol=1e-4 * scale)
    several = embedding_in_words(small_store, spans, (0, 4, 8, 16))
    np.testing.assert_array_equal(several[1], embedding_in_words(small_store, spans, 4))
    missed = [np.linalg.norm(one[usable] - whole) for one in several]
    assert missed[0] > missed[1] > missed[2] > missed[3]


def test_unknown_heads_and_texts_of_another_model_are_refused(small_store, texts):
    with pytest.raises(InputError, match="unknown head 'L9.H0'"):
        text_spans(small_store, texts, heads=["L9.H0"])
    with pytest.raises(InputError, match=r"fold must be \(16, 31\)"):
        text_spans(small_store, texts[:, 1:])
