"""Erasers as arms: a planted concept that misleads is erased with gain, and as much erased by chance gains nothing."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from interp.analysis.erasure_nulls import ErasureNulls
from interp.errors import InputError
from interp.evaluation.arms import Arm, concept_erasure_arm, generator_erasure_arm
from interp.evaluation.nulls import null_scores
from interp.protocol.metrics import auc
from interp.protocol.roles import Split

NAMES = ("real", "a", "b", "c", "d")


@pytest.fixture(scope="module")
def rows():
    """X (1500, 12), y, generator, split, concept. Column 0 is evidence; column 1 is art, which fakes of a, b and c show
    more often than photographs, and photographs more often than those of d, which alone tests."""
    rng = np.random.default_rng(0)
    which = np.arange(1500) % 5
    y = (which > 0).astype(int)
    share = np.array([0.5, 0.9, 0.9, 0.9, 0.1])[which]
    art = rng.random(1500) < share
    X = rng.normal(size=(1500, 12))
    X[:, 0] += 1.5 * y
    X[:, 1] += 3.0 * art
    X[:, 2:5] += np.eye(4, 3, k=-1)[np.maximum(which - 1, 0)] * y[:, None]  # b, c and d differ from a
    part = rng.choice(["train", "select", "test"], size=1500)
    part[which == 4] = "test"
    train, select, test = (np.flatnonzero(part == one) for one in ("train", "select", "test"))
    test = test[np.isin(which[test], (0, 4))]
    split = Split(("a", "b", "c"), ("a", "b", "c"), ("d",), 0, 1500, train, select, test)
    concept = pd.Series(np.where(art, "art", "photograph"), dtype=object)
    concept[rng.random(1500) < 0.2] = None
    return X, y, np.array(NAMES)[which], split, concept


def arm_of(rows, concept, **options) -> Arm:
    store = SimpleNamespace(rows=pd.DataFrame({"style": rows[4]}), folder="store")
    return concept_erasure_arm(store, concept, **options)  # pyright: ignore[reportArgumentType]


def test_erasing_what_misleads_helps_and_erasing_shuffled_entries_does_not(rows):
    X, y, generator, split, concept = rows
    assert concept.isna().any()
    arm = arm_of(rows, "style", keep="label", n_nulls=8)
    plain = Arm("embedding", "embedding").fit(X, y, split, generator)
    fitted = arm.fit(X, y, split, generator)
    test = split.test
    before, after = (auc(y[test], one.decision_function(X[test])) for one in (plain, fitted))
    assert after > before + 0.07
    drawn = null_scores(fitted, X, y, split, generator, test, np.random.SeedSequence(0))
    assert list(drawn) == ["shuffled concept"] and drawn["shuffled concept"].shape == (8, len(test))
    by_chance = [auc(y[test], one) for one in drawn["shuffled concept"]]
    assert max(by_chance) < after
    assert np.mean(by_chance) < (before + after) / 2


def test_the_null_erases_as_many_directions_and_is_replayed_by_its_seed(rows):
    X, y, generator, split, _ = rows
    fitted = generator_erasure_arm(n_nulls=3).fit(X, y, split, generator)
    assert fitted.transformer.rank_.tolist() == [2]
    drawn = [
        null_scores(fitted, X, y, split, generator, split.test, np.random.SeedSequence(s)) for s in (0, 0, 1)
    ]
    first, again, other = (one["shuffled concept"] for one in drawn)
    np.testing.assert_array_equal(first, again)
    assert np.abs(first - other).max() > 1e-6


def test_a_shuffle_that_changes_nothing_is_the_arm_itself(rows, monkeypatch):
    X, y, generator, split, concept = rows
    monkeypatch.setattr(
        "interp.analysis.erasure_nulls.shuffled_within", lambda kind, rng: np.arange(len(kind))
    )
    for arm in (arm_of(rows, concept, keep="label"), generator_erasure_arm()):
        fitted = arm.fit(X, y, split, generator)
        parts = (split.train, split.select, split.test)
        null = ErasureNulls(fitted.transformer, X, y, *parts, generator, arm.concept)
        scores = null.shuffled_concept(1, np.random.SeedSequence(0))[0]
        np.testing.assert_allclose(scores, fitted.decision_function(X[split.test]), atol=1e-3)


def test_what_is_erased_is_part_of_what_the_arm_is(rows):
    concept = rows[4]
    one = arm_of(rows, concept)
    other = arm_of(rows, concept.replace("art", "painting"))
    assert one.description != other.description
    assert one.description == arm_of(rows, "style").description
    with pytest.raises(InputError, match="did you mean 'style'"):
        arm_of(rows, "styl")
    with pytest.raises(InputError, match="must have the 1500 rows"):
        arm_of(rows, concept[:10])
