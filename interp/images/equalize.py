"""One container, size and compression for every image, before anything looks at it."""

from __future__ import annotations

import io
import re
from dataclasses import dataclass

from PIL import Image

from interp.errors import InputError

_SIDE = 256
_TEXT = re.compile(r"(?:(?P<side>\d+)|common:(?P<common>\d+)(?::(?P<common_side>\d+))?):(?P<quality>\d+)")


@dataclass(frozen=True)
class Equalize:
    """Bring photographs and generated images through the same crop, resize and JPEG.

    Photographs and generated files differ in format, size and JPEG quality; a detector that learns the
    container looks perfect and has learnt nothing. `Equalize(256, 75)` takes the centre square at native
    size, resizes it to 256 × 256 and compresses it with JPEG quality 75, so that container and compression
    are alike.

    The resampling history still differs: a photograph was scaled down to 256, a 128-pixel generator's image
    was scaled up. `common=128` sends all images through 128 × 128 first, so that the last steps of that
    history are alike too. Report both. It runs first, at native size, before the encoder's own preprocessing.

    Attributes:
        side: edge of the result, in pixels.
        quality: JPEG quality, 1 to 100; always with 4:2:0 chroma subsampling.
        common: edge of the size that all images pass through first, in pixels, or None.

    Raises:
        InputError: an edge below 1, or a quality outside 1 to 100.

    >>> Equalize.parse("256:75").apply(Image.new("RGB", (640, 480))).size
    (256, 256)
    >>> str(Equalize(common=128))
    'common:128:75'
    """

    side: int = _SIDE
    quality: int = 75
    common: int | None = None

    def __post_init__(self) -> None:
        edges = [self.side] if self.common is None else [self.side, self.common]
        if min(edges) < 1 or not 1 <= self.quality <= 100:
            raise InputError(
                f"cannot equalise to {self}: edges are at least 1 pixel and the quality is from 1 to 100; "
                "for example '256:75' or 'common:128:75'"
            )

    @classmethod
    def parse(cls, text: str) -> Equalize | None:
        """Read `SIDE:QUALITY`, `common:COMMON:QUALITY` (side 256), `common:COMMON:SIDE:QUALITY`, or `none`.

        Raises:
            InputError: any other text.

        >>> Equalize.parse("common:128:75")
        Equalize(side=256, quality=75, common=128)
        >>> Equalize.parse("none") is None
        True
        """
        words = text.strip().lower()
        if words == "none":
            return None
        match = _TEXT.fullmatch(words)
        if match is None:
            raise InputError(
                f"cannot read the equalisation {text!r}; write SIDE:QUALITY such as '256:75', "
                "common:COMMON:QUALITY such as 'common:128:75', or 'none'"
            )
        side = int(match["side"] or match["common_side"] or _SIDE)
        return cls(
            side=side, quality=int(match["quality"]), common=int(match["common"]) if match["common"] else None
        )

    def __str__(self) -> str:
        """The text that `parse` reads back."""
        if self.common is None:
            return f"{self.side}:{self.quality}"
        side = "" if self.side == _SIDE else f":{self.side}"
        return f"common:{self.common}{side}:{self.quality}"

    def apply(self, image: Image.Image) -> Image.Image:
        """The equalised image, `side` × `side`, decoded again to RGB.

        The centre square has the edge s = min(width, height) and its corner at ((width - s) // 2, (height -
        s) // 2). Each resize is Pillow's bicubic, which widens its kernel when it scales down (antialiasing).

        Raises:
            InputError: the image is not RGB.
        """
        if image.mode != "RGB":
            raise InputError(
                f"expected an RGB image, got mode {image.mode!r}; decode it with read_image first"
            )
        edge = min(image.size)
        left, top = (image.width - edge) // 2, (image.height - edge) // 2
        square = image.crop((left, top, left + edge, top + edge))
        for size in (self.common, self.side):
            if size is not None:
                square = square.resize((size, size), Image.Resampling.BICUBIC)
        square.info = {}  # Pillow would write a comment found there into the file
        buffer = io.BytesIO()
        square.save(buffer, "JPEG", quality=self.quality, subsampling="4:2:0")
        with Image.open(buffer, formats=["JPEG"]) as decoded:
            return decoded.convert("RGB")
