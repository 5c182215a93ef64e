"""What to say of a model whose heads cannot be recorded: why not, and what can still be done."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from typing import TYPE_CHECKING

from interp.encoders.families import Family
from interp.errors import InputError

if TYPE_CHECKING:
    from torch import nn

POST_NORM = (
    "a LayerNorm lies on the residual stream after every layer, so that nothing a layer adds reaches the "
    "embedding as a term of a sum"
)
_CONVOLUTION = "it is made of convolutions and has no attention heads"
_STAGES = "its tokens are merged from stage to stage, so that no token runs through all layers"

REASONS = {
    "resnet": _CONVOLUTION,
    "regnet": _CONVOLUTION,
    "convnext": _CONVOLUTION,
    "efficientnet": _CONVOLUTION,
    "mobilenet": _CONVOLUTION,
    "bitmodel": _CONVOLUTION,
    "swin": _STAGES,
    "hiera": _STAGES,
    "pvt": _STAGES,
    "cvt": _STAGES,
    "levit": _STAGES,
    "dinat": _STAGES,
    "segformer": _STAGES,
    "maxvit": _STAGES,
    "bert": POST_NORM,
    "postblock": POST_NORM,
    "postnorm": POST_NORM,
    "vitmae": "it hides three quarters of the patches at random; load its weights into a ViTModel",
    "mlcd": "its attention runs with the tokens before the images, (tokens, n, D)",
}
"""Why the heads of a model cannot be recorded, by a part of one of its classes' names, in lower case."""

STILL = "Its embedding can still be used wherever one vector for each image is read; its heads cannot"


def refusal(
    model: nn.Module, families: Sequence[Family], reasons: Sequence[str], without_block: Sequence[str]
) -> InputError:
    """The error for a model in which no family's tower was found whole.

    Args:
        model: what was given.
        families: what was looked for.
        reasons: why towers that were found with their blocks did not fit.
        without_block: blocks that were looked for inside towers that hold none of them.
    """
    given = type(model).__name__
    vision = getattr(model, "vision_model", getattr(model, "visual", model))  # not the text beside it
    classes = list(dict.fromkeys(type(module).__name__ for module in vision.modules()))
    if reasons:
        return InputError(
            f"{given} holds a known tower whose heads cannot be taken apart: {'; '.join(dict.fromkeys(reasons))}. "
            f"{STILL}, unless a Family of your own (interp.Family) describes it"
        )
    for name in classes:
        for part, reason in REASONS.items():
            if part in name.lower():
                return InputError(f"the heads of {given} ({name}) cannot be recorded: {reason}. {STILL}")
    if without_block:
        return InputError(
            f"{given} holds a known tower without any of the parts that are looked for in it: "
            f"{', '.join(dict.fromkeys(without_block))}. {STILL}, unless a Family of your own (interp.Family) "
            "describes it, for one without a pooling head with pooling='mean'"
        )
    towers = {family.tower: family for family in families}
    scored = [
        (difflib.SequenceMatcher(None, name.lower(), tower.lower()).ratio(), name, tower)
        for name in classes
        for tower in towers
    ]
    _, name, tower = max(scored)
    known = ", ".join(dict.fromkeys(f"{f.name} ({f.tower})" for f in families))
    return InputError(
        f"{given} contains no vision tower of a known family; looked for {known}. The nearest is "
        f"{towers[tower].name!r} ({tower}, for your {name}). Describe your model's parts with interp.Family, "
        f"whose docstring shows it for a whole model, and pass it as family=. {STILL} until then"
    )
