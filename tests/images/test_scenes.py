"""Drawn scenes: as announced, and solids where geometry puts them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from interp.errors import InputError
from interp.images.scenes import SCENES, draw_scene
from interp.images.solids import _box, _cylinder, _Solid, _sphere
from interp.images.textures import fractal_noise


@pytest.mark.parametrize("kind", SCENES)
@settings(max_examples=8, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), size=st.sampled_from([16, 30, 64]))
def test_a_scene_is_light_that_its_seed_decides(kind: str, seed: int, size: int) -> None:
    light = draw_scene(kind, size, np.random.default_rng(seed))
    assert light.shape == (size, size, 3) and light.dtype == np.float32
    assert light.min() > 0 and light.max() <= 1  # also false for NaN
    assert light.std() > 0
    np.testing.assert_array_equal(light, draw_scene(kind, size, np.random.default_rng(seed)))


def test_an_unknown_kind_is_refused() -> None:
    with pytest.raises(InputError, match="did you mean 'leaves'"):
        draw_scene("leafs", 16, np.random.default_rng(0))


@pytest.mark.parametrize("steepness", [0.5, 1, 2])
def test_the_spectrum_of_fractal_noise_is_a_power_of_frequency(steepness: float) -> None:
    noise = np.stack([fractal_noise(64, np.random.default_rng(seed), steepness) for seed in range(40)])
    power = (np.abs(np.fft.fft2(noise)) ** 2).mean(axis=0)
    frequency = np.hypot(np.fft.fftfreq(64)[:, None], np.fft.fftfreq(64)[None, :])
    used = frequency > 0
    slope = np.polyfit(np.log(frequency[used]), np.log(power[used]), 1)[0]
    assert slope == pytest.approx(-2 * steepness, abs=0.1)
    np.testing.assert_allclose(noise.mean(axis=(1, 2)), 0, atol=1e-12)


EYE = np.array([0.0, 0.5, -5])


@pytest.mark.parametrize(
    "meet, distance",
    [
        (_sphere(np.array([0, 0.5, 0]), 0.75), 4.25),
        (_box(np.array([0, 0.5, 0]), np.array([1, 0.5, 0.25]), 0), 4.75),
        (_box(np.array([0, 0.5, 0]), np.array([1, 0.5, 0.25]), np.pi / 2), 4),
        (_cylinder(0, 0, 0.6, 1), 4.4),
    ],
)
def test_a_ray_meets_a_solid_at_its_near_side_and_misses_beside_it(meet, distance: float) -> None:
    rays = np.array([[0.0, 0, 1], [0, 1, 0], [0, 0, -1], [0.6, 0, 0.8]])
    reached, facing = meet(EYE, rays)
    assert reached[0] == pytest.approx(distance)
    assert np.isinf(reached[1:]).all()  # above, behind the eye, and beside
    np.testing.assert_allclose(facing[0], [0, 0, -1], atol=1e-12)


@pytest.mark.parametrize("meet", [_cylinder(0, 0, 0.6, 1), _box(np.array([0, 0.5, 0]), np.full(3, 0.5), 0.3)])
def test_a_ray_from_above_meets_the_lid(meet) -> None:
    reached, facing = meet(np.array([0.1, 3, 0.1]), np.array([[0.0, -1, 0]]))
    assert reached[0] == pytest.approx(2)
    np.testing.assert_allclose(facing[0], [0, 1, 0], atol=1e-6)


def test_no_ray_that_meets_a_solid_is_left_out_beforehand() -> None:
    rng = np.random.default_rng(0)
    middle = np.array([0.3, 0.4, 0.2])
    rays = rng.standard_normal((4000, 3)) + [0, 0, 3]
    rays /= np.linalg.norm(rays, axis=1, keepdims=True)
    for meet, reach in [(_sphere(middle, 0.5), 0.5), (_cylinder(0.3, 0.2, 0.5, 0.8), np.hypot(0.5, 0.4))]:
        near = _Solid(meet, middle, reach, np.ones(3), 0, 0).near(EYE, rays)
        met = np.flatnonzero(np.isfinite(meet(EYE, rays)[0]))
        assert len(met) > 20 and set(met) <= set(near) and len(near) < 2000
