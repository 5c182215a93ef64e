"""A gated mixture of layers: every block's class token gives a score, and the image itself says which ones count.

Park, Kim, Choe and Shim, "Rethinking the Use of Vision Transformers for AI-Generated Image Detection" (MoLD), arXiv
2512.04969.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from interp.detectors.parted import PartedDetector, Rows
from interp.errors import InputError

if TYPE_CHECKING:
    from interp.features.store import FeatureStore


class MixtureOfLayers(PartedDetector):
    """log-odds = Σ_l g_l(x) s_l(x): one linear score and one linear gate for each block, gates a softmax over blocks.

    Verified, from the abstract: class tokens of all blocks are fused by a gating mechanism that adapts to the image.
    Not known, and chosen here: the form of experts and gates (one linear map each, on columns standardised by train
    rows), their training (Adam on the cross-entropy of all rows at once, both classes of the same weight), and the
    weight decay, of several the one with the highest select AUC (ties: the strongest). Gates begin equal.

    Args:
        layers: blocks of the encoder, l; X holds their tokens side by side, (n, l·D).
        decays: weight decays to choose from, or one; without select rows the strongest.
        rate, steps: of the training.
        select_generators, random_state: see `PartedDetector`.

    Attributes:
        scores_, gates_: (l, D + 1), weights of the standardised tokens, the intercept last.
        decay_: the weight decay chosen.
        classes_, threshold_: see `PartedDetector`.

    >>> rng = np.random.default_rng(0)
    >>> y = np.arange(200) % 2
    >>> X = rng.normal(size=(200, 3 * 4))
    >>> X[:, 4] += 3 * y                                        # the second of three blocks sees fakes
    >>> mixture = MixtureOfLayers(layers=3).fit(X, y)
    >>> mixture.shares(X).mean(0).argmax(), bool(mixture.score(X, y) > 0.9)
    (np.int64(1), True)
    """

    features = "layers"

    def __init__(
        self,
        layers: int = 12,
        decays: Sequence[float] | float = (0.01, 0.1, 1.0),
        rate: float = 0.01,
        steps: int = 200,
        select_generators: Sequence[str] | str | None = None,
        random_state: int = 0,
    ):
        self.layers, self.decays, self.rate, self.steps = layers, decays, rate, steps
        self.select_generators, self.random_state = select_generators, random_state

    @classmethod
    def for_store(cls, store: FeatureStore, **options: Any) -> MixtureOfLayers:
        """For the encoder that made a store."""
        return cls(layers=store.layout.layers, **options)

    def shares(self, X: np.ndarray) -> np.ndarray:
        """(n, l): how much each block's score counts for each image; rows sum to 1."""
        return torch.softmax(self._each(X, self.gates_), dim=1).numpy()

    def _fit(self, train: Rows, select: Rows | None) -> None:
        decays = np.sort(np.atleast_1d(np.asarray(self.decays, dtype=float)))[::-1]
        if not len(decays) or decays[-1] < 0 or not self.rate > 0 or self.steps < 1:
            raise InputError(
                f"decays must be 0 or more, rate positive and steps at least 1; given {self.decays}, {self.rate}, "
                f"{self.steps}"
            )
        if self.layers < 1 or train.X.shape[1] % self.layers:
            raise InputError(
                f"X holds the tokens of {self.layers} blocks side by side; {train.X.shape[1]} columns cannot be "
                "divided so. Give layers=store.layout.layers"
            )
        self.center_, scale = train.X.mean(0), train.X.std(0)
        self.scale_ = np.where(scale > 0, scale, np.inf)
        tried = decays if select is not None else decays[:1]
        found = [self._train(train, float(decay)) for decay in tried]
        best = 0
        if select is not None:
            scores = []
            for self.scores_, self.gates_ in found:
                scores.append(self._score(select.X))
            best = int(np.argmax(select.auc(np.stack(scores, axis=1))))
        self.decay_, (self.scores_, self.gates_) = float(tried[best]), found[best]

    def _train(self, train: Rows, decay: float) -> tuple[np.ndarray, np.ndarray]:
        tokens, y = self._tokens(train.X), torch.from_numpy(train.y).float()
        weight = (len(y) / (2 * torch.bincount(y.long(), minlength=2)))[y.long()]
        random = torch.Generator().manual_seed(self.random_state)
        scores = 0.01 * torch.randn(self.layers, tokens.shape[2], generator=random)
        scores[:, -1] = 0
        parameters = [scores.requires_grad_(), torch.zeros_like(scores).requires_grad_()]
        optimizer = torch.optim.AdamW(parameters, lr=self.rate, weight_decay=decay)
        for _ in range(self.steps):
            optimizer.zero_grad()
            shares = torch.softmax(torch.einsum("nld,ld->nl", tokens, parameters[1]), dim=1)
            logits = (shares * torch.einsum("nld,ld->nl", tokens, parameters[0])).sum(1)
            functional.binary_cross_entropy_with_logits(logits, y, weight).backward()
            optimizer.step()
        return parameters[0].detach().numpy(), parameters[1].detach().numpy()

    def _score(self, X: np.ndarray) -> np.ndarray:
        each = self._each(X, self.scores_)
        return (torch.softmax(self._each(X, self.gates_), dim=1) * each).sum(1).double().numpy()

    def _trainable(self) -> int:
        return self.scores_.size + self.gates_.size

    def _each(self, X: np.ndarray, weights: np.ndarray) -> Tensor:
        return torch.einsum("nld,ld->nl", self._tokens(X), torch.from_numpy(weights))

    def _tokens(self, X: np.ndarray) -> Tensor:
        """(n, l, D + 1) float32, standardised, with a column of ones."""
        columns = torch.from_numpy((np.asarray(X) - self.center_) / self.scale_).float()
        return functional.pad(columns.unflatten(1, (self.layers, -1)), (0, 1), value=1.0)
