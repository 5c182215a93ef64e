"""Where there is no text tower: directions that a classifier names, and the images at either end of a direction."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import ArrayLike

from interp.errors import InputError
from interp.explain.text_encoder import unit_rows
from interp.features.store import FeatureStore


@dataclass(frozen=True)
class NamedDirections:
    """Unit directions with names; they stand in for texts wherever `text_embeddings` and `phrases` are asked for.

    Attributes:
        phrases: m names.
        embeddings: (m, P) float64, of length 1.
    """

    phrases: tuple[str, ...]
    embeddings: np.ndarray


def class_rows(model: Any) -> NamedDirections:
    """The rows of an image classifier's last layer, as named directions of the space it reads.

    That space is the encoder's embedding where the classifier reads the class token behind the final LayerNorm, as
    those of ViT and DeiT do. A row that is added to all rows changes no probability, so the mean row is taken off.

    Args:
        model: a `transformers` model such as ViTForImageClassification, with a Linear `classifier` and names in
            `config.id2label`.

    Raises:
        InputError: no such classifier, or one that reads more than the class token.

    >>> from transformers import ViTConfig, ViTForImageClassification
    >>> config = ViTConfig(hidden_size=32, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32,
    ...                    image_size=32, patch_size=16, id2label={0: "cat", 1: "dog", 2: "owl"})
    >>> rows = class_rows(ViTForImageClassification(config))
    >>> rows.phrases, rows.embeddings.shape
    (('cat', 'dog', 'owl'), (3, 32))
    """
    linear, config = getattr(model, "classifier", None), getattr(model, "config", None)
    names = getattr(config, "id2label", None)
    if not isinstance(linear, torch.nn.Linear) or not names:
        raise InputError(
            f"{type(model).__name__} has no Linear `classifier` with names in config.id2label; give a model such as "
            "transformers.ViTForImageClassification, or look at the images at either end: extremes(store, scores)"
        )
    width = getattr(config, "hidden_size", linear.in_features)
    if linear.in_features != width:
        raise InputError(
            f"the classifier of {type(model).__name__} reads {linear.in_features} values, more than the class token's "
            f"{width}: its rows are no directions of the embedding"
        )
    if len(names) != linear.out_features:
        raise InputError(f"config.id2label names {len(names)} classes of {linear.out_features}")
    weight = linear.weight.detach().double().cpu().numpy()
    return NamedDirections(tuple(str(names[i]) for i in range(len(names))), unit_rows(weight, weight.mean(0)))


def extremes(store: FeatureStore, scores: ArrayLike, k: int = 10) -> pd.DataFrame:
    """The images that a direction or a head activates most and least.

    Args:
        store: where the rows come from; unreadable images are left out, as are scores that are NaN.
        scores: (n,) one for each row of the store, such as `store.embedding() @ direction`.
        k: images for each end; fewer where the two would overlap.

    Returns:
        Indexed by row key: end ("+" or "-"), rank, score, label, generator; the highest score first, then the lowest.

    Raises:
        InputError: other than one score a row, or k below 1.
    """
    values = np.asarray(scores, dtype=np.float64)
    if values.shape != (len(store),) or k < 1:
        raise InputError(
            f"scores must be ({len(store)},), one for each row, and k 1 or more; given {values.shape}, {k}"
        )
    usable = np.flatnonzero(store.usable & np.isfinite(values))
    order = usable[np.argsort(-values[usable], kind="stable")]
    top = order[: min(k, (len(order) + 1) // 2)]
    bottom = order[::-1][: min(k, len(order) // 2)]
    found = np.concatenate([top, bottom])
    table = store.rows.iloc[found][["label", "generator"]].copy()
    table.insert(0, "score", values[found])
    table.insert(0, "rank", np.r_[np.arange(1, len(top) + 1), np.arange(1, len(bottom) + 1)])
    table.insert(0, "end", np.repeat(["+", "-"], [len(top), len(bottom)]))
    return table
