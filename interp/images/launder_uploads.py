"""Laundering by programs and sites: an upload, messengers, social networks, a screenshot.

What real services do changes without notice and is not published. The constants here are round numbers of the kind that
is reported for them, not measurements; the VIP-Cup protocol alone is exactly known.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import numpy as np
from PIL import Image

from interp.images.launder_codecs import Jpeg, Webp, through_file
from interp.images.launder_geometry import Crop, Resize, resized
from interp.images.launder_parameters import Between, Number, number, word
from interp.images.launder_pixels import Blur, Gamma
from interp.images.launder_step import Step

_ANYWHERE = Between(0, 1)
_BORDERS = Between(0.96, 1)  # of both edges, what a screenshot keeps of the picture
_SCREEN_BLUR, _SCREEN_GAMMA = 0.5, 0.95


@dataclass(frozen=True)
class Upload(Step):
    """The longer edge is limited, then JPEG with 4:2:0; a smaller image is only compressed.

    Attributes:
        side: longest edge, in pixels; scaled down by Lanczos.
        quality: of the JPEG, 1 to 100.
    """

    name = "upload"
    example = "upload:2048:71-85"
    side: Number = number(16, 65_500, whole=True)
    quality: Number = number(1, 100, whole=True)

    def apply(self, image: Image.Image, rng: np.random.Generator) -> Image.Image:
        scale = min(1.0, cast(float, self.side) / max(image.size))
        width, height = (max(1, round(edge * scale)) for edge in image.size)
        small = resized(image, (width, height), Image.Resampling.LANCZOS)
        return through_file(small, "JPEG", quality=self.quality, subsampling="4:2:0")


@dataclass(frozen=True)
class _Service(Step):
    """A step that stands for others."""

    def apply(self, image: Image.Image, rng: np.random.Generator) -> Image.Image:
        for step in self.draw(rng):
            image = step.apply(image, rng)
        return image


@dataclass(frozen=True)
class Messenger(_Service):
    """What a messenger does to a picture; assumed constants.

    Attributes:
        platform: `whatsapp` (longer edge 1600, quality 70) or `telegram` (1280, 87).
    """

    name = "messenger"
    example = "messenger:whatsapp"
    platform: str = word("whatsapp", "telegram", required=True)

    def draw(self, rng: np.random.Generator) -> tuple[Step, ...]:
        return Upload(*{"whatsapp": (1600, 70), "telegram": (1280, 87)}[self.platform]).draw(rng)


@dataclass(frozen=True)
class Social(_Service):
    """What a social network does to a picture.

    Attributes:
        platform: `facebook` (longer edge 2048, quality 71 to 85: assumed), or `vipcup`, the protocol of the IEEE
            VIP Cup 2022 that stands for social networks in Corvi et al. (2023) and Cozzolino et al. (2024).
    """

    name = "social"
    example = "social:facebook"
    platform: str = word("facebook", "vipcup", required=True)

    def draw(self, rng: np.random.Generator) -> tuple[Step, ...]:
        step = Upload(2048, Between(71, 85)) if self.platform == "facebook" else VipCup()
        return step.draw(rng)


@dataclass(frozen=True)
class VipCup(Step):
    """Square crop, resize to 200 × 200, JPEG with 4:2:0: `random_operations.py` of the IEEE VIP Cup 2022.

    The edge of the crop lies between the largest of 160 and 5/8 m, and m, the shorter edge of the image but at most
    2048. It is scaled down by Lanczos, or up by bicubic. An image below 160 pixels, which the original refuses, is
    taken with its largest square.

    Attributes:
        edge: 0 the smallest crop, 1 the largest.
        x, y: where it lies: 0 left or top, 1 right or bottom.
        quality: of the JPEG.
    """

    name = "vipcup"
    example = "vipcup"
    edge: Number = number(0, 1, _ANYWHERE)
    x: Number = number(0, 1, _ANYWHERE)
    y: Number = number(0, 1, _ANYWHERE)
    quality: Number = number(1, 100, Between(65, 100), whole=True)

    def apply(self, image: Image.Image, rng: np.random.Generator) -> Image.Image:
        drawn = cast(VipCup, self.draw(rng)[0])
        edge, x, y = (cast(float, value) for value in (drawn.edge, drawn.x, drawn.y))
        largest = min(*image.size, 2048)
        smallest = min(max(largest * 5 // 8, 160), largest)
        side = min(smallest + int(edge * (largest - smallest + 1)), largest)
        left = min(int(x * (image.width - side + 1)), image.width - side)
        top = min(int(y * (image.height - side + 1)), image.height - side)
        kernel = Image.Resampling.LANCZOS if side > 200 else Image.Resampling.BICUBIC
        small = image.crop((left, top, left + side, top + side)).resize((200, 200), kernel)
        return through_file(small, "JPEG", quality=drawn.quality, subsampling="4:2:0")


@dataclass(frozen=True)
class Screenshot(_Service):
    """A picture photographed off the screen by the computer itself, and sent on; assumed constants.

    Up to 4 % of the borders are lost, the rest is scaled to the window (bilinear), smoothed (sigma 0.5), lightened by
    the screen's curve (gamma 0.95, rounded to 8 bits) and compressed.

    Attributes:
        scale: of the window, 1 is one pixel of the screen for each of the image.
        quality: of the file.
        format: `jpeg` (4:2:0) or `webp`.
    """

    name = "screenshot"
    example = "screenshot:0.8:85"
    scale: Number = number(0.05, 4, 0.8)
    quality: Number = number(1, 100, 85, whole=True)
    format: str = word("jpeg", "webp")

    def draw(self, rng: np.random.Generator) -> tuple[Step, ...]:
        fixed = cast(Screenshot, super().draw(rng)[0])
        codec = Jpeg(fixed.quality) if self.format == "jpeg" else Webp(fixed.quality)
        window = Resize(fixed.scale, "bilinear")
        kept = Crop(_BORDERS, _ANYWHERE, _ANYWHERE).draw(rng)
        return (*kept, window, Blur(_SCREEN_BLUR), Gamma(_SCREEN_GAMMA), codec)
