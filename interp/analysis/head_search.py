"""Search for the heads that transfer: what a selection and its nulls compute alike, for one split.

Nothing that is fitted here depends on select labels: probes and detectors are fitted on train rows, select labels
only choose among them. So the same search with permuted select labels reuses every fit.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from interp.analysis.logistic import balanced_weights, coefficient_path, fit_logistic
from interp.analysis.ranking import probe_scores, standardised
from interp.analysis.strength import CLOSE, STRENGTHS, mean_auc
from interp.encoders.layout import HeadLayout
from interp.errors import InputError, unknown_name

AGGREGATES = ("concat", "sum", "vote")
NUMBERS = (1, 2, 4, 8, 16, 32, 64, 128, "all")
"""How many heads may be kept."""


@dataclass(frozen=True)
class FoundHeads:
    """What a search found.

    Attributes:
        heads: numbers of the heads kept, best first.
        C: strength of the detector on them; NaN for a vote, which has none.
        select_auc: its AUC on select rows.
        path: a row for each number of heads and strength: k, C, select_auc.
        scores: (rows,) float64, its scores of the rows the search was given.
    """

    heads: tuple[int, ...]
    C: float
    select_auc: float
    path: pd.DataFrame
    scores: np.ndarray


class HeadSearch:
    """Probes and detectors of one split, and the choice among them by select labels.

    Args:
        X: (n, l·h·d) head features of the rows that follow; columns as in `layout`.
        y: (n,), 1 fake, 0 photograph.
        layout: which columns are which head's.
        train, select: positions to fit on, and to choose by.
        rows: positions to score with what was chosen; by default the select rows.
        generator: (n,) names; select AUC is then the mean over select generators.
        aggregate: "concat" puts the heads' columns side by side, "sum" adds their embeddings, "vote" takes the
            mean of their calibrated log-odds.
        fold: (l, h, d, P), from head features to head embeddings; for "sum".
        strengths: C values to choose from, ascending.

    Raises:
        InputError: an unknown aggregate, "sum" without fold, or X that does not fit the layout.
    """

    def __init__(
        self,
        X: np.ndarray,
        y: np.ndarray,
        layout: HeadLayout,
        train: np.ndarray,
        select: np.ndarray,
        *,
        rows: np.ndarray | None = None,
        generator: np.ndarray | None = None,
        aggregate: str = "concat",
        fold: np.ndarray | None = None,
        strengths: Sequence[float] = STRENGTHS,
    ):
        if aggregate not in AGGREGATES:
            raise unknown_name("aggregate", aggregate, AGGREGATES)
        if aggregate == "sum" and fold is None:
            raise InputError(
                "aggregate='sum' adds head embeddings; pass fold=store.readout.folded, (l, h, d, P)"
            )
        if X.ndim != 2 or X.shape[1] != layout.size:
            raise InputError(f"X must be (n, {layout.size}) for {layout}; given {X.shape}")
        self.layout, self.aggregate, self.strengths = layout, aggregate, np.sort(np.asarray(strengths, float))
        self.y_train, self.select_y = y[train], y[select]
        self.names = None if generator is None else generator[select]
        self.n_select = len(select)
        scored = np.concatenate([select, select if rows is None else rows])
        self.fold = None
        if fold is not None and aggregate == "sum":
            self.fold = np.asarray(fold, float).reshape(layout.n_heads, layout.width, -1)
        self.X_train, self.X_scored = X[train], X[scored]
        if self.fold is None:  # columns side by side are standardised once, a sum of heads each time
            self.X_train, self.X_scored = standardised(self.X_train, self.X_scored)
        self.probes = probe_scores(X, y, layout, train, scored)
        self._fits: dict[tuple[int, ...], np.ndarray] = {}

    def ranking(self, select_y: np.ndarray | None = None) -> np.ndarray:
        """Numbers of all heads, best first, by the select AUC of each one's probe."""
        labels = self.select_y if select_y is None else select_y
        return np.argsort(-mean_auc(labels, self.probes[: self.n_select], self.names), kind="stable")

    def search(
        self, numbers: Sequence[int | str] | int = NUMBERS, select_y: np.ndarray | None = None
    ) -> FoundHeads:
        """Rank heads, then choose how many to keep, and the strength, by select AUC.

        Ties go to fewer heads, then to the stronger penalty.

        Args:
            numbers: how many heads may be kept; "all" stands for every head.
            select_y: (m,) labels of the select rows in place of the true ones.
        """
        order = self.ranking(select_y)
        given = [numbers] if isinstance(numbers, int | str) else list(numbers)
        counts = sorted(
            {self.layout.n_heads if k == "all" else min(int(k), self.layout.n_heads) for k in given}
        )
        if counts[0] < 1:
            raise InputError(f"the number of heads to keep must be at least 1; given {given}")
        found = [self.evaluate(order[:k], select_y) for k in counts]
        best = max(range(len(found)), key=lambda i: (found[i].select_auc, -i))
        path = pd.concat([one.path for one in found], ignore_index=True)
        return FoundHeads(found[best].heads, found[best].C, found[best].select_auc, path, found[best].scores)

    def evaluate(self, heads: Sequence[int] | np.ndarray, select_y: np.ndarray | None = None) -> FoundHeads:
        """The detector on the given heads, its strength chosen by select AUC."""
        numbers = tuple(int(head) for head in heads)
        labels = self.select_y if select_y is None else select_y
        scores = self._vote(numbers, labels) if self.aggregate == "vote" else self._path(numbers)
        aucs = mean_auc(labels, scores[: self.n_select], self.names)
        best = int(np.argmax(aucs))
        strengths = [float("nan")] if self.aggregate == "vote" else self.strengths.tolist()
        path = pd.DataFrame({"k": len(numbers), "C": strengths, "select_auc": aucs})
        return FoundHeads(numbers, strengths[best], float(aucs[best]), path, scores[self.n_select :, best])

    def calibration(self, heads: Sequence[int], select_y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Platt's slope and offset of each head's probe on the select rows, (k,) and (k,).

        A head whose slope there is negative has no vote: calibration may weaken a probe, not turn it round.
        """
        logits = self.probes[: self.n_select, list(heads)].T[:, :, None]
        slope, offset = fit_logistic(logits, select_y, 1.0, balanced_weights(select_y))
        voting = slope[:, 0] > 0
        return np.where(voting, slope[:, 0], 0.0), np.where(voting, offset, 0.0)

    def _vote(self, heads: tuple[int, ...], select_y: np.ndarray) -> np.ndarray:
        slope, offset = self.calibration(heads, select_y)
        return (self.probes[:, heads] * slope + offset).mean(1, keepdims=True)

    def _path(self, heads: tuple[int, ...]) -> np.ndarray:
        """Scores (rows, strengths) of detectors on the heads' columns; the order of the heads does not matter."""
        key = tuple(sorted(heads))
        if key not in self._fits:
            train, scored = (
                gather(part, key, self.layout, self.fold) for part in (self.X_train, self.X_scored)
            )
            if self.fold is not None:
                train, scored = standardised(train, scored)
            weights = balanced_weights(self.y_train)
            coef, intercept = coefficient_path(train, self.y_train, self.strengths, weights, tol=CLOSE)
            self._fits[key] = scored @ coef[:, 0].T + intercept[:, 0]
        return self._fits[key]


def gather(
    X: np.ndarray, heads: Sequence[int], layout: HeadLayout, fold: np.ndarray | None = None
) -> np.ndarray:
    """Columns of some heads side by side, (n, k·d), or with `fold` (l·h, d, P) the sum of their embeddings, (n, P).

    >>> X, layout = np.array([[1.0, 2, 3, 4, 5, 6]]), HeadLayout(1, 3, 2)
    >>> gather(X, [2, 0], layout)
    array([[5., 6., 1., 2.]])
    >>> fold = np.arange(12.0).reshape(3, 2, 2)
    >>> bool((gather(X, [2, 0], layout, fold) == X[:, 4:] @ fold[2] + X[:, :2] @ fold[0]).all())
    True
    """
    kept = X.reshape(len(X), layout.n_heads, layout.width)[:, list(heads)].reshape(len(X), -1)
    return kept if fold is None else kept @ fold[list(heads)].reshape(kept.shape[1], -1)
