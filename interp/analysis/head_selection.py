"""Keep the heads that transfer: a scikit-learn transformer before any classifier."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils.validation import _check_feature_names_in, check_is_fitted, validate_data

from interp.analysis.choosing import ChoosesOnSelectRows
from interp.analysis.head_search import NUMBERS, HeadSearch, gather
from interp.analysis.logistic import balanced_weights, fit_logistic
from interp.analysis.ranking import PROBE_C, standardised
from interp.analysis.strength import STRENGTHS
from interp.encoders.layout import COLUMN, HeadLayout
from interp.errors import InputError
from interp.protocol.select_rows import rows_of_parts

__all__ = ["HeadSelection", "rows_of_parts"]


class HeadSelection(ChoosesOnSelectRows, TransformerMixin, BaseEstimator):
    """Rank heads by the transfer of a probe on each alone, and keep the k best, k chosen on select rows.

    The "best heads" of Gaintseva et al. 2024 (arXiv 2406.15035); which aggregate they used is not known.

    Args:
        layout: which columns of X are which head's. None reads it from the column names of a frame
            (`FeatureStore.frame("heads")`); a number is the width of a head, and X then is one layer of them.
        k: how many heads may be kept; "all" stands for every head; one number fixes it.
        aggregate: "concat" (their columns side by side), "sum" (of their embeddings, needs `fold`) or "vote" (one
            column: the mean of their probes' log-odds, Platt-calibrated on select rows).
        fold: (l, h, d, P), `store.readout.folded`, for "sum".
        C: strengths of the detector that k is chosen with, ascending.
        select_generators: names of the generators that select, where `fit` gets generator= and no part=; the
            photographs are divided in the proportion of the fakes (`interp.protocol.select_rows.parts_of`).
        select_share: share of the rows that select, at random, where nothing else says which do. Such a selection
            sees no unseen generator: it is a control. None refuses it.
        random_state: seed of these divisions.

    Attributes:
        layout_: which columns are which head's.
        heads_: names of the heads kept, best first.
        k_, C_, select_auc_: how many, the strength chosen, and the AUC on select rows.
        ranking_: names of all heads, best first.

    >>> rng = np.random.default_rng(0)
    >>> y, part = np.arange(200) % 2, np.repeat(["train", "select"], 100)
    >>> X = rng.normal(size=(200, 8))
    >>> X[:, 4:6] += 2 * y[:, None]                       # the third head of four sees fakes
    >>> chosen = HeadSelection(HeadLayout(2, 2, 2), k=1).fit(X, y, part=part)
    >>> chosen.heads_, chosen.transform(X).shape, list(chosen.get_feature_names_out())
    (['L1.H0'], (200, 2), ['L1.H0.0', 'L1.H0.1'])
    """

    def __init__(
        self,
        layout: HeadLayout | int | None = None,
        k: Sequence[int | str] | int | str = NUMBERS,
        aggregate: str = "concat",
        fold: ArrayLike | None = None,
        C: Sequence[float] = STRENGTHS,
        select_generators: Sequence[str] | str | None = None,
        select_share: float | None = None,
        random_state: int = 0,
    ):
        self.layout, self.k, self.aggregate, self.fold, self.C = layout, k, aggregate, fold, C
        self.select_generators = select_generators
        self.select_share = select_share
        self.random_state = random_state

    def fit(
        self,
        X: ArrayLike,
        y: ArrayLike,
        part: ArrayLike | None = None,
        generator: ArrayLike | None = None,
        groups: ArrayLike | None = None,
    ) -> HeadSelection:
        """Rank and choose.

        Args:
            X: (n, l·h·d), an array or a frame.
            y: (n,), 1 fake, 0 photograph, or any two labels (`interp.protocol.select_rows.two_classes`).
            part: (n,), "train" for rows that probes are fitted on, "select" for rows that choose. In a `Pipeline`
                let it travel by metadata routing: `.set_fit_request(part=True, generator=True)`.
            generator: (n,) names; select AUC is then the mean over select generators.
            groups: (n,) names of rows that stay together where they are divided here.

        Raises:
            InputError: nothing says who selects, a part without both classes, or X that does not fit the layout.
        """
        values, given = validate_data(self, X, y, dtype=np.float64)
        self.layout_ = self._find_layout()
        labels, train, select = self._rows(given, part, generator, groups)
        names = None if generator is None else np.asarray(generator)
        fold = None if self.fold is None else np.asarray(self.fold)
        search = HeadSearch(
            values,
            labels,
            self.layout_,
            train,
            select,
            generator=names,
            aggregate=self.aggregate,
            fold=fold,
            strengths=self.C,
        )
        found = search.search(self.k)
        self.ranking_ = [self.layout_.names[head] for head in search.ranking()]
        self.heads_ = [self.layout_.names[head] for head in found.heads]
        self.k_, self.C_, self.select_auc_ = len(found.heads), found.C, found.select_auc
        self._path = {
            name: column.tolist() for name, column in found.path.items()
        }  # plain, so that skops keeps it
        if self.aggregate == "vote":
            self.vote_coef_, self.vote_intercept_ = self._vote_weights(
                search, found.heads, values[train], labels[train]
            )
        return self

    def transform(self, X: ArrayLike) -> np.ndarray:
        """(n, k·d) for "concat", (n, P) for "sum", (n, 1) for "vote"."""
        check_is_fitted(self)
        values = validate_data(self, X, dtype=np.float64, reset=False)
        kept = gather(values, self._numbers(), self.layout_, self._fold())
        return (kept @ self.vote_coef_ + self.vote_intercept_)[:, None] if self.aggregate == "vote" else kept

    def pull_back(self, coef: np.ndarray, intercept: float) -> tuple[np.ndarray, float]:
        """Weights on X, (l·h·d,), and intercept that score as `coef` and `intercept` do on the transformed columns."""
        check_is_fitted(self)
        if self.aggregate == "vote":
            coef, intercept = self.vote_coef_ * coef[0], float(self.vote_intercept_ * coef[0] + intercept)
        weights = np.zeros((self.layout_.n_heads, self.layout_.width))
        heads = self._numbers()
        fold = self._fold()
        weights[heads] = coef.reshape(len(heads), -1) if fold is None else fold[heads] @ coef
        return weights.ravel(), intercept

    def get_feature_names_out(self, input_features: ArrayLike | None = None) -> np.ndarray:
        """The kept columns' own names for "concat" (else `L3.H5.17`), `P.0`, `P.1`, … for "sum", `vote` for "vote"."""
        check_is_fitted(self)
        given = _check_feature_names_in(self, input_features, generate_names=False)
        if self.aggregate == "vote":
            return np.array(["vote"], dtype=object)
        if (fold := self._fold()) is not None:
            return np.array([f"P.{i}" for i in range(fold.shape[-1])], dtype=object)
        names = np.asarray(self.layout_.columns if given is None else given, dtype=object)
        return np.concatenate([names[self.layout_.slice(head)] for head in self.heads_])

    @property
    def path_(self) -> pd.DataFrame:
        """A row for each number of heads and strength: k, C, select_auc."""
        return pd.DataFrame(self._path)

    def _find_layout(self) -> HeadLayout:
        names = getattr(self, "feature_names_in_", None)
        if isinstance(self.layout, int | np.integer):
            if self.layout < 1 or self.n_features_in_ % self.layout:
                raise InputError(
                    f"layout={self.layout} is the width of a head and must divide the columns of X; "
                    f"given {self.n_features_in_} columns"
                )
            return HeadLayout(1, self.n_features_in_ // int(self.layout), int(self.layout))
        if self.layout is None and names is None:
            raise InputError(
                "HeadSelection needs layout= where X is an array without column names: pass store.layout, or "
                "a frame, store.frame('heads')"
            )
        if names is None or (self.layout is not None and not COLUMN.fullmatch(names[0])):
            return self.layout  # type: ignore[return-value]
        found = HeadLayout.from_columns(names)
        if self.layout not in (None, found):
            raise InputError(
                f"the columns of X are those of {found}, and layout= is {self.layout}; give one of them"
            )
        return found

    def _numbers(self) -> list[int]:
        return [self.layout_.index(head) for head in self.heads_]

    def _fold(self) -> np.ndarray | None:
        if self.aggregate != "sum":
            return None
        return np.asarray(self.fold, float).reshape(self.layout_.n_heads, self.layout_.width, -1)

    def _vote_weights(
        self, search: HeadSearch, heads: Sequence[int], X: np.ndarray, y: np.ndarray
    ) -> tuple[np.ndarray, float]:
        """The vote is linear too: its weights on the kept heads' columns, (k·d,), and its intercept."""
        slope, offset = search.calibration(heads, search.select_y)
        columns = gather(X, heads, self.layout_)
        center, scale = columns.mean(0), columns.std(0)
        scale[scale == 0] = np.inf
        (blocks,) = standardised(columns)
        blocks = blocks.reshape(len(X), len(heads), -1).transpose(1, 0, 2)
        coef, intercept = fit_logistic(blocks, y, PROBE_C, balanced_weights(y))
        weights = (coef * slope[:, None] / len(heads)).ravel() / scale
        return weights, float(np.mean(intercept * slope + offset) - center @ weights)
