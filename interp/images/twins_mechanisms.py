"""Mechanisms that turn a photograph into its twin: the same content, through one part of a generator."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, cast

import numpy as np
from PIL import Image
from scipy import ndimage

from interp.errors import InputError, unknown_name
from interp.images.launder_parameters import Number, number
from interp.images.launder_step import Step
from interp.images.twins_diffusion import Denoise, Inpaint
from interp.images.vae import Vae

PREFIX = "twin-"
"""How the name that a twin's mechanism has in the column `generator` begins."""


@dataclass(frozen=True)
class Upsampling(Step):
    """Scaled down by the mean of factor × factor pixels, and up again: a generator's last layer.

    Edges are filled up to whole blocks by repeating the last row and column, and cut off again.

    Attributes:
        factor: 2 to 8; `2|4` draws one of them for each image.

    >>> Nearest().apply(Image.new("RGB", (5, 3), "red"), np.random.default_rng(0)).size
    (5, 3)
    """

    factor: Number = number(2, 8, 2, whole=True)
    kernel: ClassVar[Image.Resampling]

    def apply(self, image: Image.Image, rng: np.random.Generator) -> Image.Image:
        factor = int(cast(int, self.factor))
        tones = np.asarray(image, np.float32)
        fill = [(0, -edge % factor) for edge in tones.shape[:2]]
        tones = np.pad(tones, (*fill, (0, 0)), mode="edge")
        height, width = tones.shape[0] // factor, tones.shape[1] // factor
        small = tones.reshape(height, factor, width, factor, 3).mean(axis=(1, 3))
        return as_image(self.enlarged(small, factor, rng)[: image.height, : image.width])

    def enlarged(self, small: np.ndarray, factor: int, rng: np.random.Generator) -> np.ndarray:
        """Grey levels (factor · height, factor · width, 3) of levels (height, width, 3), float32."""
        size = factor * small.shape[1], factor * small.shape[0]
        bands = [Image.fromarray(small[..., c]).resize(size, self.kernel) for c in range(3)]
        return np.stack([np.asarray(band) for band in bands], axis=-1)


@dataclass(frozen=True)
class Nearest(Upsampling):
    """Each pixel repeated (Frank et al. 2020)."""

    name = "nearest"
    example = "nearest:2"
    kernel = Image.Resampling.NEAREST


@dataclass(frozen=True)
class Bilinear(Upsampling):
    """Linear between pixels (Frank et al. 2020)."""

    name = "bilinear"
    example = "bilinear:2"
    kernel = Image.Resampling.BILINEAR


@dataclass(frozen=True)
class Bicubic(Upsampling):
    """Cubic convolution, a = -0.5."""

    name = "bicubic"
    example = "bicubic:2"
    kernel = Image.Resampling.BICUBIC


@dataclass(frozen=True)
class Lanczos(Upsampling):
    """A sinc of three lobes."""

    name = "lanczos"
    example = "lanczos:2"
    kernel = Image.Resampling.LANCZOS


@dataclass(frozen=True)
class Checkerboard(Upsampling):
    """A transposed convolution whose kernel covers pixels unevenly (Odena et al. 2016).

    Zeros are put between the pixels, and a triangle of 2 · factor - 1 weights runs over rows and columns; it would
    cover all pixels evenly but for its middle, which each image and colour draws 2 to 10 % too heavy or too light.
    """

    name = "checkerboard"
    example = "checkerboard:2"

    def enlarged(self, small: np.ndarray, factor: int, rng: np.random.Generator) -> np.ndarray:
        found = np.zeros((factor * small.shape[0], factor * small.shape[1], 3), np.float32)
        found[::factor, ::factor] = small
        uneven = rng.choice([-1, 1]) * rng.uniform(0.02, 0.1, 3)
        ramp = np.arange(1, factor + 1) / factor
        for c in range(3):
            kernel = np.concatenate([ramp, ramp[-2::-1]])
            kernel[factor - 1] += uneven[c]
            for axis in (0, 1):
                found[..., c] = ndimage.convolve1d(found[..., c], kernel, axis=axis, mode="grid-wrap")
            found[..., c] /= (1 + uneven[c] / factor) ** 2
        return found


