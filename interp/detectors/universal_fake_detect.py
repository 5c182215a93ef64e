"""Universal fake detection: a linear probe, or the nearest neighbours, on a frozen encoder's joint embedding.

Ojha, Li and Lee, "Towards Universal Fake Image Detectors that Generalize Across Generative Models", CVPR 2023, arXiv
2302.10174. The embedding is read as it is, neither centred nor brought to unit length.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from sklearn.neighbors import NearestNeighbors
from torch.nn import functional

from interp.detectors.parted import READINGS, PartedDetector, Rows, refuse_unknown
from interp.errors import InputError

FIRST_GAIN, LATER_GAIN = 0.001, 0.002
"""How much select accuracy must rise to count, before and after the first drop of the learning rate."""
LAST_RATE = 1e-6


class UniversalFakeDetect(PartedDetector):
    """The linear probe, trained as published: AdamW on the cross-entropy of one logit, stopped by select accuracy.

    Constants of the public code: weights drawn from N(0, 0.02²), learning rate 1e-4 without weight decay, batches of
    256, at most 100 epochs; after 5 epochs without a gain in select accuracy the rate is divided by 10, and training
    ends below 1e-6. A published epoch has 2,813 batches. With few images an epoch would be one or two, and the rate
    that belongs to thousands would move nothing, so `steps` batches are drawn at least; that number is our choice
    (`experiments/universal_fake_detect.py` shows what it changes). Without select rows all epochs run at one rate.

    Args:
        as_published: "paper" keeps the weights of the best epoch; "code" those of the last one, as the published code
            does by writing over its best model after every epoch.
        rate, batch_size, epochs, patience: of the training.
        steps: batches in an epoch at least.
        select_generators, random_state: see `PartedDetector`; the seed of weights and batches.

    Attributes:
        coef_, intercept_: (P,) and float.
        epochs_: how many were run; select_accuracy_: the best one, NaN without select rows.
        classes_, threshold_: see `PartedDetector`.

    >>> rng = np.random.default_rng(0)
    >>> y = np.arange(200) % 2
    >>> X = rng.normal(size=(200, 4)) + 2 * y[:, None]
    >>> probe = UniversalFakeDetect(rate=0.01, epochs=5).fit(X, y)
    >>> probe.coef_.shape, bool(probe.score(X, y) > 0.9)
    ((4,), True)
    """

    def __init__(
        self,
        as_published: str = "paper",
        rate: float = 1e-4,
        batch_size: int = 256,
        epochs: int = 100,
        patience: int = 5,
        steps: int = 100,
        select_generators: Sequence[str] | str | None = None,
        random_state: int = 0,
    ):
        self.as_published, self.rate, self.batch_size = as_published, rate, batch_size
        self.epochs, self.patience, self.steps = epochs, patience, steps
        self.select_generators, self.random_state = select_generators, random_state

    def _fit(self, train: Rows, select: Rows | None) -> None:
        refuse_unknown("as_published", self.as_published, READINGS)
        if not self.rate > 0 or min(self.batch_size, self.epochs, self.patience, self.steps) < 1:
            raise InputError(
                "rate must be positive, and batch_size, epochs, patience and steps at least 1; given "
                f"{self.rate}, {self.batch_size}, {self.epochs}, {self.patience}, {self.steps}"
            )
        random = torch.Generator().manual_seed(self.random_state)
        X, y = torch.from_numpy(train.X), torch.from_numpy(train.y).double()
        weights = 0.02 * torch.randn(X.shape[1], generator=random, dtype=torch.float64)
        parameters = [weights.requires_grad_(), torch.zeros(1, dtype=torch.float64, requires_grad=True)]
        optimizer: Any = torch.optim.AdamW(parameters, lr=self.rate, weight_decay=0.0)
        stopping = _Plateau(self.rate, self.patience)
        kept = last = (train.X[0] * 0, 0.0)
        for epoch in range(self.epochs):
            for batch in _batches(len(X), self.batch_size, self.steps, random):
                optimizer.zero_grad()
                logits = X[batch] @ parameters[0] + parameters[1]
                functional.binary_cross_entropy_with_logits(logits, y[batch]).backward()
                optimizer.step()
            last = (parameters[0].detach().numpy().copy(), float(parameters[1].detach()))
            self.epochs_ = epoch + 1
            if select is None:
                kept = last
                continue
            accuracy = float(((select.X @ last[0] + last[1] > 0) == select.y).mean())
            if accuracy > stopping.best:
                kept = last
            optimizer.param_groups[0]["lr"] = rate = stopping(accuracy)
            if rate < LAST_RATE:
                break
        self.coef_, self.intercept_ = last if self.as_published == "code" else kept
        self.select_accuracy_ = float("nan") if select is None else stopping.best

    def _score(self, X: np.ndarray) -> np.ndarray:
        return X @ self.coef_ + self.intercept_


class NearestNeighbour(PartedDetector):
    """Is the nearest image of the bank a fake? By cosine distance, without any training.

    For k = 1 the score is the distance to the nearest photograph minus that to the nearest fake, so its sign is the
    paper's rule. The paper lets the k nearest of both banks vote, which gives k + 1 different scores; here, unless
    `vote`, the mean distances to the k nearest of either bank are compared, which ranks images. The rule is told
    from memory of the paper, the public code holds none.

    Args:
        k: neighbours; the paper tries 1, 3, 5 and 9.
        vote: score by the share of fakes among the k nearest, minus one half.
        select_generators, random_state: see `PartedDetector`.

    Attributes:
        banks_: photographs and fakes, two fitted `sklearn.neighbors.NearestNeighbors`.
        classes_, threshold_: see `PartedDetector`.

    >>> X, y = np.array([[1.0, 0.0], [0.9, 0.1], [0.0, 1.0], [0.1, 0.9]]), [0, 0, 1, 1]
    >>> NearestNeighbour().fit(X, y).decision_function([[2.0, 0.0], [0.0, 3.0]]).round(3)
    array([-0.89,  0.89])
    """

    def __init__(
        self,
        k: int = 1,
        vote: bool = False,
        select_generators: Sequence[str] | str | None = None,
        random_state: int = 0,
    ):
        self.k, self.vote = k, vote
        self.select_generators, self.random_state = select_generators, random_state

    def _fit(self, train: Rows, select: Rows | None) -> None:
        fewest = int(np.bincount(train.y, minlength=2).min())
        if not 1 <= self.k <= fewest:
            raise InputError(f"k must be 1 to {fewest}, the images of the smaller bank; given {self.k}")
        self.banks_ = [
            NearestNeighbors(metric="cosine", algorithm="brute").fit(train.X[train.y == c]) for c in (0, 1)
        ]

    def _score(self, X: np.ndarray) -> np.ndarray:
        real, fake = (bank.kneighbors(X, self.k)[0] for bank in self.banks_)
        if not self.vote:
            return real.mean(1) - fake.mean(1)
        nearest = np.argsort(np.concatenate([real, fake], axis=1), axis=1, kind="stable")[:, : self.k]
        return (nearest >= self.k).mean(1) - 0.5

    def _trainable(self) -> int:
        return 0


class _Plateau:
    """The learning rate under the published early stopping: a tenth after `patience` epochs without a gain."""

    def __init__(self, rate: float, patience: int):
        self.rate, self.patience, self.gain = rate, patience, FIRST_GAIN
        self.best, self._mark, self._waited = -1.0, -1.0, 0

    def __call__(self, accuracy: float) -> float:
        """The rate of the next epoch."""
        self.best = max(self.best, accuracy)
        self._waited += 1
        if accuracy >= self._mark + self.gain:
            self._mark, self._waited = accuracy, 0
        if self._waited >= self.patience:
            self.rate, self.gain, self._waited = self.rate / 10, LATER_GAIN, 0
        return self.rate


def _batches(n: int, size: int, least: int, random: torch.Generator) -> list[torch.Tensor]:
    """One epoch: shuffled batches of all rows, again and again until there are `least`."""
    found: list[torch.Tensor] = []
    while len(found) < least:
        found += torch.randperm(n, generator=random).split(size)
        if size * least > n and n <= size:  # every batch holds all rows
            return [torch.arange(n)] * least
    return found
