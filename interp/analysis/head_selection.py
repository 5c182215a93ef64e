"""Keep the heads that transfer: a scikit-learn transformer before any classifier."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils.validation import check_is_fitted, validate_data

from interp.analysis.head_search import NUMBERS, HeadSearch, gather
from interp.analysis.logistic import balanced_weights, fit_logistic
from interp.analysis.ranking import PROBE_C, standardised
from interp.analysis.strength import STRENGTHS
from interp.encoders.layout import HeadLayout
from interp.errors import InputError


class HeadSelection(TransformerMixin, BaseEstimator):
    """Rank heads by the transfer of a probe on each alone, and keep the k best, k chosen on select rows.

    The "best heads" of Gaintseva et al. 2024 (arXiv 2406.15035); which aggregate they used is not known.

    Args:
        layout: which columns of X are which head's.
        k: how many heads may be kept; "all" stands for every head; one number fixes it.
        aggregate: "concat" (their columns side by side), "sum" (of their embeddings, needs `fold`) or "vote" (one
            column: the mean of their probes' log-odds, Platt-calibrated on select rows).
        fold: (l, h, d, P), `store.readout.folded`, for "sum".
        C: strengths of the detector that k is chosen with, ascending.

    Attributes:
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
        layout: HeadLayout,
        k: Sequence[int | str] | int | str = NUMBERS,
        aggregate: str = "concat",
        fold: ArrayLike | None = None,
        C: Sequence[float] = STRENGTHS,
    ):
        self.layout, self.k, self.aggregate, self.fold, self.C = layout, k, aggregate, fold, C

    def fit(
        self, X: ArrayLike, y: ArrayLike, part: ArrayLike | None = None, generator: ArrayLike | None = None
    ) -> HeadSelection:
        """Rank and choose.

        Args:
            X: (n, l·h·d).
            y: (n,), 1 fake, 0 photograph.
            part: (n,), "train" for rows that probes are fitted on, "select" for rows that choose. In a `Pipeline`
                let it travel by metadata routing: `.set_fit_request(part=True, generator=True)`.
            generator: (n,) names; select AUC is then the mean over select generators.

        Raises:
            InputError: no part, a part without both classes, or X that does not fit the layout.
        """
        values, labels = validate_data(self, X, y, dtype=np.float64)
        train, select = rows_of_parts(part, "HeadSelection", labels)
        names = None if generator is None else np.asarray(generator)
        fold = None if self.fold is None else np.asarray(self.fold)
        search = HeadSearch(
            values,
            labels,
            self.layout,
            train,
            select,
            generator=names,
            aggregate=self.aggregate,
            fold=fold,
            strengths=self.C,
        )
        found = search.search(self.k)
        self.ranking_ = [self.layout.names[head] for head in search.ranking()]
        self.heads_ = [self.layout.names[head] for head in found.heads]
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
        kept = gather(values, self._numbers(), self.layout, self._fold())
        return (kept @ self.vote_coef_ + self.vote_intercept_)[:, None] if self.aggregate == "vote" else kept

    def pull_back(self, coef: np.ndarray, intercept: float) -> tuple[np.ndarray, float]:
        """Weights on X, (l·h·d,), and intercept that score as `coef` and `intercept` do on the transformed columns."""
        if self.aggregate == "vote":
            coef, intercept = self.vote_coef_ * coef[0], float(self.vote_intercept_ * coef[0] + intercept)
        weights = np.zeros((self.layout.n_heads, self.layout.width))
        heads = self._numbers()
        fold = self._fold()
        weights[heads] = coef.reshape(len(heads), -1) if fold is None else fold[heads] @ coef
        return weights.ravel(), intercept

    def get_feature_names_out(self, input_features: ArrayLike | None = None) -> np.ndarray:
        """`L3.H5.17` for "concat", `P.0`, `P.1`, … for "sum", `vote` for "vote"."""
        if self.aggregate == "vote":
            return np.array(["vote"], dtype=object)
        if (fold := self._fold()) is not None:
            return np.array([f"P.{i}" for i in range(fold.shape[-1])], dtype=object)
        return np.array(
            [f"{head}.{i}" for head in self.heads_ for i in range(self.layout.width)], dtype=object
        )

    @property
    def path_(self) -> pd.DataFrame:
        """A row for each number of heads and strength: k, C, select_auc."""
        return pd.DataFrame(self._path)

    def _numbers(self) -> list[int]:
        return [self.layout.index(head) for head in self.heads_]

    def _fold(self) -> np.ndarray | None:
        if self.aggregate != "sum":
            return None
        return np.asarray(self.fold, float).reshape(self.layout.n_heads, self.layout.width, -1)

    def _vote_weights(
        self, search: HeadSearch, heads: Sequence[int], X: np.ndarray, y: np.ndarray
    ) -> tuple[np.ndarray, float]:
        """The vote is linear too: its weights on the kept heads' columns, (k·d,), and its intercept."""
        slope, offset = search.calibration(heads, search.select_y)
        columns = gather(X, heads, self.layout)
        center, scale = columns.mean(0), columns.std(0)
        scale[scale == 0] = np.inf
        (blocks,) = standardised(columns)
        blocks = blocks.reshape(len(X), len(heads), -1).transpose(1, 0, 2)
        coef, intercept = fit_logistic(blocks, y, PROBE_C, balanced_weights(y))
        weights = (coef * slope[:, None] / len(heads)).ravel() / scale
        return weights, float(np.mean(intercept * slope + offset) - center @ weights)


def rows_of_parts(part: ArrayLike | None, who: str, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Positions of the train and of the select rows.

    Raises:
        InputError: no part given, or one of the two lacks a class.
    """
    if part is None:
        raise InputError(
            f"{who}.fit needs part=, 'train' or 'select' for each row, so that it chooses on rows not fitted: "
            "pass split.part, in a Pipeline by metadata routing (.set_fit_request(part=True, generator=True))"
        )
    parts = np.asarray(part)
    found = {name: np.flatnonzero(parts == name) for name in ("train", "select")}
    for name, rows in found.items():
        if len(np.unique(y[rows])) < 2:
            raise InputError(
                f"{who}.fit needs photographs and fakes among its {name} rows; {len(rows)} rows are marked {name!r}, "
                f"with labels {np.unique(y[rows]).tolist()}"
            )
    return found["train"], found["select"]
