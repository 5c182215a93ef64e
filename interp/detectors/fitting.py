"""What each published head was fitted to: encoder, activation, features, preprocessing; and refusing anything else."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from interp.errors import InputError
from interp.images.preprocess import Preprocessing

if TYPE_CHECKING:
    from interp.encoders.encoder import Encoder
    from interp.features.store import FeatureStore

RESIZED = Preprocessing.clip()
CROPPED = Preprocessing(None, RESIZED.crop, RESIZED.resample, RESIZED.scale, RESIZED.mean, RESIZED.std)
"""CLIP's colours and a centre crop at native size: no resize; zeros around an image smaller than the crop."""
OPENAI = "openai/clip-vit-large-patch14"
RINE_ENCODERS = {(24, 1024): OPENAI, (12, 768): "openai/clip-vit-base-patch32"}
"""The encoder behind a RINE head that reads so many blocks of such a width."""


@dataclass(frozen=True)
class Given:
    """An encoder as a head sees it; `activation` is None where it is not known, `layers` and widths always are."""

    name: str
    activation: str | None
    joint: int
    wide: int
    layers: int

    @classmethod
    def encoder(cls, encoder: Encoder) -> Given:
        """What an encoder says of itself."""
        config = getattr(encoder.model, "config", None)
        activation = getattr(getattr(config, "vision_config", config), "hidden_act", None)
        wide = encoder.readout.norm_weight.shape[0]
        return cls(encoder.name, activation, encoder.width, wide, encoder.layout.layers)

    @classmethod
    def store(cls, store: FeatureStore) -> Given:
        """What a store says of the encoder that made it."""
        made_by, readout = store.key["encoder"], store.readout
        joint, wide = readout.projection.shape[1], readout.norm_weight.shape[0]
        return cls(made_by["name"], made_by.get("activation"), joint, wide, readout.layout.layers)


@dataclass(frozen=True)
class Fitting:
    """What a published head was fitted to, and so must be given.

    Attributes:
        encoder: hub id of the encoder.
        activation: of its MLPs; the same shapes with another activation give other features, silently.
        features: what is read: embedding, next_to_last, or mlp_inputs (the token before each block's MLP).
        width: of the features.
        preprocessing: how the authors' test code prepares an image.
        layers: blocks that are read; 0 where only the last token is.
    """

    encoder: str
    activation: str
    features: str
    width: int
    preprocessing: Preprocessing
    layers: int = 0

    @classmethod
    def rine(cls, shape: tuple[int, int], where: object) -> Fitting:
        """The encoder behind a RINE head, from the (layers, width) that it reads.

        Raises:
            InputError: no published encoder has that shape.
        """
        if shape not in RINE_ENCODERS:
            known = ", ".join(
                f"{layers} × {width} ({name})" for (layers, width), name in RINE_ENCODERS.items()
            )
            raise InputError(f"{where} reads {shape[0]} blocks of width {shape[1]}; known are {known}")
        return cls(RINE_ENCODERS[shape], "quick_gelu", "mlp_inputs", shape[1], CROPPED, shape[0])

    def refuse_shape(self, head: str, given: Given) -> None:
        """Raise where an encoder's width or number of blocks is not what the head reads."""
        has = given.joint if self.features == "embedding" else given.wide
        if self.width != has or self.layers not in (0, given.layers):
            blocks = (f" of {self.layers} blocks", f" of {given.layers}") if self.layers else ("", "")
            raise InputError(
                f"{head} reads {self.width} columns{blocks[0]} ({self.features} of {self.encoder}); {given.name} "
                f"gives {has}{blocks[1]}. Use {self.encoder}"
            )

    def refuse_model(self, head: str, given: Given) -> None:
        """Raise where an encoder of the right shape is another model, or runs with another activation."""
        same = given.name in (self.encoder, self.encoder.split("/")[1])
        if not same or given.activation not in (None, self.activation):
            found = f"{given.name} ({given.activation})" if given.activation else given.name
            raise InputError(
                f"{head} was fitted to {self.encoder} ({self.activation}), not to {found}. Other weights of the same "
                f"shape give scores without meaning and no error. Use {self.encoder}, or pass "
                "allow_other_encoder=True to do it knowingly"
            )

    def refuse_preprocessing(self, head: str, given: Mapping[str, Any]) -> None:
        """Raise where images were prepared in another way than in the authors' test code."""
        expected = self.preprocessing.spec()
        changed = [
            f"{name} {given.get(name)!r}, not {value!r}"
            for name, value in expected.items()
            if given.get(name) != value
        ]
        if changed:
            raise InputError(
                f"{head} was tested with other preprocessing: the store has {'; '.join(changed)}. Extract with "
                "head.prepare(encoder), or pass allow_other_preprocessing=True and say so"
            )


UFD, GRIP, RINE = "universal-fake-detect", "grip-few-shot", "rine"
LINEAR = {
    # Ojha, Li and Lee 2023, arXiv 2302.10174: the joint embedding as it is
    UFD: Fitting(OPENAI, "quick_gelu", "embedding", 768, CROPPED),
    # Cozzolino et al. 2024, arXiv 2312.00195: the next-to-last token at unit length
    GRIP: Fitting("laion/CLIP-ViT-L-14-CommonPool.XL-s13B-b90K", "gelu", "next_to_last", 1024, RESIZED),
}
"""Linear heads; RINE (Koutlis and Papadopoulos 2024, arXiv 2402.19091) says its shape itself, see `Fitting.rine`."""
KINDS = (*LINEAR, RINE)
"""The published heads that `load_released_head` knows."""
GRIP_ARCH = "opencliplinearnext_clipL14commonpool"
"""What the config.yaml beside the released few-shot weights calls the one architecture that is known."""
