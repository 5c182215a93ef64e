"""A CLIP image tower of 4 layers × 4 heads with random weights, always the same: quick, and nothing is learnt in it."""

from __future__ import annotations

import torch
from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

from interp.encoders.encoder import Encoder
from interp.images.preprocess import Preprocessing


def random_clip() -> Encoder:
    """64 pixels in patches of 8; embedding of 32 numbers."""
    config = CLIPVisionConfig(
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=4,
        num_attention_heads=4,
        image_size=64,
        patch_size=8,
        projection_dim=32,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = CLIPVisionModelWithProjection(config)
        for parameter in model.parameters():  # wider than at the start of training, so that heads differ
            parameter.data.mul_(3 if parameter.ndim > 1 else 1)
    return Encoder(model, Preprocessing.clip(64), name="random-clip")
