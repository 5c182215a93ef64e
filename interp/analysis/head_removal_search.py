"""Search for the heads whose removal serves select generators: greedy, from stored contributions, for one split.

A linear detector of the embedding is fitted on train rows. Its score is a sum over heads, so the score without a head
is the score minus that head's share: one matrix (rows, heads) weighs every candidate of a step at once, exactly.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from interp.analysis.coordinate_removal import generator_weights, one_standard_error
from interp.analysis.direct_effect import head_scores
from interp.analysis.head_search import gather
from interp.analysis.logistic import balanced_weights, fit_logistic
from interp.analysis.ranking import standardised
from interp.analysis.strength import STRENGTHS, choose_strength, mean_auc
from interp.encoders.layout import HeadLayout
from interp.errors import unknown_name

CRITERIA = ("log_loss", "auc")
TINY = 1e-12


@dataclass(frozen=True)
class FoundRemoval:
    """The whole way down; entry 0 of a curve is nothing removed.

    Attributes:
        order: numbers of the heads in the order of their removal.
        scores: (steps + 1,) select score, higher is better (losses are negated).
        aucs: (steps + 1,) AUC on select rows, mean over their generators.
        chosen: how many to remove, by the one-standard-error rule.
    """

    order: list[int]
    scores: np.ndarray
    aucs: np.ndarray
    chosen: int


class HeadRemovalSearch:
    """The detector of one split, and what every head adds to it.

    Args:
        embedding: (n, P). heads: (n, l·h·d) head features.
        y: (n,), 1 fake, 0 photograph.
        layout, fold: which columns are which head's; (l, h, d, P) into the embedding.
        train, select: positions to fit on, and to choose by.
        generator: (n,) names; every select generator then weighs the same.
        criterion: "log_loss" or "auc" on select rows.
        donors: (draws, select rows) positions of the rows whose heads take the place of those removed, or None.
        refit: fit the detector anew after every removal, with the strength chosen at first.
        strengths: C values to choose from, ascending, by select AUC before anything is removed.
        random_state: seed of the draw among equally good candidates.
    """

    def __init__(
        self,
        embedding: np.ndarray,
        heads: np.ndarray,
        y: np.ndarray,
        layout: HeadLayout,
        fold: np.ndarray,
        train: np.ndarray,
        select: np.ndarray,
        *,
        generator: np.ndarray | None = None,
        criterion: str = "log_loss",
        donors: np.ndarray | None = None,
        refit: bool = False,
        strengths: Sequence[float] = STRENGTHS,
        random_state: int = 0,
    ):
        if criterion not in CRITERIA:
            raise unknown_name("criterion", criterion, CRITERIA)
        self.embedding, self.heads, self.y = embedding, heads, y
        self.layout, self.fold = layout, np.asarray(fold, float).reshape(layout.n_heads, layout.width, -1)
        self.train, self.select, self.donors = train, select, donors
        self.names = None if generator is None else generator[select]
        self.criterion, self.refit, self.random_state = criterion, refit, random_state
        columns = standardised(embedding[train], embedding[select])
        labels = (y[train], y[select])
        choice = choose_strength(
            columns[0], labels[0], columns[1], labels[1], generator=self.names, strengths=strengths
        )
        self.C = choice.C
        scale = embedding[train].astype(np.float64).std(0)
        scale[scale == 0] = np.inf
        self.coef = choice.coef / scale

    def search(self, most: int | None = None, order: np.ndarray | None = None) -> FoundRemoval:
        """Remove heads one by one, each time the one whose removal serves the select rows best.

        Args:
            most: heads that may be removed at most; by default all but one.
            order: (m,) a permutation of the select rows that their labels and generators are dealt by, for nulls.
        """
        y, names = self.y[self.select], self.names
        if order is not None:
            y, names = y[order], None if names is None else names[order]
        weight = generator_weights(y, names)
        rng = np.random.default_rng(self.random_state)
        left = list(range(self.layout.n_heads))
        removed: list[int] = []
        scores, change = self._scores(self.coef, removed)
        path = [scores]
        for _ in range(min(len(left) - 1 if most is None else most, len(left) - 1)):
            tried = scores[..., None] + change[:, :, left]
            found = self._judge(tried, y, names, weight)
            best = left[int(rng.choice(np.flatnonzero(found == found.max())))]
            left.remove(best)
            removed.append(best)
            scores = scores + change[:, :, best]
            if self.refit:
                scores, change = self._scores(self._fitted_without(removed), removed)
            path.append(scores)
        curve = np.array([self._judge(step[..., None], y, names, weight)[0] for step in path])
        logits = np.stack([self._typical_logits(step, y, weight) for step in path])
        chosen = one_standard_error(curve, logits, y, weight, self.criterion)
        aucs = np.array([np.mean(mean_auc(y, step.T, names)) for step in path])
        return FoundRemoval(removed, curve, aucs, chosen)

    def _scores(self, coef: np.ndarray, removed: list[int]) -> tuple[np.ndarray, np.ndarray]:
        """Scores (draws, m) without some heads, and (draws, m, heads) by what the removal of each changes them."""
        shares = head_scores(self.heads[self.select], self.layout, self.fold, coef)
        change = -shares[None]
        if self.donors is not None:
            change = change + head_scores(self.heads, self.layout, self.fold, coef)[self.donors]
        scores = (self.embedding[self.select] @ coef)[None] + change[:, :, removed].sum(2)
        return scores, change

    def _fitted_without(self, removed: list[int]) -> np.ndarray:
        """Weights of a detector fitted on the train rows' embedding without some heads."""
        rest = self.embedding[self.train] - gather(self.heads[self.train], removed, self.layout, self.fold)
        (columns,) = standardised(rest)
        y = self.y[self.train]
        coef, _ = fit_logistic(columns, y, self.C, balanced_weights(y))
        scale = rest.std(0)
        scale[scale == 0] = np.inf
        return coef[0] / scale

    def _judge(
        self, scores: np.ndarray, y: np.ndarray, names: np.ndarray | None, weight: np.ndarray
    ) -> np.ndarray:
        """(c,) select scores of c candidates from their scores (draws, m, c), mean over draws."""
        if self.criterion == "auc":
            return np.mean([mean_auc(y, draw, names) for draw in scores], axis=0)
        sign, share = (2 * y - 1)[:, None], weight / weight.sum()
        return -np.mean([share @ np.logaddexp(0, -sign * log_odds(d, y, weight)) for d in scores], axis=0)

    def _typical_logits(self, scores: np.ndarray, y: np.ndarray, weight: np.ndarray) -> np.ndarray:
        """(m,) log-odds whose losses are the means over draws of those of the scores (draws, m)."""
        if self.criterion == "auc":
            return scores.mean(0)
        sign = 2 * y - 1
        loss = np.mean([np.logaddexp(0, -sign * log_odds(d[:, None], y, weight)[:, 0]) for d in scores], 0)
        return -sign * np.log(np.expm1(np.maximum(loss, TINY)))


def log_odds(scores: np.ndarray, y: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Score columns (m, c) as log-odds under equal classes, by linear discriminant analysis of these very rows.

    A fixed detector is too sure of itself on unseen generators: without this, whatever shrinks or shifts its scores
    would seem to help. A column that ranks fakes below photographs says nothing: it is not turned round.

    Args:
        scores: (m, c).
        y: (m,), 1 fake, 0 photograph.
        weight: (m,) weights of the rows.

    >>> log_odds(np.array([[-3.0], [-1], [1], [3]]), np.array([0, 0, 1, 1]), np.ones(4))[:, 0]
    array([-12.,  -4.,   4.,  12.])
    """
    fake = y == 1
    means, spread = [], np.zeros(scores.shape[1])
    for rows in (~fake, fake):
        share = weight[rows] / weight[rows].sum()
        means.append(share @ scores[rows])
        spread += share @ (scores[rows] - means[-1]) ** 2 / 2
    slope = np.maximum(means[1] - means[0], 0) / np.maximum(spread, TINY)
    return slope * (scores - (means[0] + means[1]) / 2)
