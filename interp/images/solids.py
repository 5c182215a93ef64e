"""Lit solids on a plane, by casting rays: spheres, boxes and cylinders with shading and cast shadows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from interp.images.textures import any_colour, fractal_noise

_FINER = 2  # rays per pixel along each edge
_NEAR = 1e-3  # a ray that leaves a surface does not meet it again

Hit = tuple[np.ndarray, np.ndarray]
"""Distance along each ray, shape (n,), inf where it misses; and the surface's normal there, shape (n, 3)."""


@dataclass(frozen=True)
class _Solid:
    meet: Callable[[np.ndarray, np.ndarray], Hit]
    middle: np.ndarray
    reach: float
    colour: np.ndarray
    gloss: float
    grain: float

    def near(self, start: np.ndarray, rays: np.ndarray) -> np.ndarray:
        """Indices of the rays that meet the ball around the solid; only these need a closer look."""
        away = start - self.middle
        towards = -(rays @ away if away.ndim == 1 else away @ rays[0])
        square = away @ away if away.ndim == 1 else np.einsum("ij,ij->i", away, away)
        return np.flatnonzero((towards > -self.reach) & (square - towards**2 < self.reach**2))


def draw_solids(size: int, rng: np.random.Generator) -> np.ndarray:
    """Two to six solids on a textured plane under a horizon, lit by one lamp and the sky.

    Shading is Lambert's law, with the highlights of Blinn (1977, Models of light reflection); a point is in shadow
    where its ray to the lamp meets a solid.

    Returns:
        Light, 0 and more and linear, shape (size, size, 3), float64.

    >>> draw_solids(32, np.random.default_rng(0)).shape
    (32, 32, 3)
    """
    eye = np.array([0, rng.uniform(1.2, 3), -rng.uniform(3.2, 4.8)])
    rays = _rays(size * _FINER, eye, np.array([0, rng.uniform(0.3, 0.8), 0]))
    lamp = _unit(np.array([rng.uniform(-1, 1), rng.uniform(0.5, 1.5), rng.uniform(-1, 0.3)]))
    solids = [_any_solid(rng) for _ in range(rng.integers(2, 7))]
    ground, sky, high = any_colour(rng), any_colour(rng), any_colour(rng)
    texture, tile = fractal_noise(128, rng), rng.uniform(0.4, 1.5) * (rng.random() < 0.5)

    with np.errstate(divide="ignore"):
        distance = np.where(rays[:, 1] < 0, -eye[1] / rays[:, 1], np.inf)
    normal = np.tile([0.0, 1, 0], (len(rays), 1))
    nearest = np.full(len(rays), -1)
    for i, solid in enumerate(solids):
        near = solid.near(eye, rays)
        reached, facing = solid.meet(eye, rays[near])
        closer = reached < distance[near]
        near = near[closer]
        distance[near], normal[near], nearest[near] = reached[closer], facing[closer], i

    rising = np.clip(rays[:, 1:2] * 2, 0, 1)
    light = sky * (1 - rising) + high * rising
    seen = np.flatnonzero(distance < 40)
    points, normal, which = eye + rays[seen] * distance[seen, None], normal[seen], nearest[seen]
    grain = _looked_up(texture, points + normal)
    colour = np.stack([solid.colour for solid in solids] + [ground])[which]  # -1, the plane, comes last
    rough = np.array([solid.grain for solid in solids] + [0.3])[which]
    if tile:
        odd = (np.floor(points[:, 0] / tile) + np.floor(points[:, 2] / tile)) % 2
        rough = np.where(which < 0, 0.15, rough)
        colour = np.where(((which < 0) & (odd > 0))[:, None], 0.5 * colour, colour)
    gloss = np.array([solid.gloss for solid in solids] + [0.0])[which]
    lit = np.clip(normal @ lamp, 0, None)
    start = points + _NEAR * normal
    for solid in solids:
        near = solid.near(start, lamp[None])
        lit[near[np.isfinite(solid.meet(start[near], lamp[None])[0])]] = 0
    half = lamp - rays[seen]
    along = np.einsum("ij,ij->i", normal, half) / np.sqrt(np.einsum("ij,ij->i", half, half))
    shine = gloss * np.clip(along, 0, 1) ** 40 * (lit > 0)
    above = 0.2 + 0.08 * normal[:, 1]
    ambient_and_lamp = (above + rng.uniform(0.9, 1.4) * lit) * (1 + rough * grain)
    haze = np.exp(-distance[seen] / 50)[:, None]
    light[seen] = (colour * ambient_and_lamp[:, None] + shine[:, None]) * haze + sky * (1 - haze)
    return np.clip(light, 0, 1.5).reshape(size, _FINER, size, _FINER, 3).mean(axis=(1, 3))


