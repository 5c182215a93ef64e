"""The joint bootstrap draws whole units within strata; weighted AUC equals scikit-learn's."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from interp.errors import InputError
from interp.protocol import resampling
from interp.protocol.intervals import percentile_interval
from interp.protocol.leaks import units
from interp.protocol.metrics import auc, standard_error_auc
from interp.protocol.resampling import JointResample, derive_seed, resampled_auc


def table() -> pd.DataFrame:
    """40 photographs, two generators that share 25 prompts, and one with 7 groups of its own."""
    generator = np.repeat(["real", "glide", "dalle2", "biggan"], [40, 25, 25, 70])
    group = [*(f"photo {i}" for i in range(40)), *[f"prompt {i}" for i in range(25)] * 2]
    group += [f"series {i % 7}" for i in range(70)]
    label = np.where(generator == "real", "real", "fake")
    return pd.DataFrame({"label": label, "generator": generator, "group": group})


def test_each_stratum_is_drawn_to_its_own_size_in_every_resample():
    rows = table()
    resample = JointResample(rows, n_resamples=50)
    assert resample.unit_counts.shape == (50, 40 + 25 + 7)
    counts = resample.counts(np.arange(len(rows)))
    assert counts.shape == (50, len(rows)) and counts.dtype == np.float32
    first = ~pd.Series(resample.unit).duplicated().to_numpy()  # one row of each unit
    for name, size in (("real", 40), ("glide", 25), ("biggan", 7)):
        drawn = counts[:, first & (rows["generator"] == name).to_numpy()]
        assert np.all(drawn.sum(axis=1) == size)
        assert len(np.unique(drawn, axis=0)) > 25


def test_strata_of_one_size_are_drawn_apart():
    rows = table().iloc[:80].assign(group=np.arange(80).astype(str))
    rows["generator"] = np.repeat(["real", "glide"], 40)
    rows["label"] = np.repeat(["real", "fake"], 40)
    counts = JointResample(rows, n_resamples=200).counts(np.arange(80))
    correlation = np.corrcoef(counts[:, :40].ravel(), counts[:, 40:].ravel())[0, 1]
    assert abs(correlation) < 0.05


def test_rows_of_one_unit_are_always_drawn_together():
    rows = table()
    counts = JointResample(rows, n_resamples=30).counts(np.arange(len(rows)))
    for unit in np.unique(units(rows)):
        assert np.ptp(counts[:, units(rows) == unit], axis=1).max() == 0
    glide, dalle2 = (counts[:, rows["generator"] == name] for name in ("glide", "dalle2"))
    assert np.array_equal(glide, dalle2)


def test_counts_are_multinomial():
    rows = table().iloc[:40]
    counts = JointResample(rows, n_resamples=8000).counts(np.arange(40))
    assert np.allclose(counts.mean(axis=0), 1, atol=0.05)
    assert np.allclose(counts.var(axis=0), 1 - 1 / 40, atol=0.08)
    share = np.bincount(counts.astype(int).ravel(), minlength=4)[:4] / counts.size
    assert np.allclose(share, [(39 / 40) ** 40, (39 / 40) ** 39, 0.186, 0.0604], atol=0.005)


def test_the_same_seed_draws_the_same_whatever_is_held_at_once(monkeypatch: pytest.MonkeyPatch):
    one = JointResample(table(), n_resamples=20, random_state=1).unit_counts
    assert np.array_equal(one, JointResample(table(), n_resamples=20, random_state=1).unit_counts)
    assert not np.array_equal(one, JointResample(table(), n_resamples=20, random_state=2).unit_counts)
    y, scores = np.repeat([0, 1], [40, 120]), np.random.default_rng(0).normal(size=160).round(1)
    counts = JointResample(table(), n_resamples=20).counts(np.arange(160))
    whole = resampled_auc(y, scores, counts)
    monkeypatch.setattr(resampling, "_CHUNK", 500)
    assert np.array_equal(resampled_auc(y, scores, counts), whole)
    assert JointResample(table(), n_resamples=20).unit_counts.sum() == 20 * 72


def test_a_photograph_copied_by_a_generator_binds_their_strata():
    rows = table().assign(pixel_hash="")
    rows.loc[[0, 40], "pixel_hash"] = "same"
    resample = JointResample(rows, n_resamples=10)
    assert np.all(resample.unit_counts[:, resample.stratum == resample.stratum[0]].sum(axis=1) == 40 + 25 - 1)


@given(
    st.lists(
        st.tuples(st.integers(0, 1), st.integers(-3, 3), st.lists(st.integers(0, 3), min_size=4, max_size=4)),
        min_size=1,
        max_size=20,
    )
)
def test_resampled_auc_is_scikit_learns_with_weights(images: list[tuple]):
    y, scores = np.array([i[0] for i in images]), np.array([i[1] for i in images])
    counts = np.array([i[2] for i in images]).T
    found = resampled_auc(y, np.stack([scores, -(scores**2)], axis=1), counts)
    assert found.shape == (4, 2)
    for weights, (one, other) in zip(counts, found, strict=True):
        if weights[y == 1].sum() and weights[y == 0].sum():
            assert np.isclose(one, roc_auc_score(y, scores, sample_weight=weights), atol=1e-12)
            repeated = np.repeat(-(scores**2), weights)
            assert np.isclose(other, auc(np.repeat(y, weights), repeated), atol=1e-12)
        else:
            assert np.isnan(one) and np.isnan(other)


def test_resamples_of_independent_images_spread_as_delong_says():
    rng = np.random.default_rng(4)
    y = np.repeat([0, 1], [150, 100])
    scores = rng.normal(size=250) + y
    rows = pd.DataFrame({"generator": np.where(y, "glide", "real"), "group": np.arange(250).astype(str)})
    rows["label"] = np.where(y, "fake", "real")
    values = resampled_auc(y, scores, JointResample(rows).counts(np.arange(250)))
    assert np.isclose(values.std(), standard_error_auc(y, scores), rtol=0.08)


def simulate(rng: np.random.Generator, n_groups: int) -> tuple[pd.DataFrame, np.ndarray]:
    """Photographs in groups of two and fakes in groups of three that score alike."""
    label = np.repeat(["real", "fake"], [2 * n_groups, 3 * n_groups])
    group = np.concatenate([np.repeat(np.arange(n_groups), 2), n_groups + np.repeat(np.arange(n_groups), 3)])
    scores = rng.normal(size=2 * n_groups)[group] + 0.5 * rng.normal(size=len(group)) + (label == "fake")
    rows = pd.DataFrame({"label": label, "group": group.astype(str)})
    return rows.assign(generator=rows["label"].replace("fake", "glide")), scores


def test_the_joint_interval_covers_where_images_of_a_group_are_alike():
    rng = np.random.default_rng(5)
    truth = 0.7365  # P(Z < 1 / sqrt(2 * 1.25))
    covered, narrow = [], []
    for i in range(300):
        rows, scores = simulate(rng, 30)
        y = (rows["label"] == "fake").to_numpy(int)
        counts = JointResample(rows, n_resamples=300, random_state=i).counts(np.arange(len(rows)))
        low, high = percentile_interval(resampled_auc(y, scores, counts))
        covered.append(low <= truth <= high)
        narrow.append(abs(auc(y, scores) - truth) <= 1.96 * standard_error_auc(y, scores))
    assert 0.90 <= np.mean(covered) <= 0.985
    assert np.mean(narrow) < 0.85  # what taking the images for independent would have claimed


@given(st.integers(2, 12), st.integers(0, 10_000))
def test_a_twin_meets_its_own_photograph_once_for_each_time_they_are_drawn(n: int, seed: int):
    rng = np.random.default_rng(seed)
    y, unit = rng.integers(0, 2, size=2 * n), rng.integers(0, n, size=2 * n)
    scores, drawn = rng.integers(0, 4, size=2 * n), rng.integers(0, 3, size=(3, n))[:, unit]
    found = resampled_auc(y, scores, drawn, unit)
    for one, counts in zip(found, drawn, strict=True):
        won = compared = 0.0
        for f in np.flatnonzero(y == 1):
            for r in np.flatnonzero(y == 0):
                times = counts[f] if unit[f] == unit[r] else counts[f] * counts[r]
                compared += times
                won += times * (float(scores[f] > scores[r]) + 0.5 * float(scores[f] == scores[r]))
        assert np.isclose(one, won / compared) if compared else np.isnan(one)


def twins_of(rng: np.random.Generator, n: int) -> tuple[pd.DataFrame, np.ndarray]:
    """Photographs of very different scores, and a twin of each a little above its own."""
    rows = pd.DataFrame(
        {"label": np.repeat(["real", "twin"], n), "group": np.tile(np.arange(n), 2).astype(str)}
    )
    scores = np.tile(rng.normal(size=n), 2) + np.repeat([0, 0.3], n) + 0.05 * rng.normal(size=2 * n)
    return rows.assign(generator=rows["label"]), scores


def test_resamples_of_twins_lie_about_their_auc():
    rows, scores = twins_of(np.random.default_rng(7), 15)
    y = (rows["label"] == "twin").to_numpy(int)
    resample = JointResample(rows, n_resamples=20_000)
    counts, plain = resample.counts(np.arange(30)), auc(y, scores)
    assert abs(resampled_auc(y, scores, counts, resample.unit).mean() - plain) < 0.002
    own = np.mean(scores[15:] > scores[:15])
    assert np.isclose(resampled_auc(y, scores, counts).mean() - plain, (own - plain) / 15, atol=0.003)
    assert own - plain > 0.3


def test_the_joint_interval_covers_for_twins():
    truth = 0.5836  # P(Z < 0.3 / sqrt(2 * 1.0025)), over twins and photographs of others
    rng, covered = np.random.default_rng(8), []
    for i in range(300):
        rows, scores = twins_of(rng, 80)
        y, resample = (rows["label"] == "twin").to_numpy(int), JointResample(rows, 300, random_state=i)
        drawn = resampled_auc(y, scores, resample.counts(np.arange(160)), resample.unit)
        low, high = percentile_interval(drawn)
        covered.append(low <= truth + (1 - truth) / 80 <= high)
    assert 0.93 <= np.mean(covered) <= 0.99


def test_wrong_counts_are_refused():
    with pytest.raises(InputError, match=r"counts must be \(B, 2\), a column for each row; given \(2, 3\)"):
        resampled_auc([0, 1], [0.1, 0.2], np.ones((2, 3)))
    with pytest.raises(InputError, match="n_resamples must be at least 1; given 0"):
        JointResample(table(), n_resamples=0)


def test_seeds_keep_parts_apart_and_are_the_same_in_another_process():
    variants = [("a", "bc"), ("ab", "c"), ("abc",), ("a", "b", "c"), (1,), ("1",), (11,), (1, 1), (-1,), ()]
    seeds = [derive_seed(*parts) for parts in variants]
    assert len(set(seeds)) == len(seeds) and all(0 <= seed < 2**63 for seed in seeds)
    assert derive_seed(np.int64(7)) == derive_seed(7)
    code = "from interp.protocol.resampling import derive_seed; print(derive_seed('a', 'bc'))"
    root = Path(resampling.__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True)
    assert int(done.stdout) == seeds[0]
    for wrong in (0.5, None, True):
        with pytest.raises(InputError, match="strings and whole numbers"):
            derive_seed("a", wrong)  # pyright: ignore[reportArgumentType]
