"""Whether a text tower can be trusted with a phrase: does the phrase find the images that have what it says?"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from interp.errors import InputError
from interp.explain.text_encoder import unit_rows
from interp.protocol.clustered_auc import clustered_auc

LEAST = 0.6
"""Retrieval AUC below which a phrase is not to be relied on."""


def phrase_reliability(
    image_embeddings: ArrayLike,
    text_embeddings: ArrayLike,
    has: pd.DataFrame,
    *,
    text_mean: ArrayLike | None = None,
    groups: ArrayLike | None = None,
    least: float = LEAST,
    level: float = 0.95,
) -> pd.DataFrame:
    """The chance that a phrase is nearer to an image that has what it says than to one that has not.

    Intervals count whole groups as one draw (Obuchowski 1997), on the logit scale; where every image that has it is
    nearer than every one that has not, the low end is the AUC at which that would still happen, once in 2 / (1 - level)
    times, to as many groups as the smaller side has.

    Args:
        image_embeddings: (n, P).
        text_embeddings: (m, P), one for each column of `has`, in its order.
        has: (n, m) bool, a column a phrase: which images are known to have it. Missing values are images of which it
            is not known; they are left out for that phrase.
        text_mean: (P,) mean over the whole pool of texts, taken off each, as `nearest_texts` does: words are then tried
            as they are used there.
        groups: (n,) names of images that are not independent; by default all are.
        least: AUC that a reliable phrase reaches. Its interval must lie above one half too.
        level: of the intervals.

    Returns:
        A row a phrase: phrase, n_with, n_without, auc, low, high (NaN where one side has fewer than two images),
        reliable (bool).

    Raises:
        InputError: shapes that do not fit.

    >>> rng = np.random.default_rng(0)
    >>> shown = rng.integers(2, size=80).astype(bool)
    >>> images = rng.normal(size=(80, 4)) + 3 * np.outer(shown, [1, 0, 0, 0])
    >>> has = pd.DataFrame({"cat": shown, "moon": shown})
    >>> phrase_reliability(images, np.eye(4)[:2], has)["reliable"].to_list()
    [True, False]
    """
    images = np.asarray(image_embeddings, dtype=np.float64)
    texts = np.asarray(text_embeddings, dtype=np.float64)
    if images.ndim != 2 or texts.shape != (has.shape[1], images.shape[1]) or len(has) != len(images):
        raise InputError(
            f"image embeddings (n, P), text embeddings (m, P) and has (n, m) must agree; given {images.shape}, "
            f"{texts.shape} and {has.shape}"
        )
    group = pd.factorize(np.arange(len(images)) if groups is None else np.asarray(groups))[0]
    usable = np.isfinite(images).all(axis=1)
    scores = np.full((len(images), len(texts)), np.nan)
    scores[usable] = unit_rows(images[usable], images[usable].mean(0)) @ unit_rows(texts, text_mean).T
    rows = []
    for column, phrase in enumerate(has.columns):
        known = usable & has[phrase].notna().to_numpy()
        shown = has[phrase].fillna(False).to_numpy().astype(bool)[known]
        value, low, high, _ = clustered_auc(shown, scores[known, column], group[known], level=level)
        rows.append(
            (phrase, int(shown.sum()), int((~shown).sum()), value, low, high, value >= least and low > 0.5)
        )
    return pd.DataFrame(
        rows, columns=pd.Index(["phrase", "n_with", "n_without", "auc", "low", "high", "reliable"])
    )


def with_reliability(words: pd.DataFrame, reliability: pd.DataFrame | None) -> pd.DataFrame:
    """A table of words with the column `reliable`: false ones are greyed out, missing ones were never tried.

    Args:
        words: any table with the column `phrase`.
        reliability: from `phrase_reliability`; None leaves the table as it is.

    >>> tried = pd.DataFrame({"phrase": ["cat", "moon"], "reliable": [True, False]})
    >>> with_reliability(pd.DataFrame({"phrase": ["moon", "tree"]}), tried)["reliable"].to_list()
    [False, <NA>]
    """
    if reliability is None:
        return words
    known = reliability.set_index("phrase")["reliable"].astype("boolean")
    return words.assign(reliable=known.reindex(words["phrase"]).array)


def reliable_only(phrases: Sequence[str], reliability: pd.DataFrame) -> np.ndarray:
    """(m,) bool: phrases that were tried and are reliable, to choose a pool's rows by."""
    return (
        with_reliability(pd.DataFrame({"phrase": phrases}), reliability)["reliable"]
        .fillna(False)
        .to_numpy(bool)
    )
