"""The views of photographs that `pretrain_embedded_clip.py` trains on: crops, mixup, degradations."""

from __future__ import annotations

import io
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image
from torch.nn import functional as F

from experiments.embedded_captions import BLURRY, CLEAN, FIELD_NAMES, UPSCALED

FIELD = {name: column for column, name in enumerate(FIELD_NAMES)}
# How often each degradation is drawn: the faint ones, which are harder to see, more often.
OFTEN = {
    "blurry": 1.0,
    "compressed": 2.5,
    "noisy": 1.5,
    "upscaled": 1.0,
    "dark": 0.7,
    "bright": 0.7,
    "grey": 0.6,
}
GROUPS = 8  # crops of one group have one size, so that a group is resized in one call


def random_crops(pixels: np.ndarray, side: int, rng: np.random.Generator) -> tuple[torch.Tensor, np.ndarray]:
    """Crops of half to the whole area, aspect within e^±.2, resized to `side`.

    Args:
        pixels: (n, 64, 64, 3) uint8.
        side: pixels of the result.
        rng: draws sizes and places.

    Returns:
        (n, 3, side, side) float32 in [0, 1], and (n,) bool: which crops were enlarged.
    """
    n, full = len(pixels), pixels.shape[1]
    out, enlarged = torch.empty(n, 3, side, side), np.zeros(n, dtype=bool)
    for rows in np.array_split(np.arange(n), GROUPS):
        area, aspect = rng.uniform(0.5, 1.0), np.exp(rng.uniform(-0.2, 0.2))
        h = int(np.clip(round(full * np.sqrt(area * aspect)), 16, full))
        w = int(np.clip(round(full * np.sqrt(area / aspect)), 16, full))
        top, left = rng.integers(0, full - h + 1, len(rows)), rng.integers(0, full - w + 1, len(rows))
        cut = np.stack([pixels[r, t : t + h, x : x + w] for r, t, x in zip(rows, top, left, strict=True)])
        crops = torch.from_numpy(cut).permute(0, 3, 1, 2).float() / 255
        out[rows] = F.interpolate(crops, size=(side, side), mode="bilinear", antialias=True)
        enlarged[rows] = h < side or w < side
    return out, enlarged


def native_crops(pixels: np.ndarray, side: int, rng: np.random.Generator) -> torch.Tensor:
    """Windows of `side` pixels at multiples of 8, never resized, so that block and sensor traces stay."""
    places = (pixels.shape[1] - side) // 8 + 1
    top, left = 8 * rng.integers(0, places, (2, len(pixels)))
    cut = np.stack(
        [p[t : t + side, x : x + side] for p, t, x in zip(pixels, top, left, strict=True)],
    )
    return torch.from_numpy(cut).permute(0, 3, 1, 2).float() / 255


def draw_fields(n: int, share: float, rng: np.random.Generator) -> np.ndarray:
    """(n, fields) bool: about `share` of the images get one degradation, a fifth of these a second one."""
    has = np.zeros((n, len(FIELD_NAMES)), dtype=bool)
    touched = rng.random(n) < share
    chances = np.array([OFTEN[name] for name in FIELD_NAMES[:CLEAN]])
    first, other = rng.choice(CLEAN, (2, n), p=chances / chances.sum())
    has[np.arange(n), first] = touched
    has[np.arange(n), other] |= touched & (rng.random(n) < 0.2)
    has[has[:, FIELD["dark"]], FIELD["bright"]] = False
    has[:, CLEAN] = ~has.any(1)
    return has


def unsure_fields(has: np.ndarray, enlarged: np.ndarray) -> np.ndarray:
    """(n, fields) bool: what nobody can deny of an image: an upscaled one is blurry, an enlarged crop upscaled."""
    unsure = np.zeros_like(has)
    unsure[:, BLURRY] = has[:, UPSCALED]
    unsure[enlarged] |= np.isin(np.arange(has.shape[1]), (BLURRY, UPSCALED, CLEAN))
    return unsure & ~has | (unsure & (np.arange(has.shape[1]) == CLEAN))


def blur(images: torch.Tensor, sigma: float) -> torch.Tensor:
    """A Gaussian blur of `sigma` pixels, edges reflected."""
    radius = max(1, int(np.ceil(2.5 * sigma)))
    kernel = torch.exp(-0.5 * (torch.arange(-radius, radius + 1) / sigma) ** 2)
    kernel = (kernel / kernel.sum()).repeat(3, 1)
    padded = F.pad(images, (radius,) * 4, mode="reflect")
    rows = F.conv2d(padded, kernel[:, None, :, None], groups=3)
    return F.conv2d(rows, kernel[:, None, None, :], groups=3)


