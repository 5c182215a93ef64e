"""The phrase pool: large enough, without repeats, readable, and of the categories it names."""

from __future__ import annotations

import re

import pytest

from interp.errors import InputError
from interp.explain.phrases import normalised, phrases

CATEGORIES = {
    "objects",
    "people",
    "scenes",
    "light and weather",
    "textures",
    "colours",
    "photography",
    "art",
    "generation artefacts",
    "compression and processing",
    "impressions",
}


def test_the_pool_is_large_and_says_nothing_twice():
    pool = phrases()
    assert len(pool) >= 2000 and set(pool["category"]) == CATEGORIES
    assert pool["phrase"].map(normalised).is_unique
    assert (pool["category"].value_counts() >= 50).all()


def test_every_phrase_is_a_few_plain_words():
    for phrase in phrases()["phrase"]:
        assert re.fullmatch(r"[A-Za-z][A-Za-z' -]*[A-Za-z]", phrase) and "  " not in phrase
        assert 1 <= len(phrase.split()) <= 8


@pytest.mark.parametrize(
    "word", ["extra fingers", "garbled text", "waxy skin", "film grain", "JPEG blocks", "bokeh"]
)
def test_the_words_of_the_field_are_there(word):
    assert word in set(phrases()["phrase"])


def test_categories_are_taken_alone_or_together():
    pool = phrases()
    art = phrases("art")
    assert set(art["category"]) == {"art"} and list(art.index) == list(range(len(art)))
    both = phrases(["art", "people"])
    assert len(both) == len(art) + (pool["category"] == "people").sum()
    with pytest.raises(InputError, match="did you mean 'textures'"):
        phrases("texture")


def test_the_pool_handed_out_is_the_callers_own():
    mine = phrases()
    mine.loc[0, "phrase"] = "spoilt"
    assert "spoilt" not in set(phrases()["phrase"])
