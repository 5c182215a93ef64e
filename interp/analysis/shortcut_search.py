"""What a detector promises by leaning on a statistic, what other generators keep of it, and what erasing it gains."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import NamedTuple

import numpy as np
import torch

from interp.analysis.coordinate_removal import generator_weights
from interp.analysis.nuisances import within_classes
from interp.analysis.paired_auc import AucGain, auc_gain
from interp.analysis.promises import signed_share
from interp.analysis.ranking import standardised
from interp.analysis.weighted_auc import weighted_auc

RIDGES = (0.1, 0.3, 1.0, 3.0, 10.0, 100.0, 1000.0)
"""Ridge penalties to choose from, in units of the variance of a column; the last is close to the class means alone."""


class Promise(NamedTuple):
    """The part of a detector's margin that goes through some directions; a margin is half of fakes − photographs.

    Attributes:
        share: of the margin on train rows.
        kept, rest_kept: share of the promised margin that select rows keep, of this part and of the rest.
        excess: margin promised, on the scale of what the rest keeps, minus kept; in the scores' unit.
    """

    share: float
    kept: float
    rest_kept: float
    excess: float


@dataclass(frozen=True, eq=False)
class ShortcutSearch:
    """A ridge detector fitted on train rows and held to select rows, and statistics of all these rows.

    Every photograph and every generator of fakes is a class; classes weigh the same as in `generator_weights`. The
    directions of a statistic are the covariances of the columns with it *within* classes: what the embedding does as
    the statistic varies among photographs, and among the fakes of one generator. What the label itself does is not
    in them, nor what a generator does. They are the evidence that a detector leans on the statistic. What is erased
    once it is found are its covariances among photographs and among all fakes: a property that comes with a
    generator moves the embedding further than any variation within one class shows.

    Attributes:
        train, select: (n, p) and (m, p), standardised by the train rows.
        train_y, select_y: 1 fake, 0 photograph.
        train_kind, select_kind: names of the classes.
        statistics: (n + m, k), train rows first.
        unit: (m,) numbers of sets of select rows that belong together.
    """

    train: np.ndarray
    select: np.ndarray
    train_y: np.ndarray
    select_y: np.ndarray
    train_kind: np.ndarray
    select_kind: np.ndarray
    statistics: np.ndarray
    unit: np.ndarray

    @classmethod
    def of(
        cls,
        X: np.ndarray,
        y: np.ndarray,
        train: np.ndarray,
        select: np.ndarray,
        statistics: np.ndarray,
        generator: np.ndarray | None = None,
        groups: np.ndarray | None = None,
    ) -> ShortcutSearch:
        """From features (n, p), labels (n,), positions, statistics (n, k), and names of generators and groups (n,)."""
        columns = standardised(X[train], X[select])
        kind = np.where(y == 1, "fake", "photograph") if generator is None else generator.astype(str)
        unit = np.arange(len(select)) if groups is None else np.unique(groups[select], return_inverse=True)[1]
        both = np.concatenate([train, select])
        return cls(*columns, y[train], y[select], kind[train], kind[select], statistics[both], unit)  # type: ignore[misc]

    @cached_property
    def kind(self) -> np.ndarray:
        """(n + m,) the class of every row, train rows first."""
        return np.concatenate([self.train_kind, self.select_kind])

    @cached_property
    def label(self) -> np.ndarray:
        """(n + m,) 1 fake, 0 photograph, train rows first."""
        return np.concatenate([self.train_y, self.select_y])

    def directions(self, members: Sequence[int], order: np.ndarray | None = None) -> np.ndarray:
        """(p, r) orthonormal: how the columns move with some statistics within classes.

        Args:
            members: columns of the statistics.
            order: (n + m,) whose statistics each row is given; by default its own.
        """
        measured = self._measured[:, members]
        return orthonormal(self._within.T @ (measured if order is None else measured[order]))

    def erasable(self, members: Sequence[int], order: np.ndarray | None = None) -> np.ndarray:
        """(p, r) orthonormal: how the columns move with some statistics among photographs, and among all fakes.

        Args:
            members, order: as in `directions`.
        """
        measured = self._measured_by_label[:, members]
        return orthonormal(self._by_label.T @ (measured if order is None else measured[order]))

    def random_directions(self, many: int, rng: np.random.Generator) -> np.ndarray:
        """(p, many) orthonormal, drawn with the columns' covariance among photographs and among fakes."""
        return orthonormal(self._by_label.T @ rng.standard_normal((len(self._by_label), many)))

    def erased(self, directions: np.ndarray) -> ShortcutSearch:
        """The same rows without some directions (p, r), orthonormal."""
        columns = [part - part @ directions @ directions.T for part in (self.train, self.select)]
        return replace(self, train=columns[0], select=columns[1])

    @cached_property
    def weights(self) -> np.ndarray:
        """(p,) of the detector whose ridge has the best AUC on select rows."""
        return self._weights(None)[self._ridge]

    def gain(self, directions: np.ndarray) -> AucGain:
        """What a detector without the directions gains in AUC on select rows; each has the ridge that suits it best."""
        without = self._weights(directions)
        best = without[int(self._aucs(without).argmax())]
        scores = self.select @ np.stack([self.weights, best], 1)
        return auc_gain(self.select_y == 1, scores[:, 0], scores[:, 1], self._select_weight, self.unit)

    def gains(self, directions: Sequence[np.ndarray]) -> np.ndarray:
        """The gain of each of many sets of directions, without its error."""
        without = [self._weights(one) for one in directions]
        found = self._aucs(np.concatenate(without)).reshape(len(without), len(RIDGES))
        return found.max(1) - self._aucs(self.weights[None])[0]

    def promise(self, directions: np.ndarray) -> Promise:
        """What the detector draws from the directions on train rows, and what select rows keep of it."""
        rest = self._weights(directions, only=self._ridge)[0]
        part = self.weights - rest
        (promised, rest_promised), (kept, rest_kept) = (
            (signed @ rows @ part, signed @ rows @ rest)
            for signed, rows in ((self._train_signed, self.train), (self._select_signed, self.select))
        )
        scale = float(np.clip(rest_kept / rest_promised, 0, 1)) if rest_promised > 0 else 0.0
        return Promise(
            share=_ratio(promised, promised + rest_promised),
            kept=_ratio(kept, promised),
            rest_kept=_ratio(rest_kept, rest_promised),
            excess=float(scale * promised - kept),
        )

    @cached_property
    def _within(self) -> np.ndarray:
        return within_classes(np.concatenate([self.train, self.select]), self.kind)

    @cached_property
    def _by_label(self) -> np.ndarray:
        return within_classes(np.concatenate([self.train, self.select]), self.label)

    @cached_property
    def _measured(self) -> np.ndarray:
        return _spread_to_one(within_classes(self.statistics, self.kind))

    @cached_property
    def _measured_by_label(self) -> np.ndarray:
        return _spread_to_one(within_classes(self.statistics, self.label))

    @cached_property
    def _select_weight(self) -> np.ndarray:
        return generator_weights(self.select_y, self.select_kind)

    @cached_property
    def _select_signed(self) -> np.ndarray:
        return signed_share(self.select_y, self._select_weight)

    @cached_property
    def _train_signed(self) -> np.ndarray:
        return signed_share(self.train_y, generator_weights(self.train_y, self.train_kind))

    @cached_property
    def _spectrum(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Eigenvectors (p, q) and eigenvalues (q,) of the weighted covariance, and the margin along them (q,)."""
        weight = generator_weights(self.train_y, self.train_kind)
        columns = (self.train - weight @ self.train) * np.sqrt(weight)[:, None]
        values, vectors = np.linalg.eigh(columns.T @ columns)
        return vectors, np.maximum(values, 0), vectors.T @ (self.train.T @ self._train_signed)

    @cached_property
    def _ridge(self) -> int:
        return int(self._aucs(self._weights(None)).argmax())

    def _weights(self, directions: np.ndarray | None, only: int | None = None) -> np.ndarray:
        """(ridges, p): w = (C + λ)⁻¹ b, or the best one at right angles to the directions (Lagrange)."""
        vectors, values, margin = self._spectrum
        found = []
        for ridge in RIDGES if only is None else (RIDGES[only],):
            weights = margin / (values + ridge)
            if directions is not None and directions.shape[1]:
                turned = vectors.T @ directions
                pulled = turned / (values + ridge)[:, None]
                weights = weights - pulled @ np.linalg.solve(turned.T @ pulled, turned.T @ weights)
            found.append(vectors @ weights)
        return np.stack(found)

    def _aucs(self, weights: np.ndarray) -> np.ndarray:
        """Weighted AUC on select rows of each of (c, p) detectors."""
        scores = torch.from_numpy(np.ascontiguousarray((self.select @ weights.T).T))[None]
        fake, weight = (torch.from_numpy(one)[None] for one in (self.select_y == 1, self._select_weight))
        return weighted_auc(scores, fake, weight)[0].numpy()


def orthonormal(columns: np.ndarray) -> np.ndarray:
    """(p, r): an orthonormal basis of what (p, k) columns span; one without length spans nothing.

    >>> orthonormal(np.array([[3.0, 6.0], [0.0, 0.0]])).shape
    (2, 1)
    """
    length = np.linalg.norm(columns, axis=0)
    left, size, _ = np.linalg.svd(columns[:, length > 0] / length[length > 0], full_matrices=False)
    return left[:, size > 1e-10 * size.max(initial=0)]


def _spread_to_one(columns: np.ndarray) -> np.ndarray:
    spread = columns.std(0)
    return np.divide(columns, spread, out=np.zeros_like(columns), where=spread > 0)


def _ratio(part: float, whole: float) -> float:
    return float(part / whole) if whole else 0.0
