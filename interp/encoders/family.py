"""How a family's parts are found in any model of it: by type, never by path."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import reduce

from torch import Tensor, nn

from interp.encoders.families import FAMILIES, Family
from interp.encoders.refusals import POST_NORM, refusal
from interp.errors import InputError


@dataclass(frozen=True)
class Parts:
    """The modules of one model that the recorder listens to and the readout is made from.

    Attributes:
        family: the description that fitted.
        tower: the module that holds the blocks.
        blocks: one for each layer; the pooling head alone where pooling is by attention.
        attentions, output_projections: one for each block.
        mlps: one for each block, or none at all.
        attention_scales, mlp_scales: layer scale of each block, (D,), or None.
        final_norm: LayerNorm or RMSNorm, or None.
        projection: a Linear, a (D, P) parameter, or None.
        embeds: the module whose output is the embedding, or the tokens that the embedding is taken from.
        prefix_tokens: leading tokens that a mean leaves out.
        heads, width: in one attention.
    """

    family: Family
    tower: nn.Module
    blocks: tuple[nn.Module, ...]
    attentions: tuple[nn.Module, ...]
    output_projections: tuple[nn.Module, ...]
    mlps: tuple[nn.Module, ...]
    attention_scales: tuple[Tensor | None, ...]
    mlp_scales: tuple[Tensor | None, ...]
    final_norm: nn.Module | None
    projection: nn.Module | nn.Parameter | None
    embeds: nn.Module
    prefix_tokens: int
    heads: int
    width: int

    @property
    def centred(self) -> bool:
        """Whether the final norm subtracts each token's mean, as LayerNorm does."""
        return isinstance(self.final_norm, nn.LayerNorm)


def find_parts(model: nn.Module, family: Family | None = None) -> Parts:
    """Find a model's blocks, output projections, MLPs, final norm and projection.

    Args:
        model: any module that contains one vision tower of a known family, at any depth.
        family: the names to look for; by default every known family is tried.

    Raises:
        InputError: no tower is found, or its parts are not what the family says.
    """
    if family is not None:
        tower = next(_of_class(model, family.tower), None)
        if tower is None:
            raise refusal(model, (family,), (), ())
        return _parts_of(model, tower, family)
    reasons: list[str] = []
    without_block: list[str] = []
    for candidate in FAMILIES:
        tower = next(_of_class(model, candidate.tower), None)
        if tower is None:
            continue
        if next(_of_class(tower, candidate.block), None) is None:
            without_block.append(candidate.block)
            continue
        try:
            return _parts_of(model, tower, candidate)
        except InputError as error:
            reasons.append(str(error))
    raise refusal(model, FAMILIES, reasons, without_block)


def _parts_of(model: nn.Module, tower: nn.Module, family: Family) -> Parts:
    for name, value in family.only_if:
        if hasattr(tower, name) and (found := getattr(tower, name)) != value:
            shown = type(found).__name__ if isinstance(found, nn.Module) else repr(found)
            raise InputError(f"the {family.tower} has {name}={shown}, not {value!r}")
    blocks = tuple(_of_class(tower, family.block))
    if not blocks:
        raise InputError(f"the {family.tower} holds no {family.block}; check the Family description {family}")
    if any(getattr(block, "norm_first", True) is False for block in blocks):
        raise InputError(f"{type(blocks[0]).__name__} is post-norm: {POST_NORM}")
    attentions = tuple(_only(block, family.attention, family) for block in blocks)
    outputs = tuple(_attribute(attention, family.output_projection, family) for attention in attentions)
    if not isinstance(getattr(outputs[0], "weight", None), Tensor):
        raise InputError(f"{family.output_projection!r} of {family.attention} is no Linear: {outputs[0]}")
    _check_attention(attentions[0])
    norm = _final_norm(tower, family)
    projection, holder = _projection(model, tower, family.projection)
    heads = _number_of_heads(attentions[0])
    prefix = family.prefix_tokens
    return Parts(
        family=family,
        tower=tower,
        blocks=blocks,
        attentions=attentions,
        output_projections=outputs,
        mlps=tuple(_only(block, family.mlp, family) for block in blocks if family.mlp),
        attention_scales=tuple(_scale(block, family.attention_scale, family) for block in blocks),
        mlp_scales=tuple(_scale(block, family.mlp_scale, family) for block in blocks),
        final_norm=norm,
        projection=projection,
        embeds=holder or norm or blocks[-1],
        prefix_tokens=prefix if isinstance(prefix, int) else int(_attribute(tower, prefix, family)),  # type: ignore[arg-type]
        heads=heads,
        width=int(outputs[0].in_features) // heads,  # type: ignore[arg-type]
    )


