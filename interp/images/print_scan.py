"""A proxy for an image that was printed and scanned again."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import numpy as np
from PIL import Image

from interp.images.launder_parameters import Between, Number, number
from interp.images.launder_pixels import blurred, from_levels
from interp.images.launder_step import Step

# All of these are assumptions, for severity 1.
_DOT_GAIN = 1.12  # gamma: ink spreads, tones darken
_SCREEN, _PERIOD = 0.08, 3.7  # amplitude of the halftone in mid-tones, and its period in pixels
_ANGLES = (15, 75, 45)  # of the screens of cyan, magenta and yellow, in degrees
_BLUR = 0.8  # of printer and scanner together, sigma in pixels
_INK, _PAPER = 0.05, (0.985, 0.975, 0.945)  # light of solid ink, and of the paper in red, green and blue
_TURN, _TILT = 1.0, 0.02  # largest rotation in degrees, and largest change of scale from edge to edge
_NOISE = 2.0  # of the scanner: standard deviation in grey levels


@dataclass(frozen=True)
class PrintScan(Step):
    """Printed and scanned: dot gain, a halftone of three screens, paper tint, blur, a slight turn and tilt, noise.

    A proxy with assumed constants, not a model of any printer; real prints differ more from each other than from
    this. What lies beyond the turned image is paper.

    Attributes:
        severity: 1 is a decent office printer; everything grows with it.
        turn: 0 to 1, from the largest turn clockwise to the largest the other way.
        tilt_x, tilt_y: 0 to 1, which side of the sheet is nearer.
    """

    name = "printscan"
    example = "printscan:1"
    severity: Number = number(0, 4, 1)
    turn: Number = number(0, 1, Between(0, 1))
    tilt_x: Number = number(0, 1, Between(0, 1))
    tilt_y: Number = number(0, 1, Between(0, 1))

    def apply(self, image: Image.Image, rng: np.random.Generator) -> Image.Image:
        drawn = cast(PrintScan, self.draw(rng)[0])
        severity = cast(float, drawn.severity)
        if severity == 0:
            return image
        tones = (np.arange(256, dtype=np.float32) / 255) ** np.float32(_DOT_GAIN**severity)
        light = tones[np.asarray(image)]
        light += np.float32(_SCREEN * severity) * 4 * light * (1 - light) * _screens(*light.shape[:2])
        paper = np.asarray(_PAPER, np.float32) ** np.float32(severity)
        ink = np.float32(min(_INK * severity, 0.5))
        sheet = blurred(255 * (ink + (paper - ink) * light), _BLUR * severity)
        scanned = np.asarray(_turned(from_levels(sheet), drawn, paper)).astype(np.float32)
        grain = rng.standard_normal(scanned.shape[:2], dtype=np.float32)[..., None]
        return from_levels(scanned + np.float32(_NOISE * severity) * grain)


def _screens(height: int, width: int) -> np.ndarray:
    """Halftone screens of the three inks: (height, width, 3) float32 in -1…1."""
    across, down = np.arange(width), np.arange(height)[:, None]
    waves = np.empty((height, width, 3), np.float32)
    for ink, angle in enumerate(np.deg2rad(_ANGLES)):
        u = 2 * np.pi / _PERIOD * np.array([np.cos(angle), np.sin(angle)])
        # The mean of two crossed cosines, each by the sum formula, so that only edges need a cosine.
        first = np.exp(1j * u[0] * across) * np.exp(1j * u[1] * down)
        second = np.exp(-1j * u[1] * across) * np.exp(1j * u[0] * down)
        waves[..., ink] = (first.real + second.real) / 2
    return waves


def _turned(image: Image.Image, drawn: PrintScan, paper: np.ndarray) -> Image.Image:
    """The sheet turned about its centre and seen from a slight angle."""
    severity, turn, tilt_x, tilt_y = (
        cast(float, value) for value in (drawn.severity, drawn.turn, drawn.tilt_x, drawn.tilt_y)
    )
    angle = np.deg2rad(_TURN * severity * (2 * turn - 1))
    cos, sin = np.cos(angle), np.sin(angle)
    g = _TILT * severity * (2 * tilt_x - 1) / image.width
    h = _TILT * severity * (2 * tilt_y - 1) / image.height
    x, y = image.width / 2, image.height / 2
    constant = 1 - g * x - h * y
    numerators = (
        (x * g + cos, x * h - sin, x * constant - cos * x + sin * y),
        (y * g + sin, y * h + cos, y * constant - sin * x - cos * y),
    )
    coefficients = np.array([*numerators[0], *numerators[1], g, h]) / constant
    colour = tuple(int(round(255 * float(part))) for part in paper)
    return image.transform(
        image.size,
        Image.Transform.PERSPECTIVE,
        coefficients.tolist(),
        Image.Resampling.BICUBIC,
        fillcolor=colour,
    )
