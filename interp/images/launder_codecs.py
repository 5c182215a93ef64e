"""Laundering by lossy formats: JPEG once and twice, WebP, AVIF, and a palette."""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image, features

from interp.errors import InputError, UnreadableImage
from interp.images.launder_parameters import Number, number, word
from interp.images.launder_step import Step

_LONGEST = {"JPEG": 65_500, "WEBP": 16_383, "AVIF": 65_535}
_AVIF_SPEED = 9
_PALETTE_SIDE = 128  # the palette is chosen on at most this many columns and rows


@dataclass(frozen=True)
class Jpeg(Step):
    """Compressed with libjpeg's tables and decoded, as Pillow does it.

    Attributes:
        quality: 1 to 100.
        subsampling: of the chroma: 420, 422 or 444.
        channels: `bgr` compresses with red and blue exchanged, as code that hands RGB to OpenCV does.

    >>> Jpeg(75).apply(Image.new("RGB", (9, 7)), np.random.default_rng(0)).size
    (9, 7)
    """

    name = "jpeg"
    example = "jpeg:75"
    quality: Number = number(1, 100, whole=True)
    subsampling: str = word("420", "422", "444")
    channels: str = word("rgb", "bgr")

    def apply(self, image: Image.Image, rng: np.random.Generator) -> Image.Image:
        sampling = ":".join(self.subsampling)
        turned = _exchanged(image) if self.channels == "bgr" else image
        decoded = through_file(turned, "JPEG", quality=self.quality, subsampling=sampling)
        return _exchanged(decoded) if self.channels == "bgr" else decoded


@dataclass(frozen=True)
class DoubleJpeg(Step):
    """Compressed twice with 4:2:0; `shift` rows and columns are cut off in between, so the grids do not meet.

    Attributes:
        first, second: quality, 1 to 100.
        shift: pixels, 0 to 7.
    """

    name = "jpeg2"
    example = "jpeg2:90:70"
    first: Number = number(1, 100, whole=True)
    second: Number = number(1, 100, whole=True)
    shift: Number = number(0, 7, 0, whole=True)

    def apply(self, image: Image.Image, rng: np.random.Generator) -> Image.Image:
        once = through_file(image, "JPEG", quality=self.first, subsampling="4:2:0")
        shift = min(int(self.shift), once.width - 1, once.height - 1)  # pyright: ignore[reportArgumentType]
        if shift:
            once = once.crop((shift, shift, once.width, once.height))
        return through_file(once, "JPEG", quality=self.second, subsampling="4:2:0")


@dataclass(frozen=True)
class Webp(Step):
    """Compressed as lossy WebP with the encoder's default effort, and decoded.

    Attributes:
        quality: 0 to 100.
    """

    name = "webp"
    example = "webp:60"
    quality: Number = number(0, 100, whole=True)

    def apply(self, image: Image.Image, rng: np.random.Generator) -> Image.Image:
        _refuse_missing("webp")
        return through_file(image, "WEBP", quality=self.quality)


@dataclass(frozen=True)
class Avif(Step):
    """Compressed as AVIF with 4:2:0, speed 9, in one thread so that every machine gets the same bytes.

    Attributes:
        quality: 0 to 100.
    """

    name = "avif"
    example = "avif:50"
    quality: Number = number(0, 100, whole=True)

    def apply(self, image: Image.Image, rng: np.random.Generator) -> Image.Image:
        _refuse_missing("avif")
        options = {"subsampling": "4:2:0", "speed": _AVIF_SPEED, "max_threads": 1}
        return through_file(image, "AVIF", quality=self.quality, **options)


@dataclass(frozen=True)
class Palette(Step):
    """Few colours, as in a GIF: a median-cut palette of the image, with or without dithering.

    Attributes:
        colours: 2 to 256.
        dither: `floyd` (Floyd–Steinberg) or `plain`.
    """

    name = "palette"
    example = "palette:64"
    colours: Number = number(2, 256, whole=True)
    dither: str = word("floyd", "plain")

    def apply(self, image: Image.Image, rng: np.random.Generator) -> Image.Image:
        small = min(image.width, _PALETTE_SIDE), min(image.height, _PALETTE_SIDE)
        sample = image.resize(small, Image.Resampling.NEAREST)
        palette = sample.quantize(int(self.colours))  # pyright: ignore[reportArgumentType]
        dither = Image.Dither.FLOYDSTEINBERG if self.dither == "floyd" else Image.Dither.NONE
        return image.quantize(palette=palette, dither=dither).convert("RGB")


def through_file(image: Image.Image, format: str, **options: Any) -> Image.Image:
    """Encode an RGB image in memory and decode it again.

    Raises:
        UnreadableImage: an edge that the format cannot hold, or an encoder that gives up.
    """
    if max(image.size) > _LONGEST[format]:
        raise UnreadableImage(
            f"too large to launder: {format} holds edges up to {_LONGEST[format]:,} pixels, the image is "
            f"{image.width} × {image.height}"
        )
    buffer = io.BytesIO()
    try:
        image.save(buffer, format, **options)
    except OSError as error:
        raise UnreadableImage(f"cannot be laundered: the {format} encoder gave up ({error})") from error
    with Image.open(buffer, formats=[format]) as opened:
        decoded = opened.convert("RGB")
    decoded.info = {}  # of the file's header; nothing of it belongs to the pixels
    return decoded


def _exchanged(image: Image.Image) -> Image.Image:
    red, green, blue = image.split()
    return Image.merge("RGB", (blue, green, red))


def _refuse_missing(codec: str) -> None:
    if not features.check(codec):
        raise InputError(
            f"this Pillow was built without {codec.upper()}; install a wheel of Pillow 11.3 or later from PyPI, "
            "or leave this step out"
        )
