"""Hundreds of logistic regressions at once, as one estimator: probes on heads, generators and folds."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted
from torch import Tensor

from interp.analysis.logistic import fit_logistic
from interp.errors import InputError, unknown_name

CHUNK = {"cpu": 2**24, "gpu": 2**31}
"""Bytes that the problems solved together may take: on a CPU few enough to stay in its cache."""


class BatchedLogisticRegression(BaseEstimator):
    """Fit b L2-regularised logistic regressions of one shape at once, each as scikit-learn fits it alone.

    Every problem is `StandardScaler` and `LogisticRegression(C, class_weight)` in a pipeline, solved to convergence
    (`fit_logistic`), with the scaling folded into the weights, so that scores need no second transformer. Labels are 1
    for fakes and 0 for photographs. The problems always stand on the first axis, a single one too.

    Args:
        C: inverse strength of the penalty, a number or (b,).
        class_weight: "balanced" gives both classes the same say (weighted, as scikit-learn counts them), or None.
        standardise: scale columns to mean 0 and deviation 1 first, weighted by sample_weight; a constant column
            gets the weight 0.
        fit_intercept: fit the unpenalised intercept, else it is 0 (on standardised columns).
        tol: stop at the step shorter than this part of ‖w‖, after taking it.
        max_iter: Newton steps before a problem is given up with a RuntimeWarning.
        device: where to compute, such as "cuda"; None stays where X is.
        chunk_bytes: memory that the problems solved together may take, by default `CHUNK`; it changes no result.

    Attributes:
        coef_: (b, p) float64, weights of the columns as given.
        intercept_: (b,) float64.

    >>> rng = np.random.default_rng(0)
    >>> y = np.arange(100) % 2
    >>> heads = rng.normal(size=(3, 100, 4))                     # three problems, one label for each row
    >>> heads[2] += y[:, None]
    >>> probes = BatchedLogisticRegression(C=0.1, class_weight="balanced").fit(heads, y)
    >>> probes.coef_.shape, probes.decision_function(heads).shape
    ((3, 4), (3, 100))
    """

    def __init__(
        self,
        C: Any = 1.0,
        class_weight: str | None = None,
        standardise: bool = True,
        fit_intercept: bool = True,
        tol: float = 1e-8,
        max_iter: int = 100,
        device: str | None = None,
        chunk_bytes: int | None = None,
    ):
        self.C, self.class_weight = C, class_weight
        self.standardise, self.fit_intercept = standardise, fit_intercept
        self.tol, self.max_iter, self.device, self.chunk_bytes = tol, max_iter, device, chunk_bytes

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> BatchedLogisticRegression:
        """Fit every problem.

        Args:
            X: (b, n, p) columns, or (n, p) shared by all problems; any float type, converted chunk by chunk.
            y: (n,) or (b, n), 1 fake, 0 photograph.
            sample_weight: (n,) or (b, n) weights ≥ 0.

        Raises:
            InputError: shapes that do not fit, other labels, a problem with one class, C ≤ 0, or an unknown weighting.
        """
        if self.class_weight not in (None, "balanced"):
            raise unknown_name("class_weight", self.class_weight, ("balanced",))
        columns, labels = _tensor(X), _tensor(y)
        weight = torch.ones(1) if sample_weight is None else _tensor(sample_weight)
        strength = _tensor(self.C)
        given = {"X": (columns, 3), "y": (labels, 2), "sample_weight": (weight, 2), "C": (strength, 1)}
        sizes = {name: len(part) for name, (part, ndim) in given.items() if part.ndim == ndim}
        b = max(sizes.values(), default=1)
        if columns.ndim not in (2, 3) or set(sizes.values()) - {1, b}:
            raise InputError(
                f"X must be (b, n, p) or (n, p), and y, sample_weight and C for b problems or for one; given X "
                f"{tuple(columns.shape)}, and numbers of problems {sizes}"
            )
        n, p = columns.shape[-2:]
        if labels.shape[-1:] != (n,) or sample_weight is not None and weight.shape[-1:] != (n,):
            raise InputError(
                f"expected {n} labels and weights, one a row, got {tuple(labels.shape)}, {tuple(weight.shape)}"
            )
        found = []
        for rows in self._chunks(b, 8 * (3 * n * p + 3 * min(n, p) ** 2), columns):
            parts = {
                name: part[rows] if part.ndim == ndim and len(part) > 1 else part
                for name, (part, ndim) in given.items()
            }
            found.append(self._fit_chunk(**parts, b=rows.stop - rows.start))
        self.coef_ = torch.cat([coef for coef, _ in found]).cpu().numpy()
        self.intercept_ = torch.cat([shift for _, shift in found]).cpu().numpy()
        self.n_features_in_ = p
        return self

    def decision_function(self, X: Any) -> np.ndarray:
        """Log-odds (b, n) of rows (n, p), which every problem scores, or (b, n, p), each problem its own."""
        check_is_fitted(self)
        values = _tensor(X)
        b, p = self.coef_.shape
        if (
            values.ndim not in (2, 3)
            or values.shape[-1] != p
            or values.ndim == 3
            and len(values) not in (1, b)
        ):
            raise InputError(f"X must be (n, {p}) or ({b}, n, {p}), as in fit; given {tuple(values.shape)}")
        device = self.device or values.device
        coef, shift = (torch.from_numpy(part).to(device) for part in (self.coef_, self.intercept_))
        found = []
        for rows in self._chunks(b, 8 * values.shape[-2] * (p + 1), values):
            part = values[rows] if values.ndim == 3 and len(values) > 1 else values
            scores = coef[rows, None] @ part.to(device, torch.float64).mT
            found.append((scores[:, 0] + shift[rows, None]).cpu().numpy())
        return np.concatenate(found)

    def predict(self, X: Any) -> np.ndarray:
        """1 for a fake, 0 for a photograph, (b, n) int64; X as in `decision_function`."""
        return (self.decision_function(X) > 0).astype(np.int64)

    def _chunks(self, b: int, each: int, X: Tensor) -> Iterator[slice]:
        """Slices of b problems that take so many bytes each."""
        kind = torch.device(self.device or X.device).type
        step = max(1, (self.chunk_bytes or CHUNK.get(kind, CHUNK["gpu"])) // each)
        return (slice(start, min(start + step, b)) for start in range(0, b, step))

    def _fit_chunk(
        self, X: Tensor, y: Tensor, sample_weight: Tensor, C: Tensor, b: int
    ) -> tuple[Tensor, Tensor]:
        """Weights (b, p) on the columns as given and intercepts (b,) of some problems."""
        device = self.device or X.device
        X, y, weight, C = (part.to(device, torch.float64) for part in (X, y, sample_weight, C))
        share = weight.expand(*weight.shape[:-1], X.shape[-2])
        if self.class_weight == "balanced":
            share = _balanced(y, share)
        center, scale = X.new_zeros(X.shape[-1]), X.new_ones(X.shape[-1])
        if self.standardise:
            if weight.ndim == 2 and X.ndim == 2:
                X = X.expand(b, *X.shape)
            X, center, scale = _standardised(X, weight.expand(*weight.shape[:-1], X.shape[-2]))
        options = {"tol": self.tol, "max_iter": self.max_iter}
        coef, shift = fit_logistic(X, y, C, share, self.fit_intercept, **options)
        coef = coef / scale.reshape(-1, X.shape[-1])
        shift = shift - (coef * center.reshape(-1, X.shape[-1])).sum(1)
        return coef.expand(b, -1), shift.expand(b)


def _tensor(values: Any) -> Tensor:
    return values if isinstance(values, Tensor) else torch.as_tensor(np.require(values, requirements="W"))


def _balanced(y: Tensor, weight: Tensor) -> Tensor:
    """Weights that give both classes the same say, and leave their sum as it is."""
    fakes, real = ((weight * chosen).sum(-1, keepdim=True) for chosen in (y, 1 - y))
    total = weight.sum(-1, keepdim=True)
    return weight * torch.where(y == 1, total / (2 * fakes), total / (2 * real))


def _standardised(X: Tensor, weight: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Columns of weighted mean 0 and deviation 1, with mean and deviation (…, 1, p); that of a constant one is inf."""
    share = (weight / weight.sum(-1, keepdim=True))[..., None, :]
    center = share @ X
    largest = torch.maximum(X.amax(-2, keepdim=True), -X.amin(-2, keepdim=True))
    values = torch.sub(X, center).contiguous()
    scale = (share @ values.square()).sqrt()
    scale = torch.where(scale <= 1e-14 * largest, torch.inf, scale)
    return values.div_(scale), center, scale
