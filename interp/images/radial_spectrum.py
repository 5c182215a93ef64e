"""How an image's power lies over spatial frequencies, ring by ring."""

from __future__ import annotations

import numpy as np

from interp.errors import InputError

RINGS = 10
BANDS = tuple(f"ring_{ring}" for ring in range(RINGS))
"""Names of the rings, from coarse to fine."""

_LUMA = np.array([0.299, 0.587, 0.114])
_FAINT = 1e-3


def radial_spectrum(pixels: np.ndarray) -> np.ndarray:
    """Log share of luma's power in rings of equal width up to the Nyquist frequency.

    Luma without its mean, under a Hann window. Compare images of one size only.

    Args:
        pixels: (height, width, 3), uint8, RGB, 2 × `RINGS` pixels or more on each edge.

    Returns:
        (`RINGS`,) float64, natural logarithms; in an image without any structure all rings have the same share of it.

    Raises:
        InputError: another shape or dtype, or too few pixels.

    >>> y, x = np.mgrid[:64, :64]
    >>> waves = 127 + 100 * np.sin(2 * np.pi * 0.33 * x)       # a third of a cycle a pixel: ring 6 of 0 to 9
    >>> int(radial_spectrum(np.repeat(waves[..., None], 3, 2).astype(np.uint8)).argmax())
    6
    """
    given = np.asarray(pixels)
    if given.dtype != np.uint8 or given.ndim != 3 or given.shape[2] != 3 or min(given.shape[:2]) < 2 * RINGS:
        raise InputError(
            f"expected pixels (height, width, 3), uint8, {2 * RINGS} or more on each edge; "
            f"given {given.dtype} {given.shape}"
        )
    luma = given.astype(np.float64) @ _LUMA
    height, width = luma.shape
    window = np.hanning(height + 2)[1:-1, None] * np.hanning(width + 2)[None, 1:-1]
    power = np.abs(np.fft.fft2((luma - luma.mean()) * window)) ** 2 / luma.size
    radius = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.fftfreq(width)[None, :])
    ring = np.minimum((radius * 2 * RINGS).astype(int), RINGS)  # corners beyond Nyquist are ring 10: left out
    sums = np.bincount(ring.ravel(), (power + _FAINT).ravel(), minlength=RINGS + 1)[:RINGS]
    counts = np.bincount(ring.ravel(), minlength=RINGS + 1)[:RINGS]
    means = sums / counts
    return np.log(means / means.sum())
