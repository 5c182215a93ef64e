"""Remove the heads that serve select generators worst from the embedding: a scikit-learn transformer."""

from __future__ import annotations

import copy
import re
import zlib
from collections.abc import Iterable, Sequence

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import _check_feature_names_in, check_is_fitted, validate_data

from interp.analysis.choosing import ChoosesOnSelectRows
from interp.analysis.head_removal_search import HeadRemovalSearch
from interp.analysis.strength import STRENGTHS
from interp.encoders.layout import COLUMN, HeadLayout
from interp.errors import InputError, unknown_name

REPLACEMENTS = ("zero", "mean", "resample")
EMBEDDING = re.compile(r"P\.\d+")


class HeadRemoval(ChoosesOnSelectRows, TransformerMixin, BaseEstimator):
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
        layout: which columns of X behind the embedding are which head's. None reads it from the column names of a
            frame (`FeatureStore.frame("embedding_and_heads")`); a number is the width of a head, and X then holds one
            layer of them.
        fold: (l, h, d, P), `store.readout.folded`. None where the columns of each head are its embedding itself, so
            that the embedding is as wide as a head.
        replace: what stands in a removed head's place: "zero", its "mean" over train rows, or "resample".
        criterion: what removal is judged by on select rows: "log_loss" (of scores brought to log-odds there, see
            `log_odds`) or "auc".
        max_removed: heads that may be removed at most; by default all but one.
        refit: fit the detector of the search anew after every removal.
        C: strengths of that detector to choose from, ascending.
        draws: donors of each select row that the search averages over; for "resample".
        random_state: seed of donors, of the draw among equally good candidates, and of the two divisions below.
        select_generators: names of the generators that select, where `fit` gets generator= and no part=; the
            photographs are divided in the proportion of the fakes (`interp.protocol.select_rows.parts_of`).
        select_share: share of the rows that select, at random, where nothing else says which do. Such a removal
            sees no unseen generator: it is a control. None refuses it.

    Attributes:
        layout_: which columns behind the embedding are which head's.
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
        layout: HeadLayout | int | None = None,
        fold: ArrayLike | None = None,
        replace: str = "zero",
        criterion: str = "log_loss",
        max_removed: int | None = None,
        refit: bool = False,
        C: Sequence[float] = STRENGTHS,
        draws: int = 5,
        random_state: int = 0,
        select_generators: Sequence[str] | str | None = None,
        select_share: float | None = None,
    ):
        self.layout, self.fold, self.replace, self.criterion = layout, fold, replace, criterion
        self.max_removed, self.refit, self.C = max_removed, refit, C
        self.draws, self.random_state = draws, random_state
        self.select_generators = select_generators
        self.select_share = select_share

    def fit(
        self,
        X: ArrayLike,
        y: ArrayLike,
        part: ArrayLike | None = None,
        generator: ArrayLike | None = None,
        groups: ArrayLike | None = None,
    ) -> HeadRemoval:
        """Search for what to remove.

        Args:
            X: (n, P + l·h·d), an array or a frame: the embedding beside the head features,
                `store.features("embedding_and_heads")` or `store.frame("embedding_and_heads")`.
            y: (n,), 1 fake, 0 photograph, or any two labels (`interp.protocol.select_rows.two_classes`).
            part: (n,), "train" for rows the detector is fitted on, "select" for rows that judge it. In a `Pipeline`
                let it travel by metadata routing: `.set_fit_request(part=True, generator=True)`.
            generator: (n,) names; every select generator then weighs the same.
            groups: (n,) names of rows that stay together where they are divided here.

        Raises:
            InputError: nothing says who selects, a part without both classes, an unknown criterion or replacement,
                or X that does not fit layout and fold.
        """
        if self.replace not in REPLACEMENTS:
            raise unknown_name("replacement", self.replace, REPLACEMENTS)
        values, given = validate_data(self, X, y, dtype=np.float64)
        self.layout_ = self._find_layout()
        labels, train, select = self._rows(given, part, generator, groups)
        _, heads = self._split(values)
        self.means_ = heads[train].mean(0)
        self.donors_ = heads[train] if self.replace == "resample" else heads[:0]
        search = self.search(values, labels, train, select, generator)
        found = search.search(self.max_removed)
        self.C_ = search.C
        self._name([self.layout_.names[head] for head in found.order[: found.chosen]])
        self._curve = {  # plain, so that skops keeps it
            "removed": list(range(len(found.scores))),
            "head": ["", *(self.layout_.names[head] for head in found.order)],
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
        """The search that `fit` runs, on rows given by their positions; y is 1 for fakes, 0 for photographs."""
        embedding, heads = self._split(X)
        donors = None
        if self.replace == "resample":
            donors = train[np.stack([self._donors(X[select], len(train), k) for k in range(self.draws)])]
        return HeadRemovalSearch(
            embedding,
            heads,
            y,
            self.layout_,
            self._matrix(),
            train,
            select,
            generator=None if generator is None else np.asarray(generator),
            criterion=self.criterion,
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
        other._name([self.layout_.names[self.layout_.index(head)] for head in heads])
        return other

    @available_if(lambda self: self.replace != "resample")
    def pull_back(self, coef: np.ndarray, intercept: float) -> tuple[np.ndarray, float]:
        """Weights on X, (P + l·h·d,), and intercept that score as `coef` and `intercept` do on the embedding left."""
        check_is_fitted(self)
        columns, weights = self._columns(), np.zeros(self.layout_.size)
        weights[columns] = self._matrix()[columns] @ coef
        if self.replace == "mean":
            intercept = float(intercept + self.means_[columns] @ weights[columns])
        return np.concatenate([coef, -weights]), intercept

    @property
    def curve_(self) -> pd.DataFrame:
        """A row for each number removed: removed, head (the last one removed), select_score, select_auc."""
        return pd.DataFrame(self._curve)

    def get_feature_names_out(self, input_features: ArrayLike | None = None) -> np.ndarray:
        """The embedding's own columns, else `P.0`, `P.1`, …"""
        check_is_fitted(self)
        given = _check_feature_names_in(self, input_features, generate_names=False)
        wide = self.n_features_in_ - self.layout_.size
        return np.array([f"P.{i}" for i in range(wide)] if given is None else given[:wide], dtype=object)

    def _find_layout(self) -> HeadLayout:
        """The layout asked for or read from names, which must agree with `fold` and with the columns of X."""
        names = getattr(self, "feature_names_in_", None)
        layout = self.layout
        if isinstance(layout, int | np.integer):
            width = int(layout)
            wide = width if self.fold is None else np.shape(self.fold)[-1]
            columns = self.n_features_in_ - wide
            if width < 1 or columns < width or columns % width:
                raise InputError(
                    f"layout={width} is the width of a head and must divide the columns of X behind the {wide} of "
                    f"the embedding; given n_features = {self.n_features_in_}"
                )
            layout = HeadLayout(1, columns // width, width)
        elif names is not None and (layout is None or COLUMN.fullmatch(names[-1])):
            found = _layout_behind_embedding(names)
            if layout not in (None, found):
                raise InputError(
                    f"the columns of X are those of {found}, and layout= is {layout}; give one of them"
                )
            layout = found
        elif layout is None:
            raise InputError(
                "HeadRemoval needs layout= where X is an array without column names: pass store.layout, or a frame, "
                "store.frame('embedding_and_heads')"
            )
        if self.fold is not None and (np.size(self.fold) != layout.size * np.shape(self.fold)[-1]):
            raise InputError(
                f"fold must be (l, h, d, P) of {layout}, store.readout.folded; given {np.shape(self.fold)}"
            )
        return layout

    def _name(self, removed: list[str]) -> None:
        self.removed_ = removed
        self.kept_ = [name for name in self.layout_.names if name not in removed]

    def _matrix(self) -> np.ndarray:
        """(l·h·d, P): from head features to what they add to the embedding."""
        if self.fold is None:
            return np.tile(np.eye(self.layout_.width), (self.layout_.n_heads, 1))
        return np.asarray(self.fold, dtype=np.float64).reshape(self.layout_.size, -1)

    def _columns(self) -> np.ndarray:
        at = [np.arange(self.layout_.size)[self.layout_.slice(head)] for head in self.removed_]
        return np.concatenate(at) if at else np.empty(0, int)

    def _split(self, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        wide = self.layout_.width if self.fold is None else np.shape(self.fold)[-1]
        if values.shape[1] != wide + self.layout_.size:
            raise InputError(
                f"X must be (n, {wide} + {self.layout_.size}), the embedding beside the head features, as "
                f"store.features('embedding_and_heads') gives it; given {values.shape}"
            )
        return values[:, :wide], values[:, wide:]

    def _donors(self, X: np.ndarray, train: int, draw: int) -> np.ndarray:
        """For each row a train row, drawn with a seed made of the row itself."""
        seeds = [(self.random_state, draw, zlib.crc32(row.astype(np.float32).tobytes())) for row in X]
        return np.array([np.random.default_rng(seed).integers(train) for seed in seeds], dtype=int)


def _layout_behind_embedding(names: np.ndarray) -> HeadLayout:
    """The layout of the heads' columns that stand behind `P.0`, `P.1`, …"""
    wide = next((i for i, name in enumerate(names) if not EMBEDDING.fullmatch(name)), len(names))
    for place, name in enumerate(names[:wide]):
        if name != f"P.{place}":
            raise InputError(f"column {place}, {name!r}, does not fit: 'P.{place}' belongs there")
    try:
        return HeadLayout.from_columns(names[wide:])
    except InputError as error:
        raise InputError(
            f"behind the {wide} columns of the embedding, as store.frame('embedding_and_heads') names them: {error}"
        ) from error
