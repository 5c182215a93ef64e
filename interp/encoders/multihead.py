"""Head values of `torch.nn.MultiheadAttention`, which reads its output projection's weight without calling it."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

_FORWARD = inspect.signature(nn.MultiheadAttention.forward)


def head_values(
    attention: nn.MultiheadAttention, args: Sequence[Any], kwargs: Mapping[str, Any], rows: slice
) -> Tensor:
    """What the heads of one call put before the output projection, computed again from the call's own inputs.

    Args:
        attention: the module that is called.
        args, kwargs: of the call.
        rows: the query tokens wanted; the others are not computed.

    Returns:
        (n, tokens, h · d), in the model's dtype.

    >>> attention = nn.MultiheadAttention(8, 2, batch_first=True).eval()
    >>> x = torch.randn(3, 5, 8)
    >>> z = head_values(attention, (x, x, x), {}, slice(0, 2))
    >>> torch.allclose(attention.out_proj(z), attention(x, x, x)[0][:, :2], atol=1e-6)
    True
    """
    call = _FORWARD.bind(attention, *args, **kwargs).arguments
    tokens = [call[name] for name in ("query", "key", "value")]
    if not attention.batch_first:
        tokens = [t.transpose(0, 1) for t in tokens]
    length = tokens[0].shape[1]
    tokens[0] = tokens[0][:, rows]
    if attention.in_proj_weight is not None:
        weights = attention.in_proj_weight.chunk(3)
    else:
        weights = (attention.q_proj_weight, attention.k_proj_weight, attention.v_proj_weight)
    biases = (None,) * 3 if attention.in_proj_bias is None else attention.in_proj_bias.chunk(3)
    query, key, value = (
        F.linear(t, w, b).unflatten(-1, (attention.num_heads, -1)).transpose(1, 2)
        for t, w, b in zip(tokens, weights, biases, strict=True)
    )
    mask = None
    if (given := call.get("attn_mask")) is not None:
        given = _added(given, query.dtype)
        given = given.unflatten(0, (-1, attention.num_heads)) if given.ndim == 3 else given
        mask = given.expand(*given.shape[:-2], length, -1)[..., rows, :]
    if (padding := call.get("key_padding_mask")) is not None:
        padded = _added(padding, query.dtype)[:, None, None]
        mask = padded if mask is None else mask + padded
    return F.scaled_dot_product_attention(query, key, value, mask).transpose(1, 2).flatten(2)


def _added(mask: Tensor, dtype: torch.dtype) -> Tensor:
    """A mask as what is added to the scores; a boolean one is True where nothing may be read."""
    if mask.dtype != torch.bool:
        return mask
    return torch.zeros_like(mask, dtype=dtype).masked_fill_(mask, float("-inf"))
