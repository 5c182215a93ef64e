"""From which tokens a head's value comes: attention weights and values of every source token, on an untouched model.

A head's value for the image's token is a sum over source tokens, z = Σ_t a_t v_t, attention weight times value. Both
are seen where they meet, in the model's own call of `scaled_dot_product_attention`, behind any rotation or position
bias, so that nothing of a family's attention is written again here.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from interp.encoders.encoder import LARGEST_DEVIATION, Encoder
from interp.encoders.family import Parts
from interp.encoders.multihead import head_values
from interp.encoders.recorder import HeadRecord, _epsilon, _tensor
from interp.errors import InputError

LARGEST_ERROR = 1e-4
"""Largest relative distance between Σ_t a_t v_t and a head's value, in float32."""


@dataclass(frozen=True)
class TokenRecord:
    """Attention weights and values of each source token, for n images.

    Attributes:
        weights: (n, l, h, t), float32: how much the image's token reads of each of t source tokens; where a family
            pools by a mean, the same weighted mean over reading tokens as in a `HeadRecord`. They sum to 1.
        values: (n, l, h, t, d), float32: what it reads there.
        grid: rows and columns of patches; they are the last rows · columns source tokens, row by row.
    """

    weights: torch.Tensor
    values: torch.Tensor
    grid: tuple[int, int]

    @property
    def prefix(self) -> int:
        """How many source tokens stand before the patches: class token and registers."""
        return self.weights.shape[-1] - self.grid[0] * self.grid[1]

    def head_values(self) -> torch.Tensor:
        """Σ_t a_t v_t, (n, l, h, d): what a `HeadRecord` holds as head values."""
        return torch.einsum("nlht,nlhtd->nlhd", self.weights, self.values)


def record_tokens(encoder: Encoder, pixel_values: torch.Tensor) -> tuple[HeadRecord, TokenRecord]:
    """One pass over (n, 3, H, W) normalised pixel values: the usual record, and its source tokens.

    Keys and values of all layers are held at once, 2 · l · t · D numbers an image; where tokens are averaged, queries
    too.

    Raises:
        InputError: the attention is not a plain `scaled_dot_product_attention`, something is done to its result before
            the output projection, or the patches form no grid.

    >>> from interp.encoders.loading import load_encoder
    >>> record, tokens = record_tokens(load_encoder("embedded"), torch.rand(1, 3, 64, 64))
    >>> tokens.weights.shape, tokens.grid, tokens.prefix
    (torch.Size([1, 6, 6, 65]), (8, 8), 1)
    >>> torch.allclose(tokens.head_values(), record.head_values, atol=1e-5)
    True
    """
    with _TokenRecorder(encoder.recorder.parts) as recorder:
        record = encoder.record(pixel_values)
        tokens = recorder.take()
    exact, found = record.head_values.float(), tokens.head_values()
    error = float((found - exact).norm() / exact.norm().clamp_min(1e-12))
    allowed = LARGEST_DEVIATION.get(encoder.dtype, LARGEST_ERROR)
    if not error <= allowed:
        raise InputError(
            f"attention weights times values are {error:.1e} from what the heads of {encoder.name} put before the "
            f"output projection (relative; allowed {allowed:.0e}): this attention does more than weigh values, so its "
            "verdicts split over heads (interp.explain.parts) and not over patches"
        )
    return record, tokens


@torch.inference_mode()
def every_token(encoder: Encoder, pixel_values: torch.Tensor) -> torch.Tensor:
    """Head values of every token, (n, l, h, tokens, d) in model dtype; one token where a pooling head reads.

    >>> from interp.encoders.loading import load_encoder
    >>> every_token(load_encoder("embedded"), torch.rand(2, 3, 64, 64)).shape
    torch.Size([2, 6, 6, 65, 32])
    """
    parts, seen, handles = encoder.recorder.parts, {}, []

    def listen(layer: int, module: nn.Module, args: tuple, kwargs: dict) -> None:
        if isinstance(module, nn.MultiheadAttention):
            seen[layer] = head_values(module, args, kwargs, slice(None))
        else:
            seen[layer] = _tensor(args, kwargs).clone()

    try:
        for layer, attention in enumerate(parts.attentions):
            fused = isinstance(attention, nn.MultiheadAttention)
            heard = attention if fused else parts.output_projections[layer]
            handles.append(heard.register_forward_pre_hook(partial(listen, layer), with_kwargs=True))
        encoder.record(pixel_values)
    finally:
        for handle in handles:
            handle.remove()
    z = torch.stack([seen[layer] for layer in range(len(parts.attentions))], dim=1)
    z = z if z.ndim == 4 else z[:, :, None]
    return z.unflatten(-1, (parts.heads, parts.width)).transpose(2, 3)


