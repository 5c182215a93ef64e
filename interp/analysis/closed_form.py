"""Ridge probes of every head in closed form, from counts, sums and Gram matrices of each generator.

Linear discriminant analysis with a ridge on columns standardised by the train rows: w = (W + λ/n I)⁻¹ (m₁ - m₀) with
class means m and W the mean of both classes' covariances (Hastie et al. 2009, section 4.3.1). With λ = 4 / C this is,
up to its length, the first Newton step of the logistic probe of strength C with balanced classes, and the ridge
regression of ±1 with penalty λ. The moments of a union of rows are sums, those of a fold differences.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from interp.analysis.logistic import balanced_weights
from interp.encoders.layout import HeadLayout
from interp.errors import InputError

CONSTANT = 1e-13
"""A column whose variance is less than this part of its mean square is constant."""


@dataclass(frozen=True, eq=False)
class HeadMoments:
    """What a ridge probe of every head needs to know of some rows.

    Attributes:
        n: how many rows.
        total: (heads, d) float64, sums of the columns.
        gram: (heads, d, d) float64, sums of their products.

    >>> layout = HeadLayout(1, 2, 3)
    >>> X = np.random.default_rng(0).normal(size=(10, 6))
    >>> fold = HeadMoments.of(X, layout) - HeadMoments.of(X[:4], layout)
    >>> fold.n, bool(torch.allclose(fold.gram, HeadMoments.of(X[4:], layout).gram))
    (6, True)
    """

    n: int
    total: Tensor
    gram: Tensor

    @classmethod
    def of(cls, X: Any, layout: HeadLayout) -> HeadMoments:
        """Of rows (n, heads·d), an array or a tensor, on the tensor's device."""
        values = torch.as_tensor(X)
        if values.ndim != 2 or values.shape[1] != layout.size:
            raise InputError(f"X must be (n, {layout.size}) for {layout}; given {tuple(values.shape)}")
        heads = values.reshape(len(values), layout.n_heads, layout.width).transpose(0, 1)
        heads = heads.to(torch.float64)
        return cls(len(values), heads.sum(1), heads.mT @ heads)

    def __add__(self, other: HeadMoments) -> HeadMoments:
        return HeadMoments(self.n + other.n, self.total + other.total, self.gram + other.gram)

    def __sub__(self, other: HeadMoments) -> HeadMoments:
        return HeadMoments(self.n - other.n, self.total - other.total, self.gram - other.gram)


def ridge_probes(real: HeadMoments, fake: HeadMoments, C: float) -> tuple[Tensor, Tensor]:
    """One probe for each head from the moments of both classes, which have the same say.

    Args:
        real, fake: of the train photographs and of the train fakes, several generators added up.
        C: inverse strength, as of the logistic probe: the ridge is 4 / C on standardised columns.

    Returns:
        Weights (heads, d) on the columns as given and intercepts (heads,), float64: log-odds under equal classes.
        A column that is constant in these rows has weight 0.

    Raises:
        InputError: a class without rows, or C ≤ 0.

    >>> layout, rng = HeadLayout(1, 2, 3), np.random.default_rng(0)
    >>> real, fake = rng.normal(size=(2, 50, 6))
    >>> fake[:, 4] += 2                                             # the second head sees fakes
    >>> coef, _ = ridge_probes(HeadMoments.of(real, layout), HeadMoments.of(fake, layout), C=0.1)
    >>> bool(coef[1, 1] > 5 * coef[0].abs().max())
    True
    """
    if real.n < 1 or fake.n < 1 or not C > 0:
        raise InputError(
            f"expected photographs, fakes and C > 0, got {real.n}, {fake.n} and {C}; give rows of both classes"
        )
    n = real.n + fake.n
    means = [part.total / part.n for part in (real, fake)]
    within = sum(
        (part.gram / part.n - mean[:, :, None] * mean[:, None]) / 2
        for part, mean in zip((real, fake), means, strict=True)
    )
    square = (real.gram + fake.gram).diagonal(dim1=1, dim2=2) / n
    variance = square - ((real.total + fake.total) / n).square()
    inverse = torch.where(variance > CONSTANT * square, variance, torch.inf).rsqrt()
    scaled = inverse[:, :, None] * within * inverse[:, None]
    scaled.diagonal(dim1=1, dim2=2).add_(4 / (C * n))
    apart = inverse * (means[1] - means[0])
    coef = inverse * torch.cholesky_solve(apart[..., None], torch.linalg.cholesky(scaled))[..., 0]
    return coef, -(coef * (means[0] + means[1])).sum(1) / 2


class RidgeProbes:
    """Ridge probes of any train rows of one store; the moments of each set of rows are computed once.

    Args:
        X: (n, heads·d) head features; rows that never train or score may hold anything.
        y: (n,), 1 fake, 0 photograph.
        layout: which columns are which head's.
        generator: (n,) names.
        C: inverse strength; see `ridge_probes`.
        device: where to compute; None for the CPU.
    """

    def __init__(
        self,
        X: np.ndarray,
        y: np.ndarray,
        layout: HeadLayout,
        generator: np.ndarray,
        C: float,
        device: str | None = None,
    ):
        self.X, self.y, self.layout, self.generator = torch.from_numpy(X), y, layout, generator
        self.C, self.device = C, device
        self._known: dict[tuple[int, bytes], HeadMoments] = {}
        self._last: tuple[tuple[int, bytes], Tensor] | None = None

    def scores(self, train: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """Scores (rows, heads) of the probes fitted on the train rows, in log-odds."""
        balanced_weights(self.y[train])  # refuses a class without rows
        names = self.generator[train]
        real = self._sum(train[self.y[train] == 0], names[self.y[train] == 0])
        fake = self._sum(train[self.y[train] == 1], names[self.y[train] == 1])
        coef, intercept = ridge_probes(real, fake, self.C)
        heads = self._heads(rows)
        found = (heads @ coef.to(heads.dtype)[..., None])[..., 0] + intercept[:, None]
        return found.T.to(torch.float64).cpu().numpy()

    def _heads(self, rows: np.ndarray) -> Tensor:
        """(heads, rows, d); kept for the next train rows, which are often scored on the same ones."""
        key = (len(rows), rows.tobytes())
        if self._last is None or self._last[0] != key:
            values = self._rows(rows).reshape(len(rows), self.layout.n_heads, self.layout.width)
            self._last = (key, values.transpose(0, 1).contiguous())
        return self._last[1]

    def _sum(self, rows: np.ndarray, names: np.ndarray) -> HeadMoments:
        parts = [self._moments(rows[names == name]) for name in np.unique(names)]
        return sum(parts[1:], parts[0])

    def _moments(self, rows: np.ndarray) -> HeadMoments:
        key = (len(rows), rows.tobytes())
        if key not in self._known:
            self._known[key] = HeadMoments.of(self._rows(rows), self.layout)
        return self._known[key]

    def _rows(self, rows: Iterable[int] | np.ndarray) -> Tensor:
        return self.X[torch.as_tensor(np.asarray(rows))].to(self.device)
