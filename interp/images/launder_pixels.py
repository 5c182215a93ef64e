"""Laundering of grey levels: blur, sharpening, noise, gamma and contrast."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

import numpy as np
from PIL import Image
from scipy import ndimage

from interp.images.launder_parameters import Number, number, word
from interp.images.launder_step import Step


@dataclass(frozen=True)
class Blur(Step):
    """Gaussian blur, kernel cut off at 4 sigma, borders mirrored.

    Attributes:
        sigma: standard deviation in pixels.
        rounding: `down` rounds each of the two passes down, as SciPy does on 8-bit images and so the code of Wang
            et al. (2020): the image also becomes about a grey level darker.
    """

    name = "blur"
    example = "blur:1.5"
    sigma: Number = number(0, 50)
    rounding: str = word("nearest", "down")

    def apply(self, image: Image.Image, rng: np.random.Generator) -> Image.Image:
        sigma = cast(float, self.sigma)
        if sigma == 0:
            return image
        if self.rounding == "down":
            levels = np.asarray(image)
            return Image.fromarray(ndimage.gaussian_filter(levels, (sigma, sigma, 0)))
        return from_levels(blurred(as_levels(image), sigma))


@dataclass(frozen=True)
class KernelBlur(Step):
    """Gaussian blur with an odd number of weights, as OpenCV is asked for it.

    Attributes:
        kernel: weights along one edge.
        sigma: standard deviation in pixels; 0 takes OpenCV's rule 0.3 ((kernel - 1) / 2 - 1) + 0.8.
    """

    name = "kernelblur"
    example = "kernelblur:5"
    kernel: Number = number(1, 99, whole=True, odd=True)
    sigma: Number = number(0, 50, 0)

    def apply(self, image: Image.Image, rng: np.random.Generator) -> Image.Image:
        kernel = int(cast(float, self.kernel))
        if kernel == 1:
            return image
        sigma = cast(float, self.sigma) or 0.3 * ((kernel - 1) / 2 - 1) + 0.8
        weights = np.exp(-0.5 * ((np.arange(kernel) - kernel // 2) / sigma) ** 2)
        levels = as_levels(image)
        for axis in (0, 1):
            levels = ndimage.correlate1d(levels, weights / weights.sum(), axis, mode="mirror")
        return from_levels(levels)


@dataclass(frozen=True)
class Noise(Step):
    """Gaussian noise, independent for each pixel and channel.

    Attributes:
        amount: standard deviation in grey levels, or its square.
        unit: `sd` or `variance` says which.
        rounding: `down` drops the fraction, as the code of Frank et al. (2020) does.
    """

    name = "noise"
    example = "noise:5"
    amount: Number = number(0, 10_000)
    unit: str = word("sd", "variance")
    rounding: str = word("nearest", "down")

    def apply(self, image: Image.Image, rng: np.random.Generator) -> Image.Image:
        amount = cast(float, self.amount)
        if amount == 0:
            return image
        levels = rng.standard_normal((image.height, image.width, 3), dtype=np.float32)
        levels *= amount if self.unit == "sd" else amount**0.5
        levels += np.asarray(image)
        return from_levels(levels if self.rounding == "nearest" else np.floor(levels))


@dataclass(frozen=True)
class Shot(Step):
    """Shot noise: each grey level becomes a Poisson count, as in ImageNet-C (Hendrycks and Dietterich 2019).

    Attributes:
        photons: expected count of a white pixel; fewer are noisier.
    """

    name = "shot"
    example = "shot:60"
    photons: Number = number(1, 1_000_000)

    def apply(self, image: Image.Image, rng: np.random.Generator) -> Image.Image:
        photons = cast(float, self.photons)
        expected = (np.arange(256) * (photons / 255))[np.asarray(image)]
        return from_levels((rng.poisson(expected) * (255 / photons)).astype(np.float32))


@dataclass(frozen=True)
class Sharpen(Step):
    """Unsharp mask: adds `amount` times the difference from the blurred image.

    Attributes:
        amount: 0 leaves the image as it is.
        radius: sigma of the blur, in pixels.
    """

    name = "sharpen"
    example = "sharpen:1"
    amount: Number = number(0, 20)
    radius: Number = number(0.1, 20, 1.0)

    def apply(self, image: Image.Image, rng: np.random.Generator) -> Image.Image:
        if self.amount == 0:
            return image
        levels = as_levels(image)
        away = levels - blurred(levels, cast(float, self.radius))
        return from_levels(levels + np.float32(cast(float, self.amount)) * away)


@dataclass(frozen=True)
class Gamma(Step):
    """Tones x in 0…1 become x ** exponent: above 1 darker, below 1 lighter."""

    name = "gamma"
    example = "gamma:1.2"
    exponent: Number = number(0.1, 10)

    def apply(self, image: Image.Image, rng: np.random.Generator) -> Image.Image:
        exponent = cast(float, self.exponent)
        return image if exponent == 1 else _toned(image, lambda x: 255 * (x / 255) ** exponent)


@dataclass(frozen=True)
class Contrast(Step):
    """Distances from mid-grey are multiplied by `factor`: below 1 flatter, above 1 harder."""

    name = "contrast"
    example = "contrast:0.8"
    factor: Number = number(0, 10)

    def apply(self, image: Image.Image, rng: np.random.Generator) -> Image.Image:
        factor = cast(float, self.factor)
        return image if factor == 1 else _toned(image, lambda x: 127.5 + factor * (x - 127.5))


def as_levels(image: Image.Image) -> np.ndarray:
    """(height, width, 3) float32 grey levels."""
    return np.asarray(image).astype(np.float32)


def from_levels(levels: np.ndarray) -> Image.Image:
    """An RGB image of (height, width, 3) grey levels, rounded and cut to 0…255."""
    return Image.fromarray(np.clip(np.rint(levels), 0, 255).astype(np.uint8))


def blurred(levels: np.ndarray, sigma: float) -> np.ndarray:
    """Grey levels (height, width, 3) after a Gaussian blur over rows and columns."""
    return np.asarray(ndimage.gaussian_filter(levels, (sigma, sigma, 0)))


def _toned(image: Image.Image, curve: Callable[[np.ndarray], np.ndarray]) -> Image.Image:
    table = np.clip(np.rint(curve(np.arange(256.0))), 0, 255).astype(int).tolist()
    return image.point(table * 3)
