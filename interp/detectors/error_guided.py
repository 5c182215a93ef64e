"""A network's feature map, pooled under the guidance of a reconstruction error: where to look, and at what.

Luo, Du, Yan and Ding, "LaRE²: Latent Reconstruction Error Based Method for Diffusion-Generated Image Detection",
CVPR 2024, arXiv 2403.17465, section 3.3 (error-guided feature refinement).
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from interp.errors import InputError

HIDDEN = 128
"""Width of the channel gate's one hidden layer."""


class SpatialRefinement(nn.Module):
    """Attention pooling of a feature map, its logits shifted by the error at each place.

    Tokens are the map's mean and its places, plus positions. The mean asks, all tokens answer. The error, brought to
    the map's size, goes through a 1 × 1 convolution to one logit for each head and place; the mean's own logit is their
    mean. Added before the softmax, a constant error changes nothing.

    Args:
        channels: C, of the feature map.
        grid: (h, w) of the feature map.
        errors: channels of the error map.
        heads, width: of the attention.
        dropout: of the attention's output, in training.
    """

    def __init__(
        self,
        channels: int,
        grid: tuple[int, int],
        errors: int,
        heads: int = 8,
        width: int = 64,
        dropout: float = 0.1,
    ):
        super().__init__()
        self.grid, self.heads, self.width = grid, heads, width
        self.guide = nn.Conv2d(errors, heads, 1)
        tokens = grid[0] * grid[1] + 1
        self.positions = nn.Parameter(torch.randn(tokens, channels) / math.sqrt(channels))
        self.ask, self.answer, self.value = (nn.Linear(channels, heads * width) for _ in range(3))
        self.out, self.dropout = nn.Linear(heads * width, channels), nn.Dropout(dropout)
        self.norm = nn.LayerNorm(channels)

    def forward(self, features: Tensor, error: Tensor) -> Tensor:
        """(n, C) of a feature map (n, C, h, w) and an error map (n, errors, any height, any width)."""
        places = self.guide(functional.adaptive_avg_pool2d(error, self.grid)).flatten(2)
        guide = torch.cat([places.mean(2, keepdim=True), places], dim=2)  # (n, heads, 1 + h·w)
        tokens = features.flatten(2).transpose(1, 2)
        tokens = torch.cat([tokens.mean(1, keepdim=True), tokens], dim=1) + self.positions
        query = self.ask(tokens[:, :1]).unflatten(2, (self.heads, self.width)).transpose(1, 2)
        key, value = (
            part(tokens).unflatten(2, (self.heads, self.width)).transpose(1, 2)
            for part in (self.answer, self.value)
        )
        pooled = functional.scaled_dot_product_attention(query, key, value, attn_mask=guide[:, :, None])
        return self.norm(tokens[:, 0] + self.dropout(self.out(pooled.transpose(1, 2).flatten(1))))


class ChannelRefinement(nn.Module):
    """The mean of a feature map, each channel turned up or down by a gate that reads the mean error.

    Args:
        channels: C, of the feature map.
        errors: channels of the error map.
    """

    def __init__(self, channels: int, errors: int):
        super().__init__()
        self.squeeze = nn.Linear(errors, HIDDEN, bias=False)
        self.excite = nn.Linear(HIDDEN, channels, bias=False)

    def gate(self, error: Tensor) -> Tensor:
        """(n, C) between 0 and 1; 0.5 where there is no error."""
        return torch.sigmoid(self.excite(torch.relu(self.squeeze(error.mean((2, 3))))))

    def forward(self, features: Tensor, error: Tensor) -> Tensor:
        """(n, C) of a feature map (n, C, h, w) and an error map (n, errors, any height, any width)."""
        return features.mean((2, 3)) * self.gate(error)


class ErrorGuided(nn.Module):
    """Two logits, photograph and fake, from a global vector and both refinements of a feature map.

    Args:
        encoder: gives a feature map (n, C, h, w) and a vector (n, G) of grey levels; see
            `interp.detectors.feature_map.FeatureMap`.
        errors: channels of the error map.
        refine: "both", "spatial", "channel", or "none", which leaves the vector alone.
    """

    def __init__(self, encoder: Any, errors: int, refine: str = "both"):
        super().__init__()
        channels, grid, width = encoder.channels, encoder.grid, encoder.width
        self.encoder = encoder
        self.spatial = SpatialRefinement(channels, grid, errors) if refine in ("both", "spatial") else None
        self.channel = ChannelRefinement(channels, errors) if refine in ("both", "channel") else None
        parts = (self.spatial is not None) + (self.channel is not None)
        self.decide = nn.Linear(width + parts * channels, 2)
        self.errors = errors

    def forward(self, pixels: Tensor, error: Tensor) -> Tensor:
        """(n, 2) logits of grey levels (n, 3, H, W) uint8 and error maps (n, errors, any height, any width)."""
        if error.shape[1] != self.errors:
            raise InputError(f"error maps have {error.shape[1]} channels; this network reads {self.errors}")
        features, vector = self.encoder(pixels)
        refined = [part(features, error) for part in (self.spatial, self.channel) if part is not None]
        return self.decide(torch.cat([vector, *refined], dim=1))
