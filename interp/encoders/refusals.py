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
    "ResNet": _CONVOLUTION,
    "RegNet": _CONVOLUTION,
    "ConvNext": _CONVOLUTION,
    "EfficientNet": _CONVOLUTION,
    "MobileNet": _CONVOLUTION,
    "BitModel": _CONVOLUTION,
    "Swin": _STAGES,
    "Hiera": _STAGES,
    "Pvt": _STAGES,
    "Cvt": _STAGES,
    "Levit": _STAGES,
    "Dinat": _STAGES,
    "Segformer": _STAGES,
    "MaxViT": _STAGES,
    "Bert": POST_NORM,
    "Roberta": POST_NORM,
    "ViTMAE": "it hides three quarters of the patches at random; load its weights into a ViTModel",
    "MLCD": "its attention runs with the tokens before the images, (tokens, n, D)",
}
"""Why the heads of a model cannot be recorded, by a part of one of its classes' names."""

STILL = "its embedding can still be used wherever one vector for each image is read; its heads cannot"


def refusal(model: nn.Module, families: Sequence[Family], reasons: Sequence[str]) -> InputError:
    """The error for a model in which no family's tower was found whole.

    Args:
        model: what was given.
        families: what was looked for.
        reasons: why towers that were found did not fit.
    """
    classes = list(dict.fromkeys(type(module).__name__ for module in model.modules()))
    towers = {family.tower: family for family in families}
    given = type(model).__name__
    if reasons:
        return InputError(
            f"{given} holds a known tower, but not one that can be taken apart: {'; '.join(dict.fromkeys(reasons))}. "
            f"{STILL[0].upper()}{STILL[1:]}, unless a Family of your own describes another pooling "
            "(interp.Family, family=)."
        )
    for name in classes:
        for part, reason in REASONS.items():
            if part in name and "Text" not in name:
                return InputError(f"the heads of {given} ({name}) cannot be recorded: {reason}. {STILL}.")
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
        f"which its docstring shows for a whole model, and pass it as family=. Without that, {STILL}."
    )
