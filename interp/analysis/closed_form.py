"""Ridge probes of every head in closed form, from counts, sums and Gram matrices of each generator.

Linear discriminant analysis with a ridge on columns standardised by the train rows: w = (W + λ/n I)⁻¹ (m₁ - m₀) with
class means m and W the mean of both classes' covariances (Hastie et al. 2009, section 4.3.1). With λ = 4 / C this is,
up to its length, the first Newton step of the logistic probe of strength C with balanced classes, and the ridge
regression of ±1 with penalty λ. The moments of a union of rows are sums, those of a fold differences.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor

from interp.analysis.logistic import balanced_weights
from interp.encoders.layout import HeadLayout
from interp.errors import InputError

CONSTANT = 1e-13
"""A column whose variance is less than this part of its mean square is constant."""

TINY = 1e-200
"""Weight of a constant column, before it is set to 0, in units of its mean difference."""


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

    @cached_property
    def mean(self) -> Tensor:
        """(heads, d)."""
        return self.total / self.n

    @cached_property
    def square(self) -> Tensor:
        """(heads, d), sums of the columns' squares."""
        return self.gram.diagonal(dim1=1, dim2=2)

    @cached_property
    def covariance(self) -> Tensor:
        """(heads, d, d), of the rows as they are (divided by n)."""
        return torch.baddbmm(self.gram, self.mean[:, :, None], self.total[:, None], alpha=-1) / self.n

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
    within = torch.lerp(real.covariance, fake.covariance, 0.5)
    square = (real.square + fake.square) / n
    variance = square - ((real.total + fake.total) / n).square()
    flat = variance <= CONSTANT * square
    # on the columns as given, the ridge of a standardised column is its variance times as large
    within.diagonal(dim1=1, dim2=2).add_((4 / (C * n)) * torch.where(flat, 1 / TINY, variance))
    lower = torch.linalg.cholesky(within)
    half = torch.linalg.solve_triangular(lower, (fake.mean - real.mean)[..., None], upper=False)
    coef = torch.linalg.solve_triangular(lower.mT, half, upper=True)[..., 0].masked_fill(flat, 0.0)
    return coef, -(coef * (real.mean + fake.mean)).sum(1) / 2


class RidgeProbes:
    """Ridge probes of heads on several sets of train rows; the moments of rows that sets share are computed once.

    Args:
        X: (n, heads·d) head features; rows that never train or score may hold anything.
        y: (n,), 1 fake, 0 photograph.
        layout: which columns are which head's.
        generator: (n,) names; the moments of one name's rows are the unit that is shared.
        trains: t arrays of positions to fit on.
        rows: (m,) positions to score.
        C: inverse strength; see `ridge_probes`.
        device: where to compute; None for the CPU.

    Raises:
        InputError: train rows without photographs or without fakes.
    """

    def __init__(
        self,
        X: np.ndarray,
        y: np.ndarray,
        layout: HeadLayout,
        generator: np.ndarray,
        trains: Sequence[np.ndarray],
        rows: np.ndarray,
        C: float,
        device: str | None = None,
    ):
        self.X, self.layout, self.C, self.device = X, layout, C, device
        self.rows = rows
        self.parts: dict[bytes, np.ndarray] = {}
        self.classes = [
            tuple(self._named(train[y[train] == c], generator) for c in (0, 1)) for train in trains
        ]
        for train in trains:
            balanced_weights(y[train])  # refuses a class without rows

    def _named(self, rows: np.ndarray, generator: np.ndarray) -> tuple[bytes, ...]:
        """Keys of the parts that make up some rows, one for each generator."""
        names = generator[rows]
        parts = [rows[names == name] for name in np.unique(names)]
        self.parts.update((part.tobytes(), part) for part in parts)
        return tuple(part.tobytes() for part in parts)

    def scores(self, start: int, stop: int) -> np.ndarray:
        """Scores of the heads from `start` to before `stop`: (t, stop - start, m) float64, in log-odds."""
        layout = HeadLayout(1, stop - start, self.layout.width)
        X = self.X[:, start * layout.width : stop * layout.width]
        found = {
            key: HeadMoments.of(torch.from_numpy(X[part]).to(self.device), layout)
            for key, part in self.parts.items()
        }
        united: dict[tuple[bytes, ...], HeadMoments] = {}
        for keys in {keys for both in self.classes for keys in both}:
            united[keys] = sum((found[key] for key in keys[1:]), found[keys[0]])
        fitted = [ridge_probes(united[real], united[fake], self.C) for real, fake in self.classes]
        coef, intercept = (torch.stack(part, 1) for part in zip(*fitted, strict=True))
        heads = torch.from_numpy(X[self.rows]).to(self.device).reshape(len(self.rows), layout.n_heads, -1)
        scores = torch.baddbmm(intercept[..., None], coef, heads.permute(1, 2, 0).to(torch.float64))
        return scores.transpose(0, 1).cpu().numpy()

    def heads_at_once(self, memory: int) -> int:
        """How many heads' probes and scores fit into so many bytes."""
        m, t, d = len(self.rows), len(self.classes), self.layout.width
        return max(1, int(memory // (8 * (m * (t + 2 * d) + (t + 2 * len(self.parts)) * d**2))))
