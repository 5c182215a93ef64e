"""From the bytes of a file to RGB pixels, the same way for every image, and the facts of the file."""

from __future__ import annotations

import hashlib
import io
import os
import stat
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError

from interp.errors import UnreadableImage

MAX_PIXELS = 120_000_000
"""Images with more pixels are refused; a 108-megapixel photograph passes. Pillow needs 4 bytes a pixel."""

MAX_RATIO = 500
"""Images longer than this many times their width, or wider, are refused: no resize could hold them."""

MAX_BYTES = 1_000_000_000
"""Longer files are refused; 120 megapixels of 16 bits and four channels, uncompressed, pass."""

FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "PPM", "AVIF", "JPEG2000")
"""What is decoded; formats that run another program (EPS) or have no signature of their own (TGA) are not."""


@dataclass(frozen=True)
class DecodedImage:
    """An upright RGB image and what its file says.

    Attributes:
        pixels: the image in mode RGB, 8 bits a channel, without metadata.
        facts: `content_hash` (SHA-256 of the file, hex), `pixel_hash` (SHA-256 of "<width>x<height>:" and the
            RGB bytes, row by row), `width` and `height` (pixels, upright), `format` and `mode` (Pillow's
            names, as in the file) and `bytes` (length of the file).
    """

    pixels: Image.Image
    facts: dict[str, str | int]


def read_image(path: str | Path, *, max_pixels: int = MAX_PIXELS) -> DecodedImage:
    """Decode an image file; the file is read once, and its name does not matter.

    See `decode_image` for what becomes of orientation, transparency and depth, and docs/odd_images.md for a table
    of everything.

    Raises:
        UnreadableImage: the file is missing, is not a plain file, may not be read, is longer than `MAX_BYTES`,
        or `decode_image` refuses it.

    >>> read_image("no/such/image.png")
    Traceback (most recent call last):
    interp.errors.UnreadableImage: no such file
    """
    try:
        found = os.stat(path)
        if stat.S_ISDIR(found.st_mode):
            raise UnreadableImage("a folder, not a file")
        if not stat.S_ISREG(found.st_mode):
            raise UnreadableImage("not a plain file")
        if found.st_size > MAX_BYTES:
            raise UnreadableImage(f"too large: a file of {found.st_size:,} bytes, more than {MAX_BYTES:,}")
        with Path(path).open("rb") as file:
            data = file.read(found.st_size)
    except FileNotFoundError:
        raise UnreadableImage("no such file") from None
    except PermissionError:
        raise UnreadableImage("no permission to read the file") from None
    except (OSError, ValueError, MemoryError) as error:
        raise UnreadableImage(f"the file cannot be read: {_reason(error)}") from error
    return decode_image(data, max_pixels=max_pixels)


