"""L2-regularised logistic regression by Newton's method, many problems of one shape at once.

The objective is scikit-learn's, C · Σ sᵢ log(1 + exp(-tᵢ fᵢ)) + ½‖w‖² with t = ±1, weights s and a free intercept,
in float64 on any device. With more columns than two thirds of the rows, the same problem is solved for its dual
variables α with w = Xᵀα, which needs the Gram matrix K = X Xᵀ alone (Rasmussen & Williams 2006, algorithm 3.1, here
with an intercept as a second right-hand side).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from interp.analysis.newton import Dual, Primal, newton, path
from interp.errors import InputError


def fit_logistic(
    X: Any,
    y: Any,
    C: Any = 1.0,
    sample_weight: Any = None,
    fit_intercept: bool = True,
    *,
    tol: float = 1e-8,
    max_iter: int = 100,
) -> tuple[Any, Any]:
    """Fit b logistic regressions at once, each equal to scikit-learn's converged solution.

    Args:
        X: (b, n, p) or, shared by all problems, (n, p) columns; array or tensor, computed on the tensor's device.
        y: (n,) or (b, n) labels, 1 fake and 0 real.
        C: inverse strength of the penalty, a number or (b,).
        sample_weight: (n,) or (b, n) weights ≥ 0; a row of weight 0 has no say.
        fit_intercept: fit the unpenalised intercept, else it is 0.
        tol: stop at the step shorter than this part of ‖w‖, after taking it.
        max_iter: steps before a problem is given up with a RuntimeWarning.

    Returns:
        coef (b, p) and intercept (b,), float64, tensors if X is a tensor, else arrays.

    Raises:
        InputError: shapes that do not fit, labels other than 0 and 1, a problem with one class, or C ≤ 0.

    >>> X, y = np.array([[-2.0], [-1.0], [1.0], [2.0]]), np.array([0, 0, 1, 1])
    >>> coef, intercept = fit_logistic(X, y, C=[0.1, 1.0])
    >>> coef.shape, [round(float(value), 3) for value in coef[:, 0]]
    ((2, 1), [0.241, 1.007])
    """
    columns = _float(X)
    y, C, weight, b = _problems(columns, y, C, sample_weight)
    columns = columns.expand(b, *columns.shape[-2:])
    if _in_dual(columns):
        problem = Dual(columns @ columns.mT, fit_intercept)
        dual, intercept = newton(problem, y, C * weight, None, tol, max_iter)
        coef = (dual[:, None] @ columns)[:, 0]
    else:
        coef, intercept = newton(Primal(columns, fit_intercept), y, C * weight, None, tol, max_iter)
    return _like(X, coef), _like(X, intercept)


def coefficient_path(
    X: Any, y: Any, Cs: Any, sample_weight: Any = None, *, tol: float = 1e-8, max_iter: int = 100
) -> tuple[Any, Any]:
    """Fit b logistic regressions on columns for each of c ascending C, each begun at the one before.

    Returns:
        coef (c, b, p) and intercept (c, b).
    """
    columns = _float(X)
    y, _, weight, b = _problems(columns, y, 1.0, sample_weight)
    columns = columns.expand(b, *columns.shape[-2:])
    if _in_dual(columns):
        dual, intercept = path(Dual(columns @ columns.mT, True), y, Cs, weight, tol, max_iter)
        coef = (dual[:, :, None] @ columns)[:, :, 0]
    else:
        coef, intercept = path(Primal(columns, True), y, Cs, weight, tol, max_iter)
    return _like(X, coef), _like(X, intercept)


def balanced_weights(y: Any) -> np.ndarray:
    """Row weights that give both classes the same say, n / (2 · rows of the class), as scikit-learn's "balanced".

    >>> balanced_weights([0, 1, 1, 1])
    array([2.        , 0.66666667, 0.66666667, 0.66666667])
    """
    labels = np.asarray(y).astype(int)
    counts = np.bincount(labels, minlength=2)
    if len(counts) != 2 or not counts.all():
        raise InputError(
            f"expected labels 0 and 1, both present, got {np.unique(labels).tolist()}; check the rows"
        )
    return (len(labels) / (2 * counts))[labels]


def _in_dual(columns: Tensor) -> bool:
    """Whether the dual form is the quicker one; where both take the same time was measured (n = 314 and 800)."""
    return 3 * columns.shape[2] > 2 * columns.shape[1]


def _float(values: Any) -> Tensor:
    return torch.as_tensor(values, dtype=torch.float64)


def _like(given: Any, values: Tensor) -> Any:
    return values if isinstance(given, Tensor) else values.cpu().numpy()


def _problems(X: Tensor, y: Any, C: Any, sample_weight: Any) -> tuple[Tensor, Tensor, Tensor, int]:
    """Labels (b, n), C (b, 1), weights (b, n) and b, checked."""
    if X.ndim not in (2, 3) or not (torch.isfinite(X.sum()) or torch.isfinite(X).all()):  # the sum is quicker
        raise InputError(
            f"expected finite (n, p) or (b, n, p) values, got shape {tuple(X.shape)}; drop unreadable rows"
        )
    labels, strength = _float(y).to(X.device), _float(C).to(X.device)
    weight = _float(1.0 if sample_weight is None else sample_weight).to(X.device)
    sizes = {
        len(part) for part, ndim in ((X, 3), (labels, 2), (weight, 2), (strength, 1)) if part.ndim == ndim
    }
    sizes.discard(1)
    if len(sizes) > 1:
        raise InputError(
            f"expected one number of problems, got {sorted(sizes)}; give each of X, y, C and weights b or 1"
        )
    b, n = (sizes or {1}).pop(), X.shape[-2]
    if labels.shape[-1:] != (n,) or weight.ndim and weight.shape[-1] != n:
        raise InputError(
            f"expected {n} labels and weights, one a row, got {tuple(labels.shape)}, {tuple(weight.shape)}"
        )
    labels, weight = labels.expand(b, n), weight.expand(b, n)
    if not ((labels == 0) | (labels == 1)).all():
        raise InputError(f"expected labels 0 (real) and 1 (fake), got {labels.unique().tolist()[:5]}")
    if not (weight >= 0).all() or not (strength > 0).all():
        raise InputError("expected weights ≥ 0 and C > 0")
    if not ((weight * labels).sum(1) > 0).all() or not ((weight * (1 - labels)).sum(1) > 0).all():
        raise InputError(
            "a problem has rows of one class only; give photographs and generated images to each"
        )
    return labels, strength.reshape(-1, 1), weight, b
