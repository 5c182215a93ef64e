"""A simulated camera: lens, colour mosaic, sensor noise, demosaicing, white balance, tones, sharpening, JPEG."""

from __future__ import annotations

import io
from dataclasses import dataclass

import numpy as np
from PIL import Image
from scipy import ndimage

_SENSITIVITY = np.array([0.55, 1, 0.65])  # of the sensor's red, green and blue to white light
_LUMA = np.array([0.299, 0.587, 0.114])

# Malvar, He and Cutler 2004, figure 2, in eighths
_GREEN_AT_OTHERS = np.array(
    [[0, 0, -1, 0, 0], [0, 0, 2, 0, 0], [-1, 2, 4, 2, -1], [0, 0, 2, 0, 0], [0, 0, -1, 0, 0]]
)
_IN_ROW = np.array(
    [[0, 0, 0.5, 0, 0], [0, -1, 0, -1, 0], [-1, 4, 5, 4, -1], [0, -1, 0, -1, 0], [0, 0, 0.5, 0, 0]]
)
_ACROSS = np.array(
    [[0, 0, -1.5, 0, 0], [0, 2, 0, 2, 0], [-1.5, 0, 6, 0, -1.5], [0, 2, 0, 2, 0], [0, 0, -1.5, 0, 0]]
)


@dataclass(frozen=True)
class Camera:
    """How one exposure is made.

    Attributes:
        blur: of the lens, standard deviation in pixels.
        brightness: mean linear light after the exposure, of 1.
        start: row and column, 0 or 1, of the first red pixel: the pattern's phase.
        shot: variance of the noise per unit of light.
        read: standard deviation of the noise in the dark.
        balance: error of the white balance, a factor for each of three colours.
        contrast: share of an S-shaped curve in the tone curve.
        saturation: 0 is grey, 1 leaves colours as they are.
        sharpening: how much of the difference to a blurred picture is added.
        quality: of the JPEG that comes last, as libjpeg counts.
        full_colour: whether that JPEG keeps colour at full resolution (4:4:4), or at half (4:2:0).
    """

    blur: float
    brightness: float
    start: tuple[int, int]
    shot: float
    read: float
    balance: np.ndarray
    contrast: float
    saturation: float
    sharpening: float
    quality: int
    full_colour: bool

    @classmethod
    def any(cls, rng: np.random.Generator) -> Camera:
        """A camera with every setting drawn from its range.

        >>> 85 <= Camera.any(np.random.default_rng(0)).quality <= 99
        True
        """
        return cls(
            blur=rng.uniform(0.45, 0.75),
            brightness=rng.uniform(0.15, 0.4),
            start=(int(rng.integers(2)), int(rng.integers(2))),
            shot=np.exp(rng.uniform(np.log(5e-5), np.log(6e-4))),
            read=rng.uniform(0.001, 0.003),
            balance=rng.uniform(0.9, 1.1, 3),
            contrast=rng.uniform(0, 0.5),
            saturation=rng.uniform(0.9, 1.3),
            sharpening=rng.uniform(0, 0.8),
            quality=int(rng.integers(88, 100)),
            full_colour=bool(rng.random() < 0.7),
        )


def photograph(light: np.ndarray, camera: Camera, rng: np.random.Generator) -> np.ndarray:
    """Photograph a scene: lens, mosaic, noise, demosaicing and development. JPEG is left to `compress`.

    Args:
        light: linear, 0 to 1, shape (size, size, 3).
        camera: how.
        rng: decides the noise.

    Returns:
        Tones, 0 to 1, shape (size, size, 3), float64.

    >>> rng = np.random.default_rng(0)
    >>> photograph(rng.random((32, 32, 3)), Camera.any(rng), rng).shape
    (32, 32, 3)
    """
    seen = _exposed(light, camera) * _SENSITIVITY
    mosaic = (seen * bayer(len(seen), camera.start)).sum(axis=-1)
    mosaic += np.sqrt(mosaic * camera.shot + camera.read**2) * rng.standard_normal(mosaic.shape)
    gains = (bayer(len(seen), camera.start) / _SENSITIVITY).sum(axis=-1)
    return develop(demosaic(mosaic * gains, camera.start), camera)


