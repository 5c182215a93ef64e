"""Laundering: what happens to an image between its maker and its judge, written short and made again exactly."""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
from PIL import Image, features

from interp.errors import InputError, unknown_name
from interp.images.launder_codecs import Avif, DoubleJpeg, Jpeg, Palette, Webp
from interp.images.launder_geometry import Crop, CropBack, Resize, Through
from interp.images.launder_parameters import read_number
from interp.images.launder_pixels import Blur, Contrast, Gamma, KernelBlur, Noise, Sharpen, Shot
from interp.images.launder_step import Sometimes, Step
from interp.images.launder_uploads import Messenger, Screenshot, Social, Upload, VipCup
from interp.images.print_scan import PrintScan
from interp.images.seeds import derive_seed
from interp.images.vae import Vae

_KINDS: tuple[type[Step], ...] = (
    *(Jpeg, DoubleJpeg, Webp, Avif, Palette),
    *(Resize, Crop, CropBack, Through),
    *(Blur, KernelBlur, Sharpen, Noise, Shot, Gamma, Contrast),
    *(Upload, Messenger, Social, VipCup, Screenshot, PrintScan),
    Vae,
)
STEPS: dict[str, type[Step]] = {kind.name: kind for kind in _KINDS}
"""Every step by the first word of its text."""

_JOINTS = re.compile(r"\+(?![^(]*\))")  # a plus that stands in no parentheses


@dataclass(frozen=True)
class Laundering:
    """A chain of steps, written `resize:0.5:lanczos+jpeg:75`; `none` is the empty chain.

    A number may be a range (`jpeg:30-100`) or a choice (`jpeg:50|90`), and steps may have a chance
    (`blur:0-3@0.5`, `(blur:2+jpeg:50)@0.5`). Everything drawn depends on the image's key, the chain's text and
    `random_state` alone, so any pixel can be made again: in another process, in another order, on another machine
    with the same versions of Pillow, NumPy and SciPy.

    Attributes:
        steps: in the order in which they happen.

    >>> chain = Laundering.parse("resize:0.5:lanczos + jpeg:30-100")
    >>> str(chain), str(chain.drawn("photos/1.png"))
    ('resize:0.5:lanczos+jpeg:30-100', 'resize:0.5:lanczos+jpeg:46')
    >>> chain.apply(Image.new("RGB", (64, 32)), "photos/1.png").size
    (32, 16)
    """

    steps: tuple[Step | Sometimes, ...] = ()

    @classmethod
    def parse(cls, text: str) -> Laundering:
        """Read steps joined by `+`; docs/laundering.md lists them all.

        Raises:
            InputError: an unknown step, with the nearest one, or a value that it does not take.

        >>> Laundering.parse("jpg:75")
        Traceback (most recent call last):
        interp.errors.InputError: unknown laundering step 'jpg'; did you mean 'jpeg'? Known: avif, blur, ...
        """
        words = text.strip()
        if words.lower() == "none":
            return cls()
        return cls(tuple(_read_step(part.strip()) for part in _JOINTS.split(words)))

    def __str__(self) -> str:
        """The text that `parse` reads back."""
        return "+".join(str(step) for step in self.steps) or "none"

    def drawn(self, key: str, random_state: int = 0) -> Laundering:
        """What one image gets: every range, choice and chance drawn, pipelines written out step by step.

        Args:
            key: of the image.
            random_state: seed of all draws.
        """
        return Laundering(tuple(step for steps in self._drawn(key, random_state) for step in steps))

    def apply(self, image: Image.Image, key: str, random_state: int = 0) -> Image.Image:
        """The laundered image.

        Args:
            image: in mode RGB.
            key: of the image; another key gets other noise and other draws.
            random_state: seed of all draws.

        Returns:
            In mode RGB, without metadata; some steps change its size.

        Raises:
            InputError: the image is not RGB, or a step misses a library or a model.
            UnreadableImage: this image cannot go through a step, such as one too large for a format.
        """
        if image.mode != "RGB":
            raise InputError(
                f"expected an RGB image, got mode {image.mode!r}; decode it with read_image first"
            )
        if image.info:
            image = image.copy()
            image.info = {}  # Pillow would write a comment or profile found there into the file
        for place, steps in enumerate(self._drawn(key, random_state)):
            rng = self._rng("noise", key, random_state, place)
            for step in steps:
                image = step.apply(image, rng)
        return image

    def _drawn(self, key: str, random_state: int) -> list[tuple[Step, ...]]:
        return [
            step.draw(self._rng("draws", key, random_state, place)) for place, step in enumerate(self.steps)
        ]

    def _rng(self, use: str, key: str, random_state: int, place: int) -> np.random.Generator:
        return np.random.default_rng(derive_seed("laundering", use, random_state, key, str(self), place))


def as_laundering(given: Laundering | str | None) -> Laundering | None:
    """A laundering as an argument gives it; None where nothing happens.

    >>> as_laundering("none") is None, as_laundering("jpeg:50") == Laundering.parse("jpeg:50")
    (True, True)
    """
    chain = Laundering.parse(given) if isinstance(given, str) else given
    return chain if chain is not None and chain.steps else None


def codec_versions() -> dict[str, str]:
    """Versions of the libraries inside Pillow that decide what pixels a codec makes; missing ones are left out."""
    asked = {"libjpeg_turbo": "libjpeg_turbo", "libwebp": "webp", "libavif": "avif"}
    found = {name: features.version(what) for name, what in asked.items()}
    return {name: version for name, version in found.items() if version}


def _read_step(text: str) -> Step | Sometimes:
    words, at, chance = text.rpartition("@")
    if not at:
        return _read_plain_step(text)
    grouped = words.startswith("(") and words.endswith(")")
    parts = words[1:-1].split("+") if grouped else [words]
    steps = tuple(_read_plain_step(part.strip()) for part in parts)
    value = read_number(chance.strip())
    if not isinstance(value, float):
        raise InputError(
            f"cannot read the chance {chance!r} in {text!r}; write STEP@CHANCE, for example 'jpeg:75@0.5'"
        )
    return Sometimes(steps, value)


def _read_plain_step(text: str) -> Step:
    name, _, given = text.partition(":")
    kind = STEPS.get(name.strip().lower())
    if kind is None:
        raise unknown_name("laundering step", name.strip(), STEPS)
    return kind.read(given.strip())