def _of_class(module: nn.Module, names: str) -> Iterator[nn.Module]:
    """Submodules whose class, or a parent class, is called one of `names`, in order."""
    wanted = set(names.split("|"))
    return (m for m in module.modules() if any(c.__name__ in wanted for c in type(m).__mro__))


def _only(block: nn.Module, name: str, family: Family) -> nn.Module:
    found = list(_of_class(block, name))
    if len(found) != 1:
        raise InputError(
            f"a {type(block).__name__} of family {family.name!r} holds {len(found)} {name}, expected one"
        )
    return found[0]


def _attribute(module: nn.Module, name: str, family: Family) -> nn.Module:
    found = reduce(lambda inner, part: getattr(inner, part, None), name.split("."), module)
    if found is None:
        raise InputError(f"{type(module).__name__} of family {family.name!r} has no attribute {name!r}")
    return found


def _final_norm(tower: nn.Module, family: Family) -> nn.Module | None:
    if not family.final_norm:
        return None
    norm = _attribute(tower, family.final_norm, family)
    if not isinstance(norm, nn.LayerNorm) and "RMSNorm" not in type(norm).__name__:
        raise InputError(
            f"{family.final_norm!r} of {family.tower} is a {type(norm).__name__}; an embedding can be taken apart "
            "behind a LayerNorm, an RMSNorm, or no norm at all (final_norm='')"
        )
    return norm


def _scale(block: nn.Module, name: str, family: Family) -> Tensor | None:
    """A layer scale as its live (D,) tensor; None where there is none or it does nothing."""
    if not name:
        return None
    if not hasattr(block, name):
        raise InputError(f"{type(block).__name__} of family {family.name!r} has no attribute {name!r}")
    found = getattr(block, name)
    if found is None or isinstance(found, nn.Identity) or (isinstance(found, float) and found == 1):
        return None
    if isinstance(found, nn.Module) and len(list(found.parameters())) == 1:
        found = next(found.parameters())
    if not isinstance(found, Tensor) or found.ndim > 1:
        raise InputError(f"{name!r} of {type(block).__name__} is no layer scale of shape (D,): {found}")
    return found


def _projection(
    model: nn.Module, tower: nn.Module, name: str
) -> tuple[nn.Module | nn.Parameter | None, nn.Module | None]:
    """The projection on a module around the tower, and the module whose output is the embedding."""
    for around in model.modules():
        found = getattr(around, name, None) if name else None
        if found is None or isinstance(found, nn.Identity) or not any(m is tower for m in around.modules()):
            continue
        return found, (around if isinstance(found, nn.Parameter) else found)
    return None, None


def _number_of_heads(attention: nn.Module) -> int:
    for name in ("num_heads", "num_attention_heads", "n_heads", "heads"):
        if isinstance(value := getattr(attention, name, None), int):
            return value
    raise InputError(
        f"{type(attention).__name__} does not say how many heads it has (no num_heads attribute)"
    )


def _check_attention(attention: nn.Module) -> None:
    if isinstance(attention, nn.MultiheadAttention) and (
        attention.bias_k is not None or attention.add_zero_attn
    ):
        raise InputError(
            "a MultiheadAttention with add_bias_kv or add_zero_attn cannot be recomputed head by head"
        )
