"""What one step of a greedy elimination computes: every candidate's select score, and the removal of the chosen one.

Three ways that agree: rank-one down-dates for coordinates, the same in blocks for heads, and refits as a check. All
arrays are float64 tensors with the problems on the first axis.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import softplus

from interp.analysis.weighted_auc import weighted_auc

TINY = 1e-12


class State:
    """The solution without the coordinates removed so far; the `left` coordinates present stand first.

    Select scores are kept as -t·s ("signed"), the argument of the loss.

    Args:
        train: (b, n, p), target ±1 and weight: (b, n), which sum to n.
        select: (b, m, p), y: (b, m) labels, share: (b, m) weights that sum to 1.
        ridge: (b,) or (1,), λ.
    """

    def __init__(
        self,
        train: Tensor,
        target: Tensor,
        weight: Tensor,
        select: Tensor,
        y: Tensor,
        share: Tensor,
        ridge: Tensor,
    ):
        b, self.n, self.left = train.shape
        self.sign, self.share, self.ridge = 2.0 * y - 1, share, ridge
        mean = (weight[:, None] @ train) / self.n
        train, select = train - mean, select - mean
        gram = train.mT @ (weight[..., None] * train)
        gram.diagonal(dim1=1, dim2=2).add_(ridge[:, None])
        self.inverse = torch.cholesky_inverse(torch.linalg.cholesky(gram))
        self.beta = (self.inverse @ (train.mT @ (weight * target)[..., None]))[..., 0]
        self.fit = (self.beta * (train.mT @ (weight * target)[..., None])[..., 0]).sum(1)
        self.influence = -self.sign[:, None] * (self.inverse @ select.mT)
        self.signed = -self.sign * (select @ self.beta[..., None])[..., 0]
        self.names = torch.arange(self.left, device=train.device).repeat(b, 1)
        self.each = torch.arange(b, device=train.device)
        self.scale = self._scale(self.fit, self.beta.square().sum(1))

    @property
    def units(self) -> int:
        """How many may still be removed."""
        return self.left

    def _scale(self, fit: Tensor, norm: Tensor) -> Tensor:
        part = fit / self.n
        ridge = self.ridge.reshape(-1, *[1] * (norm.ndim - 1))
        variance = part - ridge / self.n * norm - part.square()
        return 2 * part / variance.clamp_min(TINY)

    def logits(self) -> Tensor:
        return -self.sign * self.signed * self.scale[:, None]

    def candidates(self, score: str) -> Tensor:
        """(b, left) select scores after the removal of each coordinate still present."""
        q = self.left
        inverse, beta, influence = self.inverse[:, :q, :q], self.beta[:, :q], self.influence[:, :q]
        diagonal = inverse.diagonal(dim1=1, dim2=2)
        ratio = beta / diagonal
        signed = torch.addcmul(self.signed[:, None], influence, ratio[..., None], value=-1)
        if score == "squared_error":
            return self.judge(score, signed, ratio)
        fit = self.fit[:, None] - beta * ratio
        overlap = (inverse @ beta[..., None])[..., 0]
        norm = beta.square().sum(1, keepdim=True) + ratio * (ratio * inverse.square().sum(1) - 2 * overlap)
        return self.judge(score, signed, self._scale(fit, norm))

    def judge(self, score: str, signed: Tensor, scale: Tensor) -> Tensor:
        """(b, c) scores of c candidates from -t·s (b, c, m) and the scale (b, c) that makes it log-odds."""
        if score == "log_loss":
            return -(softplus(signed * scale[..., None]) @ self.share[..., None])[..., 0]
        if score == "squared_error":
            return -((1 + signed).square() @ self.share[..., None])[..., 0]
        return weighted_auc(-self.sign[:, None] * signed, self.sign > 0, self.share)

    def remove(self, chosen: Tensor) -> Tensor:
        """Take one coordinate out of each problem; returns their names."""
        each, q, last = self.each, self.left, self.left - 1
        column = self.inverse[each, chosen, :q]
        pivot = column[each, chosen, None]
        ratio = self.beta[each, chosen, None] / pivot
        row = self.influence[each, chosen]
        self.fit = self.fit - (self.beta[each, chosen] * ratio[:, 0])
        self.signed = self.signed - row * ratio
        self.beta[:, :q] -= column * ratio
        scaled = (column / pivot)[..., None]
        self.inverse[:, :q, :q] -= scaled * column[:, None]
        self.influence[:, :q] -= scaled * row[:, None]
        names = self.names[each, chosen]
        self.names[each, chosen] = self.names[:, last].clone()
        self.beta[each, chosen] = self.beta[:, last].clone()
        self.influence[each, chosen] = self.influence[:, last].clone()
        self.inverse[each, chosen, :q] = self.inverse[:, last, :q].clone()
        self.inverse[each, :q, chosen] = self.inverse[:, :q, last].clone()
        self.left = last
        self.scale = self._scale(self.fit, self.beta[:, :last].square().sum(1))
        return names


class Blocks(State):
    """The same for blocks of `width` columns each, such as heads, that come and go together."""

    def __init__(self, *arrays: Tensor, ridge: Tensor, width: int):
        super().__init__(*arrays, ridge=ridge)
        self.width = width
        self.names = torch.arange(self.units, device=self.beta.device).repeat(len(self.beta), 1)

    @property
    def units(self) -> int:
        return self.left // self.width

    def candidates(self, score: str) -> Tensor:
        """(b, units) select scores after the removal of each block still present."""
        b, q, k, d = len(self.beta), self.left, self.units, self.width
        inverse, beta = self.inverse[:, :q, :q], self.beta[:, :q].reshape(b, k, d)
        pivots = inverse.reshape(b, k, d, k, d).diagonal(dim1=1, dim2=3).permute(0, 3, 1, 2)
        ratio = torch.linalg.solve(pivots, beta[..., None])
        influence = self.influence[:, :q].reshape(b, k, d, -1)
        signed = self.signed[:, None] - (ratio.mT @ influence)[:, :, 0]
        moved = (inverse.reshape(b, q, k, d).transpose(1, 2) @ ratio)[..., 0]
        norm = (self.beta[:, None, :q] - moved).square().sum(2)
        fit = self.fit[:, None] - (beta * ratio[..., 0]).sum(2)
        return self.judge(score, signed, self._scale(fit, norm))

    def remove(self, chosen: Tensor) -> Tensor:
        """Take one block out of each problem; returns their names."""
        each, q, last = self.each, self.left, self.left - self.width
        rows, block = each[:, None], chosen[:, None] * self.width + torch.arange(self.width).to(chosen)
        columns, influence = self.inverse[rows, block, :q], self.influence[rows, block]
        beta = self.beta[rows, block]
        pivot = columns.gather(2, block[:, None].expand(-1, self.width, -1))
        scaled = torch.linalg.solve(pivot, columns)
        ratio = torch.linalg.solve(pivot, beta[..., None])
        self.fit = self.fit - (beta * ratio[..., 0]).sum(1)
        self.signed = self.signed - (ratio.mT @ influence)[:, 0]
        self.beta[:, :q] -= (ratio.mT @ columns)[:, 0]
        self.inverse[:, :q, :q] -= columns.mT @ scaled
        self.influence[:, :q] -= scaled.mT @ influence
        names = self.names[each, chosen]
        self.names[each, chosen] = self.names[:, self.units - 1].clone()
        ends = torch.arange(last, q).to(chosen)
        self.beta[rows, block] = self.beta[:, ends]
        self.influence[rows, block] = self.influence[:, ends]
        self.inverse[rows, block, :q] = self.inverse[:, ends, :q]
        self.inverse[rows, :q, block] = self.inverse[:, :q, ends].mT
        self.left = last
        self.scale = self._scale(self.fit, self.beta[:, :last].square().sum(1))
        return names


class Refits(State):
    """The same by a solution found anew for every candidate, whose log-odds come from the train rows' own scores."""

    def __init__(self, *arrays: Tensor, ridge: Tensor, width: int):
        super().__init__(*arrays, ridge=ridge)
        train, target, weight, select = arrays[:4]
        mean = (weight[:, None] @ train) / self.n
        self.train, self.select, self.target, self.weight = train - mean, select - mean, target, weight
        self.width = width
        self.names = torch.arange(self.units, device=train.device).repeat(len(train), 1)
        self.signed, self.scale = self._refit(self.names)

    @property
    def units(self) -> int:
        return self.left // self.width

    def candidates(self, score: str) -> Tensor:
        """(b, units) select scores after the removal of each unit still present."""
        kept = [torch.cat([self.names[:, :c], self.names[:, c + 1 :]], 1) for c in range(self.units)]
        signed, scale = (torch.stack(part, 1) for part in zip(*map(self._refit, kept), strict=True))
        return self.judge(score, signed, scale)

    def remove(self, chosen: Tensor) -> Tensor:
        """Take one unit out of each problem; returns their names."""
        names = self.names[self.each, chosen]
        self.names = self.names[self.names != names[:, None]].reshape(len(names), -1)
        self.left -= self.width
        self.signed, self.scale = self._refit(self.names)
        return names

    def _refit(self, names: Tensor) -> tuple[Tensor, Tensor]:
        """-t·s of the select rows (b, m), and what makes them log-odds (b,), from the units named (b, units)."""
        columns = (names[..., None] * self.width + torch.arange(self.width).to(names)).flatten(1)[:, None]
        train = self.train.gather(2, columns.expand(-1, self.train.shape[1], -1))
        select = self.select.gather(2, columns.expand(-1, self.select.shape[1], -1))
        gram = train.mT @ (self.weight[..., None] * train)
        gram.diagonal(dim1=1, dim2=2).add_(self.ridge[:, None])
        beta = torch.linalg.solve(gram, train.mT @ (self.weight * self.target)[..., None])
        own = (train @ beta)[..., 0]
        shares = [self.weight * (self.target == sign) * 2 / self.n for sign in (-1, 1)]
        means = [(share * own).sum(1) for share in shares]
        spreads = [
            (share * (own - mean[:, None]).square()).sum(1) for share, mean in zip(shares, means, strict=True)
        ]
        scale = (means[1] - means[0]) / ((spreads[0] + spreads[1]) / 2).clamp_min(TINY)
        return -self.sign * (select @ beta)[..., 0], scale
