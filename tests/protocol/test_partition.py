"""Dealing: whole units, the asked fractions for every generator, the same for the same seed."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from interp.errors import InputError
from interp.protocol.partition import deal


@given(
    st.lists(st.tuples(st.integers(0, 30), st.sampled_from("abcd")), min_size=1, max_size=120),
    st.integers(0, 5),
)
def test_units_stay_whole(rows: list[tuple[int, str]], seed: int):
    unit = np.unique([u for u, _ in rows], return_inverse=True)[1]
    generator = np.array([g for _, g in rows])
    part = deal(unit, generator, seed=seed)
    assert part.dtype == np.int8 and set(part) <= {0, 1, 2}
    assert all(len(set(part[unit == u])) == 1 for u in unit)
    assert np.array_equal(part, deal(unit, generator, seed=seed))


@given(st.integers(1, 400), st.integers(1, 400), st.integers(0, 10))
def test_single_images_meet_the_fractions_to_one_image(n_real: int, n_fake: int, seed: int):
    generator = np.repeat(["real", "glide"], [n_real, n_fake])
    part = deal(np.arange(len(generator)), generator, fractions=(0.5, 0.3, 0.2), seed=seed)
    for name, n in (("real", n_real), ("glide", n_fake)):
        got = np.bincount(part[generator == name], minlength=3)
        assert np.all(np.abs(got - n * np.array([0.5, 0.3, 0.2])) <= 1 + 1e-9)


def test_shared_prompts_of_unequal_size_come_close_to_the_fractions():
    rng = np.random.default_rng(0)
    unit = np.repeat(np.arange(300), rng.integers(1, 8, 300))
    generator = rng.choice(["a", "b", "c", "real"], size=len(unit), p=[0.5, 0.25, 0.05, 0.2])
    part = deal(unit, generator, fractions=(0.4, 0.3, 0.3))
    for name in np.unique(generator):
        share = np.bincount(part[generator == name], minlength=3) / (generator == name).sum()
        assert np.abs(share - [0.4, 0.3, 0.3]).max() < 0.03


def test_three_groups_of_a_generator_reach_three_parts():
    for seed in range(20):
        part = deal(np.array([0, 0, 1, 1, 2, 2]), np.repeat("biggan", 6), seed=seed)
        assert sorted(part[::2]) == [0, 1, 2]


def test_only_units_of_nothing_but_test_generators_go_wholly_to_test():
    unit = np.append(np.repeat(np.arange(10), 2), [10, 10])
    generator = np.append(np.tile(["small", "big"], 10), ["small", "small"])
    for seed in range(10):
        part = deal(unit, generator, test_only={"small"}, seed=seed)
        assert part[-2:].tolist() == [2, 2]
        assert np.bincount(part[:20]).tolist() == [8, 6, 6]  # these share a unit with one that trains


def test_every_unit_reaches_every_part_over_seeds_and_as_often_as_the_fractions_say():
    parts = np.array([deal(np.arange(10), np.repeat("a", 10), seed=seed) for seed in range(600)])
    share = np.stack([(parts == code).mean(axis=0) for code in range(3)])
    assert np.abs(share - np.array([[0.4], [0.3], [0.3]])).max() < 0.08  # four standard errors


def test_random_state_changes_the_dealing():
    generator = np.repeat("a", 50)
    one, other = (deal(np.arange(50), generator, random_state=state) for state in (0, 1))
    assert not np.array_equal(one, other)


@pytest.mark.parametrize("fractions", [(0.5, 0.5), (0.5, 0.5, 0.0), (0.4, 0.4, 0.4), (1.2, -0.1, -0.1)])
def test_impossible_fractions_are_refused(fractions: tuple):
    with pytest.raises(InputError, match="three positive numbers .* with sum 1"):
        deal(np.arange(3), np.repeat("a", 3), fractions=fractions)
