"""Concepts as columns, and moments that do not depend on how rows come in batches."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from interp.analysis.concept_columns import concept_columns
from interp.analysis.streamed_moments import StreamedMoments
from interp.errors import InputError

CLASSES = {
    "text": ["cat", "", "dog", None],
    "text array": np.array(["cat", "", "dog", ""]),
    "series": pd.Series(["cat", None, "dog", float("nan")], index=list("wxyz")),
    "categorical": pd.Categorical(["cat", None, "dog", None]),
    "string dtype": pd.array(["cat", None, "dog", None], dtype="string"),
    "integers": [3, None, 5, None],
    "nullable integers": pd.array([3, None, 5, None], dtype="Int64"),
    "booleans": [True, None, False, None],
}


@pytest.mark.parametrize("concept", CLASSES.values(), ids=CLASSES)
def test_names_become_indicators_and_missing_ones_are_unknown(concept):
    columns, known = concept_columns(concept, 4)
    assert known.tolist() == [True, False, True, False]
    assert [one.tolist() for one in columns.values()] == [[1, 0, 0, 0], [0, 0, 1, 0]]


VALUES = {
    "floats": np.array([0.5, np.nan, 2.0, 3.0]),
    "list": [0.5, None, 2, 3],
    "series": pd.Series([0.5, None, 2, 3]),
    "nullable": pd.array([0.5, None, 2, 3], dtype="Float64"),
    "column": np.array([[0.5], [np.nan], [2], [3]]),
    "frame": pd.DataFrame({"quality": [0.5, None, 2, 3]}),
}


@pytest.mark.parametrize("concept", VALUES.values(), ids=VALUES)
def test_values_stay_values(concept):
    columns, known = concept_columns(concept, 4)
    assert known.tolist() == [True, False, True, True]
    assert [one.tolist() for one in columns.values()] == [[0.5, 0, 2, 3]]


def test_one_hot_columns_are_taken_as_they_are():
    columns, known = concept_columns(np.eye(3, dtype=int), 3)
    np.testing.assert_array_equal(np.stack(list(columns.values())), np.eye(3))
    assert known.all()
    for concept, message in (
        ([1.0, 2.0], "one entry for each of the 3"),
        (np.zeros((3, 1, 1)), r"\(n,\) or \(n, k\)"),
    ):
        with pytest.raises(InputError, match=message):
            concept_columns(concept, 3)


@settings(max_examples=30)
@given(st.lists(st.integers(0, 30), max_size=4), st.integers(0, 2**32 - 1), st.floats(-1e3, 1e3))
def test_moments_of_batches_are_those_of_all_rows(cuts, seed, offset):
    rng = np.random.default_rng(seed)
    X, z = rng.normal(size=(30, 6)) + offset, rng.integers(3, size=30)
    moments = StreamedMoments(2, 3)
    for batch in np.split(np.arange(30), np.sort(cuts)):
        moments.update(X[batch], {one: (z[batch] == one) * 1.0 for one in np.unique(z[batch])})
    names = sorted(moments.names)
    both = np.cov(np.hstack([X, np.equal.outer(z, names)]).T, bias=True)
    for block, columns in enumerate((slice(0, 3), slice(3, 6))):
        np.testing.assert_allclose(moments.features()[block], both[columns, columns], atol=1e-10)
        np.testing.assert_allclose(moments.across(names)[block], both[columns, 6:], atol=1e-10)
    np.testing.assert_allclose(moments.beside(names, names), both[6:, 6:], atol=1e-12)
    np.testing.assert_allclose(moments.mean.reshape(-1), X.mean(0))
    np.testing.assert_allclose(moments.means(names), [(z == one).mean() for one in names])
