"""A protocol as scikit-learn's searches and cross-validations take it: folds of positions."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from sklearn.utils.validation import _num_samples

from interp.errors import InputError
from interp.protocol.roles import Split


class SelectSplitter:
    """A scikit-learn splitter that fits on train rows and scores on select rows; test rows stay unseen.

    Args:
        splits: at least one; each gives a fold.
        keys: the index of the protocol's rows; a frame with another index is then refused.
        rows: (m,) positions of the protocol's rows that X holds, in the order of X; by default all of them.

    Raises:
        InputError: `rows` are not positions, or a split trains or selects on a row that is not among them.

    >>> split = Split(("glide",), ("dalle2",), ("attngan",), 0, 6, train=[0, 3], select=[1, 4], test=[2, 5])
    >>> SelectSplitter([split], rows=[0, 1, 3, 4])
    SelectSplitter(n_splits=1, n_rows=4)
    >>> list(SelectSplitter([split], rows=[0, 1, 3, 4]).split(np.zeros((4, 9))))
    [(array([0, 2]), array([1, 3]))]
    """

    def __init__(
        self, splits: Sequence[Split], keys: pd.Index | None = None, rows: ArrayLike | None = None
    ) -> None:
        every = splits[0].n_rows
        given = np.arange(every) if rows is None else np.asarray(rows)
        if given.ndim != 1 or given.dtype.kind not in "iu" or len(np.unique(given)) != len(given):
            raise InputError(
                f"rows must be positions without repeats; given {given.dtype} of shape {given.shape}"
            )
        if len(given) and (given.min() < 0 or given.max() >= every):
            raise InputError(
                f"rows must be positions from 0 to {every - 1}; given {given.min()} to {given.max()}"
            )
        place = np.full(every, -1)
        place[given] = np.arange(len(given))
        self._folds = [(place[split.train], place[split.select]) for split in splits]
        self._n_rows, self._every = len(given), every
        self._keys = None if keys is None else keys[given]
        for split, fold in zip(splits, self._folds, strict=True):
            lacking = int((np.concatenate(fold) < 0).sum())
            if lacking:
                raise InputError(
                    f"split {split.name}, seed {split.seed}, trains and selects on {lacking} rows that rows= leaves "
                    "out; name all of them, or make the splitter of fewer splits"
                )

    def __repr__(self) -> str:
        return f"SelectSplitter(n_splits={len(self._folds)}, n_rows={self._n_rows})"

    def get_n_splits(self, X: object = None, y: object = None, groups: object = None) -> int:
        """The number of splits; the arguments are ignored."""
        return len(self._folds)

    def split(
        self, X: object, y: object = None, groups: object = None
    ) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Yield (train, select) positions into X, which must hold the splitter's rows in their order.

        Raises:
            InputError: X has another number of rows, or is a frame with other row keys.
        """
        n = _num_samples(X)
        if n != self._n_rows:
            whose = "the protocol" if self._n_rows == self._every else "the splitter"
            raise InputError(
                f"X has {n} rows, {whose} {self._n_rows}; pass features of all its rows in its order, or say which "
                "ones X holds: protocol.cv(rows=positions)"
            )
        index: Any = getattr(X, "index", None)
        keys = self._keys
        if keys is not None and isinstance(index, pd.Index) and not isinstance(index, pd.RangeIndex):
            other = np.flatnonzero(index != keys)
            if len(other):
                at = other[0]
                raise InputError(
                    f"row {at} of X is {index[at]!r}, the protocol's is {keys[at]!r}; bring X into its order: "
                    "X.loc[protocol.rows.index]"
                )
        yield from self._folds
