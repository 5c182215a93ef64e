"""What a twin may not differ in from its photograph: frequencies, and part of its pixels."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, JpegImagePlugin

FREQUENCIES = ("none", "jpeg", "radial")
"""Ways to align a twin's frequencies with its photograph's; see `make_twins`."""


def jpeg_settings(path: Path) -> dict[str, Any] | None:
    """What Pillow needs to compress as this file was: its quantisation tables and chroma subsampling.

    None where the file is no JPEG in colour, or its subsampling is one that Pillow does not write.
    """
    with Image.open(path) as picture:
        if picture.format != "JPEG" or picture.mode != "RGB":
            return None
        sampling = JpegImagePlugin.get_sampling(picture)
        tables = getattr(picture, "quantization", None)
    return {"qtables": tables, "subsampling": sampling} if tables and sampling >= 0 else None


def compressed_alike(twin: Image.Image, settings: dict[str, Any] | None) -> Image.Image:
    """The twin compressed and decoded again with the photograph's own settings; unchanged without any.

    The step by which Dual Data Alignment (Chen et al. 2025) takes away the high frequencies that a decoder puts back
    and the photograph's JPEG had taken.
    """
    if settings is None:
        return twin
    buffer = io.BytesIO()
    twin.save(buffer, "JPEG", **settings)
    with Image.open(buffer, formats=["JPEG"]) as decoded:
        return decoded.convert("RGB")


def radial_alike(twin: np.ndarray, photograph: np.ndarray) -> np.ndarray:
    """The twin with the photograph's energy in every ring of spatial frequencies, colour by colour.

    Args:
        twin, photograph: (height, width, 3) float64, grey levels.

    Returns:
        (height, width, 3) float64. Phases stay, and so do differences of energy within a ring, such as the peaks of a
        checkerboard. Rings are 1 / max(height, width) cycles per pixel wide; one in which the twin has no energy
        stays empty.

    >>> rng = np.random.default_rng(0)
    >>> photograph, flat = rng.normal(size=(2, 8, 8, 3))
    >>> bool(np.isclose((radial_alike(0.1 * flat, photograph) ** 2).sum(), (photograph**2).sum()))
    True
    """
    height, width = twin.shape[:2]
    frequency = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.fftfreq(width)[None, :])
    ring = np.rint(frequency * max(height, width)).astype(int)
    spectrum, wanted = (np.fft.fft2(tones, axes=(0, 1)) for tones in (twin, photograph))
    for c in range(twin.shape[2]):
        energy, target = (
            np.bincount(ring.ravel(), np.abs(s[..., c].ravel()) ** 2) for s in (spectrum, wanted)
        )
        gain = np.sqrt(np.divide(target, energy, out=np.ones_like(energy), where=energy > 0))
        spectrum[..., c] *= gain[ring]
    return np.fft.ifft2(spectrum, axes=(0, 1)).real


def mixed(twin: np.ndarray, photograph: np.ndarray, share: float) -> np.ndarray:
    """`share` of the photograph and the rest of the twin, grey levels: x = r real + (1 - r) twin (Chen et al. 2025)."""
    return share * photograph + (1 - share) * twin
