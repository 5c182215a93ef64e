"""What a model family calls its parts, and how they are found in any model of it: by type, never by path."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from interp.errors import InputError

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class Family:
    """The class and attribute names of one family of vision transformers with a class token at position 0.

    Attributes:
        name: what the family is called in messages and stores.
        tower: class of the module that holds the blocks and the final LayerNorm.
        block: class of one pre-norm transformer block.
        attention: class of the attention inside a block.
        output_projection: attribute of the attention: the Linear that reads all heads side by side (W_O).
        mlp: class of the MLP inside a block, whose output is added to the residual stream as it is.
        final_norm: attribute of the tower: the LayerNorm that the class token leaves through.
        projection: attribute, on the tower or on a module around it, of the Linear into the joint
            image-text space; empty where the family has none.

    A user's own model needs one of these and nothing else:

    >>> Family("mine", tower="MyTower", block="MyBlock", attention="MyAttention", output_projection="proj",
    ...        mlp="MyMLP", final_norm="norm").projection
    ''
    """

    name: str
    tower: str
    block: str
    attention: str
    output_projection: str
    mlp: str
    final_norm: str
    projection: str = ""


FAMILIES = (
    Family(
        "clip",
        tower="CLIPVisionModel",
        block="CLIPEncoderLayer",
        attention="CLIPAttention",
        output_projection="out_proj",
        mlp="CLIPMLP",
        final_norm="post_layernorm",
        projection="visual_projection",
    ),
    Family(
        "vit",
        tower="ViTModel",
        block="ViTLayer",
        attention="ViTAttention",
        output_projection="o_proj",
        mlp="ViTMLP",
        final_norm="layernorm",
    ),
    Family(
        "deit",
        tower="DeiTModel",
        block="DeiTLayer",
        attention="DeiTAttention",
        output_projection="o_proj",
        mlp="DeiTMLP",
        final_norm="layernorm",
    ),
)


@dataclass(frozen=True)
class Parts:
    """The modules of one model that the recorder listens to and the readout is made from."""

    family: Family
    blocks: tuple[nn.Module, ...]
    output_projections: tuple[nn.Module, ...]
    mlps: tuple[nn.Module, ...]
    final_norm: nn.Module
    projection: nn.Module | None
    heads: int
    width: int


def find_parts(model: nn.Module, family: Family | None = None) -> Parts:
    """Find a model's blocks, output projections, MLPs, final LayerNorm and projection.

    Args:
        model: any module that contains one vision tower of a known family, at any depth.
        family: the names to look for; by default every known family is tried.

    Raises:
        InputError: no tower is found, or its parts are not what the family says.
    """
    candidates = (family,) if family else FAMILIES
    for candidate in candidates:
        tower = next(_of_class(model, candidate.tower), None)
        if tower is not None:
            return _parts_of(model, tower, candidate)
    known = ", ".join(f"{f.name} ({f.tower})" for f in candidates)
    raise InputError(
        f"{type(model).__name__} contains no vision tower of a known family; looked for {known}. "
        "Describe your model's parts with interp.encoders.family.Family and pass it as family=."
    )


def _parts_of(model: nn.Module, tower: nn.Module, family: Family) -> Parts:
    blocks = tuple(_of_class(tower, family.block))
    attentions = [_only(block, family.attention, family) for block in blocks]
    if not blocks:
        raise InputError(f"the {family.tower} holds no {family.block}; check the Family description {family}")
    outputs = tuple(_attribute(attention, family.output_projection, family) for attention in attentions)
    heads = _number_of_heads(attentions[0])
    return Parts(
        family=family,
        blocks=blocks,
        output_projections=outputs,
        mlps=tuple(_only(block, family.mlp, family) for block in blocks),
        final_norm=_attribute(tower, family.final_norm, family),
        projection=_projection(model, tower, family.projection),
        heads=heads,
        width=int(outputs[0].in_features) // heads,  # type: ignore[arg-type]
    )


def _of_class(module: nn.Module, name: str) -> Iterator[nn.Module]:
    """Submodules whose class, or a parent class, is called `name`, in order."""
    return (m for m in module.modules() if any(c.__name__ == name for c in type(m).__mro__))


def _only(block: nn.Module, name: str, family: Family) -> nn.Module:
    found = list(_of_class(block, name))
    if len(found) != 1:
        raise InputError(
            f"a {family.block} of family {family.name!r} holds {len(found)} {name}, expected one"
        )
    return found[0]


def _attribute(module: nn.Module, name: str, family: Family) -> nn.Module:
    found = getattr(module, name, None)
    if found is None:
        raise InputError(f"{type(module).__name__} of family {family.name!r} has no attribute {name!r}")
    return found


def _projection(model: nn.Module, tower: nn.Module, name: str) -> nn.Module | None:
    """The projection that hangs on a module around the tower, if there is one."""
    around = (m for m in model.modules() if any(child is tower for child in m.modules()))
    return next((getattr(m, name) for m in around if name and hasattr(m, name)), None)


def _number_of_heads(attention: nn.Module) -> int:
    for name in ("num_heads", "num_attention_heads", "n_heads", "heads"):
        if isinstance(value := getattr(attention, name, None), int):
            return value
    raise InputError(
        f"{type(attention).__name__} does not say how many heads it has (no num_heads attribute)"
    )
