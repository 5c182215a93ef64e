"""From the scores of an image's views to one score for the image."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd

from interp.errors import unknown_name
from interp.images.views import VIEW, VIEW_OF
from interp.protocol.roles import Split

POOLS = ("mean", "max")


class ViewPool:
    """Pool scores over the views of each image; where rows are whole images, everything passes through.

    Args:
        rows: of a store; one of views has the columns `view_of` and `view`.
        how: "mean" of the views' scores, or "max", for which one suspicious view is enough.

    Raises:
        InputError: another way.

    >>> rows = pd.DataFrame({"view_of": ["a", "a", "b", "b"], "view": [0, 1, 0, 1]})
    >>> ViewPool(rows, "max")(np.array([0, 1, 2, 3]), np.array([1.0, 5.0, 2.0, 0.0]))
    array([5., 2.])
    """

    def __init__(self, rows: pd.DataFrame, how: str = "mean"):
        if how not in POOLS:
            raise unknown_name("pool", how, POOLS)
        self.how = how
        self._first = np.arange(len(rows))
        if VIEW in rows.columns and VIEW_OF in rows.columns:
            first = rows.assign(at=self._first).groupby(VIEW_OF, sort=False)["at"].transform("min")
            self._first = first.to_numpy()

    @property
    def pools(self) -> bool:
        """Whether some image has several rows."""
        return bool((self._first != np.arange(len(self._first))).any())

    def images(self, positions: np.ndarray) -> np.ndarray:
        """Of each image among the positions, its first row; sorted."""
        return np.unique(self._first[positions])

    def __call__(self, positions: np.ndarray, scores: np.ndarray) -> np.ndarray:
        """Scores (k, …) of rows as scores (images, …), in the order of `images`."""
        if not self.pools:
            return scores
        at = np.unique(self._first[positions], return_inverse=True)[1]
        order = np.argsort(at, kind="stable")
        starts = np.flatnonzero(np.diff(at[order], prepend=-1))
        if self.how == "max":
            return np.maximum.reduceat(scores[order], starts)
        count = np.diff(np.append(starts, len(order))).reshape(-1, *[1] * (scores.ndim - 1))
        return np.add.reduceat(scores[order], starts) / count

    def judged(self, split: Split) -> Split:
        """The split with one row for each image in what is reported; what fits and chooses keeps every view."""
        if not self.pools:
            return split
        return replace(
            split, test=self.images(split.test), in_distribution=self.images(split.in_distribution)
        )
