"""Drawn scenes of several kinds: what a simulated camera looks at."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy import ndimage

from interp.errors import unknown_name
from interp.images.solids import draw_solids
from interp.images.textures import any_colour, fractal_noise

_LEAVES = 28


def draw_scene(kind: str, size: int, rng: np.random.Generator) -> np.ndarray:
    """Draw one scene.

    Args:
        kind: one of `SCENES`: "leaves", "fractal", "solids", "studio", "pattern".
        size: edge in pixels.
        rng: decides everything else.

    Returns:
        Light, 0 to 1 and linear, shape (size, size, 3), float32.

    Raises:
        InputError: an unknown kind.

    >>> draw_scene("leaves", 32, np.random.default_rng(0)).shape
    (32, 32, 3)
    """
    if kind not in SCENES:
        raise unknown_name("kind of scene", kind, tuple(SCENES))
    return np.clip(SCENES[kind](size, rng), 0.004, 1).astype(np.float32)


def _leaves(size: int, rng: np.random.Generator) -> np.ndarray:
    """Overlapping, shaded and textured objects before a textured gradient: a dead-leaves world.

    Sizes of objects follow the power law of natural scenes (Lee, Mumford and Huang 2001, Occlusion models for
    natural images); textures have a 1/f spectrum.
    """
    texture = fractal_noise(size, rng)
    light = _gradient(size, rng) * (1 + 0.25 * fractal_noise(size, rng))[..., None]
    for _ in range(_LEAVES):
        radius = 0.06 / np.sqrt(rng.uniform(0.03, 1))
        grain, shade = rng.uniform(0, 0.35), rng.uniform(-2, 2)
        _place(
            light,
            radius,
            rng.random() < 0.4,
            rng,
            lambda u, v, t, g=grain, s=shade: (1 + s * u) * (1 + g * t),
            texture,
        )
    return light


def _fractal(size: int, rng: np.random.Generator) -> np.ndarray:
    """Clouds before a sky, or rough ground lit from the side: fields whose spectrum is a power of frequency.

    Such fields are the textbook model of clouds and terrain (Voss 1985, Random fractal forgeries).
    """
    height = fractal_noise(size, rng, steepness=rng.uniform(1.3, 2.2))
    if rng.random() < 0.5:
        cover = np.clip(rng.uniform(-0.3, 0.3) + height * rng.uniform(0.4, 1), 0, 1)[..., None]
        cloud = rng.uniform(0.5, 0.95) * (
            1 - 0.35 * np.clip(ndimage.shift(height, (-2, -2), mode="wrap"), 0, 2)
        )
        return _gradient(size, rng) * (1 - cover) + cover * cloud[..., None]
    stops = np.stack([any_colour(rng) for _ in range(4)])
    place = np.clip((height + 2) / 4, 0, 1)
    ground = np.stack([np.interp(place, np.linspace(0, 1, 4), stops[:, c]) for c in range(3)], axis=-1)
    down, right = np.gradient(height * size / 64)
    angle, relief = rng.uniform(0, 2 * np.pi), rng.uniform(0.3, 1)
    lit = np.clip(0.8 + relief * (np.cos(angle) * right + np.sin(angle) * down), 0.1, 2)
    return ground * (lit * (1 + rng.uniform(0, 0.15) * fractal_noise(size, rng)))[..., None]


def _studio(size: int, rng: np.random.Generator) -> np.ndarray:
    """A few softly shaded objects before a smooth backdrop, each with a soft shadow."""
    light = _gradient(size, rng)
    texture = fractal_noise(size, rng)
    for _ in range(rng.integers(1, 6)):
        radius, grain, bulge = rng.uniform(0.08, 0.28), rng.uniform(0, 0.25), rng.uniform(0.2, 0.9)
        _place(
            light,
            radius,
            rng.random() < 0.3,
            rng,
            lambda u, v, t, g=grain, b=bulge: (
                (1 + g * t) * (1 - b * np.clip((u + 0.5) ** 2 + (v + 0.5) ** 2, 0, 1))
            ),
            texture,
            shadow=rng.uniform(0.1, 0.6),
        )
    return light * (1 + rng.uniform(0, 0.08) * texture)[..., None]


def _pattern(size: int, rng: np.random.Generator) -> np.ndarray:
    """A repeated texture, seen slightly aslant and lit unevenly: stripes, waves, checks or bricks."""
    y, x = np.mgrid[:size, :size] / size - 0.5
    angle, tilt = rng.uniform(0, np.pi), rng.uniform(-0.5, 0.5)
    depth = 1 / (1 + tilt * y)
    u = (np.cos(angle) * x + np.sin(angle) * y) * depth + 0.02 * fractal_noise(size, rng, steepness=2)
    v = (np.cos(angle) * y - np.sin(angle) * x) * depth
    per_edge = rng.uniform(3, max(4, size / 8))
    u, v = u * per_edge + rng.random(), v * per_edge * rng.uniform(0.4, 1) + rng.random()
    soft = per_edge / size * 2
    kind = rng.integers(4)
    if kind == 0:
        share = _step(np.sin(2 * np.pi * u) + rng.uniform(-0.6, 0.6), 6 * soft)
    elif kind == 1:
        share = 0.5 + 0.25 * np.sin(2 * np.pi * u) + 0.25 * np.sin(2 * np.pi * v)
    elif kind == 2:
        share = _step(np.sin(2 * np.pi * u) * np.sin(2 * np.pi * v), 6 * soft)
    else:
        v = v + 0.5 * (np.floor(u) % 2)
        gap = rng.uniform(0.06, 0.15)
        share = _step(np.abs(u % 1 - 0.5) - 0.5 + gap, soft) + _step(np.abs(v % 1 - 0.5) - 0.5 + gap, soft)
    share = np.clip(share, 0, 1)[..., None]
    stain = 1 + rng.uniform(0.05, 0.3) * fractal_noise(size, rng)
    uneven = 1 + rng.uniform(-0.8, 0.8) * x + rng.uniform(-0.8, 0.8) * y
    paint, ink = any_colour(rng), any_colour(rng)
    ink *= rng.uniform(0.15, 0.6) * paint.mean() / ink.mean()
    return (paint * share + ink * (1 - share)) * (stain * uneven)[..., None]


def _step(values: np.ndarray, width: float) -> np.ndarray:
    """0 below zero, 1 above, with a ramp of this width between."""
    return np.clip(values / width + 0.5, 0, 1)


def _gradient(size: int, rng: np.random.Generator) -> np.ndarray:
    """From one colour to another, in any direction, shape (size, size, 3)."""
    y, x = np.mgrid[:size, :size] / size - 0.5
    angle = rng.uniform(0, 2 * np.pi)
    share = np.clip(0.5 + np.cos(angle) * x + np.sin(angle) * y, 0, 1)[..., None]
    return any_colour(rng) * share + any_colour(rng) * (1 - share)


def _place(
    light: np.ndarray,
    radius: float,
    box: bool,
    rng: np.random.Generator,
    surface: Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray],
    texture: np.ndarray,
    shadow: float = 0,
) -> None:
    """Draw one flat object, an ellipse or a box, over `light`; `surface` shades it from its own coordinates."""
    size = len(light)
    middle, aspect, angle = rng.random(2), rng.uniform(0.4, 1), rng.uniform(0, np.pi)
    reach = radius * (1.5 if box else 1) + 2 / size + (0.1 if shadow else 0)
    low = np.clip(np.floor((middle - reach) * size), 0, size).astype(int)
    high = np.clip(np.ceil((middle + reach) * size), 0, size).astype(int)
    rows, columns = slice(low[0], high[0]), slice(low[1], high[1])
    colour = any_colour(rng)
    y = (np.arange(low[0], high[0]) / size - middle[0])[:, None]
    x = (np.arange(low[1], high[1]) / size - middle[1])[None, :]

    def inside(y: np.ndarray, x: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        u, v = np.cos(angle) * x + np.sin(angle) * y, np.cos(angle) * y - np.sin(angle) * x
        across, along = np.abs(u) / radius, np.abs(v) / (radius * aspect)
        return (
            (1 - (np.maximum(across, along) if box else np.hypot(across, along))) * radius * aspect * size,
            u,
            v,
        )

    if shadow:
        dark = np.clip(inside(y - 0.04, x - 0.04)[0] / (0.06 * size) + 0.5, 0, 1)[..., None]
        light[rows, columns] *= 1 - shadow * dark
    depth, u, v = inside(y, x)
    cover = np.clip(depth + 0.5, 0, 1)[..., None]
    shaded = colour * surface(u, v, texture[rows, columns])[..., None]
    light[rows, columns] += cover * (np.maximum(shaded, 0) - light[rows, columns])


SCENES: dict[str, Callable[[int, np.random.Generator], np.ndarray]] = {
    "leaves": _leaves,
    "fractal": _fractal,
    "solids": draw_solids,
    "studio": _studio,
    "pattern": _pattern,
}
"""The kinds of scenes, and what draws them."""
