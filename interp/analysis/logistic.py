"""L2-regularised logistic regression by Newton's method, many problems of one shape at once.

The objective is scikit-learn's, C · Σ sᵢ log(1 + exp(-tᵢ fᵢ)) + ½‖w‖² with t = ±1, weights s and a free intercept,
in float64 on any device. Where columns outnumber rows, the same problem is solved for its dual variables α with
w = Xᵀα, which needs the Gram matrix K = X Xᵀ alone (Rasmussen & Williams 2006, algorithm 3.1, here with an intercept
as a second right-hand side). Each factorisation serves three steps (Shamanskii 1967), each step is halved until the
objective falls, and a problem that has converged leaves the batch.
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import softplus

from interp.errors import InputError

STEPS_PER_FACTOR = 3
STARTS = (1.0, 2.0, 4.0, 8.0)  # multiples of the last solution tried as a start at the next, larger C


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

    >>> import numpy as np
    >>> X, y = np.array([[-2.0], [-1.0], [1.0], [2.0]]), np.array([0, 0, 1, 1])
    >>> coef, intercept = fit_logistic(X, y, C=[0.1, 1.0])
    >>> coef.shape, [round(float(value), 3) for value in coef[:, 0]]
    ((2, 1), [0.379, 1.066])
    """
    columns = _float(X)
    y, C, weight, b = _problems(columns, y, C, sample_weight)
    columns = columns.expand(b, *columns.shape[-2:])
    if columns.shape[2] > columns.shape[1]:
        problem = _Dual(columns @ columns.mT, fit_intercept)
        dual, intercept = _newton(problem, y, C * weight, None, tol, max_iter)
        coef = (dual[:, None] @ columns)[:, 0]
    else:
        coef, intercept = _newton(_Primal(columns, fit_intercept), y, C * weight, None, tol, max_iter)
    return _like(X, coef), _like(X, intercept)


def fit_kernel_logistic(
    gram: Any,
    y: Any,
    C: Any = 1.0,
    sample_weight: Any = None,
    start: tuple[Any, Any] | None = None,
    *,
    tol: float = 1e-8,
    max_iter: int = 100,
) -> tuple[Any, Any]:
    """Fit b logistic regressions from their Gram matrices.

    Args:
        gram: (b, n, n) or (n, n) inner products of the rows.
        y, C, sample_weight, tol, max_iter: as in `fit_logistic`.
        start: (dual (b, n), intercept (b,)) to begin from; one that is worse than zero is not used.

    Returns:
        dual (b, n) and intercept (b,): a new row x scores `gram(x, rows) @ dual + intercept`, and the coefficients
        are X.T @ dual.
    """
    kernel = _float(gram)
    y, C, weight, b = _problems(kernel, y, C, sample_weight)
    begin = None if start is None else tuple(_float(part).to(kernel.device) for part in start)
    dual, intercept = _newton(
        _Dual(kernel.expand(b, *kernel.shape[-2:]), True), y, C * weight, begin, tol, max_iter
    )
    return _like(gram, dual), _like(gram, intercept)


def logistic_path(
    gram: Any, y: Any, Cs: Any, sample_weight: Any = None, *, tol: float = 1e-8, max_iter: int = 100
) -> tuple[Any, Any]:
    """Fit b kernel logistic regressions for each of c ascending C, each begun at the one before.

    Returns:
        dual (c, b, n) and intercept (c, b).
    """
    kernel = _float(gram)
    y, _, weight, b = _problems(kernel, y, 1.0, sample_weight)
    problem = _Dual(kernel.expand(b, *kernel.shape[-2:]), True)
    dual, intercept = _path(problem, y, Cs, weight, tol, max_iter)
    return _like(gram, dual), _like(gram, intercept)


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
    if columns.shape[2] > columns.shape[1]:
        dual, intercept = _path(_Dual(columns @ columns.mT, True), y, Cs, weight, tol, max_iter)
        coef = (dual[:, :, None] @ columns)[:, :, 0]
    else:
        coef, intercept = _path(_Primal(columns, True), y, Cs, weight, tol, max_iter)
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


