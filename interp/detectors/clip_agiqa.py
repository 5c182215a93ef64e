"""CLIP-AGIQA: the quality of generated images from their CLIP embedding and prompts of quality words.

Tang et al., "CLIP-AGIQA: Boosting the Performance of AI-Generated Image Quality Assessment with CLIP", ICPR 2024, arXiv
2408.15098.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike
from scipy.stats import spearmanr
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.utils.validation import check_is_fitted, validate_data
from torch import Tensor, nn
from torch.nn import functional

from interp.detectors.parted import refuse_unknown
from interp.detectors.prompts import LearnablePrompts
from interp.detectors.quality_head import QualityHead
from interp.errors import InputError

WORDS = ("terrible", "bad", "poor", "average", "good", "perfect")
WARM_UP = 1e-5
FORMS = ("code", "cosine")


class ClipAgiqa(RegressorMixin, BaseEstimator):
    """Regress mean opinion scores on an image embedding beside six learnable prompts, in two forms.

    - "code", what the public code computes: [x / ‖x‖; t_1; …; t_6] → dropout → linear → ReLU → dropout → linear. The
      prompts t_k do not depend on the image, so once trained they are one constant in the first layer's bias: the
      model is an MLP on the image embedding, which is what `head_` holds. They act on training through dropout alone.
    - "cosine", what its readers expect: Σ_k softmax_k(scale · x / ‖x‖ · t_k) · level_k, the levels learnt too, begun
      evenly between the smallest and the largest score.

    Constants of the public code: six words, 16 context vectors shared by them, squared error on the raw score, SGD with
    rate 0.002 under a cosine over 100 epochs after one epoch at 1e-5, batches of 32, dropout 0.5, 512 hidden units. Its
    random crops are left out, for the encoder is frozen and its embeddings are stored. The code looks for the best
    epoch on a validation set that it does not have; here select rows are that set, and without them the last epoch
    counts. CLIP's own scale 100 is taken for "cosine", of which no code is known.

    Args:
        text: the text tower of the encoder that made the embeddings, see `LearnablePrompts`.
        form: "code" or "cosine".
        words, context: of the prompts.
        hidden: units of the code form.
        rate, epochs, batch_size, dropout: of the training.
        scale: inverse temperature of the cosine form.
        random_state: seed of prompts, weights, batches and dropout.

    Attributes:
        head_: a `QualityHead`, which scores without the text tower and is what to save.
        context_: (m, width) float32, the learnt vectors.
        first_weight_, first_bias_: (hidden, 7 P) and (hidden,), the first layer as trained ("code").
        prompts_: (6, P), the prompts' unit embeddings.
        epoch_: the epoch kept, from 0.
    """

    def __init__(
        self,
        text: Any = None,
        form: str = "code",
        words: Sequence[str] = WORDS,
        context: int = 16,
        hidden: int = 512,
        rate: float = 0.002,
        epochs: int = 100,
        batch_size: int = 32,
        dropout: float = 0.5,
        scale: float = 100.0,
        random_state: int = 0,
    ):
        self.text, self.form, self.words, self.context, self.hidden = text, form, words, context, hidden
        self.rate, self.epochs, self.batch_size, self.dropout = rate, epochs, batch_size, dropout
        self.scale, self.random_state = scale, random_state

    def fit(self, X: ArrayLike, y: ArrayLike, *, part: ArrayLike | None = None) -> ClipAgiqa:
        """Train on the rows whose part is "train"; keep the epoch with the highest SRCC on those of "select".

        Args:
            X: (n, P), joint embeddings, of any length.
            y: (n,), mean opinion scores.
            part: (n,), "train" or "select"; without it all rows train.

        Raises:
            InputError: no text tower, one of another width, an unknown form, or a part without rows.
        """
        refuse_unknown("form", self.form, FORMS)
        if (
            not self.rate > 0
            or min(self.epochs, self.batch_size, self.hidden) < 1
            or not 0 <= self.dropout < 1
        ):
            raise InputError(
                "rate must be positive, epochs, batch_size and hidden at least 1, dropout from 0 to 1"
            )
        values, scores = validate_data(self, X, y, dtype=np.float64, y_numeric=True)
        parts = np.full(len(values), "train") if part is None else np.asarray(part)
        train, select = np.flatnonzero(parts == "train"), np.flatnonzero(parts == "select")
        if not len(train) or (part is not None and len(select) < 3):
            raise InputError(
                f"{len(train)} train rows and {len(select)} select rows; part= needs some of both"
            )
        images = functional.normalize(torch.from_numpy(values).float(), dim=1)
        target = torch.from_numpy(np.asarray(scores)).float()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.random_state)
            prompts = LearnablePrompts(self.text, self.words, self.context, self.random_state)
            with torch.no_grad():
                joint = prompts().shape[1]
            if joint != values.shape[1]:
                raise InputError(
                    f"X has {values.shape[1]} columns, the text tower writes {joint}; give the joint embedding of its "
                    'own encoder (store.features("embedding"))'
                )
            head = self._head(joint, target[train])
            self._train(prompts, head, images, target, train, select)
        return self

    def predict(self, X: ArrayLike) -> np.ndarray:
        """(n,) predicted mean opinion scores."""
        check_is_fitted(self)
        return self.head_.predict(validate_data(self, X, dtype=np.float64, reset=False))

    def _head(self, joint: int, target: Tensor) -> nn.Module:
        if self.form == "code":
            wide = joint * (1 + len(self.words))
            drop = nn.Dropout(self.dropout)
            return nn.Sequential(
                drop, nn.Linear(wide, self.hidden), nn.ReLU(), drop, nn.Linear(self.hidden, 1)
            )
        return _Levels(torch.linspace(float(target.min()), float(target.max()), len(self.words)), self.scale)

    def _train(
        self,
        prompts: LearnablePrompts,
        head: nn.Module,
        images: Tensor,
        target: Tensor,
        train: np.ndarray,
        select: np.ndarray,
    ) -> None:
        optimizers = [torch.optim.SGD(part.parameters(), lr=self.rate) for part in (prompts, head)]
        rows, best = torch.from_numpy(train), -math.inf
        for epoch in range(self.epochs):
            for optimizer in optimizers:
                optimizer.param_groups[0]["lr"] = self._rate(epoch)
            head.train()
            for batch in rows[torch.randperm(len(rows))].split(self.batch_size):
                for optimizer in optimizers:
                    optimizer.zero_grad()
                texts = prompts()
                functional.mse_loss(_joined(head, images[batch], texts), target[batch]).backward()
                for optimizer in optimizers:
                    optimizer.step()
            last = epoch == self.epochs - 1
            if len(select) or last:
                found = self._exported(prompts, head)
                reached = math.inf
                if len(select):
                    reached = float(
                        spearmanr(found.predict(images[select].numpy()), target[select].numpy())[0]
                    )
                    reached = -1.0 if math.isnan(reached) else reached
                if reached > best:
                    best, self.head_, self.epoch_ = reached, found, epoch
                    self._keep(prompts, head)

    def _rate(self, epoch: int) -> float:
        """One epoch of warm-up, then the cosine over all epochs."""
        return WARM_UP if epoch == 0 else self.rate * 0.5 * (1 + math.cos(math.pi * epoch / self.epochs))

    @torch.no_grad()
    def _exported(self, prompts: LearnablePrompts, head: nn.Module) -> QualityHead:
        """The trained model as a function of the image embedding alone."""
        texts = prompts()
        if isinstance(head, _Levels):
            return QualityHead({"prompts": self.scale * texts.numpy(), "levels": head.levels.numpy().copy()})
        first, last = head[1], head[4]  # type: ignore[index]
        joint = texts.shape[1]
        return QualityHead(
            {
                "first_weight": first.weight[:, :joint].numpy().copy(),
                "first_bias": (first.weight[:, joint:] @ texts.ravel() + first.bias).numpy(),
                "last_weight": last.weight.numpy().copy(),
                "last_bias": last.bias.numpy().copy(),
            }
        )

    @torch.no_grad()
    def _keep(self, prompts: LearnablePrompts, head: nn.Module) -> None:
        self.context_, self.prompts_ = prompts.context.numpy().copy(), prompts().numpy()
        if not isinstance(head, _Levels):
            self.first_weight_ = head[1].weight.numpy().copy()  # type: ignore[index]
            self.first_bias_ = head[1].bias.numpy().copy()  # type: ignore[index]


class _Levels(nn.Module):
    """The expected level under a softmax of cosines."""

    def __init__(self, levels: Tensor, scale: float):
        super().__init__()
        self.levels, self.scale = nn.Parameter(levels), scale

    def forward(self, images: Tensor, texts: Tensor) -> Tensor:
        return torch.softmax(self.scale * images @ texts.T, dim=1) @ self.levels


def _joined(head: nn.Module, images: Tensor, texts: Tensor) -> Tensor:
    """(n,) predictions from unit image embeddings (n, P) and prompts (K, P)."""
    if isinstance(head, _Levels):
        return head(images, texts)
    beside = texts.ravel().expand(len(images), -1)
    return head(torch.cat([images, beside], dim=1))[:, 0]
