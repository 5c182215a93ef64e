"""The simulated camera: what demosaicing keeps, the sensor's noise, and the trace of the mosaic."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from interp.images.camera import Camera, bayer, compress, demosaic, develop, photograph, render
from interp.images.scenes import SCENES, draw_scene

STARTS = [(0, 0), (0, 1), (1, 0), (1, 1)]
PLAIN = replace(
    Camera.any(np.random.default_rng(0)),
    balance=np.ones(3),
    contrast=0,
    saturation=1,
    sharpening=0,
    brightness=0.3,
)


@pytest.mark.parametrize("start", STARTS)
def test_each_pixel_sees_one_colour_and_half_see_green(start: tuple[int, int]) -> None:
    pattern = bayer(8, start)
    assert (pattern.sum(axis=-1) == 1).all()
    assert pattern.sum(axis=(0, 1)).tolist() == [16, 32, 16]
    assert pattern[start][0] == 1  # the first red pixel


@settings(max_examples=30, deadline=None)
@given(st.sampled_from(STARTS), st.lists(st.floats(-1, 1), min_size=3, max_size=3))
def test_demosaicing_keeps_a_grey_plane(start: tuple[int, int], plane: list[float]) -> None:
    y, x = np.mgrid[:20, :20] / 20
    light = plane[0] + plane[1] * x + plane[2] * y
    found = demosaic(light, start)[2:-2, 2:-2]  # no plane goes on beyond the border
    np.testing.assert_allclose(found, np.repeat(light[2:-2, 2:-2, None], 3, axis=2), atol=1e-12)


@pytest.mark.parametrize("start", STARTS)
def test_demosaicing_keeps_what_was_seen_and_even_colours(start: tuple[int, int]) -> None:
    mosaic = np.random.default_rng(0).random((16, 16))
    pattern = bayer(16, start)
    np.testing.assert_array_equal((demosaic(mosaic, start) * pattern).sum(axis=-1), mosaic)
    colour = np.array([0.7, 0.2, 0.4])
    even = demosaic((pattern * colour).sum(axis=-1), start)
    np.testing.assert_allclose(even, np.broadcast_to(colour, even.shape), atol=1e-12)


def test_noise_has_the_variance_of_light_and_of_reading() -> None:
    """Green pixels of an even grey scene: shot × light + read², seen through the tone curve."""
    camera = replace(PLAIN, shot=5e-4, read=0.002)
    tones = photograph(np.full((128, 128, 3), 0.5), camera, np.random.default_rng(0))
    green = tones[..., 1][bayer(128, camera.start)[..., 1] == 1] ** 2.2
    assert green.mean() == pytest.approx(0.3, rel=0.01)
    assert green.var() == pytest.approx(5e-4 * 0.3 + 0.002**2, rel=0.05)


def lattice(tones: np.ndarray) -> float:
    """How unlike the residue of interpolating green is on the two halves of a chessboard (Popescu and Farid 2005)."""
    green = tones[..., 1]
    around = (green[:-2, 1:-1] + green[2:, 1:-1] + green[1:-1, :-2] + green[1:-1, 2:]) / 4
    residue = np.abs(green[1:-1, 1:-1] - around)
    odd = np.indices(residue.shape).sum(axis=0) % 2
    return float(abs(np.log(residue[odd == 1].mean() / residue[odd == 0].mean())))


def test_photographs_show_the_mosaic_and_rendered_pictures_do_not() -> None:
    found = []
    for i in range(30):
        rng = np.random.default_rng(i)
        light, camera = draw_scene(list(SCENES)[i % 5], 64, rng), Camera.any(rng)
        found.append([lattice(photograph(light, camera, rng)), lattice(render(light, camera, rng, 0.002))])
    photographed, rendered = np.array(found).T
    assert np.median(photographed) > 4 * np.median(rendered)
    assert (photographed > rendered).mean() > 0.9


def test_the_development_keeps_grey_grey_and_its_order() -> None:
    grey = np.linspace(0, 1, 16)[:, None, None].repeat(16, axis=1).repeat(3, axis=2)
    tones = develop(grey, replace(PLAIN, contrast=0.5, saturation=1.3))
    np.testing.assert_allclose(tones[..., 0], tones[..., 2], atol=1e-12)
    assert (np.diff(tones[:, 0, 0]) > 0).all()


def test_quality_decides_how_much_jpeg_changes() -> None:
    tones = draw_scene("leaves", 64, np.random.default_rng(0))
    changed = []
    for quality, full in [(99, True), (88, True), (88, False)]:
        pixels = compress(tones, replace(PLAIN, quality=quality, full_colour=full))
        assert pixels.shape == (64, 64, 3) and pixels.dtype == np.uint8
        changed.append(np.abs(pixels - tones * 255).mean())
    assert changed[0] < changed[1] < changed[2] < 10
