"""Drawn scenes, and a small camera that photographs them."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

_OBJECTS = 28
_BLUR = 0.5  # of the lens, in pixels (standard deviation)
_SHOT, _READ = 0.0012, 0.004  # variance per unit of light, and standard deviation in the dark
_GREENS = np.array([[0, 1, 0], [1, 4, 1], [0, 1, 0]]) / 4
_OTHERS = np.array([[1, 2, 1], [2, 4, 2], [1, 2, 1]]) / 4


def draw_scenes(n: int, size: int, rng: np.random.Generator) -> np.ndarray:
    """Overlapping, shaded and textured objects before a textured gradient: a dead-leaves world.

    Sizes of objects follow the power law of natural scenes (Lee, Mumford and Huang 2001, Occlusion models for
    natural images); textures have a 1/f spectrum.

    Returns:
        Light, 0 to 1 and linear, shape (n, size, size, 3), float32.

    >>> draw_scenes(2, 32, np.random.default_rng(0)).shape
    (2, 32, 32, 3)
    """
    y, x = (np.mgrid[:size, :size] / size).astype(np.float32)
    texture = _fractal_noise(n, size, rng)
    top, bottom = _colours(n, rng), _colours(n, rng)
    light = top + (bottom - top) * y[..., None]
    light = light * (1 + 0.25 * _fractal_noise(n, size, rng))[..., None]
    for _ in range(_OBJECTS):
        each = (n, 1, 1)
        centre_x, centre_y = rng.random((2, *each), dtype=np.float32)
        radius = (0.06 / np.sqrt(rng.uniform(0.03, 1, each))).astype(np.float32)
        aspect = rng.uniform(0.4, 1, each).astype(np.float32)
        angle = rng.uniform(0, np.pi, each).astype(np.float32)
        box, grain, shade = rng.random(each) < 0.4, rng.uniform(0, 0.35, each), rng.uniform(-2, 2, each)
        u = np.cos(angle) * (x - centre_x) + np.sin(angle) * (y - centre_y)
        v = np.cos(angle) * (y - centre_y) - np.sin(angle) * (x - centre_x)
        across, along = np.abs(u) / radius, np.abs(v) / (radius * aspect)
        distance = np.where(box, np.maximum(across, along), np.hypot(across, along))
        cover = np.clip((1 - distance) * radius * aspect * size + 0.5, 0, 1)[..., None]
        surface = _colours(n, rng) * ((1 + shade * u) * (1 + grain * texture))[..., None]
        light += cover * (surface.astype(np.float32) - light)
    return np.clip(light, 0.005, 1).astype(np.float32)


def photograph(light: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Photograph scenes: lens blur, colour mosaic, shot and read noise, demosaicing, tone curve, sharpening.

    Args:
        light: linear, 0 to 1, shape (n, size, size, 3).

    Returns:
        Tones, 0 to 1, shape (n, size, size, 3), float32.

    >>> rng = np.random.default_rng(0)
    >>> photograph(draw_scenes(2, 32, rng), rng).shape
    (2, 32, 32, 3)
    """
    n, size = light.shape[:2]
    seen = ndimage.gaussian_filter(light, (0, _BLUR, _BLUR, 0))
    seen = seen * rng.uniform(0.7, 1.1, (n, 1, 1, 1))
    mosaic = np.zeros((size, size, 3), np.float32)
    mosaic[::2, ::2, 0] = mosaic[1::2, ::2, 1] = mosaic[::2, 1::2, 1] = mosaic[1::2, 1::2, 2] = 1
    spread = np.sqrt(np.maximum(seen, 0) * _SHOT + _READ**2)
    sensed = (seen + spread * rng.standard_normal(seen.shape, dtype=np.float32)) * mosaic
    kernels = (_OTHERS, _GREENS, _OTHERS)
    colours = [ndimage.convolve(sensed[..., c], kernels[c][None], mode="mirror") for c in range(3)]
    tones = np.clip(np.stack(colours, axis=-1), 0, 1) ** (1 / 2.2)
    blurred = ndimage.gaussian_filter(tones, (0, 0.8, 0.8, 0))
    return np.clip(tones + 0.4 * (tones - blurred), 0, 1).astype(np.float32)


def _colours(n: int, rng: np.random.Generator) -> np.ndarray:
    """One muted colour for each scene, shape (n, 1, 1, 3)."""
    brightness, tint = rng.uniform(0.04, 0.75, (n, 1, 1, 1)), rng.uniform(-0.35, 0.35, (n, 1, 1, 3))
    return (brightness * (1 + tint)).astype(np.float32)


def _fractal_noise(n: int, size: int, rng: np.random.Generator) -> np.ndarray:
    """Noise whose amplitude falls as a power of frequency, mean 0, deviation 1, shape (n, size, size)."""
    frequency = np.hypot(np.fft.fftfreq(size)[:, None], np.fft.rfftfreq(size)[None, :])
    frequency[0, 0] = np.inf  # no mean
    power = rng.uniform(0.9, 1.5, (n, 1, 1))
    noise = np.fft.irfft2(
        np.fft.rfft2(rng.standard_normal((n, size, size))) / frequency**power, s=(size, size)
    )
    return (noise / noise.std(axis=(1, 2), keepdims=True)).astype(np.float32)
