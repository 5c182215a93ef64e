"""Simulated generators: each leaves one trace that real generators are known for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from PIL import Image
from scipy import ndimage

from interp.images.camera import Camera, photograph, render
from interp.images.scenes import SCENES, draw_scene

PATCH, STRIDE = 8, 4  # of the autoencoder, in pixels
_SPLINE = np.array([1, 4, 6, 4, 1]) / 16

Trace = Callable[[np.ndarray, np.random.Generator], np.ndarray]


@dataclass(frozen=True)
class Simulator:
    """A simulated generator.

    Attributes:
        family: what kind of trace it leaves.
        source: who described the trace, or what leaves it.
        trace: changes tones, shape (size, size, 3) and 0 to 1, of a photograph; its strength is drawn anew for
            each picture. None: pictures are rendered without a sensor.
    """

    family: str
    source: str
    trace: Trace | None

    def picture(self, light: np.ndarray, camera: Camera, rng: np.random.Generator) -> np.ndarray:
        """A generated picture of a scene, before its JPEG: tones of about 0 to 1, shape (size, size, 3)."""
        if self.trace is None:
            return render(light, camera, rng, grain=np.exp(rng.uniform(np.log(0.0004), np.log(0.006))))
        return self.trace(photograph(light, camera, rng), rng)


def nearest(tones: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Part of the picture was drawn at half the size, and each of its pixels repeated 2 × 2."""
    doubled = _halved(tones).repeat(2, axis=0).repeat(2, axis=1)
    return tones + rng.uniform(0.2, 0.9) * (doubled - tones)


