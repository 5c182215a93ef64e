"""Few-shot detection: a linear support vector machine on the next-to-last class token, from few pairs.

Cozzolino, Poggi, Corvi, Nießner and Verdoliva, "Raising the Bar of AI-generated Image Detection with CLIP", CVPR
Workshops 2024, arXiv 2312.00195.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from sklearn.preprocessing import normalize
from sklearn.svm import LinearSVC

from interp.analysis.logistic import balanced_weights, fit_logistic
from interp.detectors.parted import PartedDetector, Rows
from interp.errors import InputError

PLATT_C = 100.0
"""Inverse strength of the penalty on Platt's slope: hardly any, but finite scores where select rows are separated."""


class FewShot(PartedDetector):
    """The class token behind the final LayerNorm, brought to unit length, and a linear SVM; a log-likelihood ratio.

    The public weights are one linear layer whose output is called a log-likelihood ratio (LLR) and judged at 0. How
    they were calibrated is not known. Here Platt's slope and offset, fitted on select rows with both classes of the
    same weight, turn the margin into log p(x | fake) / p(x | photograph) under that model; without select rows the
    margin itself is the score. The SVM's C is not known either: of several the one with the highest select AUC is
    taken (ties: the stronger penalty), and without select rows the middle one; `experiments/few_shot.py` shows what C
    changes.

    Args:
        C: inverse strengths to choose from, or one.
        select_generators, random_state: see `PartedDetector`.

    Attributes:
        coef_, intercept_: (D,) and float, of the score on the unit-length token.
        C_: the strength chosen.
        classes_, threshold_: see `PartedDetector`.

    >>> rng = np.random.default_rng(0)
    >>> y = np.arange(40) % 2
    >>> X = rng.normal(size=(40, 6)) + 2 * y[:, None]
    >>> detector = FewShot().fit(X, y, part=np.repeat(["train", "select"], 20))
    >>> bool((detector.decision_function(X) == detector.decision_function(8 * X)).all())
    True
    """

    features = "next_to_last"

    def __init__(
        self,
        C: Sequence[float] | float = (0.01, 0.1, 1.0, 10.0, 100.0),
        select_generators: Sequence[str] | str | None = None,
        random_state: int = 0,
    ):
        self.C, self.select_generators, self.random_state = C, select_generators, random_state

    def _fit(self, train: Rows, select: Rows | None) -> None:
        strengths = np.sort(np.atleast_1d(np.asarray(self.C, dtype=float)))
        if not len(strengths) or not strengths[0] > 0:
            raise InputError(f"C must be positive, a number or several to choose from; given {self.C}")
        if select is None:
            strengths = strengths[len(strengths) // 2 : len(strengths) // 2 + 1]
        columns = normalize(train.X)
        found = [
            LinearSVC(C=C, class_weight="balanced", max_iter=20000, random_state=self.random_state).fit(
                columns, train.y
            )
            for C in strengths
        ]
        best, slope, offset = 0, 1.0, 0.0
        if select is not None:
            margins = np.stack([svm.decision_function(normalize(select.X)) for svm in found], axis=1)
            best = int(np.argmax(select.auc(margins)))
            spread = float(margins[:, best].std()) or 1.0
            platt = fit_logistic(margins[:, [best]] / spread, select.y, PLATT_C, balanced_weights(select.y))
            # A margin worse than chance on select rows is not turned round: that would hide that it does not transfer.
            slope, offset = max(float(platt[0][0, 0]), 1e-6) / spread, float(platt[1][0])
        self.C_ = float(strengths[best])
        self.coef_ = slope * found[best].coef_[0]
        self.intercept_ = float(slope * found[best].intercept_[0] + offset)

    def _score(self, X: np.ndarray) -> np.ndarray:
        return normalize(X) @ self.coef_ + self.intercept_


def paired_draw(
    y: ArrayLike, n: int, *, groups: ArrayLike | None = None, random_state: int = 0
) -> np.ndarray:
    """Positions (2n,) int64 of n photographs and n fakes, sorted; pairs of one content where groups hold both.

    The published pairs are a photograph and a fake made from its own caption. So a group that holds photographs and
    fakes gives one of each before any other row is drawn; the rest is drawn without regard to content.

    Args:
        y: (n rows,), 1 fake, 0 photograph.
        n: pairs.
        groups: (n rows,) names; rows of one group show the same content.
        random_state: seed.

    Raises:
        InputError: fewer than n photographs or fakes.

    >>> y, groups = np.array([0, 0, 0, 1, 1, 1]), ["a", "b", "c", "c", "d", "e"]
    >>> paired_draw(y, 1, groups=groups).tolist()
    [2, 3]
    """
    labels = np.asarray(y)
    fewest = min(int((labels == c).sum()) for c in (0, 1))
    if not 1 <= n <= fewest:
        raise InputError(
            f"{n} pairs asked for; the rows hold {fewest} of the rarer class, so give 1 to {fewest}"
        )
    rng = np.random.default_rng(random_state)
    order = rng.permutation(len(labels))
    unit = np.arange(len(labels)) if groups is None else pd.factorize(np.asarray(groups))[0]
    table = pd.DataFrame({"row": order, "y": labels[order], "unit": unit[order]})
    first = table.drop_duplicates(["unit", "y"])
    pairs = first[first.groupby("unit")["y"].transform("size") == 2]
    units = pairs["unit"].unique()[:n]
    chosen = pairs[pairs["unit"].isin(units)]
    rest = table.drop(chosen.index)
    missing = [rest.loc[rest["y"] == c, "row"].head(n - len(units)) for c in (0, 1)]
    return np.sort(np.concatenate([chosen["row"], *missing])).astype(np.int64)
