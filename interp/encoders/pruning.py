"""Prune heads in the forward pass: later layers see an attention output that the heads have no part in.

Not the same as taking a head's stored contribution out of the embedding: there, all later layers have already read what
the head wrote, and the final LayerNorm has already counted it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from interp.encoders.encoder import Encoder
from interp.encoders.families import Family
from interp.encoders.family import find_parts
from interp.encoders.layout import HeadLayout
from interp.encoders.multihead import head_values
from interp.errors import InputError


@contextmanager
def pruned(
    model: nn.Module | Encoder,
    heads: Sequence[str | int],
    *,
    values: torch.Tensor | None = None,
    family: Family | None = None,
) -> Iterator[None]:
    """Run an untouched model without some heads; the hooks leave with the context, always.

    The values z that a head hands to the output projection W_O become zero for every token, which is what zero columns
    of W_O would do ("prune_heads" of Kuznetsov et al. 2024, arXiv 2410.08113); the projection's bias stays. What a
    `HeadRecorder` records meanwhile is the pruned pass, whose parts sum to the pruned embedding. (A
    `torch.nn.MultiheadAttention` never calls its output projection: there what it gives is corrected, and the recorder
    still sees the head's values.)

    Args:
        model: an `Encoder`, or any model that a `HeadRecorder` knows.
        heads: names such as `L3.H5`, or flat numbers.
        values: (k, d), float, model units of z: what stands in the place of each of the k heads, the same for every
            token; or (k, tokens, d). By default zero. For mean ablation the mean z over train images.
        family: names of the parts, for a model of your own.

    Raises:
        InputError: an unknown head, a head named twice, or values of another shape.

    >>> from transformers import ViTConfig, ViTModel
    >>> model = ViTModel(ViTConfig(hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4,
    ...                            image_size=32, patch_size=8)).eval()
    >>> pixels = torch.rand(1, 3, 32, 32)
    >>> with torch.inference_mode(), pruned(model, ["L0.H1", "L1.H3"]):
    ...     without = model(pixels).last_hidden_state
    >>> without.shape, torch.equal(without, model(pixels).last_hidden_state)
    (torch.Size([1, 17, 32]), False)
    """
    parts = model.recorder.parts if isinstance(model, Encoder) else find_parts(model, family)
    layout = HeadLayout(len(parts.blocks), parts.heads, parts.width)
    numbers = [layout.index(head) for head in heads]
    _check(numbers, heads, values, layout)
    by_layer: dict[int, list[int]] = {}
    for place, number in enumerate(numbers):
        by_layer.setdefault(number // layout.heads, []).append(place)
    handles: list[Any] = []
    try:
        for layer, places in by_layer.items():
            inside = [numbers[place] % layout.heads for place in places]
            put = None if values is None else values[places]
            # first of all hooks, so that a recorder sees what comes of it
            first: dict[str, Any] = {"with_kwargs": True, "prepend": True}
            attention = parts.attentions[layer]
            if isinstance(attention, nn.MultiheadAttention):
                handles.append(attention.register_forward_hook(_correcting(inside, put, layout), **first))
            else:
                hook = _replacing(inside, put, layout)
                handles.append(parts.output_projections[layer].register_forward_pre_hook(hook, **first))
        yield
    finally:
        for handle in handles:
            handle.remove()


def _check(
    numbers: Sequence[int], heads: Sequence[str | int], values: torch.Tensor | None, layout: HeadLayout
) -> None:
    if len(set(numbers)) != len(numbers):
        raise InputError(f"a head can be pruned once; given {', '.join(map(str, heads))}")
    if values is None:
        return
    shape = tuple(values.shape)
    if len(shape) not in (2, 3) or (shape[0], shape[-1]) != (len(numbers), layout.width):
        raise InputError(
            f"values must be ({len(numbers)}, {layout.width}), a row for each head pruned, or "
            f"({len(numbers)}, tokens, {layout.width}); given {shape}"
        )


def _replacing(inside: list[int], put: torch.Tensor | None, layout: HeadLayout) -> Any:
    """A forward pre-hook that puts values (k, d) or (k, tokens, d), or zero, in the place of some heads of a layer."""

    def hook(_: nn.Module, args: tuple, kwargs: dict) -> tuple[tuple, dict]:
        name = None if args else next(iter(kwargs))
        z = (args[0] if name is None else kwargs[name]).clone()
        each = z.unflatten(-1, (layout.heads, layout.width))
        for place, head in enumerate(inside):
            each[..., head, :] = 0 if put is None else put[place].to(z)
        return ((z, *args[1:]), kwargs) if name is None else (args, {**kwargs, name: z})

    return hook


def _correcting(inside: list[int], put: torch.Tensor | None, layout: HeadLayout) -> Any:
    """A forward hook that adds what other values of some heads would change in a MultiheadAttention's output."""

    def hook(attention: nn.MultiheadAttention, args: tuple, kwargs: dict, output: tuple) -> tuple:
        z = head_values(attention, args, kwargs, slice(None)).unflatten(-1, (layout.heads, layout.width))
        z = z[..., inside, :]
        weight = attention.out_proj.weight.unflatten(1, (layout.heads, layout.width))[:, inside]
        wanted = 0 if put is None else (put.transpose(0, 1) if put.ndim == 3 else put).to(z)
        change = torch.einsum("ntkd,mkd->ntm", wanted - z, weight)
        return (output[0] + (change if attention.batch_first else change.transpose(0, 1)), *output[1:])

    return hook
