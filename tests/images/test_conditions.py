"""Conditions on columns against the same comparison written in Python."""

from __future__ import annotations

import operator

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from interp.errors import InputError
from interp.images.conditions import rows_where

OPERATORS = {
    "=": operator.eq,
    "!=": operator.ne,
    ">=": operator.ge,
    "<=": operator.le,
    ">": operator.gt,
    "<": operator.lt,
}


@given(st.lists(st.integers(-5, 5), min_size=1), st.sampled_from(sorted(OPERATORS)), st.integers(-5, 5))
def test_numbers_compare_as_numbers(values: list[int], sign: str, bound: int) -> None:
    expected = [i for i, value in enumerate(values) if OPERATORS[sign](value, bound)]
    table = pd.DataFrame({"width": values})
    if expected:
        assert rows_where(table, [f"width{sign}{bound}"]).index.tolist() == expected
    else:
        with pytest.raises(InputError, match=f"{min(values)} to {max(values)}"):
            rows_where(table, [f"width{sign}{bound}"])


@given(
    st.lists(st.sampled_from(["glide", "dalle2", "a=b", ""]), min_size=1),
    st.sampled_from(["glide", "a=b", ""]),
)
def test_equal_and_unequal_share_out_every_row(values: list[str], value: str) -> None:
    table = pd.DataFrame({"generator": values})
    found = []
    for sign in ("=", "!="):
        try:
            found.append(set(rows_where(table, [f"generator {sign} {value}"]).index))
        except InputError:
            found.append(set())
    assert found[0] == {i for i, given in enumerate(values) if given == value}
    assert found[1] == set(range(len(values))) - found[0]


def test_all_conditions_hold_together() -> None:
    table = pd.DataFrame({"role": ["test", "test", "iqa"], "width": [100, 300, 300]})
    assert rows_where(table, ["role=test", "width>200"]).index.tolist() == [1]
    assert rows_where(table, []) is table


@pytest.mark.parametrize("dtype", ["float64", "Int64", "int64[pyarrow]"])
def test_missing_values_are_unequal_to_everything(dtype: str) -> None:
    table = pd.DataFrame({"score": pd.Series([1, None, 3], dtype=dtype), "prompt": ["cat", None, ""]})
    assert rows_where(table, ["score!=1"]).index.tolist() == [1, 2]
    assert rows_where(table, ["score<=3"]).index.tolist() == [0, 2]
    assert rows_where(table, ["prompt="]).index.tolist() == [1, 2]
    assert rows_where(table, ["score!="]).index.tolist() == [0, 2]


def test_truth_values_compare_in_any_case() -> None:
    assert rows_where(pd.DataFrame({"flag": [True, False]}), ["flag=true"]).index.tolist() == [0]


def test_the_index_is_a_column() -> None:
    table = pd.DataFrame({"width": [1, 2]}, index=pd.Index(["a.png", "b.png"], name="key"))
    assert rows_where(table, ["key=b.png"])["width"].tolist() == [2]


@pytest.mark.parametrize(
    ("condition", "message"),
    [
        ("role=tset", r"role has: 'test' \(2\), 'iqa' \(1\)"),
        ("rule=test", "did you mean 'role'"),
        ("role", "cannot read the condition 'role'"),
        ("=test", "cannot read"),
        ("role>test", "orders text"),
        ("width>=wide", "give a number"),
        ("width>300", "1 to 300"),
    ],
)
def test_what_cannot_be_met_says_what_can(condition: str, message: str) -> None:
    table = pd.DataFrame({"role": ["test", "test", "iqa"], "width": [1, 100, 300]})
    with pytest.raises(InputError, match=message):
        rows_where(table, [condition])
