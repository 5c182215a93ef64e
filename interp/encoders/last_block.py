"""The last block for the class token alone: nothing behind it reads the other tokens, so their share can be left out.

Queries, output projection and MLP of the last block are computed for one token in place of all; keys and values still
for all. Of the work of a block of width D that leaves 2 of 12 D² multiplications a token.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from interp.encoders.family import Parts

QUERY_PROJECTIONS = ("q_proj", "query")
"""What attentions call a Linear that makes queries alone; where there is none, queries of all tokens are made."""


@contextmanager
def class_token_alone(parts: Parts) -> Iterator[None]:
    """Let the last block of an untouched model work for its class token; the hooks leave with the context, always.

    The model's own modules run, in its own order, and get fewer tokens: the class token's row is what it was up to
    rounding, and the other rows that leave the block mean nothing. Enter it after a `HeadRecorder`.

    Args:
        parts: of a model that reads its class token, as `reads_class_token_alone` says.

    >>> from interp.encoders.loading import load_encoder
    >>> encoder, pixels = load_encoder("embedded"), torch.rand(2, 3, 64, 64)
    >>> with torch.inference_mode():
    ...     whole = encoder.model(pixel_values=pixels).image_embeds
    ...     with class_token_alone(encoder.recorder.parts):
    ...         alone = encoder.model(pixel_values=pixels).image_embeds
    >>> torch.allclose(whole, alone, atol=1e-5)
    True
    """
    attention, handles, mode = parts.attentions[-1], [], _OneRow()
    narrowed = [parts.mlps[-1]] if parts.mlps else []
    try:
        if isinstance(attention, nn.MultiheadAttention):
            handles.append(attention.register_forward_pre_hook(_one_query, with_kwargs=True))
        else:
            narrowed.append(parts.output_projections[-1])
            handles.append(attention.register_forward_pre_hook(mode.begin))
            handles.append(attention.register_forward_hook(mode.end))
            for name in QUERY_PROJECTIONS:
                if isinstance(query := getattr(attention, name, None), nn.Module):
                    handles += _one_row_for_all(query)
        for module in narrowed:
            handles.append(module.register_forward_pre_hook(_first_token, with_kwargs=True))
        yield
    finally:
        mode.end()
        for handle in handles:
            handle.remove()


def reads_class_token_alone(parts: Parts) -> bool:
    """Whether a model's embedding comes from token 0 and nobody else listens to its last block or final norm.

    Hooks of another there, such as those of `pruned` or `record_tokens`, may count on every token.
    """
    listened = [*parts.blocks[-1].modules(), *(() if parts.final_norm is None else (parts.final_norm,))]
    return parts.family.pooling == "class" and not any(
        module._forward_hooks or module._forward_pre_hooks for module in listened
    )


class _OneRow(TorchFunctionMode):
    """While an attention runs: its scaled_dot_product_attention reads for the first query alone, shown as every row."""

    running = False

    def begin(self, *call: Any) -> None:
        self.running = True
        self.__enter__()

    def end(self, *call: Any) -> None:
        if self.running:
            self.running = False
            self.__exit__(None, None, None)

    def __torch_function__(self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        kwargs = kwargs or {}
        if func is not F.scaled_dot_product_attention or len(args) < 3 or kwargs.get("is_causal"):
            return func(*args, **kwargs)
        (query, key, value, *more), tokens = args, args[0].shape[-2]
        mask = more[0] if more else kwargs.get("attn_mask")
        if mask is not None and mask.shape[-2] == tokens:
            mask = mask[..., :1, :]
        kwargs = {name: given for name, given in kwargs.items() if name != "attn_mask"}
        first = func(query[..., :1, :], key, value, mask, *more[1:], **kwargs)
        return first.expand(*first.shape[:-2], tokens, -1)


def _first_token(_: nn.Module, args: tuple, kwargs: dict) -> tuple[tuple, dict]:
    """The call of a module with the first of its (n, tokens, D) alone.

    As one block of memory: behind a view torch multiplies image by image, with a copy of the weight for each.
    """
    if args:
        return (args[0][:, :1].contiguous(), *args[1:]), kwargs
    name = next(iter(kwargs))
    return args, {**kwargs, name: kwargs[name][:, :1].contiguous()}


def _one_query(attention: Any, args: tuple, kwargs: dict) -> tuple[tuple, dict]:
    """The call of a MultiheadAttention with its first query alone."""
    query = args[0] if args else kwargs["query"]
    first = query[:, :1] if attention.batch_first else query[:1]
    return ((first, *args[1:]), kwargs) if args else (args, {**kwargs, "query": first})


def _one_row_for_all(query: nn.Module) -> list[Any]:
    """Hooks by which a projection works for the first token and shows its row, without a copy, as that of every one."""
    tokens = 1

    def narrow(_: nn.Module, args: tuple) -> tuple:
        nonlocal tokens
        tokens = args[0].shape[1]
        return (args[0][:, :1].contiguous(), *args[1:])

    def widen(_: nn.Module, args: tuple, output: torch.Tensor) -> torch.Tensor:
        return output.expand(-1, tokens, -1)

    return [query.register_forward_pre_hook(narrow), query.register_forward_hook(widen)]
