"""What erasing shortcuts gains by chance: as many random directions, and candidates of shuffled statistics.

After each null the detector is fitted anew and its strength chosen on select rows, as for the removal itself.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from interp.analysis.nuisances import shuffled_within
from interp.analysis.ranking import standardised
from interp.analysis.shortcut_removal import ShortcutRemoval
from interp.analysis.shortcut_search import ShortcutSearch
from interp.analysis.strength import choose_strength


class ShortcutNulls:
    """The nulls of a fitted removal on one split.

    Args:
        removal: fitted on these train and select rows.
        X, y: (n, p) features and (n,) labels, 1 fake and 0 photograph.
        train, select, rows: positions; `rows` are scored.
        generator: (n,) names.
        statistics: (n, k), as `removal` was given.
    """

    def __init__(
        self,
        removal: ShortcutRemoval,
        X: np.ndarray,
        y: np.ndarray,
        train: np.ndarray,
        select: np.ndarray,
        rows: np.ndarray,
        generator: np.ndarray,
        statistics: pd.DataFrame,
    ):
        self._y, self._names = (y[train], y[select]), generator[select]
        self._columns = standardised(X[train], X[select], X[rows])
        measured = statistics.to_numpy(np.float64)
        known = np.isfinite(measured).all(1)
        kept = [one[known[one]] for one in (train, select)]
        self._search = ShortcutSearch.of(X, y, kept[0], kept[1], measured, generator)
        self._members = removal.members_
        self._rank, self._many = int(removal.rank_[0]), len(removal.removed_)

    def random_directions(self, draws: int, seed: np.random.SeedSequence) -> np.ndarray:
        """Scores (draws, rows) after erasing random directions, as many as the removal did.

        They are drawn with the covariance that the embedding has among photographs and among fakes.
        """
        rng = np.random.default_rng(seed)
        return np.stack([self._scores(self._search.random_directions(self._rank, rng)) for _ in range(draws)])

    def shuffled_statistics(self, draws: int, seed: np.random.SeedSequence) -> np.ndarray:
        """Scores (draws, rows) after erasing as many candidates, the best of statistics shuffled within labels.

        The best is the one whose promise is kept least, as in the removal; here it need not pass any bound.
        """
        rng = np.random.default_rng(seed)
        return np.stack([self._scores(self._shuffled(rng)) for _ in range(draws)])

    def _shuffled(self, rng: np.random.Generator) -> np.ndarray:
        search, members = self._search, dict(self._members)
        order, found = shuffled_within(search.label, rng), []
        for _ in range(self._many):
            drawn = {name: search.directions(columns, order) for name, columns in members.items()}
            worst = max(drawn, key=lambda name: search.promise(drawn[name]).excess)
            found += members.pop(worst)
            search = search.erased(drawn[worst])
        return self._search.erasable(found, order)

    def _scores(self, directions: np.ndarray) -> np.ndarray:
        train, select, rows = (part - part @ directions @ directions.T for part in self._columns)
        choice = choose_strength(train, self._y[0], select, self._y[1], generator=self._names)
        return rows @ choice.coef + choice.intercept
