"""What each head of a store writes, in words, and the embedding that those words would make."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from interp.explain.text_encoder import unit_rows
from interp.explain.text_span import TextSpan, text_span
from interp.features.store import FeatureStore


def text_spans(
    store: FeatureStore,
    text_embeddings: ArrayLike,
    k: int = 10,
    *,
    heads: Sequence[str] | None = None,
    rows: ArrayLike | None = None,
    center: bool = True,
    nulls: int = 0,
    random_state: int = 0,
) -> dict[str, TextSpan]:
    """`text_span` of each head of a store, by name.

    For 384 heads of width 64, 3,000 images, 3,000 texts, P = 768 and k = 20: 11 s on one core, 3 minutes with 20
    nulls. Memory is that of the head features, n × l·h·d float32 (295 MB there), and under 200 MB beside it.

    Args:
        store: what `extract` wrote.
        text_embeddings: (m, P), of the text tower that belongs to the store's encoder.
        k, center, nulls, random_state: as in `text_span`.
        heads: their names, by default all.
        rows: positions of the images to fit on, by default all usable ones.

    Raises:
        InputError: an unknown head, or texts of another width than the embedding.
    """
    names = list(store.layout.names if heads is None else heads)
    features, folded = store.head_features(), store.readout.folded.flatten(0, 1).numpy()
    kept = np.flatnonzero(store.usable) if rows is None else np.asarray(rows)
    texts, found = np.asarray(text_embeddings, dtype=np.float64), {}
    if center:
        texts = unit_rows(texts, texts.mean(0))
    options = {"center": False, "nulls": nulls, "random_state": random_state}
    for name in names:
        values = features[kept, store.layout.slice(name)]
        found[name] = text_span(values, texts, k, fold=folded[store.layout.index(name)], **options)
    return found


def spans_table(
    spans: Mapping[str, TextSpan], phrases: Sequence[str], reliability: pd.DataFrame | None = None
) -> pd.DataFrame:
    """The tables of several heads in one, with columns `head` and `rank` in front."""
    parts = []
    for head, span in spans.items():
        table = span.table(phrases, reliability)
        table.insert(0, "rank", np.arange(1, len(table) + 1))
        table.insert(0, "head", head)
        parts.append(table)
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame()


def embedding_in_words(
    store: FeatureStore, spans: Mapping[str, TextSpan], k: int | Sequence[int] | None = None
) -> np.ndarray:
    """The embedding (n, P), float64, with each head of `spans` as its mean and its first k texts give it.

    What a classifier still tells from it, against k, says how much of the heads the texts hold (Gandelsman et al.
    2024, section 4.2). MLPs and heads without a span stay as they are; with k = 0 those heads are their means.

    Args:
        store: the images.
        spans: from `text_spans`.
        k: texts, by default all; of several numbers, the result is (len(k), n, P).
    """
    numbers = list(k) if isinstance(k, Sequence) else [k]
    result = np.repeat(store.embedding().astype(np.float64)[None], len(numbers), axis=0)
    for name, span in spans.items():
        head = store.head_embeddings([name])[:, 0]
        for one, number in zip(result, numbers, strict=True):
            one += span.reconstruct(head, number) - head
    return result if isinstance(k, Sequence) else result[0]