def bilinear(tones: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Part of the picture was drawn at half the size and doubled bilinearly."""
    return tones + rng.uniform(0.2, 0.9) * (_doubled(_halved(tones), Image.Resampling.BILINEAR) - tones)


def bicubic(tones: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Part of the picture was drawn at half the size and doubled by cubic convolution."""
    return tones + rng.uniform(0.3, 1) * (_doubled(_halved(tones), Image.Resampling.BICUBIC) - tones)


def checkerboard(tones: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Part of the picture came through a transposed convolution of stride 2 whose kernel covers pixels unevenly.

    Zeros are put between the pixels of the half-sized picture, and a 3 × 3 kernel runs over them. [1/2, 1, 1/2]
    would cover all pixels evenly; this one gives those in the middle more or less, in each colour.
    """
    small = _halved(tones)
    sparse = np.zeros_like(tones)
    sparse[::2, ::2] = small
    uneven = rng.uniform(0.01, 0.1) * rng.choice([-1, 1]) * rng.uniform(0.6, 1, 3)
    for c in range(3):
        kernel = np.array([0.5, 1 + uneven[c], 0.5])
        for axis in (0, 1):
            sparse[..., c] = ndimage.convolve1d(sparse[..., c], kernel, axis=axis, mode="wrap")
        sparse[..., c] /= (1 + uneven[c] / 2) ** 2
    return tones + rng.uniform(0.15, 0.6) * (sparse - tones)


def smooth(tones: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A median filter of 3 × 3 pixels, in part: noise goes, edges stay."""
    return tones + rng.uniform(0.3, 0.9) * (ndimage.median_filter(tones, (3, 3, 1)) - tones)


def spectral(tones: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """High frequencies fall off too early; a faint white grain takes their place."""
    size = len(tones)
    frequency = np.hypot(np.fft.fftfreq(size)[:, None], np.fft.rfftfreq(size)[None, :])[..., None]
    kept = np.fft.rfft2(tones, axes=(0, 1)) / (1 + (frequency / rng.uniform(0.3, 0.55)) ** 4)
    grain = rng.uniform(0.001, 0.006) * rng.standard_normal(tones.shape)
    return np.fft.irfft2(kept, s=(size, size), axes=(0, 1)) + grain


def diffusion(tones: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Noise is added and taken away again, less in each step, by shrinking wavelets.

    The denoiser is the non-negative garrote (Gao 1998) on the two finest bands of an undecimated spline wavelet.
    What it takes for noise, weak texture and the sensor's grain, does not come back.
    """
    first, steps = rng.uniform(0.008, 0.03), rng.integers(3, 6)
    for level in np.geomspace(first, 0.003, steps):
        noisy = tones + level * rng.standard_normal(tones.shape)
        tones = noisy
        for scale, share in ((1, 0.9), (2, 0.2)):  # deviation of white noise in each band, of the noise's own
            coarse = _spline_filtered(noisy, scale)
            band = noisy - coarse
            tones = tones - band / np.maximum(1, (band / (1.5 * share * level)) ** 2)
            noisy = coarse
    return tones


def palette(tones: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A palette of its own for each picture, 24 to 128 colours, without dithering."""
    pixels = Image.fromarray(np.round(np.clip(tones, 0, 1) * 255).astype(np.uint8))
    colours = int(np.exp(rng.uniform(np.log(24), np.log(128))))
    few = pixels.quantize(colours, dither=Image.Dither.NONE).convert("RGB")
    return np.asarray(few) / 255


def autoencoder(tones: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A round trip through the latent numbers of overlapping patches, few for each and rounded.

    The encoder is a convolution of 8 × 8 pixels and stride 4 with the principal components of drawn patches, the
    decoder its transpose: the best linear autoencoder (Baldi and Hornik 1989).
    """
    return decode_latent(tones, int(rng.integers(24, 96)), rng.uniform(0.01, 0.06))


def decode_latent(tones: np.ndarray, channels: int, step: float) -> np.ndarray:
    """Encode into so many latent numbers for each patch, round them to multiples of `step`, and decode."""
    size, edge = len(tones), PATCH
    width = -(-size // STRIDE) * STRIDE + edge  # whole strides, and a border that is cut off again
    padded = np.pad(tones, ((edge // 2, width - size - edge // 2),) * 2 + ((0, 0),), mode="symmetric")
    windows = np.lib.stride_tricks.sliding_window_view(padded, (edge, edge), axis=(0, 1))[::STRIDE, ::STRIDE]
    rows, columns = windows.shape[:2]
    middle, components = codec()
    kept = components[:channels]
    latent = (windows.reshape(-1, middle.size) - middle) @ kept.T
    patches = np.round(latent / step) * step @ kept + middle
    patches = np.moveaxis(patches.reshape(rows, columns, 3, edge, edge), 2, -1)
    total, covered = np.zeros_like(padded), np.zeros((width, width, 1))
    for i in range(edge):
        for j in range(edge):
            at = slice(i, i + STRIDE * rows, STRIDE), slice(j, j + STRIDE * columns, STRIDE)
            total[at] += patches[:, :, i, j]
            covered[at] += 1
    inner = slice(edge // 2, edge // 2 + size)
    return (total / covered)[inner, inner]


@lru_cache(maxsize=1)
def codec() -> tuple[np.ndarray, np.ndarray]:
    """The autoencoder's weights, the same in every set: mean patch (192,), and components (192, 192) by variance."""
    rng = np.random.default_rng(0)
    drawn = [photograph(draw_scene(kind, 64, rng), Camera.any(rng), rng) for kind in SCENES for _ in range(6)]
    windows = np.lib.stride_tricks.sliding_window_view(np.stack(drawn), (PATCH, PATCH), axis=(1, 2))
    patches = windows[:, ::5, ::5].reshape(-1, 3 * PATCH**2)
    middle = patches.mean(axis=0)
    _, components = np.linalg.eigh(np.cov(patches - middle, rowvar=False))
    return middle, components.T[::-1]


def _halved(tones: np.ndarray) -> np.ndarray:
    half = len(tones) // 2
    return tones.reshape(half, 2, half, 2, 3).mean(axis=(1, 3))


def _doubled(tones: np.ndarray, by: Image.Resampling) -> np.ndarray:
    size = 2 * len(tones)
    colours = [Image.fromarray(np.float32(tones[..., c])).resize((size, size), by) for c in range(3)]
    return np.stack([np.asarray(colour, float) for colour in colours], axis=-1)


def _spline_filtered(tones: np.ndarray, scale: int) -> np.ndarray:
    kernel = np.zeros(4 * scale + 1)
    kernel[::scale] = _SPLINE
    for axis in (0, 1):
        tones = ndimage.convolve1d(tones, kernel, axis=axis, mode="mirror")
    return tones


_FRANK = "Frank et al. 2020, Leveraging frequency analysis for deep fake image recognition"
_ZHANG = (
    "Odena et al. 2016, Deconvolution and checkerboard artifacts; Zhang, Karaman and Chang 2019 (AutoGAN)"
)
_MEDIAN = "Kirchner and Fridrich 2010, On detection of median filtering in digital images"
_DURALL = "Durall, Keuper and Keuper 2020, Watch your up-convolution"
_CORVI = "Ho et al. 2020 (DDPM); Corvi et al. 2023, Intriguing properties of synthetic images"
_CODEBOOK = "van den Oord, Vinyals and Kavukcuoglu 2017 (VQ-VAE)"
_LATENT = "Rombach et al. 2022 (latent diffusion); Ricker, Lukovnikov and Fischer 2024 (AEROBLADE)"
_SENSOR = "Popescu and Farid 2005, Exposing digital forgeries in color filter array interpolated images"

SIMULATORS = {
    "simulated-nearest": Simulator("upsampling", _FRANK, nearest),
    "simulated-bilinear": Simulator("upsampling", _FRANK, bilinear),
    "simulated-bicubic": Simulator("upsampling", _FRANK, bicubic),
    "simulated-checkerboard": Simulator("upsampling", _ZHANG, checkerboard),
    "simulated-smooth": Simulator("denoising", _MEDIAN, smooth),
    "simulated-spectral": Simulator("denoising", _DURALL, spectral),
    "simulated-diffusion": Simulator("denoising", _CORVI, diffusion),
    "simulated-palette": Simulator("quantising", _CODEBOOK, palette),
    "simulated-autoencoder": Simulator("quantising", _LATENT, autoencoder),
    "simulated-no-sensor": Simulator("rendering", _SENSOR, None),
}
"""All simulated generators by name. New ones come last: the place in this list is part of a picture's seed."""
