"""Conditions on the columns of a table, written as people write them: `role=test`, `width>=200`."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Iterable
from typing import Any

import pandas as pd

from interp.errors import InputError, unknown_name

_COMPARE: dict[str, Callable[[Any, Any], Any]] = {
    "=": operator.eq,
    "==": operator.eq,
    "!=": operator.ne,
    ">=": operator.ge,
    "<=": operator.le,
    ">": operator.gt,
    "<": operator.lt,
}
_CONDITION = re.compile(r"\s*([^=!<>]+?)\s*(==|!=|>=|<=|=|>|<)(.*)", re.DOTALL)


def rows_where(table: pd.DataFrame, conditions: Iterable[str]) -> pd.DataFrame:
    """The rows of a table that meet every condition `column OP value`, OP one of = != >= <= > <.

    Columns of numbers compare as numbers, all others as text, to which only = and != apply. An empty value
    stands for a missing one, and a missing value is unequal to every other. The index counts as a column
    under its own name.

    Raises:
        InputError: a malformed condition, an unknown column, or no row left; the values of the column are
        listed.

    >>> table = pd.DataFrame({"role": ["test", "iqa", "test"], "width": [100, 200, 300]})
    >>> rows_where(table, ["role=test", "width>=200"]).index.tolist()
    [2]
    """
    for condition in conditions:
        match = _CONDITION.fullmatch(condition)
        if match is None:
            raise InputError(
                f"cannot read the condition {condition!r}; write COLUMN, one of = != >= <= > <, and a value, "
                "such as 'role=test' or 'width>=200'"
            )
        column, sign, value = match[1], match[2], match[3].strip()
        if column == table.index.name:
            values = table.index.to_series()
        elif column in table.columns:
            values = pd.Series(table[column])
        else:
            raise unknown_name("column", column, [table.index.name or "index", *table.columns])
        kept = table.loc[_holds(values, sign, value, condition)]
        if kept.empty:
            raise InputError(f"no image is left with {condition!r}; {column} has: {_describe(values)}")
        table = kept
    return table


def _holds(values: pd.Series, sign: str, value: str, condition: str) -> pd.Series:
    missing = values.isna()
    if sign in ("=", "==", "!=") and not value:
        empty = missing | (values.astype(str) == "")
        return empty if sign != "!=" else ~empty
    if pd.api.types.is_bool_dtype(values) or not pd.api.types.is_numeric_dtype(values):
        if sign not in ("=", "==", "!="):
            raise InputError(
                f"the condition {condition!r} orders text; only columns of numbers can be ordered"
            )
        text = values.astype(str)
        if pd.api.types.is_bool_dtype(values):
            text, value = text.str.lower(), value.lower()
        return _COMPARE[sign](text.where(~missing, ""), value)
    try:
        number = float(value)
    except ValueError:
        raise InputError(
            f"the condition {condition!r} compares numbers with {value!r}; give a number"
        ) from None
    return _COMPARE[sign](values.astype(float), number)


def _describe(values: pd.Series) -> str:
    if pd.api.types.is_numeric_dtype(values) and not pd.api.types.is_bool_dtype(values):
        return f"{values.min()} to {values.max()}"
    counts = values.astype(str).value_counts()
    shown = ", ".join(f"{name!r} ({count})" for name, count in counts.head(20).items())
    return shown + (f", … ({len(counts)} in all)" if len(counts) > 20 else "")
