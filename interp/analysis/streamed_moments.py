"""Means and covariances of features and of the columns beside them, batch by batch."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence

import numpy as np


class StreamedMoments:
    """Means and centred products that batches add up to, whatever their order (Chan, Golub and LeVeque 1983).

    The columns beside the features have names. One that a batch lacks is 0 there, so a class that is first seen in
    a later batch has its indicator of 0 in all earlier ones.

    Args:
        blocks: b, sets of feature columns that are treated apart: heads, or 1 for all together.
        width: w, columns of each.

    Attributes:
        n: rows seen.
        mean: (b, w) float64.
        names: of the k columns beside the features.

    >>> moments = StreamedMoments(1, 2)
    >>> moments.update(np.array([[0.0, 1.0], [2.0, 5.0]]), {"cat": np.array([1, 0])})
    >>> moments.update(np.array([[1.0, 3.0]]), {"dog": np.array([1])})
    >>> moments.mean.tolist(), moments.names, moments.features()[0].tolist()
    ([[1.0, 3.0]], ['cat', 'dog'], [[0.666..., 1.333...], [1.333..., 2.666...]])
    """

    def __init__(self, blocks: int, width: int) -> None:
        self.n = 0
        self.names: list[Hashable] = []
        self.mean = np.zeros((blocks, width))
        self._beside_mean = np.zeros(0)
        self._features = np.zeros((blocks, width, width))
        self._across = np.zeros((blocks, width, 0))
        self._beside = np.zeros((0, 0))

    def update(self, X: np.ndarray, columns: Mapping[Hashable, np.ndarray]) -> None:
        """Add m rows: X (m, b·w), and the columns (m,) beside it by name."""
        many = len(X)
        if not many:
            return
        self._widen([name for name in columns if name not in self.names])
        beside = np.zeros((many, len(self.names)))
        for name, values in columns.items():
            beside[:, self.names.index(name)] = values
        beside_mean = beside.mean(0)
        beside -= beside_mean
        beside_step = beside_mean - self._beside_mean
        share = self.n * many / (self.n + many)
        width = self.mean.shape[1]
        for block, mean in enumerate(self.mean):
            x = X[:, block * width : (block + 1) * width].astype(np.float64)
            x_mean = x.mean(0)
            x -= x_mean
            step = x_mean - mean
            self._features[block] += x.T @ x + share * np.outer(step, step)
            self._across[block] += x.T @ beside + share * np.outer(step, beside_step)
            mean += step * many / (self.n + many)
        self._beside += beside.T @ beside + share * np.outer(beside_step, beside_step)
        self.n += many
        self._beside_mean = self._beside_mean + beside_step * many / self.n

    def features(self) -> np.ndarray:
        """Covariances of the features of each block, divided by n: (b, w, w)."""
        return self._features / self.n

    def across(self, names: Sequence[Hashable]) -> np.ndarray:
        """Covariances of the features with the columns named: (b, w, len(names))."""
        return self._across[:, :, self._at(names)] / self.n

    def beside(self, rows: Sequence[Hashable], columns: Sequence[Hashable]) -> np.ndarray:
        """Covariances among columns beside the features: (len(rows), len(columns))."""
        return self._beside[np.ix_(self._at(rows), self._at(columns))] / self.n

    def means(self, names: Sequence[Hashable]) -> np.ndarray:
        """Means of the columns named; of an indicator, the share of its rows."""
        return self._beside_mean[self._at(names)]

    def _at(self, names: Sequence[Hashable]) -> list[int]:
        return [self.names.index(name) for name in names]

    def _widen(self, new: list[Hashable]) -> None:
        many = len(new)
        self.names = [*self.names, *new]
        self._beside_mean = np.pad(self._beside_mean, (0, many))
        self._across = np.pad(self._across, ((0, 0), (0, 0), (0, many)))
        self._beside = np.pad(self._beside, ((0, many), (0, many)))
