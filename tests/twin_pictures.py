"""Pictures and photographs that tests of twins start from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from interp.images.image_set import ImageSet
from interp.images.twins import make_twins


def picture(width: int, height: int, seed: int = 0) -> Image.Image:
    rng = np.random.default_rng(seed)
    waves = sum(
        rng.normal() * np.sin(np.add.outer(np.arange(height) * a, np.arange(width) * b))
        for a, b in rng.uniform(0, 0.2, (6, 2))
    )
    tones = 128 + 30 * np.asarray(waves)[..., None] + rng.normal(0, 8, (height, width, 3))
    return Image.fromarray(np.clip(tones, 0, 255).astype(np.uint8))


def levels(path: Path | Image.Image) -> np.ndarray:
    return np.asarray(path if isinstance(path, Image.Image) else Image.open(path), float)


def made(photographs: ImageSet, out: Path, *mechanisms: str, **options: Any) -> ImageSet:
    return make_twins(photographs, mechanisms, out, **{"side": 32, "n_jobs": 1, "progress": False} | options)
