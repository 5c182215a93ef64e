"""Erase from features what tells altered from unaltered photographs, or one kind from another: a transformer."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator, OneToOneFeatureMixin, TransformerMixin
from sklearn.utils.validation import check_is_fitted, validate_data

from interp.analysis.leace import Leace
from interp.encoders.layout import HeadLayout
from interp.errors import InputError
from interp.protocol.select_rows import two_classes

MOVED = "moved"
"""Second level of the columns that say how an alteration moves each feature; "side" stands for a division."""


class PlaceboErasure(OneToOneFeatureMixin, TransformerMixin, BaseEstimator):
    """Take placebos out of features: least-squares concept erasure of each in turn, fitted on photographs alone.

    An alteration (photographs through 128 px and back) is the concept that tells X from X + moved; a division
    (animals) is the concept that tells its sides. Each is erased as `Leace` does (Belrose et al. 2023), from what the
    earlier ones left. A linear map of features that have no covariance with a concept has none either, so on the rows
    fitted on no linear detector afterwards answers any of the placebos. Fakes have no say: what is erased is not
    chosen by what it does to detection.

    Args:
        layout: None for all columns as one representation; a `HeadLayout` to erase in each head on its own, where the
            photographs are too few for all columns at once.
        shrinkage: shrink correlations of features, for few rows; see `Leace`.

    Attributes:
        erased_: names of the placebos, in order.
        erasers_: the fitted `Leace` of each.
        n_rows_: photographs fitted on.

    >>> rng = np.random.default_rng(0)
    >>> X, y = rng.normal(size=(300, 4)), np.arange(300) % 2
    >>> moved = pd.DataFrame(rng.normal(size=(300, 4)) + [2, 0, 0, 0])
    >>> moved.columns = pd.MultiIndex.from_product([["blur"], ["moved"], range(4)])
    >>> erasure = PlaceboErasure().fit(X, y, statistics=moved)
    >>> both = [erasure.transform(X + part)[y == 0].mean(0) for part in (0, moved.to_numpy())]
    >>> bool(np.abs(both[1] - both[0]).max() < 1e-9)
    True
    """

    def __init__(self, layout: HeadLayout | None = None, shrinkage: bool = True):
        self.layout = layout
        self.shrinkage = shrinkage

    def fit(
        self,
        X: ArrayLike,
        y: ArrayLike,
        part: ArrayLike | None = None,
        generator: ArrayLike | None = None,
        statistics: pd.DataFrame | None = None,
    ) -> PlaceboErasure:
        """Find what to erase.

        Args:
            X: (n, p).
            y: (n,), 1 fake, 0 photograph, or any two labels.
            part: (n,), "train" and "select" rows are fitted on; by default all.
            generator: (n,) names, "real" for photographs; by default the label says.
            statistics: (n, …) as `interp.evaluation.placebo_arms.placebo_statistics` gives: columns (placebo, "moved",
                number of the feature) or (placebo, "side", 0), NaN where a row is not asked.

        Raises:
            InputError: no statistics, of other rows, or a placebo without photographs to fit on.
        """
        values, given = validate_data(self, X, y, dtype=np.float64)
        if statistics is None or len(statistics) != len(values) or statistics.columns.nlevels != 3:
            raise InputError(
                "PlaceboErasure.fit needs statistics=, what each placebo says of each row of X: pass "
                "placebo_statistics(store, placebos, features)"
            )
        kept = two_classes("PlaceboErasure", given, generator)[1] == 0
        if part is not None:
            kept &= np.isin(np.asarray(part).astype(str), ["train", "select"])
        self.erased_, self.erasers_, self.n_rows_ = [], [], int(kept.sum())
        for name in dict.fromkeys(statistics.columns.get_level_values(0)):
            rows, concept = _asked(values[kept], statistics[name].to_numpy(np.float64)[kept], str(name))
            for eraser in self.erasers_:
                rows = eraser.transform(rows)
            eraser = Leace(layout=self.layout, shrinkage=self.shrinkage).fit(rows, concept=concept)
            self.erasers_.append(eraser)
            self.erased_.append(str(name))
        return self

    def transform(self, X: ArrayLike) -> np.ndarray:
        """Features without the placebos, (n, p)."""
        check_is_fitted(self, "erasers_")
        values = validate_data(self, X, dtype=np.float64, reset=False)
        for eraser in self.erasers_:
            values = eraser.transform(values)
        return values

    def pull_back(self, coef: np.ndarray, intercept: float) -> tuple[np.ndarray, float]:
        """Weights on X, (p,), and intercept that score as `coef` and `intercept` do on the erased features."""
        check_is_fitted(self, "erasers_")
        for eraser in reversed(self.erasers_):
            coef, intercept = eraser.pull_back(coef, intercept)
        return coef, intercept


def _asked(values: np.ndarray, said: np.ndarray, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Rows to fit on and which side each is on: a division's photographs, or both versions of altered ones."""
    known = np.isfinite(said).all(axis=1)
    rows = values[known]
    if said.shape[1] == values.shape[1] and said.shape[1] > 1:
        rows = np.concatenate([rows, rows + said[known]])
        side = np.repeat([0.0, 1.0], known.sum())
    else:
        side = said[known, 0]
    if len(np.unique(side)) < 2 or known.sum() < 2:
        raise InputError(f"the placebo {name!r} has no photographs on both sides among the rows to fit on")
    return rows, side