def decode_image(data: bytes, *, max_pixels: int = MAX_PIXELS) -> DecodedImage:
    """Decode an image held in memory.

    - The first frame of an animation is taken, and the EXIF orientation applied, as a viewer does. A damaged
      EXIF block counts as none.
    - Everything becomes RGB: palettes are looked up, grey is repeated, CMYK converted without a profile, and
      what is transparent is laid on white, as a viewer and the processors of transformers (5.22 and later)
      do. (OpenAI's own CLIP code drops transparency and shows what lay under it.) Colour profiles are not applied.
    - Sixteen-bit grey keeps its high byte (v // 256), which is what Pillow does with sixteen-bit colour. Grey
      outside 0…65535 and floating-point pixels have no agreed range and are refused.

    Args:
        data: the file's bytes.
        max_pixels: refuse larger images before their pixels are unpacked. Pillow's own, process-wide hard
            limit (`2 * Image.MAX_IMAGE_PIXELS`) applies too, and is left as it is.

    Raises:
        UnreadableImage: empty, truncated, too large, too narrow, or not an image; the message says which.

    >>> buffer = io.BytesIO()
    >>> Image.new("L", (4, 3), 7).save(buffer, "PNG")
    >>> image = decode_image(buffer.getvalue())
    >>> image.pixels.mode, image.pixels.getpixel((0, 0)), image.facts["mode"], image.facts["width"]
    ('RGB', (7, 7, 7), 'L', 4)
    """
    if not data:
        raise UnreadableImage("the file is empty")
    label = "image"
    try:
        with _pillow_warnings_ignored():
            Image.init()
            with Image.open(
                io.BytesIO(data), formats=[name for name in FORMATS if name in Image.OPEN]
            ) as picture:
                file_format, mode = str(picture.format), picture.mode
                label = file_format
                if picture.width * picture.height > max_pixels:
                    raise UnreadableImage(
                        f"too large: {picture.width} × {picture.height} pixels, more than {max_pixels:,}"
                    )
                if max(picture.size) > MAX_RATIO * min(picture.size):
                    raise UnreadableImage(
                        f"too narrow: {picture.width} × {picture.height} pixels, beyond {MAX_RATIO} to 1"
                    )
                picture.load()
                pixels = _rgb(_upright(picture))
    except UnreadableImage:
        raise
    except UnidentifiedImageError:
        raise UnreadableImage(f"not an image in a known format ({', '.join(FORMATS)})") from None
    except Image.DecompressionBombError as error:
        raise UnreadableImage(f"too large: {_reason(error)}") from None
    except MemoryError:
        raise UnreadableImage("too large: there is not enough memory to decode it") from None
    except (
        Exception
    ) as error:  # decoders raise whatever they stumble over: OSError, SyntaxError, struct.error, …
        raise UnreadableImage(f"damaged {label}: {_reason(error)}") from error
    pixels.info = {}
    return DecodedImage(
        pixels=pixels,
        facts={
            "content_hash": hashlib.sha256(data).hexdigest(),
            "pixel_hash": _pixel_hash(pixels),
            "width": pixels.width,
            "height": pixels.height,
            "format": file_format,
            "mode": mode,
            "bytes": len(data),
        },
    )


def _pixel_hash(pixels: Image.Image) -> str:
    digest = hashlib.sha256(b"%dx%d:" % pixels.size)
    digest.update(pixels.tobytes())
    return digest.hexdigest()


def _upright(picture: Image.Image) -> Image.Image:
    """The picture turned as its EXIF block says; itself, and no copy, where that says nothing."""
    try:
        turned = picture.getexif().get(ExifTags.Base.Orientation, 1) != 1
        return ImageOps.exif_transpose(picture) if turned else picture
    except Exception:  # a damaged EXIF block raises anything; the pixels are whole all the same
        return picture


def _rgb(picture: Image.Image) -> Image.Image:
    if picture.mode == "F":
        raise UnreadableImage(
            "floating-point pixels: their range is unknown; save the image with 8 bits a channel"
        )
    if picture.mode.startswith("I"):
        grey = np.asarray(picture)
        if grey.min() < 0 or grey.max() > 65535:
            raise UnreadableImage("grey values outside 0…65535; save the image with 8 bits a channel")
        picture = Image.fromarray((grey >> 8).astype(np.uint8))
    if "A" in picture.getbands() or picture.info.get("transparency") is not None:
        layer = picture.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer).convert("RGB")
    return picture.convert("RGB")


def _reason(error: BaseException) -> str:
    return getattr(error, "strerror", None) or str(error) or type(error).__name__


class _Quiet:
    """How many decodings run now, and the filters to restore when the last one ends."""

    lock = threading.Lock()
    running = 0
    filters: warnings.catch_warnings | None = None


@contextmanager
def _pillow_warnings_ignored() -> Iterator[None]:
    """Ignore warnings raised inside Pillow; threads that decode together share one change of the filters."""
    with _Quiet.lock:
        if _Quiet.running == 0:
            _Quiet.filters = warnings.catch_warnings()
            _Quiet.filters.__enter__()
            warnings.filterwarnings("ignore", module=r"PIL\.")
        _Quiet.running += 1
    try:
        yield
    finally:
        with _Quiet.lock:
            _Quiet.running -= 1
            if _Quiet.running == 0 and _Quiet.filters is not None:
                _Quiet.filters.__exit__(None, None, None)
