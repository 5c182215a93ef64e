"""Newton's method for a batch of L2-regularised logistic regressions, in coefficients or in dual variables.

Each factorisation serves three steps (Shamanskii 1967), each step is halved until the objective falls, and a
problem that has converged leaves the batch. All arrays are float64 tensors with the problems on the first axis.
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


class Primal:
    """The problem in its coefficients w: scores X w, penalty ½‖w‖²."""

    def __init__(self, X: Tensor, intercept: bool):
        self.X, self.intercept, self.size = X, intercept, X.shape[2]

    def take(self, rows: Tensor) -> Primal:
        part = Primal(self.X[rows], self.intercept)
        part.weight, part.factor, part.column = self.weight[rows], self.factor[rows], self.column[rows]
        return part

    def scores(self, w: Tensor) -> Tensor:
        return (w[:, None] @ self.X.mT)[:, 0]  # several times quicker than X @ w[..., None]

    def penalty(self, w: Tensor, scores: Tensor) -> Tensor:
        return w.square().sum(1) / 2

    def factorise(self, weight: Tensor) -> None:
        weighted = self.X * weight[..., None]
        hessian = self.X.mT @ weighted
        hessian.diagonal(dim1=1, dim2=2).add_(1.0)
        self.weight, self.factor, self.column = weight, torch.linalg.cholesky_ex(hessian)[0], weighted.sum(1)

    def direction(self, pull: Tensor, w: Tensor, scores: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The step in w and intercept, and how fast the objective falls along it."""
        residual = (pull[:, None] @ self.X)[:, 0] - w
        step, other = torch.cholesky_solve(torch.stack([residual, self.column], 2), self.factor).unbind(2)
        shift = pull.new_zeros(len(pull))
        if self.intercept:
            curvature = self.weight.sum(1) - (self.column * other).sum(1)
            shift = (pull.sum(1) - (self.column * step).sum(1)) / curvature.clamp_min(1e-300)
            step = step - shift[:, None] * other
        return step, shift, (residual * step).sum(1) + shift * pull.sum(1)


class Dual:
    """The problem in its dual variables α, w = Xᵀα: scores K α, penalty ½ αᵀK α."""

    def __init__(self, gram: Tensor, intercept: bool):
        self.gram, self.intercept, self.size = gram, intercept, gram.shape[2]

    def take(self, rows: Tensor) -> Dual:
        part = Dual(self.gram[rows], self.intercept)
        part.root, part.factor = self.root[rows], self.factor[rows]
        return part

    def scores(self, dual: Tensor) -> Tensor:
        return (dual[:, None] @ self.gram)[:, 0]

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


def newton(
    problem: Primal | Dual,
    y: Tensor,
    weight: Tensor,
    start: tuple[Tensor, ...] | None,
    tol: float,
    max_iter: int,
) -> tuple[Tensor, Tensor]:
    """Solve all problems of the batch, (b, size) and (b,); weight is C · s, (b, n)."""
    b, sign = len(y), 1 - 2 * y
    solution, offset = weight.new_zeros(b, problem.size), weight.new_zeros(b)
    scores, value = weight.new_zeros(y.shape), weight.sum(1) * float(np.log(2))
    if start is not None:
        begun = problem.scores(start[0])
        begun_value = objective(problem, sign, weight, start[0], start[1], begun)
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
            new_value = objective(problem, sign, weight, *moved)
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
        stacklevel=4,
    )
    return result, intercept


def objective(
    problem: Primal | Dual, sign: Tensor, weight: Tensor, solution: Tensor, offset: Tensor, scores: Tensor
) -> Tensor:
    """(b,) Σ weight · log-loss + penalty."""
    loss = (weight * softplus(sign * (scores + offset[:, None]))).sum(1)
    return loss + problem.penalty(solution, scores)


def path(
    problem: Primal | Dual, y: Tensor, Cs: Any, weight: Tensor, tol: float, max_iter: int
) -> tuple[Tensor, Tensor]:
    """Solve for each of c ascending C, from the best multiple of the solution before; (c, b, size) and (c, b)."""
    strengths = np.atleast_1d(np.asarray(Cs, dtype=float))
    if not (strengths > 0).all() or (np.diff(strengths) <= 0).any():
        raise InputError(f"expected ascending C > 0, got {strengths.tolist()}; sort them")
    solutions, intercepts, start = [], [], None
    for C in strengths:
        if start is not None:
            scores, sign = problem.scores(start[0]), 1 - 2 * y
            values = [
                objective(problem, sign, C * weight, m * start[0], m * start[1], m * scores) for m in STARTS
            ]
            best = torch.tensor(STARTS, dtype=weight.dtype, device=y.device)[torch.stack(values).argmin(0)]
            start = best[:, None] * start[0], best * start[1]
        start = newton(problem, y, C * weight, start, tol, max_iter)
        solutions.append(start[0])
        intercepts.append(start[1])
    return torch.stack(solutions), torch.stack(intercepts)
