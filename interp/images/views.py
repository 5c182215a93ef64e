"""Several crops of each image at its own resolution: what one resize to 224 pixels would erase stays."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from interp.errors import InputError

if TYPE_CHECKING:
    from PIL import Image

    from interp.images.image_set import ImageSet

VIEW_OF, VIEW = "view_of", "view"
"""Columns of a set of views: the key of the whole image, and the number of the crop."""


@dataclass(frozen=True)
class Views:
    """Look at `number` crops of an image instead of one resized copy; no pixel is resampled.

    One 224-pixel resize removes much of the evidence that generation leaves. Each crop has the encoder's input
    size and is cut out at native resolution: 1 is the centre, 5 the centre and the four corners, and a square
    number k² a k × k grid that reaches all borders. An image smaller than a crop is continued by its own mirror
    image, not scaled up, because scaling up leaves a trace of its own.

    Attributes:
        number: 1, 4, 5, 9, 16, 25, …

    Raises:
        InputError: another number.

    >>> Views(5).corners(300, 224, 224)
    [(38, 0), (0, 0), (76, 0), (0, 0), (76, 0)]
    """

    number: int

    def __post_init__(self) -> None:
        if self.number != 5 and (self.number < 1 or math.isqrt(self.number) ** 2 != self.number):
            raise InputError(
                f"{self.number} views cannot be laid out; give 1 (centre), 5 (centre and corners), or a square "
                "number such as 4 or 9"
            )

    @classmethod
    def parse(cls, text: str | int | None) -> Views | None:
        """Read a number, or `none`.

        >>> Views.parse("9"), Views.parse("none")
        (Views(number=9), None)
        """
        words = str(text).strip().lower()
        if words in ("none", ""):
            return None
        if not words.isdecimal():
            raise InputError(f"cannot read the number of views {text!r}; give 1, 4, 5, 9, 16, or none")
        return cls(int(words))

    def __str__(self) -> str:
        """The text that `parse` reads back."""
        return str(self.number)

    def corners(self, width: int, height: int, edge: int) -> list[tuple[int, int]]:
        """(left, top) of each crop with this edge, in pixels, in an image at least that large."""
        right, bottom = width - edge, height - edge
        if self.number == 1:
            return [(right // 2, bottom // 2)]
        if self.number == 5:
            return [(right // 2, bottom // 2), (0, 0), (right, 0), (0, bottom), (right, bottom)]
        steps = np.linspace(0, 1, math.isqrt(self.number))
        return [(round(right * x), round(bottom * y)) for y in steps for x in steps]

    def crop(self, image: Image.Image, view: int, size: tuple[int, int]) -> np.ndarray:
        """One crop of an RGB image.

        Args:
            image: in mode RGB.
            view: which one, from 0.
            size: (height, width) of the crop in pixels; equal, as every encoder's input here is square.

        Returns:
            (3, height, width), uint8.

        Raises:
            InputError: another shape than a square.
        """
        if size[0] != size[1]:
            raise InputError(f"views are square; the encoder wants {size[0]} × {size[1]} pixels")
        edge = size[0]
        pixels = np.asarray(image)
        short = [max(0, edge - side) for side in pixels.shape[:2]]
        if any(short):
            around = [(missing // 2, missing - missing // 2) for missing in short]
            pixels = np.pad(pixels, (*around, (0, 0)), mode="symmetric")
        left, top = self.corners(pixels.shape[1], pixels.shape[0], edge)[view]
        return np.ascontiguousarray(pixels[top : top + edge, left : left + edge].transpose(2, 0, 1))


def with_views(images: ImageSet, views: Views) -> ImageSet:
    """A set with a row for each view of each image, keyed `KEY#0`, `KEY#1`, …; the rows of an image stay together.

    The columns `view_of` (the key of the whole image) and `view` are added; label, generator and group are the
    image's own, so that a protocol never splits the views of one image.

    >>> from pathlib import Path
    >>> from interp.images.image_set import ImageSet
    >>> from interp.images.manifest import standardise
    >>> images = ImageSet(standardise(pd.DataFrame({"label": ["0"]}), ["a.png"]), Path("photos"))
    >>> crops = with_views(images, Views(4))
    >>> crops.keys.tolist()[:2], crops.path("a.png#1").as_posix(), crops.table["group"].nunique()
    (['a.png#0', 'a.png#1'], 'photos/a.png', 1)
    """
    from dataclasses import replace

    at = np.repeat(np.arange(len(images)), views.number)
    table = images.table.drop(columns=[VIEW_OF, VIEW], errors="ignore").iloc[at]
    number = np.tile(np.arange(views.number), len(images))
    keys = pd.Index([f"{key}#{view}" for key, view in zip(table.index, number, strict=True)], name="key")
    return replace(
        images, table=table.assign(**{VIEW_OF: table.index.to_numpy(), VIEW: number}).set_axis(keys)
    )
