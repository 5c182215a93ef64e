"""Each simulated generator leaves its own trace: on the photograph that it changed, before any JPEG."""

from __future__ import annotations

import numpy as np
import pytest

from interp.images.camera import Camera, photograph
from interp.images.scenes import SCENES, draw_scene
from interp.images.simulators import SIMULATORS, codec, decode_latent

SIZE = 64
FREQUENCY = np.hypot(np.fft.fftfreq(SIZE)[:, None], np.fft.fftfreq(SIZE)[None, :])
TRACES = [name for name, simulator in SIMULATORS.items() if simulator.trace]


@pytest.fixture(scope="module")
def photographs() -> np.ndarray:
    drawn = []
    for i in range(30):
        rng = np.random.default_rng(i)
        light = draw_scene(list(SCENES)[i % len(SCENES)], SIZE, rng)
        drawn.append(photograph(light, Camera.any(rng), rng))
    return np.stack(drawn)


def changed(name: str, photographs: np.ndarray) -> np.ndarray:
    trace = SIMULATORS[name].trace
    assert trace
    return np.stack([trace(tones, np.random.default_rng(i)) for i, tones in enumerate(photographs)])


def within_cells(tones: np.ndarray) -> np.ndarray:
    """Mean step inside the cells of a 2 × 2 grid over that across cells: resampling shows (Popescu and Farid 2005)."""
    right, down = np.abs(np.diff(tones, axis=2)), np.abs(np.diff(tones, axis=1))
    inside = right[:, :, ::2].mean(axis=(1, 2, 3)) + down[:, ::2].mean(axis=(1, 2, 3))
    return inside / (right[:, :, 1::2].mean(axis=(1, 2, 3)) + down[:, 1::2].mean(axis=(1, 2, 3)))


def power(tones: np.ndarray) -> np.ndarray:
    return np.abs(np.fft.fft2(tones.mean(axis=3), axes=(1, 2))) ** 2


def at_nyquist(tones: np.ndarray) -> np.ndarray:
    """Power at the highest frequencies along the axes over that just below (Zhang, Karaman and Chang 2019)."""
    spectrum, half = power(tones), SIZE // 2
    peak = spectrum[:, half].mean(axis=1) + spectrum[:, :, half].mean(axis=1)
    below = spectrum[:, half - 4 : half].mean(axis=(1, 2)) + spectrum[:, :, half - 4 : half].mean(axis=(1, 2))
    return peak / below


def between(low: float, high: float, tones: np.ndarray) -> np.ndarray:
    return power(tones)[:, (low < FREQUENCY) & (high > FREQUENCY)].mean(axis=1)


def least_residue(tones: np.ndarray) -> np.ndarray:
    """The calmest quarter of the residue of prediction from neighbours: what is left of the sensor's noise."""
    around = tones[:, :-2, 1:-1] + tones[:, 2:, 1:-1] + tones[:, 1:-1, :-2] + tones[:, 1:-1, 2:]
    return np.percentile(np.abs(tones[:, 1:-1, 1:-1] - around / 4).reshape(len(tones), -1), 25, axis=1)


def round_trip(tones: np.ndarray) -> np.ndarray:
    """How much another round trip changes (Ricker, Lukovnikov and Fischer 2024)."""
    return np.array([((decode_latent(one, 36, 1e-4) - one) ** 2).mean() for one in tones])


def colours(tones: np.ndarray) -> np.ndarray:
    return np.array([len(np.unique(np.round(one.reshape(-1, 3) * 255), axis=0)) for one in tones])


@pytest.mark.parametrize("name", ["simulated-nearest", "simulated-bilinear", "simulated-bicubic"])
def test_doubling_leaves_steps_of_period_two(name: str, photographs: np.ndarray) -> None:
    assert 0.97 < np.median(within_cells(photographs)) < 1.03
    assert (within_cells(changed(name, photographs)) < within_cells(photographs)).mean() > 0.95


def test_a_transposed_convolution_leaves_a_peak_at_nyquist(photographs: np.ndarray) -> None:
    found = at_nyquist(changed("simulated-checkerboard", photographs))
    assert 0.8 < np.median(at_nyquist(photographs)) < 1.25
    assert (found > 1.5 * at_nyquist(photographs)).mean() > 0.8
    for other in ("simulated-bilinear", "simulated-smooth", "simulated-diffusion"):
        assert np.median(at_nyquist(changed(other, photographs))) < 1.25


def test_the_spectrum_falls_off_early_and_low_frequencies_stay(photographs: np.ndarray) -> None:
    found = changed("simulated-spectral", photographs)
    assert (between(0.35, 0.5, found) < 0.7 * between(0.35, 0.5, photographs)).mean() > 0.8
    np.testing.assert_allclose(between(0, 0.1, found), between(0, 0.1, photographs), rtol=0.06)


@pytest.mark.parametrize("name", ["simulated-smooth", "simulated-diffusion"])
def test_denoising_takes_the_noise_and_keeps_what_is_large(name: str, photographs: np.ndarray) -> None:
    found = changed(name, photographs)
    assert (least_residue(found) < least_residue(photographs)).mean() > 0.9
    kept = between(0, 0.05, found) / between(0, 0.05, photographs)
    assert np.median(kept) > 0.93 and kept.min() > 0.6 and kept.max() < 1.1


def test_denoising_by_shrinkage_tilts_the_residual_spectrum(photographs: np.ndarray) -> None:
    """Fine frequencies lose more than coarse ones (Corvi et al. 2023)."""
    found = changed("simulated-diffusion", photographs)
    coarse = between(0.05, 0.15, found) / between(0.05, 0.15, photographs)
    fine = between(0.25, 0.4, found) / between(0.25, 0.4, photographs)
    assert (fine < coarse).mean() > 0.9


def test_a_palette_has_few_colours(photographs: np.ndarray) -> None:
    assert colours(changed("simulated-palette", photographs)).max() <= 128 < colours(photographs).min()


def test_a_latent_code_survives_another_round_trip(photographs: np.ndarray) -> None:
    found = changed("simulated-autoencoder", photographs)
    assert (round_trip(found) < round_trip(photographs)).mean() > 0.9


def test_more_latent_numbers_lose_less_and_all_of_them_nothing(photographs: np.ndarray) -> None:
    lost = [((decode_latent(photographs[0], n, 1e-6) - photographs[0]) ** 2).mean() for n in (12, 48, 192)]
    assert lost[0] > lost[1] > lost[2] and lost[2] < 1e-10
    middle, components = codec()
    np.testing.assert_allclose(components @ components.T, np.eye(len(middle)), atol=1e-9)


@pytest.mark.parametrize("name", TRACES)
def test_a_trace_is_a_small_change_of_any_strength(name: str, photographs: np.ndarray) -> None:
    """No trace changes what is shown, none is nothing, and strengths differ from picture to picture."""
    found, trace = changed(name, photographs), SIMULATORS[name].trace
    assert trace
    change = np.sqrt(((found - photographs) ** 2).mean(axis=(1, 2, 3)))
    assert found.shape == photographs.shape and change.min() > 0.0005 and change.max() < 0.1
    one = photographs[0]
    strengths = [np.abs(trace(one, np.random.default_rng(i)) - one).mean() for i in range(8)]
    assert max(strengths) > 1.3 * min(strengths)
    np.testing.assert_allclose(found.mean(axis=(1, 2)), photographs.mean(axis=(1, 2)), atol=0.02)
