"""Down-dates are refits, for coordinates and for blocks; rules keep what eliminations agree on."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from planted_heads import ACCIDENT, plant

from interp.analysis.coordinate_removal import CoordinateRemoval
from interp.analysis.down_dating import Blocks
from interp.analysis.elimination import SCORES, _arrays, greedy_elimination
from interp.analysis.elimination_rules import agreed, removed_on_pairs
from interp.errors import InputError


def draw(seed: int, b: int, p: int, n: int = 60, m: int = 50):
    rng = np.random.default_rng(seed)
    train_y = np.stack([rng.permutation(np.arange(n) % 3 == 0) * 1 for _ in range(b)])
    select_y = np.stack([rng.permutation(np.arange(m) % 2) for _ in range(b)])
    train, select = rng.normal(size=(b, n, p)), rng.normal(size=(b, m, p))
    train[..., 0] += 2 * train_y
    select[..., 0] += 2 * select_y
    train[..., p // 2] += 3 * train_y
    return train, train_y, select, select_y


@settings(max_examples=12)
@given(st.integers(0, 2**32 - 1), st.sampled_from([1, 2, 3]), st.integers(2, 4), st.sampled_from(SCORES))
def test_down_dated_is_refitted(seed, width, units, score):
    """Every score on the way down and, where no ties can occur, every choice; more columns than rows, or fewer."""
    arrays = draw(seed, b=2, p=width * units)
    fast, exact = (
        greedy_elimination(*arrays, ridge=3.0, score=score, width=width, exact=exact)
        for exact in (False, True)
    )
    steps = 1 if score == "auc" else units
    np.testing.assert_allclose(fast.score[:, : steps + 1], exact.score[:, : steps + 1], atol=1e-9)
    if score != "auc":
        assert fast.order.tolist() == exact.order.tolist()
        np.testing.assert_allclose(fast.logits, exact.logits, rtol=1e-7, atol=1e-7)


@pytest.mark.parametrize("score", SCORES)
def test_blocks_of_one_column_are_coordinates(score):
    arrays = draw(1, b=2, p=80)
    one = greedy_elimination(*arrays, ridge=5.0, score=score, n_steps=8)
    blocks = Blocks(*_arrays(*arrays, None), ridge=torch.tensor([5.0]).double(), width=1)
    first = blocks.candidates(score)
    np.testing.assert_allclose(first.amax(1), one.score[:, 1], atol=1e-9)
    assert blocks.remove(one.order[:, 0]).tolist() == one.order[:, 0].tolist()
    np.testing.assert_allclose(blocks.logits(), one.logits[:, 1], rtol=1e-8, atol=1e-8)
    if score != "auc":
        assert blocks.candidates(score).amax(1).numpy() == pytest.approx(one.score[:, 2].numpy(), abs=1e-9)


@pytest.mark.parametrize("width", [1, 3])
@pytest.mark.parametrize("exact", [False, True])
def test_each_problem_may_have_its_own_ridge(width, exact):
    arrays = draw(3, b=3, p=12)
    together = greedy_elimination(*arrays, ridge=[1.0, 10.0, 100.0], width=width, exact=exact)
    for i, ridge in enumerate((1.0, 10.0, 100.0)):
        alone = greedy_elimination(*(part[i] for part in arrays), ridge=ridge, width=width, exact=exact)
        np.testing.assert_allclose(together.score[i], alone.score[0], atol=1e-9)
        assert together.order[i].tolist() == alone.order[0].tolist()


def test_the_block_that_misleads_goes_first():
    train, train_y, select, select_y = draw(2, b=3, p=24, n=300, m=300)
    found = greedy_elimination(train, train_y, select, select_y, ridge=30.0, width=4)
    assert found.order[:, 0].tolist() == [3, 3, 3]  # column 12
    assert found.order[:, -1].tolist() == [0, 0, 0]
    assert found.logits.shape == (3, 7, 300)


def test_ridges_and_blocks_must_fit_the_problem():
    with pytest.raises(InputError, match="one or 1, got"):
        greedy_elimination(*draw(0, 1, 12), ridge=[1.0, 2.0])
    with pytest.raises(InputError, match="width=5 must divide the 12 columns"):
        greedy_elimination(*draw(0, 1, 12), ridge=1.0, width=5)


sets = st.lists(st.lists(st.integers(0, 8), unique=True), min_size=1, max_size=6)


@given(sets)
def test_rules_keep_what_all_or_most_removed(removed):
    every = set.intersection(*map(set, removed))
    most = {name for name in range(9) if 2 * sum(name in one for one in removed) > len(removed)}
    assert set(agreed(removed, "intersection")) == every
    assert set(agreed(removed)) == most
    assert agreed([removed[0]]) == removed[0]


def test_pairs_agree_on_a_planted_nuisance():
    planted = plant(seed=3, n=120, own=5.0)
    columns = planted.X[:, planted.layout.slice(ACCIDENT)]
    told = planted.X[:, planted.layout.slice("L1.H2")]
    X, splits = np.c_[columns, told], [split for split in planted.protocol if split.seed == 0]
    found = removed_on_pairs(CoordinateRemoval(), X, planted.y, splits, generator=planted.generator)
    assert len(found) == len(splits)
    alone = CoordinateRemoval().fit(
        *(part[np.union1d(splits[0].train, splits[0].select)] for part in (X, planted.y)),
        part=splits[0].part[np.union1d(splits[0].train, splits[0].select)],
        generator=planted.generator[np.union1d(splits[0].train, splits[0].select)],
    )
    assert found[0] == alone.removed_.tolist()
    assert 8 not in agreed(found)  # the column that tells in every generator stays


def test_wrong_rules_are_refused():
    with pytest.raises(InputError, match="did you mean 'majority'"):
        agreed([[1]], rule="majorty")
    with pytest.raises(InputError, match="no elimination"):
        agreed([])
