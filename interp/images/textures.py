"""What drawn scenes are made of: muted colours, and noise with the spectrum of natural textures."""

from __future__ import annotations

import numpy as np


def any_colour(rng: np.random.Generator) -> np.ndarray:
    """A muted colour, linear light of 0 to 1, shape (3,).

    >>> any_colour(np.random.default_rng(0)).shape
    (3,)
    """
    return rng.uniform(0.04, 0.75) * (1 + rng.uniform(0.15, 0.6) * rng.uniform(-1, 1, 3))


def fractal_noise(size: int, rng: np.random.Generator, steepness: float | None = None) -> np.ndarray:
    """Noise whose amplitude falls as a power of frequency, as in natural images (Field 1987).

    Args:
        size: edge in pixels.
        rng: decides the noise, and the power where none is given.
        steepness: the power; by default drawn between 0.9 and 1.5.

    Returns:
        Mean 0, deviation 1, without seams at the edges, shape (size, size), float64.

    >>> float(fractal_noise(16, np.random.default_rng(0)).std().round(12))
    1.0
    """
    frequency = np.hypot(np.fft.fftfreq(size)[:, None], np.fft.rfftfreq(size)[None, :])
    frequency[0, 0] = np.inf  # no mean
    power = rng.uniform(0.9, 1.5) if steepness is None else steepness
    spectrum = np.fft.rfft2(rng.standard_normal((size, size))) / frequency**power
    noise = np.fft.irfft2(spectrum, s=(size, size))
    return noise / noise.std()
