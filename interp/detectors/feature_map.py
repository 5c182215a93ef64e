"""A feature map and a global vector from any network that has both: tokens of a transformer, a layer of a convnet."""

from __future__ import annotations

import copy
import math
from typing import Any

import torch
from torch import Tensor, nn

from interp.encoders.encoder import Encoder
from interp.errors import InputError, unknown_name
from interp.images.preprocess import Preprocessing


class FeatureMap(nn.Module):
    """Runs a network and keeps what one of its layers wrote.

    Args:
        model: takes pixel values (n, 3, H, W) and returns a vector for each image: a tensor, or what `transformers`
            returns (`image_embeds`, `pooler_output`). It is copied.
        preprocessing: its normalisation is applied to grey levels; H and W are those of its crop or resize.
        layer: name of a submodule (as in `named_modules`) whose output is a map (n, C, h, w), or tokens (n, t, C) whose
            last h·w are the places of a square grid, row by row.
        normalisation: (mean, std) of the three channels instead of those of `preprocessing`.

    Raises:
        InputError: no such layer, or its output is no feature map.

    Attributes:
        channels, grid, width: C, (h, w), and the length of the vector.

    >>> net = nn.Sequential(nn.Conv2d(3, 6, 8, stride=8), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    >>> found = FeatureMap(net, Preprocessing.clip(32), "0")
    >>> found.channels, found.grid, found.width
    (6, (4, 4), 6)
    """

    def __init__(
        self,
        model: nn.Module,
        preprocessing: Preprocessing,
        layer: str,
        normalisation: tuple[tuple[float, ...], tuple[float, ...]] | None = None,
    ):
        super().__init__()
        modules = dict(model.named_modules())
        if layer not in modules or not layer:
            raise unknown_name("layer", layer, [name for name in modules if name])
        shape = preprocessing.crop or preprocessing.resize
        if not isinstance(shape, tuple):
            raise InputError(
                f"the preprocessing gives images of different shapes; give it a crop: {preprocessing}"
            )
        self.model, self.layer, self.shape = copy.deepcopy(model), layer, shape
        self.preprocessing = preprocessing
        if normalisation is not None:
            mean, std = normalisation
            self.preprocessing = Preprocessing(shape, None, "bicubic", 1 / 255, mean, std)
        self.channels, self.grid, self.width = 0, (0, 0), 0
        training = self.model.training
        with torch.no_grad():
            features, vector = self.eval()(torch.zeros(2, 3, *shape, dtype=torch.uint8))
        self.train(training)
        self.channels, self.grid, self.width = features.shape[1], tuple(features.shape[2:]), vector.shape[1]

    @classmethod
    def of(
        cls,
        encoder: Encoder,
        layer: str | None = None,
        normalisation: tuple[tuple[float, ...], tuple[float, ...]] | None = None,
    ) -> FeatureMap:
        """The feature map of an encoder: by default the tokens after three quarters of its blocks.

        The published network reads the third of four stages, and the end for its vector.
        """
        if layer is None:
            tower = encoder.recorder.parts.tower
            lists = [m for m in tower.modules() if isinstance(m, nn.ModuleList | nn.Sequential)]
            blocks = max(
                lists, key=len
            )  # attention pooling has no class token; its blocks have tokens all the same
            wanted = blocks[math.ceil(0.75 * len(blocks)) - 1]
            layer = next(name for name, module in encoder.model.named_modules() if module is wanted)
        return cls(encoder.model, encoder.preprocessing, layer, normalisation)

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """(n, C, h, w) and (n, G) of grey levels (n, 3, H, W), uint8."""
        kept: list[Any] = []
        handle = self.model.get_submodule(self.layer).register_forward_hook(
            lambda _m, _i, out: kept.append(out)
        )
        try:
            returned = self.model(self.preprocessing.normalize(pixels))
        finally:
            handle.remove()
        return self._as_map(kept[-1] if kept else None), _vector(returned)

    def train(self, mode: bool = True) -> FeatureMap:
        """As any module; a frozen network stays as it is in use, its batch norms too."""
        return super().train(mode and any(p.requires_grad for p in self.parameters()))

    def _as_map(self, output: Any) -> Tensor:
        found = output[0] if isinstance(output, tuple) else output
        if isinstance(found, Tensor) and found.ndim == 4:
            return found
        if isinstance(found, Tensor) and found.ndim == 3 and self.shape[0] == self.shape[1]:
            side = math.isqrt(found.shape[1])
            if side > 1:
                return found[:, -side * side :].transpose(1, 2).unflatten(2, (side, side))
        what = (
            f"a {type(found).__name__}" if not isinstance(found, Tensor) else f"of shape {tuple(found.shape)}"
        )
        raise InputError(
            f"the output of {self.layer!r} is {what}, no feature map: expected (n, C, h, w), or tokens (n, t, C) of a "
            "square grid of places. Name another layer="
        )


def _vector(returned: Any) -> Tensor:
    for name in ("image_embeds", "pooler_output"):
        if isinstance(getattr(returned, name, None), Tensor):
            return getattr(returned, name).flatten(1)
    if isinstance(getattr(returned, "last_hidden_state", None), Tensor):
        return returned.last_hidden_state[:, 0]
    if isinstance(returned, Tensor) and returned.ndim >= 2:
        return returned.flatten(1)
    raise InputError(
        f"the network returned a {type(returned).__name__} without a vector for each image; expected a tensor (n, G), "
        "image_embeds or pooler_output"
    )
