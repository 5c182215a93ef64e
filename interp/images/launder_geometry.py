"""Laundering by geometry: resize, crop, crop with a resize back, and the way through another size."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import numpy as np
from PIL import Image

from interp.errors import UnreadableImage
from interp.images.decode import MAX_PIXELS
from interp.images.launder_parameters import Number, number, word
from interp.images.launder_step import Step

FILTERS = {
    "bicubic": Image.Resampling.BICUBIC,
    "nearest": Image.Resampling.NEAREST,
    "bilinear": Image.Resampling.BILINEAR,
    "lanczos": Image.Resampling.LANCZOS,
}


@dataclass(frozen=True)
class Resize(Step):
    """Scaled by Pillow, which widens its kernel when it scales down (nearest excepted); stays at the new size.

    Attributes:
        factor: of both edges; an edge is rounded, and at least 1 pixel.
        filter: bicubic, nearest, bilinear or lanczos.

    >>> Resize(0.5).apply(Image.new("RGB", (9, 7)), np.random.default_rng(0)).size
    (4, 4)
    """

    name = "resize"
    example = "resize:0.5:lanczos"
    factor: Number = number(0.01, 8)
    filter: str = word(*FILTERS)

    def apply(self, image: Image.Image, rng: np.random.Generator) -> Image.Image:
        width, height = (max(1, round(edge * cast(float, self.factor))) for edge in image.size)
        if width * height > MAX_PIXELS:
            raise UnreadableImage(f"too large to launder: {width} × {height} pixels after {self}")
        return resized(image, (width, height), FILTERS[self.filter])


@dataclass(frozen=True)
class Crop(Step):
    """A part of the image with its proportions; stays at the smaller size.

    Attributes:
        share: of both edges that is kept, 0 to 1; an edge is rounded, and at least 1 pixel.
        x, y: where the part lies: 0 left or top, 0.5 centre, 1 right or bottom; `0-1` anywhere.
    """

    name = "crop"
    example = "crop:0.8"
    share: Number = number(0.01, 1)
    x: Number = number(0, 1, 0.5)
    y: Number = number(0, 1, 0.5)

    def apply(self, image: Image.Image, rng: np.random.Generator) -> Image.Image:
        share, x, y = (cast(float, value) for value in (self.share, self.x, self.y))
        return image if share == 1 else cropped(image, share, x, y)


@dataclass(frozen=True)
class CropBack(Step):
    """A part of the image, scaled back to the size of the whole.

    Attributes:
        share, x, y: as in `Crop`.
        filter: of the resize.
        edges: `swapped` cuts as many pixels from every side as the code of Frank et al. (2020) does, and scales to
            height × width, as it does by mistake; x and y do not matter.
    """

    name = "cropback"
    example = "cropback:0.8"
    share: Number = number(0.01, 1)
    x: Number = number(0, 1, 0.5)
    y: Number = number(0, 1, 0.5)
    filter: str = word(*FILTERS)
    edges: str = word("kept", "swapped")

    def apply(self, image: Image.Image, rng: np.random.Generator) -> Image.Image:
        share, x, y = (cast(float, value) for value in (self.share, self.x, self.y))
        if self.edges == "swapped":
            across, down = (int(edge * round(1 - share, 6) * 0.5) for edge in image.size)
            part = image.crop((across, down, image.width - across, image.height - down))
            return resized(part, (image.height, image.width), FILTERS[self.filter])
        part = image if share == 1 else cropped(image, share, x, y)
        return resized(part, image.size, FILTERS[self.filter])


@dataclass(frozen=True)
class Through(Step):
    """Scaled so that the shorter edge has some pixels, and back: fine structure goes, size and content stay.

    Attributes:
        edge: pixels of the shorter edge in between; the longer one is rounded.
        filter: of both resizes.

    >>> Through(8).apply(Image.new("RGB", (32, 16)), np.random.default_rng(0)).size
    (32, 16)
    """

    name = "through"
    example = "through:128"
    edge: Number = number(1, 1024, whole=True)
    filter: str = word(*FILTERS)

    def apply(self, image: Image.Image, rng: np.random.Generator) -> Image.Image:
        scale = cast(float, self.edge) / min(image.size)
        between = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
        if between[0] * between[1] > MAX_PIXELS:
            raise UnreadableImage(
                f"too large to launder: {between[0]} × {between[1]} pixels on the way of {self}"
            )
        return resized(resized(image, between, FILTERS[self.filter]), image.size, FILTERS[self.filter])


def cropped(image: Image.Image, share: float, x: float, y: float) -> Image.Image:
    """The part with `share` of both edges at the relative place (x, y)."""
    width, height = (max(1, round(edge * share)) for edge in image.size)
    left, top = int(x * (image.width - width)), int(y * (image.height - height))
    return image.crop((left, top, left + width, top + height))


def resized(image: Image.Image, size: tuple[int, int], filter: Image.Resampling) -> Image.Image:
    """The image at (width, height), untouched if it has this size."""
    return image if size == image.size else image.resize(size, filter)