FAMILIES: dict[str, tuple[type[Step], ...]] = {
    "upsampling": (Nearest, Bilinear, Bicubic, Lanczos, Checkerboard),
    "autoencoder": (Vae,),
    "diffusion": (Denoise,),
    "inpainting": (Inpaint,),
}
"""Every mechanism by its family."""

MECHANISMS: dict[str, type[Step]] = {kind.name: kind for kinds in FAMILIES.values() for kind in kinds}
"""Every mechanism by the first word of its text."""


@dataclass(frozen=True)
class Mechanism:
    """One mechanism as it is called in tables.

    Attributes:
        step: what happens to a photograph.
        name: in the column `generator`, such as "twin-nearest"; of a model only the last part of its path.
        family: upsampling, autoencoder, diffusion or inpainting.

    >>> Mechanism.read("vae:models/taef2").name, Mechanism.read("bicubic:4").name, Mechanism.read("bicubic:2").name
    ('twin-vae-taef2', 'twin-bicubic-4', 'twin-bicubic')
    >>> Mechanism.read("bilinar")
    Traceback (most recent call last):
    interp.errors.InputError: unknown mechanism 'bilinar'; did you mean 'bilinear'? Known: bicubic, bilinear, ...
    """

    step: Step
    name: str
    family: str

    @classmethod
    def read(cls, text: str) -> Mechanism:
        """Read `NAME:VALUE:…`.

        Raises:
            InputError: an unknown mechanism, or a value that it does not take.
        """
        word, _, given = text.strip().partition(":")
        kind = MECHANISMS.get(word.strip().lower())
        if kind is None:
            raise unknown_name("mechanism", word.strip(), MECHANISMS)
        step = kind.read(given.strip())
        if isinstance(step, Inpaint) and step.source.partition(":")[0].lower() in MECHANISMS:
            inner = cls.read(step.source).step
            if isinstance(inner, Inpaint):
                raise InputError(f"inpainting cannot hold inpainting; got {text!r}. Write {Inpaint.form()}")
            step = replace(step, source=str(inner), inner=inner)
        return cls(
            step, PREFIX + _short(str(step)), next(f for f, kinds in FAMILIES.items() if kind in kinds)
        )


def read_mechanisms(texts: Sequence[str]) -> tuple[Mechanism, ...]:
    """Read several mechanisms, which need different names.

    Raises:
        InputError: none is given, one cannot be read, or two have one name.
    """
    if isinstance(texts, str) or not texts:
        raise InputError(
            f"give a list of mechanisms such as ['nearest', 'vae:FOLDER']; got {texts!r}. "
            f"Known: {', '.join(MECHANISMS)}"
        )
    read = tuple(map(Mechanism.read, texts))
    by_name: dict[str, str] = {}
    for text, one in zip(texts, read, strict=True):
        if by_name.setdefault(one.name, text) != text or texts.count(text) > 1:
            raise InputError(
                f"two mechanisms are called {one.name!r} ({by_name[one.name]} and {text}); make them in two sets, "
                "or rename the model's folder"
            )
    return read


def _short(text: str) -> str:
    """A mechanism's text without its model's path, in characters that file names allow."""
    parts = [re.split(r"[/\\]", part.rstrip("/\\"))[-1] for part in text.split(":")]
    return "-".join(re.sub(r"[^\w.]+", "-", part).strip("-") for part in parts if part)


def as_image(tones: np.ndarray) -> Image.Image:
    """Grey levels (height, width, 3), float, as an RGB image; rounded and cut to 0…255."""
    return Image.fromarray(np.clip(np.rint(tones), 0, 255).astype(np.uint8))
