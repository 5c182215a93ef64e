"""How a JPEG file was compressed, read from its header: quality and chroma subsampling."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, JpegImagePlugin

SUBSAMPLING = {0: "4:4:4", 1: "4:2:2", 2: "4:2:0"}

# Annex K.1 of the JPEG standard (ITU T.81): the luma table that the IJG library scales, row by row.
_LUMA = np.array(
    [16, 11, 10, 16, 24, 40, 51, 61, 12, 12, 14, 19, 26, 58, 60, 55]
    + [14, 13, 16, 24, 40, 57, 69, 56, 14, 17, 22, 29, 51, 87, 80, 62]
    + [18, 22, 37, 56, 68, 109, 103, 77, 24, 35, 55, 64, 81, 104, 113, 92]
    + [49, 64, 78, 87, 103, 121, 120, 101, 72, 92, 95, 98, 112, 100, 103, 99]
)


@functools.cache
def _tables() -> np.ndarray:
    """(100, 64) int: the luma table of each quality, 1 to 100, as libjpeg makes it."""
    quality = np.arange(1, 101)
    scale = np.where(quality < 50, 5000 // quality, 200 - 2 * quality)
    return np.clip((_LUMA * scale[:, None] + 50) // 100, 1, 255)


def estimate_quality(luma: Sequence[int]) -> tuple[int, bool]:
    """The IJG quality whose luma table is nearest to a table, and whether it is that very table.

    Programs with tables of their own (Photoshop, cameras) get the nearest quality and False.

    Args:
        luma: (64,) quantisation steps, row by row as Pillow gives them.

    Returns:
        Quality, 1 to 100, and whether the table is the IJG library's.

    >>> estimate_quality([1] * 64)
    (100, True)
    """
    distance = np.abs(_tables() - np.asarray(luma, dtype=int)).sum(axis=1)
    nearest = int(distance.argmin())
    return nearest + 1, bool(distance[nearest] == 0)


def jpeg_facts(path: str | Path) -> dict[str, float | str | bool]:
    """Quality, whether its table is the IJG library's, and chroma subsampling of a JPEG file.

    Returns:
        `jpeg_quality` (1 to 100, NaN if the file has no luma table), `jpeg_standard`, and `subsampling`
        ("4:4:4", "4:2:2", "4:2:0", "grey", or "other").

    Raises:
        OSError: the file is no image; call it on files that have been decoded.
    """
    with Image.open(path, formats=["JPEG"]) as picture:
        tables = getattr(picture, "quantization", None) or {}
        quality, standard = estimate_quality(tables[0]) if 0 in tables else (math.nan, False)
        sampling = JpegImagePlugin.get_sampling(picture)
        grey = picture.mode == "L"
    name = "grey" if grey else SUBSAMPLING.get(sampling, "other")
    return {"jpeg_quality": float(quality), "jpeg_standard": standard, "subsampling": name}
