"""Statistics of pixels against formulae, known images, and images that show nothing."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import ndimage

from interp.errors import InputError
from interp.images.pixel_statistics import STATISTICS, pixel_statistics
from interp.images.simulated import draw_simulated_set


def measured(pixels: np.ndarray) -> dict[str, float]:
    return dict(zip(STATISTICS, pixel_statistics(pixels).tolist(), strict=True))


def picture(seed: int = 0, size: int = 64, smooth: float = 1.5) -> np.ndarray:
    """Coloured blobs with some grain."""
    rng = np.random.default_rng(seed)
    blobs = ndimage.gaussian_filter(rng.normal(size=(size, size, 3)), (smooth, smooth, 0))
    return np.clip(128 + 40 * blobs / blobs.std() + 2 * rng.normal(size=blobs.shape), 0, 255).astype(np.uint8)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_any_pixels_give_finite_numbers(data):
    shape = (data.draw(st.integers(1, 20)), data.draw(st.integers(1, 20)), 3)
    pixels = data.draw(arrays(np.uint8, shape, elements=st.sampled_from([0, 1, 7, 128, 254, 255])))
    assert np.isfinite(pixel_statistics(pixels)).all()


@pytest.mark.parametrize("level", [0, 1, 128, 255])
@pytest.mark.parametrize("size", [1, 2, 7, 8, 64])
def test_a_flat_grey_image_shows_nothing(level, size):
    found = measured(np.full((size, size, 3), level, np.uint8))
    assert found["brightness"] == pytest.approx(level)
    nothing = ["red_over_blue", "green_over_magenta", "saturation", "colourfulness", "contrast", "noise"]
    nothing += ["colour_noise", "high_frequencies", "spectral_slope", "period_of_two", "blockiness"]
    assert [found[name] for name in nothing] == pytest.approx([0] * len(nothing), abs=1e-9)
    assert found["colours"] == pytest.approx(-np.log(size**2))


def test_colour_is_read_off_plain_colours():
    found = measured(np.full((9, 9, 3), (203, 49, 49), np.uint8))
    assert found["red_over_blue"] == pytest.approx(np.log(204 / 50))
    assert found["green_over_magenta"] == pytest.approx(-np.log(204 / 50) / 2)
    assert found["saturation"] == pytest.approx(154 / 203)
    # rg = 154, yb = 77 everywhere: no spread, and 0.3 times the length of (154, 77)
    assert found["colourfulness"] == pytest.approx(np.log1p(0.3 * np.hypot(154, 77)))


def test_contrast_and_sharpness_are_numpys_and_scipys():
    pixels = picture()
    luma = pixels @ np.array([0.299, 0.587, 0.114])
    found = measured(pixels)
    laplacian = luma[:-2, 1:-1] + luma[2:, 1:-1] + luma[1:-1, :-2] + luma[1:-1, 2:] - 4 * luma[1:-1, 1:-1]
    assert found["sharpness"] == pytest.approx(np.log(laplacian.var() + 1e-3))
    assert found["contrast"] == pytest.approx(np.log1p(luma.std()))
    assert found["brightness"] == pytest.approx(luma.mean())


@pytest.mark.parametrize("level", [2.0, 5.0, 12.0])
def test_the_noise_level_is_the_one_that_was_added(level):
    rng = np.random.default_rng(0)
    ramp = np.linspace(80, 170, 128)[:, None] + np.linspace(-10, 10, 128)[None, :]
    grey = np.round(ramp + level * rng.normal(size=(128, 128))).astype(np.uint8)
    found = measured(np.repeat(grey[..., None], 3, axis=2))
    assert np.expm1(found["noise"]) == pytest.approx(level, rel=0.08)
    assert found["colour_noise"] == pytest.approx(0)


@pytest.mark.parametrize("slope", [-1.0, -2.0, -3.0])
def test_the_spectral_slope_is_the_one_that_was_drawn(slope):
    rng = np.random.default_rng(1)
    size = 256
    radius = np.hypot(np.fft.fftfreq(size)[:, None], np.fft.fftfreq(size)[None, :])
    radius[0, 0] = np.inf
    field = np.fft.ifft2(np.fft.fft2(rng.normal(size=(size, size))) * radius ** (slope / 2)).real
    grey = np.round(np.clip(128 + 35 * field / field.std(), 0, 255)).astype(np.uint8)
    assert measured(np.repeat(grey[..., None], 3, axis=2))["spectral_slope"] == pytest.approx(slope, abs=0.25)


def test_white_noise_has_the_share_of_fine_structure_that_its_area_has():
    grey = np.random.default_rng(2).integers(90, 166, (256, 256)).astype(np.uint8)
    found = measured(np.repeat(grey[..., None], 3, axis=2))
    assert np.exp(found["high_frequencies"]) == pytest.approx(1 - 0.25**2 / 0.5**2, abs=0.02)


def test_a_checkerboard_has_a_period_of_two():
    pixels = picture().astype(int)
    board = 4 * ((np.indices((64, 64)).sum(0) % 2) * 2 - 1)
    with_board = np.clip(pixels + board[..., None], 0, 255).astype(np.uint8)
    assert measured(with_board)["period_of_two"] > measured(picture())["period_of_two"] + 1


def test_blocks_are_found_on_their_grid_only():
    rng = np.random.default_rng(3)
    blocks = rng.integers(60, 190, (9, 9)).repeat(8, 0).repeat(8, 1)
    pixels = np.repeat((blocks + rng.integers(-3, 4, blocks.shape))[..., None], 3, axis=2).astype(np.uint8)
    assert measured(pixels[:64, :64])["blockiness"] > 1
    assert measured(pixels[4:68, 4:68])["blockiness"] < -1  # the edges now lie between those of the grid


def test_each_change_moves_its_own_statistic():
    plain = picture()
    warm = np.clip(plain * np.array([1.1, 1.0, 0.9]), 0, 255).astype(np.uint8)
    found, changed = measured(plain), measured(warm)
    assert changed["red_over_blue"] - found["red_over_blue"] == pytest.approx(np.log(1.1 / 0.9), abs=0.01)
    blurred = ndimage.gaussian_filter(plain.astype(float), (1, 1, 0)).astype(np.uint8)
    soft = measured(blurred)
    for name in ("sharpness", "gradient", "noise", "high_frequencies", "spectral_slope"):
        assert soft[name] < found[name] - 0.1, name
    few = (plain // 32) * 32
    assert measured(few)["colours"] < found["colours"] - 1


def test_the_planted_cast_of_drawn_images_is_read(tmp_path):
    options = {"n_per_class": 25, "size": 32, "generators": ["simulated-smooth"], "progress": False}
    cast = {"shortcut": 0.2, "shortcut_generators": ["simulated-smooth"]}
    from PIL import Image
    from sklearn.metrics import roc_auc_score

    images = draw_simulated_set(tmp_path / "set", **options, **cast)
    values = [measured(np.asarray(Image.open(images.path(key))))["red_over_blue"] for key in images.keys]
    assert roc_auc_score(images.table["label"] == "fake", values) > 0.9


def test_other_arrays_are_refused():
    for wrong in (np.zeros((4, 4)), np.zeros((4, 4, 3)), np.zeros((0, 4, 3), np.uint8)):
        with pytest.raises(InputError, match="expected pixels"):
            pixel_statistics(wrong)
