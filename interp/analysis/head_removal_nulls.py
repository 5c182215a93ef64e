"""What a removal of heads gains by chance: random heads, and heads found by permuted select labels.

Each null removes by its own rule; the detector is then fitted anew and its strength chosen on the true select labels,
as for the removal itself.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from interp.analysis.head_removal import HeadRemoval
from interp.analysis.ranking import standardised
from interp.analysis.strength import choose_strength


@dataclass(frozen=True)
class HeadRemovalNulls:
    """A fitted removal, and the rows of its split.

    Attributes:
        removal: fitted on the train and select rows.
        X: (n, P + l·h·d), y: (n,), as in `HeadRemoval.fit`.
        train, select, rows: positions to fit on, to choose by, and to score.
        generator: (n,) names, or None.
    """

    removal: HeadRemoval
    X: np.ndarray
    y: np.ndarray
    train: np.ndarray
    select: np.ndarray
    rows: np.ndarray
    generator: np.ndarray | None = None

    def random_heads(self, draws: int, seed: np.random.SeedSequence) -> np.ndarray:
        """Scores (draws, k) after removing random heads, as many as the removal did."""
        chosen = random_head_sets(self.removal.layout_.names, len(self.removal.removed_), draws, seed)
        return np.stack([self.scores(heads) for heads in chosen])

    def permuted_removal(self, draws: int, seed: np.random.SeedSequence) -> np.ndarray:
        """Scores (draws, k) after the same search with select labels (and generators) permuted."""
        rng = np.random.default_rng(seed)
        search = self.removal.search(self.X, self.y, self.train, self.select, self.generator)
        names, found = self.removal.layout_.names, []
        for _ in range(draws):
            one = search.search(self.removal.max_removed, rng.permutation(len(self.select)))
            found.append(self.scores(names[head] for head in one.order[: one.chosen]))
        return np.stack(found)

    def scores(self, heads: Iterable[str]) -> np.ndarray:
        """Scores (k,) of a detector fitted without some heads."""
        cut = self.removal.without(heads)
        parts = (cut.transform(self.X[rows]) for rows in (self.train, self.select, self.rows))
        train, select, rows = standardised(*parts)
        names = None if self.generator is None else self.generator[self.select]
        choice = choose_strength(
            train,
            self.y[self.train],
            select,
            self.y[self.select],
            generator=names,
        )
        return rows @ choice.coef + choice.intercept


def random_head_sets(
    names: Iterable[str], k: int, draws: int, seed: np.random.SeedSequence | int
) -> list[list[str]]:
    """Random sets of k heads each.

    >>> random_head_sets(["L0.H0", "L0.H1", "L1.H0"], 2, 1, 0)
    [['L0.H1', 'L1.H0']]
    """
    rng, pool = np.random.default_rng(seed), list(names)
    return [[pool[i] for i in rng.choice(len(pool), size=k, replace=False)] for _ in range(draws)]
