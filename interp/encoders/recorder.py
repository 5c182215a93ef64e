"""Hooks that record what every head and MLP writes for the class token, on an untouched model."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from interp.encoders.family import Family, find_parts
from interp.encoders.layout import HeadLayout
from interp.errors import InputError

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class HeadRecord:
    """What one pass over n images left at the class token; everything else follows from it and the weights.

    Attributes:
        head_values: (n, l, h, d), model dtype: each head's output before the output projection W_O ("z").
        mlp_values: (n, l, D), model dtype: what each MLP adds to the residual stream.
        first: (n, D), model dtype: the residual stream where it enters the first block.
        norm_mean: (n,), float32: mean of the class token where it enters the final LayerNorm.
        norm_std: (n,), float32: its standard deviation there, sqrt(variance + epsilon).
        embedding: (n, P), float32: the model's own image embedding.
    """

    head_values: torch.Tensor
    mlp_values: torch.Tensor
    first: torch.Tensor
    norm_mean: torch.Tensor
    norm_std: torch.Tensor
    embedding: torch.Tensor

    def __len__(self) -> int:
        return len(self.embedding)


class HeadRecorder:
    """Record every attention head of a model while it runs; the hooks leave with the context, always.

    Works on any `transformers` CLIP, ViT or DeiT, alone or inside a larger model, with fused attention,
    and leaves the model's output bit-identical.

    Args:
        model: the model as you hold it.
        family: names of the parts, for a model of your own (see `Family`).

    Raises:
        InputError: the model holds no vision tower of a known family.

    >>> import torch
    >>> from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection
    >>> config = CLIPVisionConfig(hidden_size=32, intermediate_size=64, num_hidden_layers=3,
    ...                           num_attention_heads=4, image_size=32, patch_size=8, projection_dim=16)
    >>> model = CLIPVisionModelWithProjection(config).eval()
    >>> with torch.inference_mode(), HeadRecorder(model) as recorder:
    ...     output = model(pixel_values=torch.zeros(2, 3, 32, 32))
    ...     record = recorder.take()
    >>> record.head_values.shape, record.mlp_values.shape, record.embedding.shape
    (torch.Size([2, 3, 4, 8]), torch.Size([2, 3, 32]), torch.Size([2, 16]))
    """

    def __init__(self, model: nn.Module, family: Family | None = None):
        self.parts = find_parts(model, family)
        self.layout = HeadLayout(len(self.parts.blocks), self.parts.heads, self.parts.width)
        self._caught: dict[Any, list[torch.Tensor]] = {}
        self._handles: list[Any] = []

    def __enter__(self) -> HeadRecorder:
        if self._handles:
            raise InputError("this HeadRecorder is already recording; leave its context first")
        parts = self.parts
        self._before(parts.blocks[0], "first")
        for layer, (output, mlp) in enumerate(zip(parts.output_projections, parts.mlps, strict=True)):
            self._before(output, ("head", layer))
            self._after(mlp, ("mlp", layer))
        self._before(parts.final_norm, "residual")
        self._after(parts.projection if parts.projection is not None else parts.final_norm, "embedding")
        return self

    def __exit__(self, *exception: object) -> None:
        while self._handles:
            self._handles.pop().remove()
        self._caught.clear()

    def take(self) -> HeadRecord:
        """Everything recorded since the context began or since the last `take`, in order of the passes.

        Raises:
            InputError: the model has not run, or a pass was cut off half-way.
        """
        passes = {len(tensors) for tensors in self._caught.values()}
        expected = 2 * len(self.parts.blocks) + 3
        if not passes or len(passes) > 1 or len(self._caught) != expected:
            self._caught.clear()
            raise InputError("nothing complete was recorded: run the model inside the context, then take()")
        caught = {name: torch.cat(tensors) for name, tensors in self._caught.items()}
        self._caught.clear()
        layers = range(len(self.parts.blocks))
        z = torch.stack([caught["head", layer] for layer in layers], dim=1)
        residual = caught["residual"].float()
        variance, mean = torch.var_mean(residual, dim=-1, correction=0)
        return HeadRecord(
            head_values=z.unflatten(-1, (self.parts.heads, self.parts.width)),
            mlp_values=torch.stack([caught["mlp", layer] for layer in layers], dim=1),
            first=caught["first"],
            norm_mean=mean,
            norm_std=(variance + self.parts.final_norm.eps).sqrt(),  # type: ignore[operator]
            embedding=caught["embedding"].float(),
        )

    def _before(self, module: nn.Module, name: Any) -> None:
        def hook(_: nn.Module, args: tuple, kwargs: dict) -> None:
            self._catch(name, args[0] if args else next(iter(kwargs.values())))

        self._handles.append(module.register_forward_pre_hook(hook, with_kwargs=True))

    def _after(self, module: nn.Module, name: Any) -> None:
        hook: Callable = lambda _module, _args, output: self._catch(name, output)  # noqa: E731
        self._handles.append(module.register_forward_hook(hook))

    def _catch(self, name: Any, tensor: torch.Tensor) -> None:
        # A clone, so that the (n, tokens, D) tensor behind the class token's view can be freed.
        row = tensor[:, 0] if tensor.ndim == 3 else tensor
        self._caught.setdefault(name, []).append(row.clone())
