"""Which texts a direction of the embedding space points at, and how near a random direction's best text would be."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from interp.errors import InputError
from interp.explain.phrase_reliability import with_reliability
from interp.explain.text_encoder import unit_rows
from interp.images.seeds import derive_seed

_CHUNK = 8_000_000  # cosines held at once


def nearest_texts(
    direction: ArrayLike,
    text_embeddings: ArrayLike,
    phrases: Sequence[str],
    k: int = 10,
    *,
    origin: ArrayLike | None = None,
    text_mean: ArrayLike | None = None,
    images: ArrayLike | None = None,
    nulls: int = 1000,
    random_state: int = 0,
    reliability: pd.DataFrame | None = None,
) -> pd.DataFrame:
    """The k texts nearest to a direction and the k nearest to its opposite, each beside its null.

    Texts lose their own mean first, and a direction that is a point loses `origin`: else the modality gap ranks them.
    The null is the cosine of whichever text comes nearest to either end of a random direction; p counts how often that
    is at least as near as this text. It holds over all texts and both ends together, so a word with p above .05 says
    no more than a direction drawn blindly would.

    Args:
        direction: (P,): a detector's weights on the embedding (raw, not standardised, columns), a principal direction
            from `removed_directions`, or a point such as an image's embedding.
        text_embeddings: (m, P).
        phrases: m of them.
        k: texts for each end.
        origin: (P,) the mean image embedding, where the direction is a point; weights and differences need none.
        text_mean: (P,) mean of all texts, where `text_embeddings` are a choice of them.
        images: (n, P): random directions are then drawn with these embeddings' covariance, as contrasts of images are,
            instead of evenly. That is harder to beat.
        nulls: how many random directions.
        random_state: seed of these.
        reliability: from `phrase_reliability`; adds the column `reliable`.

    Returns:
        Columns end ("+" or "-"), rank, phrase, cosine (to that end, so positive is near), null (95 % quantile), p.

    Raises:
        InputError: widths that differ, a direction of length zero, or NaN.

    >>> texts = np.vstack([np.eye(8), -np.eye(8)])
    >>> found = nearest_texts(texts[3], texts, [f"text {i}" for i in range(16)], k=1)
    >>> found["phrase"].to_list(), found["cosine"].round(3).to_list()
    (['text 3', 'text 11'], [1.0, 1.0])
    """
    vector, texts = centred_pair(direction, text_embeddings, origin=origin, text_mean=text_mean)
    if len(phrases) != len(texts):
        raise InputError(f"there must be a phrase for each text; given {len(phrases)} for {len(texts)}")
    cosines = texts @ vector
    best = null_cosines(texts, nulls, images=images, random_state=random_state)
    parts = []
    for end, values in (("+", cosines), ("-", -cosines)):
        order = np.argsort(-values, kind="stable")[:k]
        part = pd.DataFrame({"end": end, "rank": np.arange(1, len(order) + 1)})
        part["phrase"] = [phrases[i] for i in order]
        part["cosine"] = values[order]
        parts.append(part)
    table = pd.concat(parts, ignore_index=True)
    table["null"] = np.quantile(best, 0.95) if len(best) else np.nan
    table["p"] = (
        (1 + (best >= table["cosine"].to_numpy()[:, None]).sum(1)) / (1 + len(best)) if len(best) else np.nan
    )
    return with_reliability(table, reliability)


def centred_pair(
    direction: ArrayLike,
    text_embeddings: ArrayLike,
    *,
    origin: ArrayLike | None = None,
    text_mean: ArrayLike | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """A direction (P,) and texts (m, P), each without its own side's mean and of length 1.

    Raises:
        InputError: widths that differ, a direction of length zero, or NaN.
    """
    vector, texts = np.asarray(direction, dtype=np.float64), np.asarray(text_embeddings, dtype=np.float64)
    if vector.ndim != 1 or texts.ndim != 2 or texts.shape[1] != len(vector):
        raise InputError(
            f"direction must be (P,) and texts (m, P) of one model; given {vector.shape} and {texts.shape}. A "
            "detector on head features points at texts through `readout.folded`: weights of a head's P columns only"
        )
    if origin is not None:
        vector = vector - np.asarray(origin, dtype=np.float64)
    length = float(np.linalg.norm(vector))
    if not (np.isfinite(length) and length > 0 and np.isfinite(texts).all()):
        raise InputError(
            f"direction and texts must be finite and the direction not zero; its length is {length}"
        )
    return vector / length, unit_rows(texts, texts.mean(0) if text_mean is None else text_mean)


def null_cosines(
    texts: np.ndarray, nulls: int = 1000, *, images: ArrayLike | None = None, random_state: int = 0
) -> np.ndarray:
    """For each of `nulls` random directions the cosine of the text nearest to either end, (nulls,).

    Args:
        texts: (m, P), centred and of length 1.
        images: (n, P), see `nearest_texts`.
    """
    drawn = random_directions(texts.shape[1], nulls, images=images, random_state=random_state)
    step = max(1, _CHUNK // len(texts))
    found = [np.abs(drawn[i : i + step] @ texts.T).max(1) for i in range(0, nulls, step)]
    return np.concatenate(found) if found else np.zeros(0)


def random_directions(
    width: int, many: int, *, images: ArrayLike | None = None, random_state: int = 0
) -> np.ndarray:
    """Unit vectors (many, width), even over the sphere or with the covariance of embeddings `images` (n, width)."""
    rng = np.random.default_rng(derive_seed("random directions", random_state))
    if images is None:
        return unit_rows(rng.normal(size=(many, width)))
    given = np.asarray(images, dtype=np.float64)
    if given.ndim != 2 or given.shape[1] != width or len(given) < 2 or not np.isfinite(given).all():
        raise InputError(f"images must be (n, {width}), finite, two at least; given {given.shape}")
    root = np.linalg.qr(given - given.mean(0), mode="r")
    return unit_rows(rng.normal(size=(many, len(root))) @ root)


def activation_pattern(weights: ArrayLike, images: ArrayLike) -> np.ndarray:
    """What a detector's score goes up and down with: cov(images) · weights, (P,), of length 1.

    Weights are a filter: they also point at whatever must be subtracted to silence a distraction. The pattern points
    at what the score carries (Haufe et al. 2014, equation 6). Show both.

    Args:
        weights: (P,), on raw columns.
        images: (n, P), train rows.

    >>> rng = np.random.default_rng(0)
    >>> signal, noise = rng.normal(size=(2, 5000))
    >>> images = np.stack([signal + noise, noise], axis=1)       # weights (1, -1) read the signal
    >>> activation_pattern([1, -1], images).round(1)             # which lies along (1, 0)
    array([1., 0.])
    """
    given = np.asarray(images, dtype=np.float64)
    centred = given - given.mean(0)
    return unit_rows(centred.T @ (centred @ np.asarray(weights, dtype=np.float64)))[0]


def removed_directions(removed: ArrayLike, k: int = 3) -> tuple[np.ndarray, np.ndarray]:
    """The directions along which a removed component varies most over images, for `nearest_texts`.

    Args:
        removed: (n, P), what was taken away from each image: `store.embedding() - removal.transform(X)`, or
            `store.head_embeddings(heads).sum(1)`.
        k: how many.

    Returns:
        (k, P) orthonormal, the sign of each left open, and (k,) the share of the component's variance along it; fewer
        than k where it has no more.

    >>> directions, shares = removed_directions([[0.0, 2.0], [0.0, -2.0], [1.0, 0.0], [-1.0, 0.0]])
    >>> abs(directions).round(3), shares
    (array([[0., 1.],
           [1., 0.]]), array([0.8, 0.2]))
    """
    values = np.asarray(removed, dtype=np.float64)
    if values.ndim != 2 or not np.isfinite(values).all():
        raise InputError(
            f"removed must be (n, P) and finite; given {values.shape}; pass the usable rows alone"
        )
    _, sizes, right = np.linalg.svd(values - values.mean(0), full_matrices=False)
    kept = sizes > 1e-9 * max(float(sizes[0]), np.finfo(float).tiny)
    shares = sizes**2 / max(float((sizes**2).sum()), np.finfo(float).tiny)
    return right[kept][:k], shares[kept][:k]
