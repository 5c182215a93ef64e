"""A direction as a sum of few texts with positive weights, and how near that sum comes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from scipy.optimize import nnls

from interp.errors import InputError, unknown_name
from interp.explain.directions import centred_pair, random_directions
from interp.explain.phrase_reliability import with_reliability

METHODS = ("omp", "lasso")


@dataclass(frozen=True)
class SparseWords:
    """A direction in words.

    Attributes:
        chosen: (s,) int: rows of the text embeddings, by falling weight; s is at most the number asked for.
        weights: (s,) float64, positive; texts and direction have length 1.
        curve: a row for 0, 1, … words: `words`, `cosine` of their best non-negative sum with the direction, and
            `null`, the 95 % quantile of the same for random directions (NaN where none were asked for).
    """

    chosen: np.ndarray
    weights: np.ndarray
    curve: pd.DataFrame

    def table(self, phrases: Sequence[str], reliability: pd.DataFrame | None = None) -> pd.DataFrame:
        """A row a word: phrase, weight, and `reliable` where a table of `phrase_reliability` is given."""
        words = pd.DataFrame({"phrase": [phrases[i] for i in self.chosen], "weight": self.weights})
        return with_reliability(words, reliability)


def sparse_words(
    direction: ArrayLike,
    text_embeddings: ArrayLike,
    k: int = 10,
    *,
    method: str = "omp",
    origin: ArrayLike | None = None,
    text_mean: ArrayLike | None = None,
    nulls: int = 20,
    random_state: int = 0,
) -> SparseWords:
    """Write a direction as a non-negative sum of at most k texts, both sides centred as in `nearest_texts`.

    A direction lies near many random texts' sum too, the nearer the more words are allowed: read `cosine` beside
    `null`. For the other end pass the negative direction.

    Args:
        direction: (P,).
        text_embeddings: (m, P).
        k: words at most.
        method: "omp", orthogonal matching pursuit whose weights are fitted by non-negative least squares in each step
            (Bruckstein, Elad and Zibulevsky 2008), or "lasso", the words in the order in which they enter the path of
            the non-negative lasso (Efron et al. 2004), weights fitted anew without its shrinkage. The first is greedy,
            the second chooses jointly among texts that resemble each other.
        origin, text_mean: as in `nearest_texts`.
        nulls: random directions that are written in the same way.
        random_state: seed of these.

    Raises:
        InputError: an unknown method, k below 1, or vectors that do not fit.

    >>> rng = np.random.default_rng(0)
    >>> texts = np.vstack([np.eye(12), -np.eye(12)])
    >>> words = sparse_words(2 * texts[3] + texts[20], texts, k=4)
    >>> words.chosen, words.weights.round(3), words.curve["cosine"].round(3).to_list()
    (array([ 3, 20]), array([0.894, 0.447]), [0.0, 0.894, 1.0])
    """
    if method not in METHODS:
        raise unknown_name("method", method, METHODS)
    if k < 1:
        raise InputError(f"k must be 1 or more words; given {k}")
    vector, texts = centred_pair(direction, text_embeddings, origin=origin, text_mean=text_mean)
    path = _omp if method == "omp" else _lasso
    chosen, weights, cosines = path(vector, texts, k)
    null = np.full(len(cosines), np.nan)
    if nulls:
        drawn = [
            path(one, texts, k)[2] for one in random_directions(len(vector), nulls, random_state=random_state)
        ]
        longest = [
            np.pad(one, (0, max(0, len(cosines) - len(one))), mode="edge")[: len(cosines)] for one in drawn
        ]
        null = np.quantile(longest, 0.95, axis=0)
    order = np.argsort(-weights, kind="stable")
    curve = pd.DataFrame({"words": np.arange(len(cosines)), "cosine": cosines, "null": null})
    return SparseWords(chosen[order], weights[order], curve)


def _omp(vector: np.ndarray, texts: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Texts, weights, and the cosine with 0, 1, … words."""
    active, weights, cosines = np.zeros(0, dtype=np.int64), np.zeros(0), [0.0]
    residual = vector
    for _ in range(min(k, len(texts))):
        gains = texts @ residual
        gains[active] = -np.inf
        best = int(gains.argmax())
        if gains[best] <= 1e-9 or np.linalg.norm(residual) < 1e-9:
            break
        active = np.append(active, best)
        weights, left = nnls(texts[active].T, vector)
        residual = vector - weights @ texts[active]
        cosines.append(_cosine(left))
    kept = weights > 0
    return active[kept], weights[kept], np.array(cosines)


def _lasso(vector: np.ndarray, texts: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """As `_omp`, over the non-negative lasso's path; a number of words that it skips keeps the cosine before."""
    from sklearn.linear_model import lars_path

    _, _, coefs = lars_path(texts.T, vector, method="lasso", positive=True, max_iter=4 * k)
    active, weights, cosines = np.zeros(0, dtype=np.int64), np.zeros(0), [0.0]
    for coef in coefs.T:
        words = np.flatnonzero(coef > 0)
        if not 0 < len(words) <= k:
            continue
        fitted, left = nnls(texts[words].T, vector)
        cosines += [cosines[-1]] * (len(words) + 1 - len(cosines))
        if (value := _cosine(left)) > cosines[len(words)]:
            cosines[len(words)] = value
            cosines[len(words) + 1 :] = np.maximum(cosines[len(words) + 1 :], value).tolist()
            if value >= max(cosines):
                active, weights = words[fitted > 0], fitted[fitted > 0]
    return active, weights, np.array(cosines)


def _cosine(left: float) -> float:
    """Between a vector of length 1 and its projection onto a cone, from the length of what is left over."""
    return float(np.sqrt(max(0.0, 1 - left**2)))
