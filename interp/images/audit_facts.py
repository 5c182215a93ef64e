"""Everything an audit needs to know of each image, in one pass: its container, its look from afar, its statistics."""

from __future__ import annotations

import io
import math
import os
from collections.abc import Generator
from contextlib import closing
from typing import Any

import numpy as np
import pandas as pd

from interp.errors import UnreadableImage
from interp.images.container import CONTAINER, NONE, container_facts
from interp.images.decode import read_image
from interp.images.equalize import Equalize
from interp.images.image_set import ImageSet
from interp.images.jpeg import jpeg_facts
from interp.images.near_duplicates import perceptual_hash
from interp.images.pixel_statistics import STATISTICS, pixel_statistics
from interp.images.radial_spectrum import BANDS, radial_spectrum
from interp.images.workers import decoded_in_turn

LOOKED_AT = Equalize(256, 75)
"""What images are brought through before their content is measured, where nothing else is asked for."""

FILE = ("format", "mode", "width", "height", "bytes", "jpeg_quality", *CONTAINER)
COMPRESSED = "equalised_bytes_per_pixel"


def audit_facts(
    images: ImageSet,
    *,
    equalize: Equalize = LOOKED_AT,
    content: bool = True,
    n_jobs: int | None = None,
    timeout: float = 60.0,
    progress: bool = True,
) -> pd.DataFrame:
    """Look at every image once; one that crashes its process, or takes too long, costs its row alone.

    Args:
        images: the set.
        equalize: content is measured in the image that comes out of it, so that no container explains it.
        content: measure content statistics too; without them it is several times quicker.
        n_jobs: processes; by default one for each core.
        timeout: seconds for one image.
        progress: show a bar.

    Returns:
        By key: the set's columns; `FILE`; `content_hash`, `pixel_hash`, `perceptual_hash` (64 bits in a nullable
        UInt64), `error`; and with content, float64: `bytes_per_pixel` of the file, and of the equalised image
        `COMPRESSED`, every name of `STATISTICS`, and `BANDS`.
    """
    from tqdm import tqdm

    paths = [os.fspath(images.path(key)) for key in images.keys]
    jobs = n_jobs or os.cpu_count() or 1
    looked = _in_turn(paths, equalize, content, jobs, timeout)
    bar = tqdm(looked, total=len(paths), unit="image", desc="audit", disable=not progress)
    with closing(looked):
        found = pd.DataFrame(list(bar), index=images.keys)
    found["perceptual_hash"] = pd.array(found["perceptual_hash"].to_list(), dtype="UInt64")
    given = images.table.drop(columns=[name for name in found.columns if name in images.table.columns])
    return pd.concat([given, found], axis=1)


def facts_of(path: str, equalize: Equalize = LOOKED_AT, content: bool = True) -> dict[str, Any]:
    """One row of `audit_facts`, without the set's columns.

    >>> facts_of("no/such/image.png")["error"]
    'no such file'
    """
    try:
        decoded = read_image(path)
    except UnreadableImage as reason:
        return _unread(str(reason), content)
    facts = {**_unread("", content), **decoded.facts, **container_facts(path)}
    if facts["format"] == "JPEG":
        facts["jpeg_quality"] = jpeg_facts(path)["jpeg_quality"]
    facts["perceptual_hash"] = perceptual_hash(decoded.pixels)
    if content:
        seen = equalize.apply(decoded.pixels)
        pixels = np.asarray(seen)
        facts["bytes_per_pixel"] = facts["bytes"] / (facts["width"] * facts["height"])
        buffer = io.BytesIO()
        seen.save(buffer, "JPEG", quality=equalize.quality, subsampling="4:2:0")
        facts[COMPRESSED] = buffer.tell() / (seen.width * seen.height)
        facts |= dict(zip(STATISTICS, pixel_statistics(pixels).tolist(), strict=True))
        facts |= dict(zip(BANDS, radial_spectrum(pixels).tolist(), strict=True))
    return facts


def _unread(error: str, content: bool) -> dict[str, Any]:
    blank: dict[str, Any] = dict.fromkeys(("format", "mode", "content_hash", "pixel_hash"), "")
    blank |= dict.fromkeys(CONTAINER, NONE) | {"perceptual_hash": None, "error": error}
    measured = ("bytes_per_pixel", COMPRESSED, *STATISTICS, *BANDS) if content else ()
    return blank | dict.fromkeys(("width", "height", "bytes", "jpeg_quality", *measured), math.nan)


def _in_turn(
    paths: list[str], equalize: Equalize, content: bool, jobs: int, timeout: float
) -> Generator[dict[str, Any]]:
    pixel = np.zeros(1, np.uint8)  # what is handed over besides facts; nobody looks at it

    def decode(index: int, reason: str | None = None) -> tuple[np.ndarray, dict[str, Any]]:
        return pixel, facts_of(paths[index], equalize, content) if reason is None else _unread(
            reason, content
        )

    one_by_one = [range(i, i + 1) for i in range(len(paths))]
    with closing(
        decoded_in_turn(decode, one_by_one, jobs, timeout, lambda n: np.zeros((n, 1), np.uint8))
    ) as looked:
        for _, (facts,) in looked:
            yield facts
