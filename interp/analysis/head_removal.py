"""Remove the heads that serve select generators worst from the embedding: a scikit-learn transformer."""

from __future__ import annotations

import copy
import zlib
from collections.abc import Iterable, Sequence

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted, validate_data

from interp.analysis.head_removal_search import HeadRemovalSearch
from interp.analysis.head_selection import rows_of_parts
from interp.analysis.strength import STRENGTHS
from interp.encoders.layout import HeadLayout
from interp.errors import InputError, unknown_name

REPLACEMENTS = ("zero", "mean", "resample")


class HeadRemoval(TransformerMixin, BaseEstimator):
    """Greedy backward elimination of heads from the embedding, by their harm on select rows.

    The head pruning of Kuznetsov et al. 2024 (arXiv 2410.08113), with stored contributions in place of new passes: the
    embedding without some heads is the stored embedding minus those heads' embeddings, what later layers made of them
    stays. (`interp.encoders.pruning.pruned` takes heads out of the pass itself.) A detector fitted once on train rows
    judges every candidate of a step at once; of all prefixes the shortest is kept whose select score is within one
    standard error, paired over select rows, of the best one's (Breiman et al. 1984).

    Zero and mean ablation differ by a constant, so the same heads are found and any classifier with an intercept
    decides alike. Resample ablation puts the heads of a randomly drawn train row, photograph or fake, in the place of
    those removed, all of them from the same row, as causal scrubbing does for what should not matter (Chan et al.
    2022); the row depends on the image's own features and on the seed, not on the images beside it.

    Args:
        layout: which columns of X behind the embedding are which head's.
        fold: (l, h, d, P), `store.readout.folded`.
        replace: what stands in a removed head's place: "zero", its "mean" over train rows, or "resample".
        score: "log_loss" (of scores brought to log-odds on the select rows, see `log_odds`) or "auc".
        max_removed: heads that may be removed at most; by default all but one.
        refit: fit the detector of the search anew after every removal.
        C: strengths of that detector to choose from, ascending.
        draws: donors of each select row that the search averages over; for "resample".
        random_state: seed of donors and of the draw among equally good candidates.

    Attributes:
        removed_: names of the heads removed, in order; kept_: the others, in the order of the layout.
        C_: strength of the detector of the search.

    >>> rng = np.random.default_rng(0)
    >>> y, part = np.arange(400) % 2, np.repeat(["train", "select"], 200)
    >>> heads = rng.normal(size=(400, 6))                        # three heads of two values each
    >>> heads[:, 0] += 2 * y
    >>> heads[:200, 2] += 3 * y[:200]                            # L0.H1 misleads: it sees the train fakes alone
    >>> fold = np.eye(6).reshape(1, 3, 2, 6)
    >>> X = np.concatenate([heads @ fold.reshape(6, 6), heads], axis=1)
    >>> removal = HeadRemoval(HeadLayout(1, 3, 2), fold).fit(X, y, part=part)
    >>> removal.removed_, removal.transform(X).shape
    (['L0.H1'], (400, 6))
    """

    def __init__(
        self,
        layout: HeadLayout,
        fold: ArrayLike,
        replace: str = "zero",
        score: str = "log_loss",
        max_removed: int | None = None,
        refit: bool = False,
        C: Sequence[float] = STRENGTHS,
        draws: int = 5,
        random_state: int = 0,
    ):
        self.layout, self.fold, self.replace, self.score = layout, fold, replace, score
        self.max_removed, self.refit, self.C = max_removed, refit, C
        self.draws, self.random_state = draws, random_state

    def fit(
        self, X: ArrayLike, y: ArrayLike, part: ArrayLike | None = None, generator: ArrayLike | None = None
    ) -> HeadRemoval:
        """Search for what to remove.

        Args:
            X: (n, P + l·h·d), `store.features("embedding_and_heads")`: the embedding beside the head features.
            y: (n,), 1 fake, 0 photograph.
            part: (n,), "train" for rows the detector is fitted on, "select" for rows that judge it.
            generator: (n,) names; every select generator then weighs the same.

        Raises:
            InputError: no part, a part without both classes, an unknown score or replacement, X of another width.
        """
        if self.replace not in REPLACEMENTS:
            raise unknown_name("replacement", self.replace, REPLACEMENTS)
        values, labels = validate_data(self, X, y, dtype=np.float64)
        train, select = rows_of_parts(part, "HeadRemoval", labels)
        embedding, heads = self._split(values)
        self.means_ = heads[train].mean(0)
        self.donors_ = heads[train] if self.replace == "resample" else heads[:0]
        search = self.search(values, labels, train, select, generator)
        found = search.search(self.max_removed)
        self.C_ = search.C
        self._name([self.layout.names[head] for head in found.order[: found.chosen]])
        self._curve = {  # plain, so that skops keeps it
            "removed": list(range(len(found.scores))),
            "head": ["", *(self.layout.names[head] for head in found.order)],
            "select_score": found.scores.tolist(),
            "select_auc": found.aucs.tolist(),
        }
        return self

    def search(
        self,
        X: np.ndarray,
        y: np.ndarray,
        train: np.ndarray,
        select: np.ndarray,
        generator: ArrayLike | None = None,
    ) -> HeadRemovalSearch:
        """The search that `fit` runs, on rows given by their positions."""
        embedding, heads = self._split(X)
        donors = None
        if self.replace == "resample":
            donors = train[np.stack([self._donors(X[select], len(train), k) for k in range(self.draws)])]
        return HeadRemovalSearch(
            embedding,
            heads,
            y,
            self.layout,
            np.asarray(self.fold),
            train,
            select,
            generator=None if generator is None else np.asarray(generator),
            score=self.score,
            donors=donors,
            refit=self.refit,
            strengths=self.C,
            random_state=self.random_state,
        )

    def transform(self, X: ArrayLike) -> np.ndarray:
        """The embedding without the heads removed, (n, P)."""
        check_is_fitted(self)
        values = validate_data(self, X, dtype=np.float64, reset=False)
        embedding, heads = self._split(values)
        if not self.removed_:
            return embedding.copy()
        columns = self._columns()
        instead: np.ndarray | float = 0.0
        if self.replace == "mean":
            instead = self.means_[columns]
        elif self.replace == "resample":
            instead = self.donors_[self._donors(values, len(self.donors_), 0)][:, columns]
        return embedding - (heads[:, columns] - instead) @ self._matrix()[columns]

    def without(self, heads: Iterable[str]) -> HeadRemoval:
        """A copy of the fitted transformer that removes other heads."""
        check_is_fitted(self)
        other = copy.copy(self)
        other._name([self.layout.names[self.layout.index(head)] for head in heads])
        return other

    @available_if(lambda self: self.replace != "resample")
    def pull_back(self, coef: np.ndarray, intercept: float) -> tuple[np.ndarray, float]:
        """Weights on X, (P + l·h·d,), and intercept that score as `coef` and `intercept` do on the embedding left."""
        columns, weights = self._columns(), np.zeros(self.layout.size)
        weights[columns] = self._matrix()[columns] @ coef
        if self.replace == "mean":
            intercept = float(intercept + self.means_[columns] @ weights[columns])
        return np.concatenate([coef, -weights]), intercept

    @property
    def curve_(self) -> pd.DataFrame:
        """A row for each number removed: removed, head (the last one removed), select_score, select_auc."""
        return pd.DataFrame(self._curve)

    def get_feature_names_out(self, input_features: ArrayLike | None = None) -> np.ndarray:
        """`P.0`, `P.1`, …"""
        return np.array([f"P.{i}" for i in range(self._matrix().shape[1])], dtype=object)

    def _name(self, removed: list[str]) -> None:
        self.removed_ = removed
        self.kept_ = [name for name in self.layout.names if name not in removed]

    def _matrix(self) -> np.ndarray:
        """(l·h·d, P): from head features to what they add to the embedding."""
        return np.asarray(self.fold, dtype=np.float64).reshape(self.layout.size, -1)

    def _columns(self) -> np.ndarray:
        at = [np.arange(self.layout.size)[self.layout.slice(head)] for head in self.removed_]
        return np.concatenate(at) if at else np.empty(0, int)

    def _split(self, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        wide = self._matrix().shape[1]
        if values.shape[1] != wide + self.layout.size:
            raise InputError(
                f"X must be (n, {wide} + {self.layout.size}), the embedding beside the head features, as "
                f"store.features('embedding_and_heads') gives it; given {values.shape}"
            )
        return values[:, :wide], values[:, wide:]

    def _donors(self, X: np.ndarray, train: int, draw: int) -> np.ndarray:
        """For each row a train row, drawn with a seed made of the row itself."""
        seeds = [(self.random_state, draw, zlib.crc32(row.astype(np.float32).tobytes())) for row in X]
        return np.array([np.random.default_rng(seed).integers(train) for seed in seeds], dtype=int)
