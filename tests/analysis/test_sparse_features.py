"""Sparse features: planted atoms come back, test rows choose nothing, and a planted direction beats the nulls."""

from __future__ import annotations

import numpy as np
import pytest
from planted_heads import GOOD, plant

from interp.analysis.sparse_features import KINDS, single_transfer, sparse_codes, sparse_dictionary
from interp.errors import InputError


@pytest.fixture(scope="module")
def planted():
    return plant(n=120)


def measure(planted, **options):
    defaults = {"generator": planted.generator, "heads": 2, "n_features": 16, "nonzero": 4, "draws": 2}
    splits = list(planted.protocol)[:4]
    return single_transfer(
        planted.X, planted.y, planted.layout, splits, progress=False, **{**defaults, **options}
    )


@pytest.fixture(scope="module")
def table(planted):
    return measure(planted)


@pytest.mark.parametrize("seed", range(3))
def test_planted_atoms_come_back(seed):
    rng = np.random.default_rng(seed)
    truth = np.linalg.qr(rng.normal(size=(10, 10)))[0]
    codes = np.where(rng.random((600, 10)) < 0.2, rng.laplace(size=(600, 10)) * 6, 0)
    atoms = sparse_dictionary(codes @ truth, n_features=10, nonzero=3, random_state=seed)
    assert np.median(np.abs(atoms @ truth.T).max(0)) > 0.9
    np.testing.assert_allclose(np.linalg.norm(atoms, axis=1), 1)


def test_codes_are_sparse_and_exact_where_an_atom_is_the_row():
    atoms = np.linalg.qr(np.random.default_rng(0).normal(size=(8, 8)))[0]
    rows = 3 * atoms[2] - 2 * atoms[5]
    codes = sparse_codes(rows[None], atoms, nonzero=2)
    np.testing.assert_allclose(codes[0], 3 * np.eye(8)[2] - 2 * np.eye(8)[5], atol=1e-9)
    many = sparse_codes(np.random.default_rng(1).normal(size=(50, 8)), atoms, nonzero=3)
    assert ((many != 0).sum(1) <= 3).all()


def test_every_kind_is_there_for_every_test_generator(planted, table):
    assert set(table["kind"]) == set(KINDS)
    per_kind = table.groupby("kind")[["draw", "candidates"]].agg({"draw": "nunique", "candidates": "first"})
    nulls = ["rotated code", "random direction"]
    assert (per_kind.loc[nulls, "draw"] == 2).all() and (per_kind["draw"].drop(nulls) == 1).all()
    wanted = {"head": 2, "column": 16, "sparse code": 16, "random direction": 16}
    assert per_kind.loc[list(wanted), "candidates"].to_dict() == wanted
    for split in list(planted.protocol)[:4]:
        rows = table[(table["train"] == split.train_generators[0]) & (table["seed"] == split.seed)]
        rows = rows[rows["select"] == split.select_generators[0]]
        assert set(rows["test"]) == set(split.test_generators)
    assert table.loc[table["kind"] == "sparse code", "explained"].between(0, 1).all()


def test_one_column_does_as_well_as_the_head_that_it_was_planted_in(planted):
    table = measure(planted, heads=1, n_features=8, nonzero=2)
    mean = table.groupby("kind")["auc"].mean()
    assert (table.loc[table["kind"] == "head", "chosen"] == GOOD).all()
    assert mean["column"] > mean["head"] - 0.03 and mean["head"] > 0.8
    assert mean["column"] > mean["random direction"] + 0.05


def test_test_rows_choose_nothing(planted, table):
    changed = planted.X.copy()
    split = next(iter(planted.protocol))
    changed[split.test] = np.random.default_rng(0).normal(size=changed[split.test].shape)
    arguments = {"generator": planted.generator, "heads": 2, "n_features": 16, "nonzero": 4, "draws": 2}
    again = single_transfer(changed, planted.y, planted.layout, [split], progress=False, **arguments)
    first = single_transfer(planted.X, planted.y, planted.layout, [split], progress=False, **arguments)
    same = ["kind", "draw", "chosen", "select_auc", "explained"]
    assert again[same].equals(first[same])
    assert abs(again["auc"] - 0.5).mean() < abs(first["auc"] - 0.5).mean()


def test_one_seed_gives_one_table(planted, table):
    assert measure(planted).equals(table)


@pytest.mark.parametrize(
    ("options", "said"), [({"heads": 13}, "heads must be"), ({"nonzero": 17}, "nonzero must be")]
)
def test_arguments_that_cannot_be_used_are_refused(planted, options, said):
    with pytest.raises(InputError, match=said):
        measure(planted, **options)
