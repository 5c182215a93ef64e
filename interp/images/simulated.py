"""A small set of drawn photographs and simulated generators, for trials where no benchmark is at hand."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image
from scipy import ndimage

from interp.errors import InputError
from interp.images.image_set import ImageSet
from interp.images.scenes import draw_scenes, photograph

_SETTINGS = "simulated.json"
_DRAWING = 1  # raise it when the pictures change, so that older folders are not taken for them


@dataclass(frozen=True)
class _Generator:
    family: str
    finish: Callable[[np.ndarray, np.random.Generator], np.ndarray]


def draw_simulated_set(
    folder: str | Path, *, n_per_class: int = 60, size: int = 64, random_state: int = 0
) -> ImageSet:
    """Draw photographs of invented scenes, and images of simulated generators on other scenes.

    Nothing here comes from a real camera or a real generator; a number measured on it says that a tool
    works, never how well generated images are detected. Photographs are scenes seen by a small camera. A
    simulated generator takes such a photograph of another scene and leaves one trace that real generators
    are known for:

    - family upsampling: `simulated-nearest`, `simulated-bilinear` (a layer doubled the size) and
      `simulated-checkerboard` (a strided transposed convolution covered pixels unevenly);
    - family denoising: `simulated-smooth` (sensor noise is gone, edges are kept) and `simulated-spectral`
      (high frequencies fall off too early);
    - family quantising: `simulated-palette` (few colours, as from a small codebook).

    Args:
        folder: written once; a complete folder with the same settings is opened as it is.
        n_per_class: photographs, and also images of each generator. Each image has its own scene: its group.
        size: edge in pixels, even; all files are PNG.
        random_state: the same number gives the same pictures.

    Raises:
        InputError: sizes that cannot be drawn, or a folder that holds something else.
    """
    if n_per_class < 1 or size < 16 or size % 2:
        raise InputError(
            f"expected n_per_class of 1 or more and an even size of 16 or more; got {n_per_class} and {size}"
        )
    folder = Path(folder)
    settings = {"drawing": _DRAWING, "n_per_class": n_per_class, "size": size, "random_state": random_state}
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        folder.absolute().parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.absolute().parent, prefix=".drawing-") as temporary:
            drawn = Path(temporary) / "set"
            _draw(drawn, settings)
            try:
                os.rename(drawn, folder)
            except OSError as error:
                if not (folder / _SETTINGS).exists():  # no other process finished first
                    raise InputError(
                        f"cannot write the simulated set to {folder}: {error.strerror}"
                    ) from error
    return _open_drawn(folder, settings)


def _draw(folder: Path, settings: dict[str, int]) -> None:
    n, size = settings["n_per_class"], settings["size"]
    seeds = np.random.SeedSequence(settings["random_state"]).spawn(1 + len(_GENERATORS))
    rows = []
    for (name, maker), seed in zip([("real", None), *_GENERATORS.items()], seeds, strict=True):
        rng = np.random.default_rng(seed)
        tones = photograph(draw_scenes(n, size, rng), rng)
        tones = maker.finish(tones, rng) if maker else tones
        (folder / name).mkdir(parents=True)
        for i, pixels in enumerate(np.round(np.clip(tones, 0, 1) * 255).astype(np.uint8)):
            path = f"{name}/{i:04d}.png"
            Image.fromarray(pixels).save(folder / path)
            family = maker.family if maker else "real"
            label = "fake" if maker else "real"
            rows.append((path, label, name, family, f"scene-{len(rows):05d}"))
    table = pd.DataFrame(rows, columns=["path", "label", "generator", "family", "group"])
    table.to_csv(folder / "manifest.csv", index=False)
    (folder / _SETTINGS).write_text(json.dumps(settings))


def _open_drawn(folder: Path, settings: dict[str, int]) -> ImageSet:
    try:
        found = json.loads((folder / _SETTINGS).read_text())
    except (OSError, ValueError):
        found = None
    if found != settings:
        held = "something else" if found is None else f"a set drawn with {found}"
        raise InputError(
            f"{folder} holds {held}, asked for {settings}; name another folder, or delete this one"
        )
    images = ImageSet.from_manifest(folder / "manifest.csv")
    lost = [key for key in images.keys if not images.path(key).is_file()]
    if lost:
        raise InputError(
            f"{len(lost)} images of the set in {folder} are gone; delete the folder to draw it anew"
        )
    return images


def _nearest(tones: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Part of the picture was drawn at half the size, and each of its pixels repeated 2 × 2."""
    doubled = _halved(tones).repeat(2, axis=1).repeat(2, axis=2)
    return _mix(tones, doubled, rng.uniform(0.5, 0.95, len(tones)))


def _bilinear(tones: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Part of the picture was drawn at half the size and doubled bilinearly."""
    doubled = ndimage.zoom(_halved(tones), (1, 2, 2, 1), order=1, mode="nearest", grid_mode=True)
    return _mix(tones, np.asarray(doubled), rng.uniform(0.5, 0.95, len(tones)))


def _halved(tones: np.ndarray) -> np.ndarray:
    n, size = tones.shape[:2]
    return tones.reshape(n, size // 2, 2, size // 2, 2, 3).mean(axis=(2, 4))


def _checkerboard(tones: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Pixels of a 2 × 2 cell get unequal weight, and more so where there is contrast."""
    contrast = np.abs(tones - ndimage.gaussian_filter(tones, (0, 2, 2, 0)))
    odd = np.arange(tones.shape[1]) % 2
    weight = (odd[:, None] + odd[None, :] - 1.0)[..., None]
    strength = rng.uniform(0.02, 0.06, (len(tones), 1, 1, 1))
    return tones + weight * strength * (0.5 * tones + 4 * contrast)


def _smooth(tones: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A median filter: noise goes, edges stay."""
    return _mix(tones, ndimage.median_filter(tones, (1, 3, 3, 1)), rng.uniform(0.6, 1, len(tones)))


def _spectral(tones: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """High frequencies fall off too early; a faint white grain takes their place."""
    size = tones.shape[1]
    frequency = np.hypot(np.fft.fftfreq(size)[:, None], np.fft.rfftfreq(size)[None, :])[..., None]
    cutoff = rng.uniform(0.18, 0.3, (len(tones), 1, 1, 1))
    kept = np.fft.rfft2(tones, axes=(1, 2)) / (1 + (frequency / cutoff) ** 4)
    return np.fft.irfft2(kept, s=(size, size), axes=(1, 2)) + 0.006 * rng.standard_normal(tones.shape)


def _palette(tones: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A palette of its own for each image, 16 to 48 colours, without dithering."""
    drawn = []
    for pixels, colours in zip(
        np.round(tones * 255).astype(np.uint8), rng.integers(16, 49, len(tones)), strict=True
    ):
        few = Image.fromarray(pixels).quantize(int(colours), dither=Image.Dither.NONE)
        drawn.append(np.asarray(few.convert("RGB")) / 255)
    return np.stack(drawn)


def _mix(one: np.ndarray, other: np.ndarray, share: np.ndarray) -> np.ndarray:
    return one + share[:, None, None, None] * (other - one)


_GENERATORS = {
    "simulated-nearest": _Generator("upsampling", _nearest),
    "simulated-bilinear": _Generator("upsampling", _bilinear),
    "simulated-checkerboard": _Generator("upsampling", _checkerboard),
    "simulated-smooth": _Generator("denoising", _smooth),
    "simulated-spectral": _Generator("denoising", _spectral),
    "simulated-palette": _Generator("quantising", _palette),
}