class _Listening(TorchFunctionMode):
    """Shows each call of scaled_dot_product_attention to `hear` and changes nothing."""

    hear: Callable[..., None] | None = None

    def __torch_function__(self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        if func is F.scaled_dot_product_attention and self.hear is not None:
            self.hear(*args, **(kwargs or {}))
        return func(*args, **(kwargs or {}))


class _TokenRecorder:
    """Hooks that say which layer's attention runs, around a mode that sees what it reads; all leave, always."""

    def __init__(self, parts: Parts):
        self.parts = parts
        self._pooling = parts.family.pooling
        self._averaged = self._pooling.startswith("mean")
        self._rows = slice(parts.prefix_tokens, None) if self._averaged else slice(0, 1)
        self._mode = _Listening()
        self._read: dict[int, tuple[torch.Tensor, ...]] = {}
        self._counted: torch.Tensor | None = None
        self._grid: tuple[int, int] | None = None
        self._handles: list[Any] = []

    def __enter__(self) -> _TokenRecorder:
        for layer, attention in enumerate(self.parts.attentions):
            begin = attention.register_forward_pre_hook(partial(self._begin, layer), with_kwargs=True)
            self._handles += [begin, attention.register_forward_hook(self._end)]
        for module in self.parts.tower.modules():
            if isinstance(module, nn.Conv2d):
                self._handles.append(module.register_forward_hook(self._patches))
        if self._pooling == "mean" and self.parts.final_norm is not None:
            norm = self.parts.final_norm
            self._handles.append(norm.register_forward_pre_hook(self._weigh, with_kwargs=True))
        self._mode.__enter__()
        return self

    def __exit__(self, *exception: Any) -> None:
        self._mode.__exit__(*exception)
        while self._handles:
            self._handles.pop().remove()

    def _begin(self, layer: int, module: nn.Module, args: tuple, kwargs: dict) -> None:
        self._mode.hear = partial(self._hear, layer)
        if isinstance(module, nn.MultiheadAttention):
            head_values(module, args, kwargs, self._rows)
            self._mode.hear = None

    def _end(self, module: nn.Module, args: tuple, output: Any) -> None:
        self._mode.hear = None

    def _patches(self, module: nn.Module, args: tuple, output: torch.Tensor) -> None:
        if not self._read and output.ndim == 4:  # the last one before any attention
            self._grid = (output.shape[2], output.shape[3])

    def _hear(self, layer: int, *args: Any, **kwargs: Any) -> None:
        """Keep the mask, the scale, keys, values and the queries that count, of one call."""
        names = ("query", "key", "value", "attn_mask", "dropout_p", "is_causal", "scale", "enable_gqa")
        call = dict(zip(names, args, strict=False)) | kwargs
        query, key, value, mask = call["query"], call["key"], call["value"], call.get("attn_mask")
        if layer in self._read or call.get("is_causal") or query.ndim != 4 or len(key[0]) != len(query[0]):
            raise InputError(
                f"layer {layer}'s attention is not one plain call over all tokens, so that source tokens cannot be told"
            )
        length = query.shape[2]
        computed = isinstance(self.parts.attentions[layer], nn.MultiheadAttention)  # with these rows alone
        if not computed:
            query = query[:, :, self._rows]
        scores = query.float() * (call.get("scale") or query.shape[-1] ** -0.5)
        if mask is not None:
            if mask.dtype == torch.bool:
                mask = torch.zeros(mask.shape, device=mask.device).masked_fill_(~mask, float("-inf"))
            if not computed and mask.shape[-2] == length:
                mask = mask[..., self._rows, :]
        self._read[layer] = (scores, key.float(), value.float(), *(() if mask is None else (mask.float(),)))

    def _weigh(self, module: nn.Module, args: tuple, kwargs: dict) -> None:
        """Weight of each counted token in a mean of normalised tokens, 1 / std, as in a `HeadRecord`."""
        tokens = _tensor(args, kwargs)[:, self.parts.prefix_tokens :].float()
        spread = tokens.var(-1, correction=0) if self.parts.centred else tokens.square().mean(-1)
        weights = (spread + _epsilon(module)).rsqrt()
        self._counted = weights / weights.sum(1, keepdim=True)

    def take(self) -> TokenRecord:
        """What the pass left."""
        layers = len(self.parts.attentions)
        if len(self._read) != layers:
            raise InputError(
                f"{layers - len(self._read)} of {layers} attention layers were not seen to call torch's "
                "scaled_dot_product_attention; load the model with attn_implementation='sdpa', so that verdicts can be "
                "split over patches"
            )
        weights = torch.stack([self._weights(*self._read[layer]) for layer in range(layers)], dim=1)
        values = torch.stack([self._read[layer][2] for layer in range(layers)], dim=1)
        grid, tokens = self._grid, weights.shape[-1]
        if grid is None or grid[0] * grid[1] > tokens:
            raise InputError(
                f"the {tokens} tokens that {type(self.parts.tower).__name__} reads are no grid of patches "
                f"({'it has no patch convolution' if grid is None else f'its patch convolution gives {grid}'}), so "
                "that a verdict can be split over heads and not be drawn over the image"
            )
        return TokenRecord(weights, values, grid)

    def _weights(
        self, query: torch.Tensor, key: torch.Tensor, _: torch.Tensor, *mask: torch.Tensor
    ) -> torch.Tensor:
        """Attention weights (n, h, t) of the image's token: one row, or a mean over rows."""
        scores = query @ key.transpose(-2, -1)
        weights = (scores + mask[0] if mask else scores).softmax(-1)
        if self._counted is None:
            return weights.mean(2)
        return torch.einsum("nq,nhqt->nht", self._counted, weights)
