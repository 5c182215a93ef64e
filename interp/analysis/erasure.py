"""What erasers have in common: rows they may be fitted on, blocks of columns, and an oblique projection."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator, OneToOneFeatureMixin, TransformerMixin
from sklearn.utils.validation import check_consistent_length, check_is_fitted, validate_data

from interp.analysis.streamed_moments import StreamedMoments
from interp.encoders.layout import COLUMN, HeadLayout
from interp.errors import InputError, unknown_name
from interp.protocol.leaks import REAL
from interp.protocol.select_rows import two_classes

PARTS = ("train", "select")
"""Parts that an eraser may be fitted on; test rows never."""


class Erasure(OneToOneFeatureMixin, TransformerMixin, BaseEstimator):
    """Takes directions out of features: r(x) = x - L R (x - mean), in each block of columns on its own.

    A subclass says what to read beside the features (`_columns`) and which directions go (`_factors`).

    Attributes:
        layout_: which columns are which block's; one block of all columns where no layout was asked for.
        n_rows_: rows fitted on.
        mean_: (p,), of these rows; r leaves it where it is.
        left_: (b, w, r) and right_: (b, r, w): L and R, R L being 1 on the directions that go.
        rank_: (b,) directions that go from each block.
        moved_: (b,) E‖r(x) - x‖² as a share of E‖x - mean‖², on the rows fitted on.
    """

    layout: HeadLayout | int | str | None
    parts: Sequence[str]
    _of = "all"

    def transform(self, X: ArrayLike) -> np.ndarray:
        """Features without the directions, (n, p)."""
        check_is_fitted(self, "layout_")
        values = validate_data(self, X, dtype=np.float64, reset=False)
        self._refuse_if_unfit()
        erased, width = values.copy(), self.layout_.width
        for block, (left, right) in enumerate(zip(self.left_, self.right_, strict=True)):
            columns = slice(block * width, (block + 1) * width)
            erased[:, columns] -= (values[:, columns] - self.mean_[columns]) @ right.T @ left.T
        return erased

    def pull_back(self, coef: np.ndarray, intercept: float) -> tuple[np.ndarray, float]:
        """Weights on X, (p,), and intercept that score as `coef` and `intercept` do on the erased features."""
        check_is_fitted(self, "layout_")
        self._refuse_if_unfit()
        blocks = np.asarray(coef, float).reshape(len(self.left_), 1, -1)
        lost = (blocks @ self.left_ @ self.right_).reshape(-1)
        return coef - lost, float(intercept + lost @ self.mean_)

    def _stream(
        self,
        X: ArrayLike,
        y: ArrayLike | None,
        *,
        concept: ArrayLike | None = None,
        part: ArrayLike | None = None,
        generator: ArrayLike | None = None,
        first: bool,
    ) -> None:
        """Add the rows that may be fitted on, and find the directions anew."""
        if y is None:
            values = validate_data(self, X, dtype=np.float64, reset=first)
        else:
            values, y = validate_data(self, X, y, dtype=np.float64, reset=first)
        check_consistent_length(values, concept, part, generator)
        if first:
            self.layout_ = self._find_layout()
            self._moments = StreamedMoments(self.layout_.n_heads, self.layout_.width)
        kept = self._rows(len(values), y, part, generator)
        columns, known = self._columns(len(values), y, concept, generator)
        kept &= known
        of_kept = {name: column[kept] for name, column in columns.items() if np.any(column[kept])}
        self._moments.update(values[kept], of_kept)
        self.n_rows_ = self._moments.n
        self._find()

    def _find(self) -> None:
        """Directions, from what was seen so far; none where `_lacks` says that it does not suffice."""
        blocks, width = self.layout_.n_heads, self.layout_.width
        self.left_, self.right_ = np.zeros((blocks, width, 0)), np.zeros((blocks, 0, width))
        if self._lacks() is None:
            self.left_, self.right_ = self._factors()
        covariance = self._moments.features() if self.n_rows_ else np.zeros((blocks, width, width))
        self.mean_ = self._moments.mean.flatten()
        self.rank_ = np.any(self.left_ != 0, axis=1).sum(1)
        total = np.trace(covariance, axis1=1, axis2=2)
        read = self.right_ @ covariance @ self.right_.transpose(0, 2, 1)
        moved = (read * (self.left_.transpose(0, 2, 1) @ self.left_)).sum((1, 2))
        self.moved_ = np.divide(moved, total, out=np.zeros(blocks), where=total > 0)

    def _columns(
        self, n: int, y: Any, concept: ArrayLike | None, generator: ArrayLike | None
    ) -> tuple[dict[Hashable, np.ndarray], np.ndarray]:
        """Columns (n,) beside the features by name, and (n,) bool: rows that have them."""
        raise NotImplementedError

    def _factors(self) -> tuple[np.ndarray, np.ndarray]:
        """L (b, w, r) and R (b, r, w) from the moments."""
        raise NotImplementedError

    def _lacks(self) -> str | None:
        """What the rows seen so far lack for directions to be found, or None."""
        name = type(self).__name__
        if self.n_rows_ < 2:
            return f"{name} needs 2 rows at least to fit on; given n_samples = {self.n_rows_} of them"
        return None

    def _refuse_if_unfit(self) -> None:
        lacks = self._lacks()
        if lacks is not None:
            raise InputError(lacks)

    def _rows(
        self, n: int, y: ArrayLike | None, part: ArrayLike | None, generator: ArrayLike | None
    ) -> np.ndarray:
        """(n,) bool: rows to fit on."""
        who = type(self).__name__
        for one in self.parts:
            if one not in PARTS:
                raise unknown_name("part to fit an eraser on", one, PARTS)
        kept = np.ones(n, bool) if part is None else np.isin(np.asarray(part).astype(str), list(self.parts))
        of = getattr(self, "of", self._of)
        if of not in ("all", "fakes"):
            raise unknown_name("kind of rows to fit an eraser on", of, ("all", "fakes"))
        if of == "fakes":
            if generator is None and y is None:
                raise InputError(
                    f"{who} is fitted on fakes and needs to know them: generator=, the name of each row's generator, "
                    "or labels y; in a Pipeline by metadata routing (.set_fit_request(generator=True)). It requires "
                    "y to be passed, but the target y is None"
                )
            kept &= _fakes(who, y, generator)
        return kept

    def _find_layout(self) -> HeadLayout:
        """One block of all columns, or the blocks asked for or read from names, which must agree."""
        names = getattr(self, "feature_names_in_", None)
        wide = int(self.n_features_in_)
        layout = self.layout
        if layout is None:
            return HeadLayout(1, 1, wide)
        if isinstance(layout, str):
            if layout != "heads":
                raise unknown_name("layout", layout, ("heads",))
            if names is None:
                raise InputError(
                    "layout='heads' reads which columns are which head's from their names; pass a frame, "
                    "store.frame('heads'), or layout=store.layout"
                )
            return HeadLayout.from_columns(names)
        if isinstance(layout, int | np.integer):
            if layout < 1 or wide % layout:
                raise InputError(
                    f"layout={layout} is the width of a head and must divide the columns of X; "
                    f"given n_features = {wide}"
                )
            return HeadLayout(1, wide // int(layout), int(layout))
        if layout.size != wide:
            raise InputError(f"X must be (n, {layout.size}) for {layout}; given n_features = {wide}")
        if names is not None and COLUMN.fullmatch(str(names[0])):
            found = HeadLayout.from_columns(names)
            if found != layout:
                raise InputError(
                    f"the columns of X are those of {found}, and layout= is {layout}; give one of them"
                )
        return layout


def _fakes(who: str, y: ArrayLike | None, generator: ArrayLike | None) -> np.ndarray:
    """(n,) bool, from the generators' names, else from the labels."""
    if generator is not None:
        return np.asarray(generator).astype(str) != REAL
    return two_classes(who, y)[1] == 1  # type: ignore[arg-type]