def render(light: np.ndarray, camera: Camera, rng: np.random.Generator, grain: float) -> np.ndarray:
    """The same picture without a sensor: no mosaic, no demosaicing, and white grain in place of its noise.

    Args:
        light: linear, 0 to 1, shape (size, size, 3).
        camera: its lens and its development.
        rng: decides the grain.
        grain: standard deviation, of 1, in linear light.

    Returns:
        Tones, 0 to 1, shape (size, size, 3), float64.
    """
    seen = _exposed(light, camera)
    return develop(seen + grain * rng.standard_normal(seen.shape), camera)


def bayer(size: int, start: tuple[int, int]) -> np.ndarray:
    """Which colour each pixel of a Bayer sensor sees: 1 for that colour, 0 else, shape (size, size, 3).

    >>> bayer(2, (0, 0)).argmax(axis=-1).tolist()
    [[0, 1], [1, 2]]
    """
    row, column = (np.arange(size) + start[0]) % 2, (np.arange(size) + start[1]) % 2
    red = (row[:, None] == 0) & (column[None] == 0)
    blue = (row[:, None] == 1) & (column[None] == 1)
    return np.stack([red, ~(red | blue), blue], axis=-1).astype(float)


def demosaic(mosaic: np.ndarray, start: tuple[int, int]) -> np.ndarray:
    """Fill in the two colours that each pixel did not see, by linear filters of 5 × 5 pixels.

    Malvar, He and Cutler 2004, High-quality linear interpolation for demosaicing of Bayer-patterned color images.

    Args:
        mosaic: one value for each pixel, shape (size, size).
        start: the pattern's phase, see `bayer`.

    Returns:
        Shape (size, size, 3), float64; what was seen is kept as it is.
    """
    red, green, blue = np.moveaxis(bayer(len(mosaic), start), -1, 0)
    at_others, in_row, in_column, across = (
        ndimage.correlate(mosaic, kernel / 8, mode="mirror")
        for kernel in (_GREEN_AT_OTHERS, _IN_ROW, _IN_ROW.T, _ACROSS)
    )
    red_rows = red.max(axis=1, keepdims=True)
    beside, above = green * red_rows, green * (1 - red_rows)  # of a green pixel, where red lies
    return np.stack(
        [
            red * mosaic + beside * in_row + above * in_column + blue * across,
            green * mosaic + (1 - green) * at_others,
            blue * mosaic + beside * in_column + above * in_row + red * across,
        ],
        axis=-1,
    )


def develop(linear: np.ndarray, camera: Camera) -> np.ndarray:
    """White balance, saturation, tone curve and sharpening: from linear light to tones, shape (size, size, 3)."""
    balanced = linear * camera.balance
    grey = (balanced @ _LUMA)[..., None]
    tones = np.clip(grey + camera.saturation * (balanced - grey), 0, 1) ** (1 / 2.2)
    tones += camera.contrast * (tones**2 * (3 - 2 * tones) - tones)
    tones += camera.sharpening * (tones - ndimage.gaussian_filter(tones, (0.8, 0.8, 0)))
    return np.clip(tones, 0, 1)


def compress(tones: np.ndarray, camera: Camera) -> np.ndarray:
    """Save as the camera's JPEG and read it again, shape (size, size, 3), uint8."""
    file = io.BytesIO()
    pixels = np.round(np.clip(tones, 0, 1) * 255).astype(np.uint8)
    subsampling = "4:4:4" if camera.full_colour else "4:2:0"
    Image.fromarray(pixels).save(file, "JPEG", quality=camera.quality, subsampling=subsampling)
    with Image.open(file) as image:
        return np.asarray(image)


def _exposed(light: np.ndarray, camera: Camera) -> np.ndarray:
    seen = ndimage.gaussian_filter(np.asarray(light, float), (camera.blur, camera.blur, 0))
    return np.minimum(seen * camera.brightness / seen.mean(), 1)