def rescale(images: torch.Tensor, factor: float, mode: str) -> torch.Tensor:
    """Shrunk by `factor` and enlarged again."""
    side = images.shape[-1]
    small = F.interpolate(images, size=max(4, round(side / factor)), mode="bilinear", antialias=True)
    return F.interpolate(small, size=side, mode=mode)


def jpeg(image: torch.Tensor, quality: int) -> torch.Tensor:
    """(3, h, w) in [0, 1] through a JPEG file."""
    pixels = (image.clamp(0, 1) * 255).round().byte().permute(1, 2, 0).numpy()
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=quality)
    return torch.from_numpy(np.array(Image.open(file))).permute(2, 0, 1).float() / 255


def degrade(images: torch.Tensor, has: np.ndarray, rng: np.random.Generator) -> torch.Tensor:
    """Degrade each image as `has` says.

    Args:
        images: (n, 3, side, side) float32 in [0, 1].
        has: (n, fields) bool, columns named by FIELD_NAMES.
        rng: draws the strengths.

    Returns:
        (n, 3, side, side) float32 in [0, 1].
    """
    images = images.clone()

    def rows(field: str) -> np.ndarray:
        return np.flatnonzero(has[:, FIELD[field]])

    def gains(low: float, high: float, n: int) -> torch.Tensor:
        return torch.from_numpy(rng.uniform(low, high, (n, 1, 1, 1))).float()

    if len(r := rows("grey")):
        images[r] = images[r].mean(1, keepdim=True).expand(-1, 3, -1, -1)
    if len(r := rows("dark")):
        images[r] = images[r] * gains(0.2, 0.45, len(r))
    if len(r := rows("bright")):
        images[r] = (images[r] * gains(1.7, 2.4, len(r))).clamp(0, 1)
    for part in np.array_split(rows("blurry"), 3):
        if len(part):
            images[part] = blur(images[part], float(rng.uniform(0.8, 2.2)))
    for part in np.array_split(rows("upscaled"), 3):
        if len(part):
            mode = ("nearest", "bilinear", "bicubic")[rng.integers(3)]
            images[part] = rescale(images[part], float(rng.uniform(2.0, 3.5)), mode)
    if len(r := rows("noisy")):
        noise = torch.from_numpy(rng.standard_normal((len(r), *images.shape[1:]), dtype=np.float32))
        images[r] = images[r] + noise * gains(0.05, 0.15, len(r))
    for row in rows("compressed"):
        images[row] = jpeg(images[row], int(rng.integers(5, 25)))
    return images.clamp(0, 1)


@dataclass(frozen=True)
class Views:
    """A batch as the image tower sees it.

    Attributes:
        images: (n, 3, side, side) float32 in [0, 1].
        has: (n, fields) bool, degradations made.
        unsure: (n, fields) bool, degradations that cannot be denied.
        partner: (n,) int64, the row mixed in; the row itself without mixup.
        share: share of the row itself, 1 without mixup.
    """

    images: torch.Tensor
    has: np.ndarray
    unsure: np.ndarray
    partner: np.ndarray
    share: float


def make_views(
    pixels: np.ndarray, side: int, native: bool, mixup: bool, degraded: float, rng: np.random.Generator
) -> Views:
    """Native windows, or crops with flips and jitter, perhaps mixed in pairs; then degradations."""
    n = len(pixels)
    partner, share, enlarged = np.arange(n), 1.0, np.zeros(n, dtype=bool)
    if native:
        images = native_crops(pixels, side, rng)
    else:
        images, enlarged = random_crops(pixels, side, rng)
        shift = torch.from_numpy(rng.uniform(0.7, 1.3, (2, n, 1, 1, 1))).float()
        mean = images.mean((1, 2, 3), keepdim=True)
        images = ((images - mean) * shift[0] + mean * shift[1]).clamp(0, 1)
    flipped = np.flatnonzero(rng.random(n) < 0.5)
    images[flipped] = images[flipped].flip(-1)
    if mixup and not native:
        share = float(rng.beta(0.5, 0.5))
        share = max(share, 1 - share)
        partner = rng.permutation(n)
        images = share * images + (1 - share) * images[partner]
    has = draw_fields(n, degraded, rng)
    return Views(degrade(images, has, rng), has, unsure_fields(has, enlarged), partner, share)
