"""Heads, detectors and removed components in words: planted words come back, untrusted ones are grey."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import interp
from interp.detectors.detector import Detector, LinearScore
from interp.errors import InputError
from interp.explain.in_words import (
    GREY,
    TEMPLATES,
    Words,
    describe_detector,
    describe_heads,
    describe_removed,
)
from interp.explain.phrases import phrases
from interp.explain.text_encoder import TextEncoder, load_text_encoder, unit_rows
from interp.explain.text_span import text_span


@pytest.fixture(scope="module")
def text() -> TextEncoder:
    return load_text_encoder("embedded", device="cpu")


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    folder = tmp_path_factory.mktemp("words")
    images = interp.draw_simulated_set(folder / "images", n_per_class=12, generators=["simulated-nearest"])
    next((folder / "images").rglob("*.png")).write_bytes(b"no image")
    encoder = interp.load_encoder("embedded", device="cpu")
    return interp.extract(images, encoder, folder / "store", workers=0, progress=False)


def centred(text: TextEncoder, phrase: str) -> np.ndarray:
    assert text.reliability is not None
    pool = list(text.reliability["phrase"])
    embedded = text(pool, TEMPLATES).astype(float)
    return unit_rows(embedded, embedded.mean(0))[pool.index(phrase)]


def test_heads_are_told_in_the_texts_that_text_span_chooses(store, text):
    words = describe_heads(store, text, heads=["L5.H0", "L0.H3"], k=4, nulls=5)
    assert words.table.groupby("head", sort=False).size().to_dict() == {"L5.H0": 4, "L0.H3": 4}
    assert text.reliability is not None and list(words.pool) == list(text.reliability["phrase"])
    embedded = store.head_embeddings(["L5.H0"])[store.usable, 0]
    expected = text_span(embedded, text(words.pool, TEMPLATES), 4)
    of_head = words.table[words.table["head"] == "L5.H0"]
    assert of_head["phrase"].to_list() == [words.pool[i] for i in expected.chosen]
    np.testing.assert_allclose(of_head["explained"], expected.explained, rtol=1e-3)
    assert of_head["null_so_far"].between(0, 1).all()


def test_a_detector_that_reads_a_word_is_told_by_it(store, text):
    weights = centred(text, "underexposed")
    detector = Detector("d", "embedding", LinearScore(5 * weights, 1.0), 0.0, store.key)
    table = describe_detector(store, detector, text, nulls=50).table
    first = table[(table["reading"] == "weights") & (table["rank"] == 1)].set_index("end")
    assert first.loc["fake", "phrase"] == "underexposed"
    assert first.loc["fake", "cosine"] == pytest.approx(1, abs=1e-5)
    assert first.loc["fake", "p"] == pytest.approx(1 / 51)
    assert set(table["reading"]) == {"weights", "pattern"} and set(table["end"]) == {"fake", "real"}
    mirrored = Detector("d", "embedding", LinearScore(-weights, 0.0), 0.0, store.key)
    turned = describe_detector(store, mirrored, text, nulls=0).table
    order = ["reading", "end", "rank"]
    other = table.assign(end=table["end"].map({"fake": "real", "real": "fake"}))
    other, turned = (one.sort_values(order, ignore_index=True) for one in (other, turned))
    pd.testing.assert_frame_equal(other[[*order, "phrase", "cosine"]], turned[[*order, "phrase", "cosine"]])


def test_what_was_removed_is_told_by_the_word_it_lay_along(store, text):
    amount = np.random.default_rng(0).normal(size=len(store))
    removed = 3 + np.outer(amount, centred(text, "goldfish"))
    table = describe_removed(store, removed, text, nulls=20).table
    assert set(table["direction"]) == {1} and (table["share"] > 0.999).all()
    assert "goldfish" in table.loc[table["rank"] == 1, "phrase"].to_list()
    heads = ["L5.H0", "L4.H1"]
    by_name = describe_removed(store, heads, text, nulls=20).table
    by_value = describe_removed(store, store.head_embeddings(heads).sum(1), text, nulls=20).table
    pd.testing.assert_frame_equal(by_name, by_value)


def test_words_that_are_not_to_be_relied_on_are_grey_and_markup_is_text():
    table = pd.DataFrame({"phrase": ["cat", "<b>moon</b>", "tree"]})
    table["reliable"] = pd.array([True, False, pd.NA], dtype="boolean")
    html = Words(table, {}, ("cat", "moon", "tree"))._repr_html_()
    rows = html.split("<tbody>")[1].split("</tr>")
    assert [GREY in row for row in rows[:3]] == [False, True, True]
    assert "<b>" not in html and "not tried" in rows[2]
    assert GREY not in Words(table[["phrase"]], {}, ())._repr_html_()


def test_a_tower_that_was_never_tried_chooses_from_the_whole_pool(store, text):
    untried = TextEncoder(text.model, text.tokenizer)
    words = describe_heads(store, untried, heads=["L5.H5"], k=2, nulls=0)
    assert words.pool == tuple(phrases()["phrase"]) and "reliable" not in words.table
    chosen = describe_heads(store, untried, heads=["L5.H5"], k=9, phrases=["a cat", "a dog"], nulls=0)
    assert set(chosen.table["phrase"]) <= {"a cat", "a dog"}


def test_what_has_no_words_is_refused(store, text):
    heads = Detector("d", "heads", LinearScore(np.ones(store.layout.size), 0.0), 0.0, store.key)
    with pytest.raises(InputError, match="reads heads.*describe_heads"):
        describe_detector(store, heads, text)
    with pytest.raises(InputError, match="a row for each of the 24 images"):
        describe_removed(store, np.ones((3, 128)), text)
    with pytest.raises(InputError, match="same for every image"):
        describe_removed(store, np.ones((24, 128)), text)
    with pytest.raises(InputError, match="unknown head 'L5.HO'"):
        describe_heads(store, text, heads=["L5.HO"])
