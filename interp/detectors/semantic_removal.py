"""Semantic removal: a linear detector on what is left of an embedding when its leading semantic directions are gone.

Closed-form readings, on a frozen encoder, of two published networks: NS-Net (arXiv 2508.01248), which projects image
features onto the null space of text features, and Geometric Semantic Decoupling (GSD, arXiv 2603.09242), which finds
semantic directions by SVD of frozen CLIP features and projects them out.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from interp.analysis.strength import STRENGTHS
from interp.detectors.linear import LinearDetector
from interp.detectors.parted import PartedDetector, Rows
from interp.errors import InputError

NUMBERS = (0, 1, 2, 4, 8, 16, 32, 64, 128)
"""How many directions may be removed; 0 is the plain detector."""


class SemanticRemoval(PartedDetector):
    """Remove the k leading right singular vectors of texts (NS-Net) or of the train images (GSD); k by select AUC.

    Verified, from the papers' abstracts: NS-Net decouples semantics by a null-space projection before a contrastive
    head, with patches selected by spectral entropy; GSD estimates the semantic subspace by SVD from batch statistics of
    a frozen CLIP while it tunes a second one. Not known, and chosen here: which texts; how many directions (more texts
    than dimensions leave no null space, so the leading k stand for all; select rows choose k, ties: fewer); that
    texts are taken as they are and images less their mean; a linear head in place of the trained networks.

    Args:
        texts: (m, P) embeddings of the encoder's own text tower; None takes the train images' directions.
        numbers: how many directions may be removed; those beyond P - 1 count as P - 1.
        C: as in `LinearDetector`.
        select_generators, random_state: see `PartedDetector`.

    Attributes:
        basis_: (k, P), orthonormal rows: what was removed.
        detector_: the `LinearDetector` on the rest.
        select_aucs_: for each number tried, in order of `tried_`.
        classes_, threshold_: see `PartedDetector`.

    >>> rng = np.random.default_rng(0)
    >>> y, part = np.arange(400) % 2, np.repeat(["train", "select"], 200)
    >>> X = rng.normal(size=(400, 6))
    >>> X[:, 0] += 4 * y * np.where(part == "train", 1, -1)              # content that goes with fakes in train rows
    >>> X[:, 1] += 2 * y
    >>> removal = SemanticRemoval(np.eye(6)[:1]).fit(X, y, part=part)
    >>> removal.basis_.round(6).tolist()
    [[1.0, 0.0, 0.0, 0.0, 0.0, 0.0]]
    """

    def __init__(
        self,
        texts: ArrayLike | None = None,
        numbers: Sequence[int] | int = NUMBERS,
        C: Sequence[float] | float = STRENGTHS,
        select_generators: Sequence[str] | str | None = None,
        random_state: int = 0,
    ):
        self.texts, self.numbers, self.C = texts, numbers, C
        self.select_generators, self.random_state = select_generators, random_state

    def _fit(self, train: Rows, select: Rows | None) -> None:
        numbers = sorted({int(k) for k in np.atleast_1d(np.asarray(self.numbers))})
        if not numbers or numbers[0] < 0:
            raise InputError(f"numbers must be 0 or more directions to remove; given {self.numbers}")
        if select is None and len(numbers) > 1:
            raise InputError(
                "SemanticRemoval chooses the number of directions on select rows; pass part=, or one number"
            )
        directions = self._directions(train.X)
        self.tried_ = sorted({min(k, len(directions)) for k in numbers})
        found = [self._detector(directions[:k], train, select) for k in self.tried_]
        self.select_aucs_ = [one.select_auc_ for one in found]
        best = int(np.argmax(self.select_aucs_)) if len(found) > 1 else 0
        self.basis_, self.detector_ = directions[: self.tried_[best]], found[best]

    def _score(self, X: np.ndarray) -> np.ndarray:
        return self.detector_.decision_function(_without(X, self.basis_))

    def _directions(self, X: np.ndarray) -> np.ndarray:
        """(r, P) orthonormal, the leading ones first; at most P - 1."""
        given = X - X.mean(0) if self.texts is None else np.asarray(self.texts, dtype=np.float64)
        if given.ndim != 2 or given.shape[1] != X.shape[1]:
            raise InputError(
                f"texts must be (m, {X.shape[1]}), embeddings of the text tower that belongs to the images' encoder; "
                f"given {given.shape}"
            )
        _, sizes, right = np.linalg.svd(given, full_matrices=False)
        return right[sizes > 1e-9 * max(float(sizes[0]), np.finfo(float).tiny)][: X.shape[1] - 1]

    def _detector(self, basis: np.ndarray, train: Rows, select: Rows | None) -> LinearDetector:
        detector = LinearDetector(self.C, random_state=self.random_state)
        if select is None:
            return detector.fit(_without(train.X, basis), train.y, generator=train.generator)
        X = _without(np.concatenate([train.X, select.X]), basis)
        part = np.repeat(["train", "select"], [len(train.y), len(select.y)])
        names = None
        if train.generator is not None and select.generator is not None:
            names = np.concatenate([train.generator, select.generator])
        return detector.fit(X, np.concatenate([train.y, select.y]), part=part, generator=names)


def _without(X: np.ndarray, basis: np.ndarray) -> np.ndarray:
    return X - (X @ basis.T) @ basis
