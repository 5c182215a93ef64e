"""Remove the coordinates of an embedding that serve select generators worst: a scikit-learn transformer."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator
from sklearn.feature_selection import SelectorMixin
from sklearn.utils.validation import check_is_fitted, validate_data

from interp.analysis.choosing import ChoosesOnSelectRows
from interp.analysis.elimination import greedy_elimination
from interp.analysis.ranking import standardised
from interp.analysis.strength import mean_auc
from interp.protocol.metrics import delong

RIDGES = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0)
"""Ridge penalties to choose from, times the number of train rows."""


class CoordinateRemoval(ChoosesOnSelectRows, SelectorMixin, BaseEstimator):
    """Greedy backward elimination of coordinates by their harm on select rows.

    "Selected coordinates" of Kuznetsov et al. 2024 (arXiv 2410.08113) and Gaintseva et al. 2024 (arXiv 2406.15035),
    with a ridge-penalised linear discriminant as the surrogate that rank-one down-dates make exact and quick
    (`greedy_elimination`), and with the one-standard-error rule (Breiman et al. 1984) in place of the best prefix:
    of all prefixes of the removal, the shortest whose select score is within one standard error, paired over select
    rows, of the best one's.

    Args:
        criterion: what removal is judged by on select rows: "log_loss", "squared_error" or "auc".
        max_removed: coordinates that may be removed at most; by default all but one.
        ridges: penalties to choose from by select AUC before anything is removed, times the number of train rows.
        random_state: seed of the draw among equally good candidates, and of the two divisions below.
        select_generators: names of the generators that select, where `fit` gets generator= and no part=; the
            photographs are divided in the proportion of the fakes (`interp.protocol.select_rows.parts_of`).
        select_share: share of the rows that select, at random, where nothing else says which do. Such a removal
            sees no unseen generator: it is a control. None refuses it.

    Attributes:
        removed_: coordinates removed, in order; kept_: the others, ascending.
        ridge_: the penalty chosen.

    >>> rng = np.random.default_rng(0)
    >>> y, part = np.arange(400) % 2, np.repeat(["train", "select"], 200)
    >>> X = rng.normal(size=(400, 5))
    >>> X[:, 1] += 2 * y
    >>> X[:200, 3] += 3 * y[:200]                          # misleads: says nothing in the select rows
    >>> removal = CoordinateRemoval().fit(X, y, part=part)
    >>> int(removal.removed_[0]), removal.transform(X).shape[1] == len(removal.kept_)
    (3, True)
    """

    def __init__(
        self,
        criterion: str = "log_loss",
        max_removed: int | None = None,
        ridges: Sequence[float] = RIDGES,
        random_state: int = 0,
        select_generators: Sequence[str] | str | None = None,
        select_share: float | None = None,
    ):
        self.criterion = criterion
        self.max_removed = max_removed
        self.ridges = ridges
        self.random_state = random_state
        self.select_generators = select_generators
        self.select_share = select_share

    def fit(
        self,
        X: ArrayLike,
        y: ArrayLike,
        part: ArrayLike | None = None,
        generator: ArrayLike | None = None,
        groups: ArrayLike | None = None,
    ) -> CoordinateRemoval:
        """Search for what to remove.

        Args:
            X: (n, p), an array or a frame.
            y: (n,), 1 fake, 0 photograph, or any two labels (`interp.protocol.select_rows.two_classes`).
            part: (n,), "train" for rows the surrogate is fitted on, "select" for rows that judge it.
            generator: (n,) names; every select generator then weighs the same.
            groups: (n,) names of rows that stay together where they are divided here.

        Raises:
            InputError: nothing says who selects, a part without both classes, or an unknown criterion.
        """
        values, given = validate_data(self, X, y, dtype=np.float64)
        labels, train, select = self._rows(given, part, generator, groups)
        names = None if generator is None else np.asarray(generator)[select]
        columns, judged = standardised(values[train], values[select])
        weight = generator_weights(labels[select], names)
        self.ridge_ = choose_ridge(columns, labels[train], judged, labels[select], weight, self.ridges)
        most = values.shape[1] - 1 if self.max_removed is None else min(self.max_removed, values.shape[1] - 1)
        found = greedy_elimination(
            columns,
            labels[train],
            judged,
            labels[select],
            ridge=self.ridge_,
            score=self.criterion,
            select_weight=weight,
            n_steps=most,
            random_state=self.random_state,
        )
        order, scores, logits = found.order[0].numpy(), found.score[0].numpy(), found.logits[0].numpy()
        chosen = one_standard_error(scores, logits, labels[select], weight, self.criterion)
        self.removed_ = order[:chosen]
        self.kept_ = np.setdiff1d(np.arange(values.shape[1]), self.removed_)
        self._curve = {  # plain, so that skops keeps it
            "removed": list(range(len(scores))),
            "coordinate": [None, *order.tolist()],
            "select_score": scores.tolist(),
            "select_auc": mean_auc(labels[select], logits.T, names).tolist(),
        }
        return self

    def pull_back(self, coef: np.ndarray, intercept: float) -> tuple[np.ndarray, float]:
        """Weights on X, (p,), and intercept that score as `coef` and `intercept` do on the columns kept."""
        check_is_fitted(self)
        weights = np.zeros(self.n_features_in_)
        weights[self.kept_] = coef
        return weights, intercept

    @property
    def curve_(self) -> pd.DataFrame:
        """A row for each number removed: removed, coordinate (the last one removed), select_score, select_auc."""
        return pd.DataFrame(self._curve).astype({"coordinate": "Int64"})

    def _get_support_mask(self) -> np.ndarray:
        check_is_fitted(self)
        return np.isin(np.arange(self.n_features_in_), self.kept_)


def generator_weights(y: np.ndarray, generator: np.ndarray | None = None) -> np.ndarray:
    """Row weights: photographs and fakes half each, and of the fakes' half every generator the same, (n,).

    >>> generator_weights(np.array([0, 0, 1, 1, 1]), np.array(["real", "real", "a", "a", "b"]))
    array([0.25 , 0.25 , 0.125, 0.125, 0.25 ])
    """
    fake = y == 1
    names = np.where(fake, "" if generator is None else generator, "(photographs)")
    counts = pd.Series(names).groupby(names).transform("size").to_numpy()
    many = len(np.unique(names[fake]))
    return np.where(fake, 0.5 / many, 0.5) / counts


def choose_ridge(
    train_X: np.ndarray,
    train_y: np.ndarray,
    select_X: np.ndarray,
    select_y: np.ndarray,
    weight: np.ndarray,
    ridges: Sequence[float] = RIDGES,
) -> float:
    """The ridge with the highest select AUC before anything is removed; of equal ones the largest."""
    found = {}
    for ridge in sorted(ridges):
        start = greedy_elimination(
            train_X,
            train_y,
            select_X,
            select_y,
            ridge=ridge * len(train_y),
            score="auc",
            select_weight=weight,
            n_steps=0,
        )
        found[ridge * len(train_y)] = float(start.score[0, 0])
    return max(found, key=lambda ridge: (found[ridge], ridge))


def one_standard_error(
    scores: np.ndarray, logits: np.ndarray, y: np.ndarray, weight: np.ndarray, score: str = "log_loss"
) -> int:
    """How many to remove: the fewest within one standard error of the best.

    The standard error is that of the difference to the best prefix, paired over select rows.

    Args:
        scores: (steps + 1,), select score of every prefix, higher is better.
        logits: (steps + 1, m), log-odds of the select rows.
        y: (m,), 1 fake, 0 photograph.
        weight: (m,), of the select rows.
        score: which score it is.
    """
    best = int(np.argmax(scores))
    if score == "auc":
        found = [delong(y, logits[best], logits[step]) for step in range(best)]
        near = [pair.difference <= pair.se for pair in found]
    else:
        signed = (2 * y - 1) * logits[: best + 1]
        losses = np.logaddexp(0, -signed) if score == "log_loss" else (1 - signed) ** 2
        difference = losses - losses[best]
        share = weight / weight.sum()
        mean = difference @ share
        error = np.sqrt(((difference - mean[:, None]) ** 2) @ share**2)
        near = list(mean <= error)
    return next((step for step, close in enumerate(near) if close), best)
