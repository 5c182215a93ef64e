"""Greedy backward elimination of coordinates or heads, many problems at once, by down-dates of a ridge solution.

The surrogate classifier is linear discriminant analysis with a ridge: on columns centred by class-balanced train
weights S, G = Xᵀ S X + λ I and β = G⁻¹ Xᵀ S t with t = ±1. Without coordinate j the scores of other rows X* become
X*β - (X* G⁻¹)ⱼ βⱼ / G⁻¹ⱼⱼ, exactly those of a refit, so one step weighs every candidate in O(rows · p) and then takes
the best one out of G⁻¹, β and X* G⁻¹ by a rank-one down-date. A block of columns, such as a head, goes the same way.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from interp.analysis.down_dating import Blocks, Refits, State
from interp.analysis.logistic import balanced_weights
from interp.errors import InputError, unknown_name

SCORES = ("log_loss", "squared_error", "auc")


@dataclass(frozen=True, eq=False)
class Elimination:
    """The whole way down of b eliminations of `steps` coordinates each; entry 0 of a curve is nothing removed.

    Attributes:
        order: (b, steps) int64, coordinates (or blocks) in the order of their removal.
        score: (b, steps + 1) float64, the select score, higher is better (losses are negated).
        logits: (b, steps + 1, m) float64, log-odds of the select rows.
    """

    order: Tensor
    score: Tensor
    logits: Tensor


def greedy_elimination(
    train_X: Any,
    train_y: Any,
    select_X: Any,
    select_y: Any,
    *,
    ridge: Any,
    score: str = "log_loss",
    select_weight: Any = None,
    n_steps: int | None = None,
    random_state: int = 0,
    width: int = 1,
    exact: bool = False,
) -> Elimination:
    """Remove coordinates one by one, each time the one whose removal serves the select rows best.

    The ridge score s is turned into log-odds by the LDA scaling of the train rows, (m₁ - m₀) / v · s with class means
    m and pooled variance v, both known in closed form for every candidate: with q = βᵀXᵀS t, m₁ - m₀ = 2 q / n and
    v = (q - λ‖β‖²) / n - (q / n)².

    Args:
        train_X: (b, n, p) or (n, p) columns of one scale, as from `Standardiser`; they are centred here.
        train_y: (b, n) or (n,) labels, 1 fake and 0 real.
        select_X, select_y: (b, m, p) and (b, m) or without b; each problem has as many fakes as the next.
        ridge: λ > 0, a number or (b,), in units of scikit-learn's `Ridge(alpha)` with weights that sum to n.
        score: "log_loss" of the log-odds, "squared_error" of the ridge score against ±1, or "auc".
        select_weight: (b, m) or (m,) weights of the select rows; by default both classes weigh the same.
        n_steps: how many coordinates to remove; all by default.
        random_state: seed of the draw among equally good candidates.
        width: columns that are removed together, such as those of a head; steps and `order` then count blocks.
        exact: fit anew for every candidate in place of down-dates, for checking: the same numbers, p times slower.

    Raises:
        InputError: unknown score, shapes that do not fit, ridge ≤ 0, one class only.

    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> y = np.arange(200) % 2
    >>> train, select = rng.normal(size=(2, 200, 5))
    >>> train[:, 1] += 2 * y; select[:, 1] += 2 * y
    >>> train[:, 3] += 2 * y                                   # misleads: says nothing in the select rows
    >>> int(greedy_elimination(train, y, select, y, ridge=2.0).order[0, 0])
    3
    """
    if score not in SCORES:
        raise unknown_name("score", score, SCORES)
    arrays = _arrays(train_X, train_y, select_X, select_y, select_weight)
    ridge = torch.as_tensor(ridge, dtype=torch.float64, device=arrays[0].device).reshape(-1)
    if not (ridge > 0).all() or len(ridge) not in (1, len(arrays[0])):
        raise InputError(
            f"expected ridge > 0, one or {len(arrays[0])}, got {ridge.tolist()}; "
            "0.1 times the number of train rows is a start"
        )
    if width < 1 or arrays[0].shape[2] % width:
        raise InputError(
            f"width={width} must divide the {arrays[0].shape[2]} columns; give the width of a head"
        )
    if exact:
        state: State = Refits(*arrays, ridge=ridge, width=width)
    else:
        state = State(*arrays, ridge=ridge) if width == 1 else Blocks(*arrays, ridge=ridge, width=width)
    steps = state.units if n_steps is None else min(n_steps, state.units)
    b, m = state.sign.shape
    order = torch.empty(b, steps, dtype=torch.int64, device=state.sign.device)
    scores, logits = state.sign.new_empty(b, steps + 1), state.sign.new_empty(b, steps + 1, m)
    draw = torch.Generator().manual_seed(random_state)
    scores[:, 0], logits[:, 0] = (
        state.judge(score, state.signed[:, None], state.scale[:, None])[:, 0],
        state.logits(),
    )
    for step in range(steps):
        candidates = state.candidates(score)
        best = candidates.amax(1)
        key = torch.rand(candidates.shape, generator=draw).to(best.device)
        chosen = torch.where(candidates == best[:, None], key, -1.0).argmax(1)
        order[:, step], scores[:, step + 1] = state.remove(chosen), best
        logits[:, step + 1] = state.logits()
    return Elimination(order, scores, logits)


def _arrays(
    train_X: Any, train_y: Any, select_X: Any, select_y: Any, select_weight: Any
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Train columns, targets, weights and select columns, labels, weights, each with its b."""
    train, select = (torch.as_tensor(part, dtype=torch.float64) for part in (train_X, select_X))
    fit_y, y = (
        torch.as_tensor(part, dtype=torch.float64, device=train.device) for part in (train_y, select_y)
    )
    b = max(
        len(part) if part.ndim == ndim else 1 for part, ndim in ((train, 3), (select, 3), (fit_y, 2), (y, 2))
    )
    if (
        train.shape[-1] != select.shape[-1]
        or train.shape[-2] != fit_y.shape[-1]
        or select.shape[-2] != y.shape[-1]
    ):
        raise InputError(
            f"train is {tuple(train.shape)} with labels {tuple(fit_y.shape)}, select {tuple(select.shape)} with "
            f"{tuple(y.shape)}; give the same columns to both and one label a row"
        )
    train, select = train.expand(b, *train.shape[-2:]), select.expand(b, *select.shape[-2:])
    fit_y, y = fit_y.expand(b, -1), y.expand(b, -1)
    if (y.sum(1) != y[0].sum()).any():
        raise InputError("the problems of one batch need equally many select fakes; run them one by one")
    weight = _balanced(fit_y)
    share = _balanced(y) if select_weight is None else torch.as_tensor(select_weight, dtype=torch.float64)
    share = share.to(train.device).expand(b, -1)
    return train, 2 * fit_y - 1, weight, select, y, share / share.sum(1, keepdim=True)


def _balanced(y: Tensor) -> Tensor:
    rows = [torch.from_numpy(balanced_weights(labels)) for labels in y.cpu().numpy()]
    return torch.stack(rows).to(y.device)
