"""The placebos themselves: alterations that say nothing of generation, divisions of photographs, and a rival score."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from scipy.special import log_softmax

from interp.errors import InputError
from interp.evaluation.cells import SplitScores, joint_cells
from interp.evaluation.placebos import Placebo
from interp.explain.text_encoder import unit_rows
from interp.features.extract import extract
from interp.features.store import FeatureStore
from interp.images.conditions import rows_where
from interp.images.image_set import ImageSet
from interp.protocol.splits import Protocol

if TYPE_CHECKING:
    from interp.encoders.encoder import Encoder
    from interp.explain.text_encoder import TextEncoder

ALTERATIONS = {"through 128 px and back": "through:128", "JPEG before": "jpeg:50"}
"""What photographs are put through, at their native size and before any equalisation, to make placebos."""


def altered_photographs(
    images: ImageSet,
    encoder: Encoder,
    store: FeatureStore,
    out: str | Path,
    name: str,
    laundering: str,
    **options: Any,
) -> Placebo:
    """Launder the photographs of a store, look at them as the store did, and ask which version was laundered.

    Args:
        images: where the store's images lie.
        encoder: who made the store.
        store: the photographs as they are.
        out: folder of the altered store; one that is finished is opened.
        name: of the placebo.
        laundering: such as "through:128"; see docs/laundering.md. What the store's own images were put through follows.
        options: of `extract`, such as workers and progress.

    Raises:
        InputError: an unknown laundering, none of the store's photographs is among the images, or the folder holds
            another store.

    See `ALTERATIONS` for those that a panel asks by default.
    """
    wanted = set(store.rows.index[(store.rows["label"] == "real") & store.usable])
    keys = [key for key in images.keys if key in wanted]
    if not keys:
        raise InputError(f"none of the photographs of {store.folder} is among the images given")
    photographs, equalize = ImageSet(images.table.loc[keys], images.root), store.key["equalize"]
    before = store.key.get("laundering", "none")
    laundering = laundering if before == "none" else f"{laundering}+{before}"
    return Placebo(
        name, altered=extract(photographs, encoder, out, equalize=equalize, launder=laundering, **options)
    )


def usual_placebos(
    images: ImageSet, encoder: Encoder, store: FeatureStore, out: str | Path, **options: Any
) -> list[Placebo]:
    """The placebos that need nothing but the photographs: each of `ALTERATIONS`.

    Args:
        images, encoder, store, options: as in `altered_photographs`.
        out: folder of the altered stores; those that are finished are opened.

    Raises:
        InputError: as `altered_photographs`.
    """
    folders = {name: Path(out) / spec.replace(":", "-") for name, spec in ALTERATIONS.items()}
    return [
        altered_photographs(images, encoder, store, folders[name], name, spec, **options)
        for name, spec in ALTERATIONS.items()
    ]


def divided(store: FeatureStore, name: str, one: str, other: str | None = None) -> Placebo:
    """Photographs that meet a condition on their columns against those that meet another, or all others.

    Args:
        store: whose photographs.
        name: of the placebo.
        one, other: such as "source_repo=BIDS/BSDS500"; see `interp.images.conditions.rows_where`.

    Raises:
        InputError: a condition that cannot be read, or that no photograph meets.
    """
    photographs = store.rows[(store.rows["label"] == "real") & store.usable]
    side = pd.Series(pd.NA, index=photographs.index, dtype="boolean")
    others = photographs.index if other is None else rows_where(photographs, [other]).index
    side[others] = False
    side[rows_where(photographs, [one]).index] = True
    return Placebo(name, side=side)


def by_score(name: str, store: FeatureStore, scores: pd.Series) -> Placebo:
    """Photographs above the median of some number against those at or below it.

    Args:
        name: of the placebo.
        store: whose photographs.
        scores: by key, such as `class_entropy` gives.
    """
    photographs = store.rows.index[(store.rows["label"] == "real") & store.usable]
    known = scores.reindex(photographs).dropna()
    return Placebo(name, side=(known > known.median()).astype("boolean"))


def nearness(store: FeatureStore, text: TextEncoder, phrase: str) -> pd.Series:
    """By key, the cosine of each image's embedding, less the mean of all, to a phrase; NaN where unreadable.

    Raises:
        InputError: the phrase is not one that the text tower is known to be reliable with.
    """
    from interp.explain.phrase_reliability import reliable_only

    if text.reliability is None or not reliable_only([phrase], text.reliability)[0]:
        raise InputError(
            f"{text.name or 'this text tower'} is not known to be reliable with {phrase!r}; see TextEncoder.reliability"
        )
    images = store.features("embedding").astype(np.float64)
    mean = images[store.usable].mean(0)
    cosine = (unit_rows(images, mean) @ unit_rows(text([phrase])).T)[:, 0]
    return pd.Series(np.where(store.usable, cosine, np.nan), index=store.rows.index)


def class_entropy(
    store: FeatureStore, weight: np.ndarray, bias: np.ndarray | float = 0.0, *, unit: bool = False
) -> pd.Series:
    """By key, the entropy in nats of a classifier's classes, read off the embedding; high for what fits no class.

    Args:
        store: features.
        weight: (k, P) rows of the encoder's own classifier, or scaled text embeddings of k classes.
        bias: (k,).
        unit: bring images to length 1 first, as a CLIP does before it compares them with texts.

    Raises:
        InputError: the classifier reads another width.
    """
    images = store.features("embedding").astype(np.float64)
    if weight.ndim != 2 or weight.shape[1] != images.shape[1]:
        raise InputError(f"the classifier must be (k, {images.shape[1]}); given {weight.shape}")
    images = unit_rows(images) if unit else images
    logits = log_softmax(images @ np.asarray(weight, np.float64).T + bias, axis=1)
    return pd.Series(-(np.exp(logits) * logits).sum(1), index=store.rows.index)


def rival(
    store: FeatureStore, protocol: Protocol, scores: pd.Series, *, n_resamples: int = 1000
) -> pd.Series:
    """What a score that nobody trained reaches on the very cells that detectors are judged on.

    Args:
        store, protocol: of the detectors.
        scores: by key, higher for what is to be called generated, such as `class_entropy`.
        n_resamples: joint resamples of photographs and groups.

    Returns:
        auc, low, high: mean over unseen generators, as mean_ood_auc of `Transfer.summary`.
    """
    values = scores.reindex(store.rows.index).to_numpy(np.float64)
    found = []
    for split in protocol:
        positions = np.union1d(split.test, split.in_distribution)
        found.append(SplitScores(split, ("rival",), positions, values[positions][:, None]))
    if np.isnan(np.concatenate([one.scores for one in found])).any():
        raise InputError("a rival needs a score for every image that tests; some have none")
    cells = joint_cells(found, store.rows, n_resamples=n_resamples)
    return cells.mean(cells.unseen).loc["rival"]
