"""What can be measured in an image's pixels without any model: a plain name for what a detector may lean on."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from interp.errors import InputError

VERSION = 1
"""Raise it when a statistic changes, so that kept tables are not taken for new ones."""

_LUMA = np.array([0.299, 0.587, 0.114])
_NOISE = np.outer([1, -2, 1], [1, -2, 1])
_FAINT = 1e-3
"""A level, in grey levels squared or alike, below which nothing is seen: keeps logarithms of flat images finite."""


@dataclass(frozen=True)
class Statistic:
    """What one number says of an image.

    Attributes:
        group: the property it belongs to, in words; a property is named and erased as a whole.
        meaning: what a high value says, and how it is measured.
    """

    group: str
    meaning: str


STATISTICS = {
    "red_over_blue": Statistic("colour cast", "warm rather than cold: log of mean red over mean blue"),
    "green_over_magenta": Statistic(
        "colour cast",
        "greenish rather than purple: log of mean green over the geometric mean of red and blue",
    ),
    "saturation": Statistic("saturation", "strong colours: mean of (max − min) / max of the three channels"),
    "colourfulness": Statistic(
        "saturation", "many strong colours: Hasler and Süsstrunk 2003, equation 1, as log(1 + it)"
    ),
    "brightness": Statistic("brightness", "bright: mean luma (ITU-R BT.601), 0 to 255"),
    "contrast": Statistic("contrast", "strong contrast: log(1 + standard deviation of luma)"),
    "clipped": Statistic("contrast", "burnt out or drowned: share of values at 0 or 255"),
    "sharpness": Statistic("sharpness", "sharp: log variance of luma's Laplacian"),
    "gradient": Statistic("sharpness", "many edges: log mean absolute step between neighbours of luma"),
    "noise": Statistic(
        "noise",
        "noisy: log(1 + 1.4826 × median absolute response) of luma to the mask of Immerkær 1996, over 6",
    ),
    "colour_noise": Statistic(
        "noise", "colour noise: the same of the differences red − green and blue − green"
    ),
    "high_frequencies": Statistic(
        "spectrum", "fine structure: log share of luma's power beyond half the Nyquist frequency"
    ),
    "spectral_slope": Statistic(
        "spectrum", "fine structure keeps its power: slope of log power over log radial frequency"
    ),
    "period_of_two": Statistic(
        "pixel grid",
        "every second pixel differs: log power at the Nyquist frequencies over that of their neighbours",
    ),
    "blockiness": Statistic(
        "blocks of 8", "edges of 8 × 8 blocks: log mean step across them over that between other neighbours"
    ),
    "colours": Statistic("number of colours", "many colours: log share of pixels of a colour of their own"),
}
"""Every statistic by its name, in the order of `pixel_statistics`."""


def pixel_statistics(pixels: np.ndarray) -> np.ndarray:
    """Measure every statistic of `STATISTICS` in one image.

    The numbers depend on the size of the image in pixels; compare images of one size only. Whatever the pixels, all
    numbers are finite: what an image is too small or too flat to show gets the value of an image that shows nothing
    of it.

    Args:
        pixels: (height, width, 3), uint8, RGB.

    Returns:
        (k,) float64, in the order of `STATISTICS`.

    Raises:
        InputError: another shape or dtype, or no pixel.

    >>> flat = np.full((16, 16, 3), (150, 100, 100), np.uint8)
    >>> found = dict(zip(STATISTICS, pixel_statistics(flat).round(2).tolist(), strict=True))
    >>> found["red_over_blue"], found["saturation"], found["blockiness"]
    (0.4, 0.33, 0.0)
    """
    given = np.asarray(pixels)
    if given.dtype != np.uint8 or given.ndim != 3 or given.shape[2] != 3 or not given.size:
        raise InputError(f"expected pixels (height, width, 3), uint8; given {given.dtype} {given.shape}")
    colour = given.astype(np.float64)
    luma = colour @ _LUMA
    found = (
        *_cast(colour),
        *_saturation(colour),
        luma.mean(),
        np.log1p(luma.std()),
        np.mean((given == 0) | (given == 255)),
        *_sharpness(luma),
        *_noise(colour, luma),
        *_spectrum(luma),
        _blockiness(luma),
        _colours(given),
    )
    return np.array(found, dtype=np.float64)


def _cast(colour: np.ndarray) -> tuple[float, float]:
    red, green, blue = np.log(colour.mean((0, 1)) + 1)  # 1 grey level, so that black has no cast
    return red - blue, green - (red + blue) / 2


def _saturation(colour: np.ndarray) -> tuple[float, float]:
    most, least = colour.max(2), colour.min(2)
    share = np.divide(most - least, most, out=np.zeros_like(most), where=most > 0)
    red, green, blue = np.moveaxis(colour, 2, 0)
    first, second = red - green, (red + green) / 2 - blue
    spread = np.hypot(first.std(), second.std()) + 0.3 * np.hypot(first.mean(), second.mean())
    return float(share.mean()), float(np.log1p(spread))


def _sharpness(luma: np.ndarray) -> tuple[float, float]:
    """Border pixels are left out of the Laplacian where there are others."""
    second = ndimage.laplace(luma, mode="nearest")
    inside = second[1:-1, 1:-1] if min(luma.shape) > 2 else second
    steps = np.concatenate([np.abs(np.diff(luma, axis=axis)).ravel() for axis in (0, 1)])
    return float(np.log(inside.var() + _FAINT)), float(np.log((steps.mean() if len(steps) else 0) + _FAINT))


def _noise(colour: np.ndarray, luma: np.ndarray) -> tuple[float, float]:
    """Median absolute response to a mask that takes no constant, ramp or Laplacian for noise, as a deviation."""
    red, green, blue = np.moveaxis(colour, 2, 0)
    levels = []
    for plane in (luma, red - green, blue - green):
        response = ndimage.convolve(plane, _NOISE, mode="nearest")
        inside = response[1:-1, 1:-1] if min(luma.shape) > 2 else response
        levels.append(1.4826 * np.median(np.abs(inside)) / 6)
    return float(np.log1p(levels[0])), float(np.log1p((levels[1] + levels[2]) / 2))


def _spectrum(luma: np.ndarray) -> tuple[float, float, float]:
    """Of luma under a Hann window, without its mean; 0 where an image has too few pixels or nothing but its mean."""
    height, width = luma.shape
    if min(height, width) < 8:
        return 0.0, 0.0, 0.0
    window = np.hanning(height + 2)[1:-1, None] * np.hanning(width + 2)[None, 1:-1]
    power = np.abs(np.fft.fft2((luma - luma.mean()) * window)) ** 2 / luma.size
    vertical, horizontal = np.abs(np.fft.fftfreq(height)), np.abs(np.fft.fftfreq(width))
    radius = np.hypot(vertical[:, None], horizontal[None, :])
    seen = (radius > 1.5 / min(height, width)) & (
        radius <= 0.5
    )  # beyond what the window smears the mean over
    floor = _FAINT * np.ones_like(power)
    if power[seen].sum() <= floor[seen].sum():
        return 0.0, 0.0, 0.0
    power = power + floor
    share = power[seen & (radius > 0.25)].sum() / power[seen].sum()
    bands = np.geomspace(radius[seen].min(), 0.5, 12)
    at = np.clip(np.digitize(radius[seen], bands), 1, 11)
    counts = np.bincount(at, minlength=12)
    means = np.bincount(at, power[seen], minlength=12)[counts > 0] / counts[counts > 0]
    middles = np.bincount(at, radius[seen], minlength=12)[counts > 0] / counts[counts > 0]
    slope = np.polyfit(np.log(middles), np.log(means), 1)[0]
    return float(np.log(share)), float(slope), _period_of_two(power, vertical, horizontal)


def _period_of_two(power: np.ndarray, vertical: np.ndarray, horizontal: np.ndarray) -> float:
    """Power where a frequency is Nyquist's, over that of the band below it, which the window does not smear it into."""
    ratios = []
    for axis, frequency in ((0, vertical), (1, horizontal)):
        step = 1 / len(frequency)
        profile = power.mean(1 - axis)
        peak, beside = frequency >= 0.5 - 1.5 * step, (frequency < 0.5 - 1.5 * step) & (frequency > 0.35)
        if beside.any() and peak.any():
            ratios.append(np.log(profile[peak].mean() / profile[beside].mean()))
    return float(np.mean(ratios)) if ratios else 0.0


def _blockiness(luma: np.ndarray) -> float:
    across, between = [], []
    for axis in (0, 1):
        steps = np.abs(np.diff(luma, axis=axis))
        on_edge = np.arange(1, luma.shape[axis]) % 8 == 0
        across.append(np.compress(on_edge, steps, axis=axis).ravel())
        between.append(np.compress(~on_edge, steps, axis=axis).ravel())
    edges, others = np.concatenate(across), np.concatenate(between)
    if not len(edges) or not len(others):
        return 0.0
    return float(np.log((edges.mean() + _FAINT) / (others.mean() + _FAINT)))


def _colours(pixels: np.ndarray) -> float:
    number = pixels.reshape(-1, 3).astype(np.int64) @ np.array([65536, 256, 1])
    return float(np.log(len(np.unique(number)) / len(number)))
