"""What an eraser is to make unreadable, as columns of numbers: indicators of classes, or values as they are."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from interp.errors import InputError

VALUES = ("floating", "mixed-integer-float", "decimal")
"""Kinds of one-dimensional concepts, as pandas names them, that are values; all others are names of classes."""
VALUE = "value"


def concept_columns(concept: ArrayLike, n: int) -> tuple[dict[Hashable, np.ndarray], np.ndarray]:
    """One column for each class or value, and which rows have the concept at all.

    Args:
        concept: (n,) names of classes (text, integers or booleans), (n,) values (floats, such as a compression
            level), or (n, k) numbers, one-hot or any. None, NaN and "" mean that the row's concept is not known.
        n: rows.

    Returns:
        Columns (n,) float64, 0 where unknown, by class or ("value", number of the column); and (n,) bool, True where
        known.

    Raises:
        InputError: another number of rows, other than one or two dimensions, or an infinite value.

    >>> columns, known = concept_columns(["cat", None, "dog"], 3)
    >>> {name: column.tolist() for name, column in columns.items()}, known.tolist()
    ({'cat': [1.0, 0.0, 0.0], 'dog': [0.0, 0.0, 1.0]}, [True, False, True])
    >>> concept_columns([75.0, 90.0], 2)[0]
    {('value', 0): array([75., 90.])}
    """
    frame = pd.DataFrame(_table(concept))
    if len(frame) != n:
        raise InputError(f"concept must have one entry for each of the {n} rows; given {len(frame)}")
    if frame.shape[1] == 1:
        column = frame.iloc[:, 0]
        if pd.api.types.infer_dtype(column, skipna=True) not in VALUES:
            known = (column.notna() & (column.astype(str) != "")).to_numpy(bool)
            classes = pd.unique(column[known])
            return {one: (column == one).to_numpy(bool, na_value=False) * 1.0 for one in classes}, known
    try:
        values = frame.astype(float).to_numpy()
    except (TypeError, ValueError) as error:
        raise InputError(
            f"a concept of {frame.shape[1]} columns must hold numbers, one-hot or any ({error}); "
            "names of classes go into one dimension, (n,)"
        ) from error
    if np.isinf(values).any():
        raise InputError("concept holds infinite values; leave such rows out with NaN")
    known = ~np.isnan(values).any(1)
    return {(VALUE, i): np.where(known, column, 0.0) for i, column in enumerate(values.T)}, known


def _table(concept: Any) -> pd.DataFrame | pd.Series | np.ndarray:
    """The concept as something with rows, its types kept: an array of None and floats stays what it is."""
    if isinstance(concept, pd.DataFrame | pd.Series):
        return concept.reset_index(drop=True)
    if isinstance(concept, pd.Categorical | pd.api.extensions.ExtensionArray):
        return pd.Series(concept)
    table = np.asarray(concept, dtype=None if isinstance(concept, np.ndarray) else object)
    if table.ndim not in (1, 2):
        raise InputError(f"concept must be (n,) or (n, k); given {table.shape}")
    return pd.Series(table) if table.ndim == 1 else table
