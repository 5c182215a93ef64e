"""Intervals over generators cover other generators, and the prediction interval covers the next one."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import expit, logit
from scipy.stats import t, ttest_1samp

from interp.errors import InputError
from interp.protocol.next_generator import generator_interval, next_generator_interval


def effects(rng: np.random.Generator, families: int, each: int, between: float, within: float) -> np.ndarray:
    """Logits of generators: families, and generators inside them, differ; (families * each,)."""
    shared = np.repeat(rng.normal(size=families) * between, each)
    return 1.5 + shared + rng.normal(size=families * each) * within


@given(st.lists(st.floats(0.05, 0.95), min_size=2, max_size=19))
def test_few_generators_give_students_interval(values: list[float]):
    found = generator_interval(values)
    if np.ptp(values) > 1e-6:
        expected = ttest_1samp(values, 0).confidence_interval(0.95)
        assert np.allclose([found.low, found.high], [expected.low, expected.high], atol=1e-9)


@given(st.lists(st.floats(0.05, 0.95), min_size=2, max_size=12), st.sampled_from([0.5, 0.9, 0.95]))
def test_the_prediction_interval_is_the_textbooks_on_the_logit(aucs: list[float], level: float):
    x, g = logit(aucs), len(aucs)
    half = t.ppf((1 + level) / 2, g - 1) * x.std(ddof=1) * np.sqrt(1 + 1 / g)
    found = next_generator_interval(aucs, level=level)
    assert np.allclose([found.low, found.high], expit([x.mean() - half, x.mean() + half]), atol=1e-9)
    assert 0 <= found.low <= found.mean <= found.high <= 1
    turned = next_generator_interval(1 - np.array(aucs), level=level)  # an AUC of the labels turned round
    assert np.allclose([turned.low, turned.high], [1 - found.high, 1 - found.low], atol=1e-9)


@pytest.mark.parametrize("g", [3, 10, 25])
def test_the_next_generator_lies_inside_as_often_as_promised(g: int):
    rng = np.random.default_rng(g)
    held, n = 0, 1000
    for _ in range(n):
        *seen, new = expit(effects(rng, g + 1, 1, 0.8, 0.0))
        found = next_generator_interval(seen)
        held += found.low <= new <= found.high
    assert 0.93 <= held / n <= 0.97


def test_the_next_generator_of_a_new_family_lies_inside():
    rng = np.random.default_rng(1)
    held, as_single = [], []
    for _ in range(600):
        seen, new = effects(rng, 6, 4, 0.8, 0.4), effects(rng, 1, 1, 0.8, 0.4)
        for found, names in ((held, np.repeat(range(6), 4)), (as_single, None)):
            interval = next_generator_interval(expit(seen), names)
            found.append(interval.low <= expit(new[0]) <= interval.high)
    assert 0.93 <= np.mean(held) <= 0.98
    assert np.mean(as_single) < 0.93  # families taken for single generators: too narrow


def test_the_mean_over_ten_generators_lies_inside_as_often_as_promised():
    rng = np.random.default_rng(2)
    truth = 0.85
    held = []
    for _ in range(1000):
        found = generator_interval(truth + 0.05 * rng.normal(size=10))
        held.append(found.low <= truth <= found.high)
    assert 0.93 <= np.mean(held) <= 0.97


def test_many_families_are_resampled_whole():
    rng = np.random.default_rng(3)
    names, held = np.repeat(range(25), 3), []
    for i in range(120):
        values = 0.8 + np.repeat(rng.normal(size=25), 3) * 0.05
        found = generator_interval(values, names, n_resamples=999, random_state=i)
        assert found.df == -1 and found.n_test_clusters == 25
        held.append(found.low <= 0.8 <= found.high)
    assert 0.88 <= np.mean(held) <= 0.99
    same = generator_interval(np.full(20, 0.8))
    assert np.allclose([same.low, same.high], 0.8)


def test_what_two_generators_and_perfect_ones_say():
    wide = next_generator_interval([0.7, 0.9])
    assert wide.low < 0.01 and wide.high > 0.99
    perfect = next_generator_interval([1.0, 1.0, 0.999])
    assert 0.99 < perfect.low <= perfect.high < 1
    alone = next_generator_interval([0.7, 0.9], ["sd", "sd"])
    assert np.isnan([alone.low, alone.high]).all() and "one family" in alone.reason
    assert "one family" in generator_interval([0.7]).reason


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: next_generator_interval([0.5, 1.5]), "AUCs lie between 0 and 1; given 0.5 to 1.5"),
        (lambda: next_generator_interval([0.5, np.nan]), "1 values or families of 2 generators are missing"),
        (lambda: generator_interval([0.5, 0.6], ["a"]), r"given \(2,\) and \(1,\)"),
        (lambda: generator_interval([]), "of 0 generators"),
        (lambda: next_generator_interval([0.5, 0.6], edge=0), "edge must lie between 0 and 0.5"),
        (lambda: next_generator_interval([0.5, 0.6], level=95), "level must lie between 0 and 1"),
    ],
)
def test_wrong_requests_are_refused(call, message: str):
    with pytest.raises(InputError, match=message):
        call()