class _Primal:
    """The problem in its coefficients w: scores X w, penalty ½‖w‖²."""

    def __init__(self, X: Tensor, intercept: bool):
        self.X, self.intercept, self.size = X, intercept, X.shape[2]

    def take(self, rows: Tensor) -> _Primal:
        part = _Primal(self.X[rows], self.intercept)
        part.weight, part.factor, part.column = self.weight[rows], self.factor[rows], self.column[rows]
        return part

    def scores(self, w: Tensor) -> Tensor:
        return (self.X @ w[..., None])[..., 0]

    def penalty(self, w: Tensor, scores: Tensor) -> Tensor:
        return w.square().sum(1) / 2

    def factorise(self, weight: Tensor) -> None:
        weighted = self.X * weight[..., None]
        hessian = self.X.mT @ weighted
        hessian.diagonal(dim1=1, dim2=2).add_(1.0)
        self.weight, self.factor, self.column = weight, torch.linalg.cholesky_ex(hessian)[0], weighted.sum(1)

    def direction(self, pull: Tensor, w: Tensor, scores: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The step in w and intercept, and how fast the objective falls along it."""
        residual = (self.X.mT @ pull[..., None])[..., 0] - w
        step, other = torch.cholesky_solve(torch.stack([residual, self.column], 2), self.factor).unbind(2)
        shift = pull.new_zeros(len(pull))
        if self.intercept:
            curvature = self.weight.sum(1) - (self.column * other).sum(1)
            shift = (pull.sum(1) - (self.column * step).sum(1)) / curvature.clamp_min(1e-300)
            step = step - shift[:, None] * other
        return step, shift, (residual * step).sum(1) + shift * pull.sum(1)


class _Dual:
    """The problem in its dual variables α, w = Xᵀα: scores K α, penalty ½ αᵀK α."""

    def __init__(self, gram: Tensor, intercept: bool):
        self.gram, self.intercept, self.size = gram, intercept, gram.shape[2]

    def take(self, rows: Tensor) -> _Dual:
        part = _Dual(self.gram[rows], self.intercept)
        part.root, part.factor = self.root[rows], self.factor[rows]
        return part

    def scores(self, dual: Tensor) -> Tensor:
        return (self.gram @ dual[..., None])[..., 0]

    def penalty(self, dual: Tensor, scores: Tensor) -> Tensor:
        return (dual * scores).sum(1) / 2

    def factorise(self, weight: Tensor) -> None:
        self.root = weight.sqrt()
        system = self.root[:, :, None] * self.gram * self.root[:, None]
        system.diagonal(dim1=1, dim2=2).add_(1.0)
        self.factor = torch.linalg.cholesky_ex(system)[0]

    def direction(self, pull: Tensor, dual: Tensor, scores: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The step in α and intercept, and how fast the objective falls along it."""
        residual = pull - dual
        image = self.scores(residual)
        sides = torch.stack([self.root * image, self.root], 2)
        step, other = (self.root[..., None] * torch.cholesky_solve(sides, self.factor)).unbind(2)
        step = residual - step
        shift = pull.new_zeros(len(pull))
        if self.intercept:
            shift = (step.sum(1) + dual.sum(1)) / other.sum(1).clamp_min(1e-300)
            step = step - shift[:, None] * other
        return step, shift, (image * step).sum(1) + shift * pull.sum(1)


def _newton(
    problem: _Primal | _Dual,
    y: Tensor,
    weight: Tensor,
    start: tuple[Tensor, ...] | None,
    tol: float,
    max_iter: int,
) -> tuple[Tensor, Tensor]:
    """Solve all problems of the batch; weight is C · s, (b, n)."""
    b, sign = len(y), 1 - 2 * y
    solution, offset = weight.new_zeros(b, problem.size), weight.new_zeros(b)
    scores, value = weight.new_zeros(y.shape), weight.sum(1) * float(np.log(2))
    if start is not None:
        begun = problem.scores(start[0])
        begun_value = _objective(problem, sign, weight, start[0], start[1], begun)
        better = begun_value < value
        solution = torch.where(better[:, None], start[0], solution)
        offset = torch.where(better, start[1], offset)
        scores, value = torch.where(better[:, None], begun, scores), torch.where(better, begun_value, value)
    result, intercept = solution.clone(), offset.clone()
    active = torch.arange(b, device=y.device)
    fall = value
    for iteration in range(max_iter):
        chance = torch.sigmoid(scores + offset[:, None])
        if iteration % STEPS_PER_FACTOR == 0:
            problem.factorise(weight * chance * (1 - chance))
        step, shift, fall = problem.direction(weight * (y - chance), solution, scores)
        ahead = problem.scores(step)
        length = torch.ones_like(fall)
        slack = 1e-13 * value.abs()
        for _ in range(60):
            moved = (
                solution + length[:, None] * step,
                offset + length * shift,
                scores + length[:, None] * ahead,
            )
            new_value = _objective(problem, sign, weight, *moved)
            worse = ~(new_value <= value - 1e-4 * length * fall + slack)
            if not worse.any():
                break
            length = torch.where(worse, length / 2, length)
        size = 2 * problem.penalty(moved[0], moved[2])
        done = (fall <= tol**2 * size) & (shift.abs() <= tol * (1 + offset.abs())) | (fall <= 1e-15 * value)
        solution, offset, scores, value = *moved, new_value
        result[active], intercept[active] = solution, offset
        if done.all():
            return result, intercept
        if done.any():
            rest = (~done).nonzero()[:, 0]
            problem, active = problem.take(rest), active[rest]
            y, sign, weight, solution, offset, scores, value, fall = (
                part[rest] for part in (y, sign, weight, solution, offset, scores, value, fall)
            )
    warnings.warn(
        f"{len(active)} of {b} logistic regressions did not converge in {max_iter} Newton steps (largest expected fall "
        f"of the objective {float(fall.max()):.1e}); standardise the columns or lower C",
        RuntimeWarning,
        stacklevel=3,
    )
    return result, intercept


def _objective(
    problem: _Primal | _Dual, sign: Tensor, weight: Tensor, solution: Tensor, offset: Tensor, scores: Tensor
) -> Tensor:
    loss = (weight * softplus(sign * (scores + offset[:, None]))).sum(1)
    return loss + problem.penalty(solution, scores)


def _path(
    problem: _Primal | _Dual, y: Tensor, Cs: Any, weight: Tensor, tol: float, max_iter: int
) -> tuple[Tensor, Tensor]:
    strengths = np.atleast_1d(np.asarray(Cs, dtype=float))
    if not (strengths > 0).all() or (np.diff(strengths) <= 0).any():
        raise InputError(f"expected ascending C > 0, got {strengths.tolist()}; sort them")
    solutions, intercepts, start = [], [], None
    for C in strengths:
        if start is not None:
            scores, sign = problem.scores(start[0]), 1 - 2 * y
            values = [
                _objective(problem, sign, C * weight, m * start[0], m * start[1], m * scores) for m in STARTS
            ]
            best = torch.tensor(STARTS, dtype=weight.dtype, device=y.device)[torch.stack(values).argmin(0)]
            start = best[:, None] * start[0], best * start[1]
        start = _newton(problem, y, C * weight, start, tol, max_iter)
        solutions.append(start[0])
        intercepts.append(start[1])
    return torch.stack(solutions), torch.stack(intercepts)


def _float(values: Any) -> Tensor:
    return torch.as_tensor(values, dtype=torch.float64)


def _like(given: Any, values: Tensor) -> Any:
    return values if isinstance(given, Tensor) else values.cpu().numpy()


def _problems(X: Tensor, y: Any, C: Any, sample_weight: Any) -> tuple[Tensor, Tensor, Tensor, int]:
    """Labels (b, n), C (b, 1), weights (b, n) and b, checked."""
    if X.ndim not in (2, 3) or not torch.isfinite(X).all():
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