def _rays(edge: int, eye: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Unit directions through the pixels of a square picture, shape (edge², 3)."""
    ahead = _unit(target - eye)
    right = _unit(np.cross([0, 1, 0], ahead))
    up = np.cross(ahead, right)
    across = (np.arange(edge) + 0.5) / edge - 0.5
    directions = ahead + 0.9 * (across[None, :, None] * right - across[:, None, None] * up)
    directions = directions.reshape(-1, 3)
    return directions / np.linalg.norm(directions, axis=1, keepdims=True)


def _any_solid(rng: np.random.Generator) -> _Solid:
    """A sphere, an upright box turned by any angle, or an upright cylinder, standing on the plane."""
    kind, radius = rng.integers(3), rng.uniform(0.3, 0.8)
    x, z = rng.uniform(-1.5, 1.5), rng.uniform(-1, 2.5)
    high, turn = rng.uniform(0.3, 1.6), rng.uniform(0, np.pi)
    half = np.array([radius, high / 2, radius * rng.uniform(0.5, 1)])
    middle = np.array([x, radius if kind == 0 else high / 2, z])
    if kind == 0:
        meet, reach = _sphere(middle, radius), radius
    elif kind == 1:
        meet, reach = _box(middle, half, turn), np.linalg.norm(half)
    else:
        meet, reach = _cylinder(x, z, 0.7 * radius, high), np.hypot(0.7 * radius, high / 2)
    gloss = rng.uniform(0, 0.8) * (rng.random() < 0.6)
    return _Solid(meet, middle, float(reach), any_colour(rng), gloss, rng.uniform(0, 0.3))


def _sphere(middle: np.ndarray, radius: float) -> Callable[[np.ndarray, np.ndarray], Hit]:
    def meet(start: np.ndarray, rays: np.ndarray) -> Hit:
        away = start - middle
        half = (away * rays).sum(-1)
        inside = half**2 - (away**2).sum(-1) + radius**2
        distance = -half - np.sqrt(np.maximum(inside, 0))
        distance = np.where((inside > 0) & (distance > 0), distance, np.inf)
        with np.errstate(invalid="ignore"):
            return distance, (away + rays * distance[:, None]) / radius

    return meet


def _box(middle: np.ndarray, half: np.ndarray, turn: float) -> Callable[[np.ndarray, np.ndarray], Hit]:
    turned = np.array([[np.cos(turn), 0, np.sin(turn)], [0, 1, 0], [-np.sin(turn), 0, np.cos(turn)]])

    def meet(start: np.ndarray, rays: np.ndarray) -> Hit:
        own, along = (start - middle) @ turned.T, rays @ turned.T
        along = np.where(np.abs(along) < 1e-9, 1e-9, along)
        entries, exits = (-np.sign(along) * half - own) / along, (np.sign(along) * half - own) / along
        distance = entries.max(axis=1)
        hit = (distance < exits.min(axis=1)) & (distance > 0)
        side = np.arange(3) == entries.argmax(axis=1)[:, None]
        return np.where(hit, distance, np.inf), (side * -np.sign(along)) @ turned

    return meet


def _cylinder(x: float, z: float, radius: float, high: float) -> Callable[[np.ndarray, np.ndarray], Hit]:
    def meet(start: np.ndarray, rays: np.ndarray) -> Hit:
        away = start - np.array([x, 0, z])
        flat = np.array([1, 0, 1])
        a = np.maximum((rays**2 * flat).sum(-1), 1e-9)
        b, c = (away * rays * flat).sum(-1), (away**2 * flat).sum(-1) - radius**2
        inside = b**2 - a * c
        wall = (-b - np.sqrt(np.maximum(inside, 0))) / a
        height = away[..., 1] + wall * rays[:, 1]
        wall = np.where((inside > 0) & (wall > 0) & (height > 0) & (height < high), wall, np.inf)
        falling = np.where(np.abs(rays[:, 1]) < 1e-9, 1e-9, rays[:, 1])
        lid = (high - away[..., 1]) / falling
        at_lid = ((away + rays * lid[:, None]) ** 2 * flat).sum(-1) < radius**2
        lid = np.where(at_lid & (lid > 0), lid, np.inf)
        distance = np.minimum(wall, lid)
        with np.errstate(invalid="ignore"):
            round_about = (away + rays * distance[:, None]) * flat / radius
        return distance, np.where((lid < wall)[:, None], [0.0, 1, 0], round_about)

    return meet


def _looked_up(texture: np.ndarray, points: np.ndarray) -> np.ndarray:
    """A repeated texture at points in space, projected aslant so that no side of a box is a streak."""
    across = points[:, 0] + 0.6 * points[:, 1], points[:, 2] + 0.8 * points[:, 1]
    return ndimage.map_coordinates(texture, [32 * part for part in across], order=1, mode="grid-wrap")


def _unit(vector: np.ndarray) -> np.ndarray:
    return vector / np.linalg.norm(vector)
