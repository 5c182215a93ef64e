"""What erasing gains by chance: as many directions go, of a concept whose entries are shuffled over the rows.

After each draw the detector is fitted anew and its strength chosen on select rows, as for the erasure itself.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from sklearn.base import clone

from interp.analysis.erasure import Erasure
from interp.analysis.nuisances import shuffled_within
from interp.analysis.ranking import standardised
from interp.analysis.strength import choose_strength


class ErasureNulls:
    """The null of a fitted eraser on one split.

    Args:
        eraser: fitted on these train and select rows; reads concept=, or the generators' names alone.
        X, y: (n, p) features and (n,) labels, 1 fake and 0 photograph.
        train, select, rows: positions; `rows` are scored.
        generator: (n,) names.
        concept: (n,) as the eraser was given it, or None.
    """

    def __init__(
        self,
        eraser: Erasure,
        X: np.ndarray,
        y: np.ndarray,
        train: np.ndarray,
        select: np.ndarray,
        rows: np.ndarray,
        generator: np.ndarray,
        concept: ArrayLike | None = None,
    ):
        self._eraser, self._X, self._y, self._generator = eraser, X, y, generator
        self._train, self._select, self._rows = train, select, rows
        self._concept = None if concept is None else pd.Series(concept).reset_index(drop=True)  # type: ignore[arg-type]

    def shuffled_concept(self, draws: int, seed: np.random.SeedSequence) -> np.ndarray:
        """Scores (draws, rows) after erasing names or classes shuffled within photographs and within fakes.

        Rows of which the concept is not known keep not knowing it, so that as many classes of as many rows go.
        """
        rng = np.random.default_rng(seed)
        return np.stack([self._scores(rng) for _ in range(draws)])

    def _scores(self, rng: np.random.Generator) -> np.ndarray:
        X, train, select = self._X, self._train, self._select
        fitted = np.union1d(train, select)
        context: dict[str, Any] = {"generator": self._generator[fitted]}
        kind = self._y[fitted]
        if self._concept is None:
            context["generator"] = context["generator"][shuffled_within(kind, rng)]
        else:
            entries = self._concept.iloc[fitted].reset_index(drop=True)
            known = (entries.notna() & (entries.astype(str) != "")).to_numpy(bool)
            context["concept"] = entries.iloc[shuffled_within(2 * kind + known, rng)].reset_index(drop=True)
        eraser = clone(self._eraser).fit(X[fitted], kind, **context)
        parts = [eraser.transform(X[part]) for part in (train, select, self._rows)]
        of_train, of_select, of_rows = standardised(*parts)
        names = self._generator[select]
        choice = choose_strength(of_train, self._y[train], of_select, self._y[select], generator=names)
        return of_rows @ choice.coef + choice.intercept
