"""The contrastive losses of `pretrain_embedded_clip.py`: several captions may be true of an image, some unknown."""

from __future__ import annotations

import numpy as np
import torch

from experiments.embedded_captions import CaptionGroup


def multi_positive(logits: torch.Tensor, true: torch.Tensor, known: torch.Tensor) -> torch.Tensor:
    """Mean over rows of the cross-entropy to their true columns, all alike; unknown pairs and empty rows are out."""
    hits = true.sum(1)
    if not hits.any():
        return logits.sum() * 0
    log_p = logits.masked_fill(~known, -1e4).log_softmax(1)
    per_row = -(log_p * true).sum(1) / hits.clamp(min=1)
    return per_row[hits > 0].mean()


def both_ways(similarity: torch.Tensor, group: CaptionGroup) -> torch.Tensor:
    """The contrastive loss of captions to images and of images to captions; `similarity` is (texts, images)."""
    true = torch.from_numpy(np.ascontiguousarray(group.true)).to(similarity.device)
    known = torch.from_numpy(np.ascontiguousarray(group.known)).to(similarity.device) | true
    return multi_positive(similarity, true, known) + multi_positive(similarity.T, true.T, known.T)
