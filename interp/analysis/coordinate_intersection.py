"""Remove the coordinates that harm transfer in both directions: the intersection rule of published removal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator
from sklearn.feature_selection import SelectorMixin
from sklearn.linear_model import LogisticRegression
from sklearn.utils.validation import check_is_fitted, validate_data

from interp.analysis.choosing import ChoosesOnSelectRows
from interp.analysis.coordinate_removal import CoordinateRemoval
from interp.errors import unknown_name


class CoordinateIntersection(ChoosesOnSelectRows, SelectorMixin, BaseEstimator):
    """Coordinates that `CoordinateRemoval` removes from train to select and from select to train.

    Kuznetsov et al. 2024 (arXiv 2410.08113), whose vocabulary Gaintseva et al. 2024 (arXiv 2406.15035) share: the
    search is run from domain A to domain B and back, and only what both runs remove is removed. Both parts fit, both
    judge, so both belong to what was seen: judge the outcome on other generators.

    Args:
        as_published: "paper" searches by `CoordinateRemoval` (log-loss, ties at random, the fewest removed within one
            standard error). "code" does what the public code does: logistic regression with intercept and C = 1 fitted
            anew for every candidate, accuracy, ties to the highest index, the best prefix of a removal of all but one
            coordinate. That takes p² / 2 fits: about half a minute for 32 coordinates, hours for 768.
        rule: "intersection", "union" (removed in either direction) or "forward" (train to select alone).
        random_state: seed of ties, and of the divisions below.
        select_generators, select_share: as in `CoordinateRemoval`.

    Attributes:
        directions_: what each direction removed, in order: forward, then backward.
        removed_: coordinates removed, ascending; kept_: the others. Where all would go, none is removed.

    >>> rng = np.random.default_rng(0)
    >>> y, part = np.arange(400) % 2, np.repeat(["train", "select"], 200)
    >>> X = rng.normal(size=(400, 5))
    >>> X[:, 1] += 2 * y
    >>> X[:, 3] += 3 * y * np.where(part == "train", 1, -1)          # misleads in both directions
    >>> CoordinateIntersection().fit(X, y, part=part).removed_.tolist()
    [3]
    """

    def __init__(
        self,
        as_published: str = "paper",
        rule: str = "intersection",
        random_state: int = 0,
        select_generators: Sequence[str] | str | None = None,
        select_share: float | None = None,
    ):
        self.as_published, self.rule, self.random_state = as_published, rule, random_state
        self.select_generators, self.select_share = select_generators, select_share

    def fit(
        self,
        X: ArrayLike,
        y: ArrayLike,
        part: ArrayLike | None = None,
        generator: ArrayLike | None = None,
        groups: ArrayLike | None = None,
    ) -> CoordinateIntersection:
        """Search in both directions; arguments and errors as those of `CoordinateRemoval.fit`."""
        for kind, given, known in (
            ("as_published", self.as_published, ("code", "paper")),
            ("rule", self.rule, ("intersection", "union", "forward")),
        ):
            if given not in known:
                raise unknown_name(kind, given, known)
        values, given = validate_data(self, X, y, dtype=np.float64)
        labels, train, select = self._rows(given, part, generator, groups)
        ways = [(train, select)] if self.rule == "forward" else [(train, select), (select, train)]
        self.directions_ = [self._one_way(values, labels, *way, generator) for way in ways]
        removed = set(self.directions_[0].tolist())
        for other in self.directions_[1:]:
            removed = removed | set(other.tolist()) if self.rule == "union" else removed & set(other.tolist())
        self.removed_ = np.array(sorted(removed) if len(removed) < values.shape[1] else [], dtype=np.int64)
        self.kept_ = np.setdiff1d(np.arange(values.shape[1]), self.removed_)
        return self

    def pull_back(self, coef: np.ndarray, intercept: float) -> tuple[np.ndarray, float]:
        """Weights on X, (p,), and intercept that score as `coef` and `intercept` do on the columns kept."""
        check_is_fitted(self)
        weights = np.zeros(self.n_features_in_)
        weights[self.kept_] = coef
        return weights, intercept

    def _one_way(
        self, X: np.ndarray, y: np.ndarray, fits: np.ndarray, judges: np.ndarray, generator: Any
    ) -> np.ndarray:
        if self.as_published == "code":
            return exhaustive_elimination(X[fits], y[fits], X[judges], y[judges])
        rows = np.concatenate([fits, judges])
        part = np.repeat(["train", "select"], [len(fits), len(judges)])
        names = None if generator is None else np.asarray(generator)[rows]
        removal = CoordinateRemoval(random_state=self.random_state)
        return removal.fit(X[rows], y[rows], part=part, generator=names).removed_

    def _get_support_mask(self) -> np.ndarray:
        check_is_fitted(self)
        return np.isin(np.arange(self.n_features_in_), self.kept_)


def exhaustive_elimination(
    train_X: np.ndarray, train_y: np.ndarray, other_X: np.ndarray, other_y: np.ndarray
) -> np.ndarray:
    """Greedy backward elimination by accuracy, every candidate fitted anew, as the public code does it.

    Args:
        train_X, train_y: (n, p) and (n,), what logistic regression (C = 1, intercept) is fitted on.
        other_X, other_y: (m, p) and (m,), what it is judged on.

    Returns:
        (k,) int64, the coordinates removed, in order: the prefix with the highest accuracy, the first of equal ones.
    """
    left, order, best = list(range(train_X.shape[1])), [], []
    while len(left) > 1:
        scores = []
        for candidate in left:
            kept = [j for j in left if j != candidate]
            model = LogisticRegression(max_iter=1000).fit(train_X[:, kept], train_y)
            scores.append(model.score(other_X[:, kept], other_y))
        worst = max(range(len(left)), key=lambda i: (scores[i], i))  # a later equal score takes its place
        order.append(left.pop(worst))
        best.append(scores[worst])
    return np.array(order[: int(np.argmax(best)) + 1] if best else [], dtype=np.int64)
