"""Heads, detectors and removed components in words: one call each, with what a random one would reach beside it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from interp.detectors.detector import Detector
from interp.errors import InputError
from interp.explain.directions import activation_pattern, nearest_texts, removed_directions
from interp.explain.head_words import spans_table, text_spans
from interp.explain.parts import linear_score
from interp.explain.phrases import phrases as phrase_pool
from interp.explain.text_encoder import TextEncoder
from interp.explain.text_span import TextSpan
from interp.features.store import FeatureStore

TEMPLATES = ("a photo of {}", "a {} photo")
"""Sentences around a phrase, a thing or a property; their embeddings are averaged."""
GREY = "#767676"


@dataclass(frozen=True)
class Words:
    """A table of phrases; in a notebook, phrases that the text tower is not to be trusted with are grey.

    Attributes:
        table: a row a phrase: what it is about, phrase, how much it tells, the null, and where the tower has a table of
            reliability, reliable: False ones failed to find the images that have what they say, missing ones were
            never tried.
        spans: of heads, the texts as `text_span` chose them; else empty.
        pool: all phrases that there were to choose from, in the order of `spans`.

    >>> table = pd.DataFrame({"phrase": ["cat", "moon"], "reliable": [True, False]})
    >>> Words(table, {}, ("cat", "moon"))._repr_html_().count(GREY)
    1
    """

    table: pd.DataFrame
    spans: dict[str, TextSpan]
    pool: tuple[str, ...]

    def __repr__(self) -> str:
        return f"{self.table.to_string(index=False, float_format='%.3f')}\n({len(self.pool)} phrases to choose from)"

    def _repr_html_(self) -> str:
        head = "".join(f"<th>{escape(str(name))}</th>" for name in self.table.columns)
        rows = []
        for row in self.table.to_dict("records"):
            trusted = row.get("reliable", True)
            style = f' style="color:{GREY}"' if pd.isna(trusted) or not trusted else ""
            rows.append(f"<tr{style}>{''.join(f'<td>{_shown(value)}</td>' for value in row.values())}</tr>")
        note = f"{len(self.pool)} phrases to choose from; grey: not to be relied on, or never tried"
        return f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table><p>{note}</p>"


def describe_heads(
    store: FeatureStore,
    text: TextEncoder,
    *,
    heads: Sequence[str] | None = None,
    k: int = 5,
    phrases: Sequence[str] | None = None,
    templates: Sequence[str] = TEMPLATES,
    nulls: int = 20,
    random_state: int = 0,
) -> Words:
    """The texts that together explain most of what each head writes (TextSpan, Gandelsman et al. 2024).

    Args:
        store: what `extract` wrote; images of which heads are described.
        text: the text tower of the very checkpoint that the store's encoder is, from `load_text_encoder`.
        heads: their names, by default all.
        k: texts for each head.
        phrases: what to choose from; by default those that the tower was tried with, where it has a table of
            reliability, else the whole pool of `interp.explain.phrases`.
        templates: sentences around a phrase.
        nulls: rotated pools; `null_so_far` is their 95 % quantile.
        random_state: seed of these.

    Returns:
        Columns head, rank, phrase, explained (share of the head's variance), so_far, null_so_far, reliable.

    Raises:
        InputError: an unknown head, an empty pool, or a text tower of another width.
    """
    pool, embedded = _pool(text, phrases, templates)
    spans = text_spans(store, embedded, k, heads=heads, nulls=nulls, random_state=random_state)
    return Words(spans_table(spans, pool, text.reliability), spans, pool)


def describe_detector(
    store: FeatureStore,
    detector: Detector,
    text: TextEncoder,
    *,
    k: int = 5,
    phrases: Sequence[str] | None = None,
    templates: Sequence[str] = TEMPLATES,
    nulls: int = 1000,
    random_state: int = 0,
) -> Words:
    """The texts nearest to what a linear detector reads ("weights") and to what its score goes with ("pattern").

    Weights also point at what must be subtracted to silence a distraction; the pattern is cov(images) · weights (Haufe
    et al. 2014). Texts lose their mean, so that the modality gap ranks nothing; neither reading is a point, so that
    images need not lose theirs.

    Args:
        store: images that the pattern is taken over.
        detector: linear in the embedding.
        text, k, phrases, templates: as in `describe_heads`; k for each end.
        nulls: random directions, drawn with the covariance of the images.
        random_state: seed of these.

    Returns:
        Columns reading, end ("fake" or "real"), rank, phrase, cosine, null, p, reliable.

    Raises:
        InputError: a detector of other features or settings, or one that is not linear.
    """
    if detector.features != "embedding":
        raise InputError(
            f"detector {detector.name!r} reads {detector.features}, which lie in no space with texts; describe the "
            "heads that it keeps (describe_heads), or a detector of the embedding"
        )
    detector.refuse_other_store(store)
    pool, embedded = _pool(text, phrases, templates)
    images = store.embedding()[store.usable].astype(np.float64)
    weights = linear_score(detector.model, [str(i) for i in range(images.shape[1])]).coef
    named = {"weights": weights, "pattern": activation_pattern(weights, images)}
    options = {
        "images": images,
        "nulls": nulls,
        "random_state": random_state,
        "reliability": text.reliability,
    }
    tables = []
    for reading, direction in named.items():
        table = nearest_texts(direction, embedded, pool, k, **options)
        table["end"] = table["end"].map({"+": "fake", "-": "real"})
        table.insert(0, "reading", reading)
        tables.append(table)
    return Words(pd.concat(tables, ignore_index=True), {}, pool)


def describe_removed(
    store: FeatureStore,
    removed: ArrayLike | Sequence[str],
    text: TextEncoder,
    *,
    directions: int = 2,
    k: int = 5,
    phrases: Sequence[str] | None = None,
    templates: Sequence[str] = TEMPLATES,
    nulls: int = 1000,
    random_state: int = 0,
) -> Words:
    """The texts nearest to the directions along which a removed component varies most over images.

    Args:
        store: whose images.
        removed: names of heads, or (n, P) what was taken from each embedding: `X - eraser.transform(X)`.
        directions: how many of them.
        text, k, phrases, templates, nulls, random_state: as in `describe_detector`.

    Returns:
        Columns direction, share (of the component's variance), end, rank, phrase, cosine, null, p, reliable. The sign
        of a direction is open: its two ends may be read the other way round.

    Raises:
        InputError: an unknown head, or other than a row for each image of the store.
    """
    if all(isinstance(one, str) for one in removed):  # pyright: ignore[reportGeneralTypeIssues]
        values = store.head_embeddings(list(removed)).sum(1)  # type: ignore[arg-type]
    else:
        values = np.asarray(removed, dtype=np.float64)
    if len(values) != len(store):
        raise InputError(f"removed must have a row for each of the {len(store)} images; given {values.shape}")
    pool, embedded = _pool(text, phrases, templates)
    found, shares = removed_directions(values[store.usable], directions)
    options = {"images": store.embedding()[store.usable], "nulls": nulls, "random_state": random_state}
    tables = []
    for number, (direction, share) in enumerate(zip(found, shares, strict=True), start=1):
        table = nearest_texts(direction, embedded, pool, k, reliability=text.reliability, **options)
        table.insert(0, "share", share)
        table.insert(0, "direction", number)
        tables.append(table)
    if not tables:
        raise InputError("what was removed is the same for every image: it has no direction to describe")
    return Words(pd.concat(tables, ignore_index=True), {}, pool)


def _pool(
    text: TextEncoder, phrases: Sequence[str] | None, templates: Sequence[str]
) -> tuple[tuple[str, ...], np.ndarray]:
    """The phrases to choose from and their embeddings (m, P)."""
    if phrases is not None:
        pool = tuple(phrases)
    elif text.reliability is not None:
        pool = tuple(text.reliability["phrase"])
    else:
        pool = tuple(phrase_pool()["phrase"])
    return pool, text(pool, templates)


def _shown(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.3f}"
    return "not tried" if value is None or value is pd.NA else escape(str(value))
