"""The pool of phrases that heads and directions are described with."""

from __future__ import annotations

import itertools
import tomllib
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from string import Formatter
from typing import Any

import pandas as pd

from interp.errors import unknown_name

POOL = Path(__file__).with_name("phrases.toml")


def phrases(categories: Iterable[str] | str | None = None) -> pd.DataFrame:
    """The phrase pool: what an image may show, how it was taken or made, and what was done to it.

    Args:
        categories: the categories wanted, by default all.

    Returns:
        A row a phrase, columns `phrase` and `category`, in a fixed order, with no phrase twice.

    Raises:
        InputError: a category that does not exist.

    >>> pool = phrases()
    >>> len(pool) >= 2000, pool["phrase"].is_unique
    (True, True)
    >>> phrases("generation artefacts")["phrase"].head(2).to_list()
    ['checkerboard pattern', 'upsampling grid']
    """
    pool = _pool()
    if categories is None:
        return pool.copy()
    wanted = [categories] if isinstance(categories, str) else list(categories)
    known = pool["category"].unique()
    for category in wanted:
        if category not in known:
            raise unknown_name("category of phrases", category, known)
    return pool[pool["category"].isin(wanted)].reset_index(drop=True)


def normalised(phrase: str) -> str:
    """A phrase in lower case, without punctuation and double spaces; equal ones are the same phrase.

    >>> normalised("Black-and-white,  grainy")
    'black and white grainy'
    """
    return " ".join("".join(c if c.isalnum() else " " for c in phrase.casefold()).split())


@cache
def _pool() -> pd.DataFrame:
    blocks = tomllib.loads(POOL.read_text(encoding="utf-8"))["block"]
    rows = [(phrase, block["category"]) for block in blocks for phrase in _composed(block)]
    return pd.DataFrame(rows, columns=pd.Index(["phrase", "category"]))


def _composed(block: Mapping[str, Any]) -> Iterable[str]:
    """Every combination of a block's words in each of its patterns."""
    for pattern in block["patterns"]:
        slots = [name for _, name, _, _ in Formatter().parse(pattern) if name]
        words = [[word.strip() for word in block[slot].replace("\n", " ").split(",")] for slot in slots]
        for combination in itertools.product(*words):
            yield pattern.format(**dict(zip(slots, combination, strict=True)))
