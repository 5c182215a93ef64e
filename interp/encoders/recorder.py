"""Hooks that record what every head and MLP writes for the image's token, on an untouched model."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import nn

from interp.encoders.families import Family
from interp.encoders.family import find_parts
from interp.encoders.layout import HeadLayout
from interp.encoders.multihead import head_values
from interp.errors import InputError


@dataclass(frozen=True)
class HeadRecord:
    """What one pass over n images left at the image's token; everything else follows from it and the weights.

    The image's token is the class token, or, where a family pools by the mean, a mean over T tokens. Behind a
    mean of normalised tokens, token t weighs w_t = 1 / (T std_t): every value here is Σ w_t value_t / Σ w_t,
    and norm_std is 1 / Σ w_t, so that all formulas stay those of a class token. With attention pooling the
    token is the pooling head's: one layer, `first` 0, norm_mean 0, norm_std 1.

    Attributes:
        head_values: (n, l, h, d), model dtype: each head's output before the output projection W_O ("z").
        mlp_values: (n, l, D), model dtype: what each MLP adds to the residual stream, layer scale included.
        first: (n, D), model dtype: the residual stream where it enters the first block.
        norm_mean: (n,), float32: mean of the token where it enters the final LayerNorm; 0 for an RMSNorm.
        norm_std: (n,), float32: what the final norm divides by, sqrt(variance + epsilon).
        embedding: (n, P), float32: the model's own image embedding.

    Means over tokens are float32 whatever the model's dtype.
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

    Works on every family in `interp.encoders.families`, alone or inside a larger model, with fused attention,
    and leaves the model's output bit-identical. Where the final norm comes before a mean over tokens, each
    token's values are held until that norm is reached: `held` says how many bytes for each image it was.

    Args:
        model: the model as you hold it.
        family: names of the parts, for a model of your own (see `Family`).

    Attributes:
        parts: the modules that are listened to.
        layout: layers, heads and head width.
        held: bytes of single tokens' values that the last pass held for each image; 0 without such a mean.

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
        self.held = 0
        self._caught: dict[Any, list[torch.Tensor]] = {}
        self._handles: list[Any] = []

    def __enter__(self) -> HeadRecorder:
        if self._handles:
            raise InputError("this HeadRecorder is already recording; leave its context first")
        parts = self.parts
        if self._pooling != "attention":
            self._before(parts.blocks[0], lambda args, kwargs: self._catch("first", _tensor(args, kwargs)))
        for layer, (attention, output) in enumerate(
            zip(parts.attentions, parts.output_projections, strict=True)
        ):
            if isinstance(attention, nn.MultiheadAttention):
                self._before(attention, partial(self._catch_computed, ("head", layer), attention))
            else:
                self._before(output, partial(self._catch_input, ("head", layer)))
        for layer, mlp in enumerate(parts.mlps):
            self._after(mlp, partial(self._catch, ("mlp", layer)))
        if parts.final_norm is not None:
            self._before(parts.final_norm, self._normalise)
        self._after(parts.embeds, self._embed)
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
        parts, layers = self.parts, len(self.parts.blocks)
        passes = {len(tensors) for tensors in self._caught.values()}
        expected = layers + len(parts.mlps) + 1
        expected += (self._pooling != "attention") + 2 * (parts.final_norm is not None)
        if not passes or len(passes) > 1 or len(self._caught) != expected:
            self._caught.clear()
            raise InputError("nothing complete was recorded: run the model inside the context, then take()")
        caught = {name: torch.cat(tensors) for name, tensors in self._caught.items()}
        self._caught.clear()
        z = torch.stack([caught["head", layer] for layer in range(layers)], dim=1)
        embedding = caught["embedding"].float()
        nothing = z.new_zeros(len(z), int(parts.output_projections[0].out_features))  # type: ignore[arg-type]
        mlps = [caught.get(("mlp", layer), nothing) for layer in range(layers)]
        scaled = zip(mlps, parts.mlp_scales, strict=True)
        return HeadRecord(
            head_values=z.unflatten(-1, (parts.heads, parts.width)),
            mlp_values=torch.stack([mlp if by is None else mlp * by for mlp, by in scaled], dim=1),
            first=caught.get("first", nothing),
            norm_mean=caught.get("norm mean", embedding.new_zeros(len(z))),
            norm_std=caught.get("norm std", embedding.new_ones(len(z))),
            embedding=embedding,
        )

    @property
    def _pooling(self) -> str:
        return self.parts.family.pooling

    def _before(self, module: nn.Module, hook: Callable) -> None:
        def listen(_: nn.Module, args: tuple, kwargs: dict) -> None:
            hook(args, kwargs)

        self._handles.append(module.register_forward_pre_hook(listen, with_kwargs=True))

    def _after(self, module: nn.Module, hook: Callable) -> None:
        def listen(_: nn.Module, args: tuple, output: Any) -> None:
            hook(output[0] if isinstance(output, tuple) else output)

        self._handles.append(module.register_forward_hook(listen))

    def _catch(self, name: Any, tensor: torch.Tensor) -> None:
        self._caught.setdefault(name, []).append(self._kept(tensor))

    def _catch_input(self, name: Any, args: tuple, kwargs: dict) -> None:
        self._catch(name, _tensor(args, kwargs))

    def _catch_computed(self, name: Any, attention: nn.MultiheadAttention, args: tuple, kwargs: dict) -> None:
        averaged = self._pooling.startswith("mean")
        rows = slice(self.parts.prefix_tokens, None) if averaged else slice(0, 1)
        values = head_values(attention, args, kwargs, rows)
        if self._pooling == "mean":
            self._caught.setdefault(name, []).append(values)
        else:
            self._caught.setdefault(name, []).append(values.float().mean(1) if averaged else values[:, 0])

    def _kept(self, tensor: torch.Tensor) -> torch.Tensor:
        """What a pass needs of (n, tokens, D): the class token, the mean over tokens, or each counted token.

        It is a clone, so that the tensor behind a view can be freed and what the model does to it is not seen.
        """
        if tensor.ndim == 2:
            return tensor.clone()
        if not self._pooling.startswith("mean"):
            return tensor[:, 0].clone()
        counted = tensor[:, self.parts.prefix_tokens :]
        return counted.float().mean(1) if self._pooling == "mean then norm" else counted.clone()

    def _normalise(self, args: tuple, kwargs: dict) -> None:
        """Statistics of the final norm; where it comes before a mean, every token's share of that mean."""
        residual = _tensor(args, kwargs)
        pooled = self._pooling == "mean then norm" and residual.ndim == 3  # the norm's input is one token
        residual = (residual[:, 0] if pooled else self._kept(residual)).float()
        if self.parts.centred:
            variance, mean = torch.var_mean(residual, dim=-1, correction=0)
        else:
            variance, mean = residual.square().mean(-1), residual.new_zeros(residual.shape[:-1])
        std = (variance + _epsilon(self.parts.final_norm)).sqrt()
        if std.ndim == 2:
            weights = 1 / std / std.shape[1]
            std = 1 / weights.sum(1)
            weights = weights * std[:, None]
            mean = (weights * mean).sum(1)
            self._average(weights)
        self._caught.setdefault("norm mean", []).append(mean)
        self._caught.setdefault("norm std", []).append(std)

    def _average(self, weights: torch.Tensor) -> None:
        """Reduce what this pass holds of every token to its weighted mean, (n, tokens) weights summing to 1."""
        held = [tensors for tensors in self._caught.values() if tensors[-1].ndim == 3]
        self.held = sum(tensors[-1].nbytes for tensors in held) // max(len(weights), 1)
        for tensors in held:
            tensors[-1] = torch.einsum("nt,ntk->nk", weights, tensors[-1].float())

    def _embed(self, output: torch.Tensor) -> None:
        if output.ndim == 3 and self._pooling == "mean":
            output = output[:, self.parts.prefix_tokens :].float().mean(1)
        self._caught.setdefault("embedding", []).append(
            (output[:, 0] if output.ndim == 3 else output).clone()
        )


def _tensor(args: tuple, kwargs: dict) -> torch.Tensor:
    return args[0] if args else next(iter(kwargs.values()))


def _epsilon(norm: Any) -> float:
    """The epsilon under a norm's root, by either of its names; torch's RMSNorm may leave it to the dtype."""
    found = getattr(norm, "eps", getattr(norm, "variance_epsilon", None))
    return torch.finfo(norm.weight.dtype).eps if found is None else float(found)
