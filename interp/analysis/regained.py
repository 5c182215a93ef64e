"""What a probe that is trained anew on erased rows regains of the concept, against rows per dimension."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from sklearn.base import clone

from interp.analysis.erasure import Erasure
from interp.analysis.leace import Leace
from interp.analysis.logistic import balanced_weights, fit_logistic
from interp.analysis.ranking import standardised
from interp.errors import InputError
from interp.protocol.metrics import auc

RATIOS = (0.5, 1.0, 2.0, 4.0, 8.0, 16.0)
"""Rows of the eraser for each dimension."""
ROUNDED = 6
"""Decimals of log-odds that count; a probe whose weights are 0 but for rounding gives all rows the same score."""


def regained_auc(
    X: ArrayLike,
    concept: ArrayLike,
    *,
    eraser: Erasure | None = None,
    ratios: Sequence[float] = RATIOS,
    C: float = 0.01,
    repeats: int = 10,
    random_state: int = 0,
) -> pd.DataFrame:
    """AUC of a probe on erased rows that neither eraser nor probe has seen, against n/d.

    The guarantee of an eraser is about the rows it was fitted on: a probe trained on these reads nothing, there or on
    fresh rows. A probe trained anew on other erased rows is not held by it. The eraser knows covariances only to
    their sampling error, so fresh erased rows still depend on the concept a little, and such a probe regains
    some of it: not zero, but less the more rows the eraser has for each dimension. Each repeat draws three sets of
    rows without overlap: n for the eraser, a third of all rows for the probe, a third to judge.

    Args:
        X: (n, d) features.
        concept: (n,) two classes.
        eraser: what to fit on the concept; by default `Leace()`.
        ratios: n/d to try; those that ask for more than a third of all rows are left out.
        C: strength of the probe's penalty, on columns standardised by its rows.
        repeats: draws of the rows.
        random_state: seed of the draws.

    Returns:
        A row for each ratio: n_over_d, n, before (AUC of a probe on the same rows without erasing), own_rows (AUC
        on fresh rows of a probe trained on the eraser's erased rows), regained (of a probe trained anew on fresh
        erased rows), and regained_se over repeats. Means over repeats.

    Raises:
        InputError: other than two classes, or too few rows for every ratio.

    >>> rng = np.random.default_rng(0)
    >>> z = np.arange(1200) % 2
    >>> curve = regained_auc(rng.normal(size=(1200, 20)) + 0.5 * z[:, None], z, ratios=(1, 16), repeats=5)
    >>> bool(curve["regained"][0] > curve["regained"][1] > 0.5)
    True
    """
    values, given = np.asarray(X, dtype=np.float64), np.asarray(concept)
    classes, yes = np.unique(given, return_inverse=True)
    if len(classes) != 2:
        raise InputError(
            f"concept must have two classes, so that a probe has an AUC; given {classes.tolist()[:5]}"
        )
    third, width = len(values) // 3, values.shape[1]
    sizes = {ratio: round(ratio * width) for ratio in ratios if 4 <= round(ratio * width) <= third}
    if not sizes:
        raise InputError(
            f"a third of {len(values)} rows is fewer than any of {tuple(ratios)} times {width} columns; "
            "give more rows, or fewer columns or lower ratios"
        )
    rng, found = np.random.default_rng(random_state), []
    for repeat in range(repeats):
        fold = _thirds(yes, rng)
        for ratio, n in sizes.items():
            of_eraser = _balanced(np.flatnonzero(fold == 0), yes, n)
            fitted = clone(Leace() if eraser is None else eraser).fit(
                values[of_eraser], concept=given[of_eraser]
            )
            erased = fitted.transform(values)
            row = {"n_over_d": ratio, "n": n, "repeat": repeat}
            row["before"] = _probe_auc(values, yes, fold == 1, fold == 2, C)
            row["own_rows"] = _probe_auc(erased, yes, of_eraser, fold == 2, C)
            row["regained"] = _probe_auc(erased, yes, fold == 1, fold == 2, C)
            found.append(row)
    table = pd.DataFrame(found).groupby(["n_over_d", "n"], sort=False)
    curve = table[["before", "own_rows", "regained"]].mean()
    curve["regained_se"] = table["regained"].sem()
    return curve.reset_index()


def _thirds(yes: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """(n,) 0, 1 or 2, at random, of each class as many."""
    fold = np.empty(len(yes), int)
    for label in (0, 1):
        rows = rng.permutation(np.flatnonzero(yes == label))
        fold[rows] = np.arange(len(rows)) % 3
    return fold


def _balanced(rows: np.ndarray, yes: np.ndarray, n: int) -> np.ndarray:
    """n of the rows, the classes in their own proportion; both of them, where both are there."""
    place = np.empty(len(rows))
    for label in (0, 1):
        mine = yes[rows] == label
        place[mine] = (np.arange(mine.sum()) + 0.5) / mine.sum()
    return rows[np.argsort(place, kind="stable")[:n]]


def _probe_auc(X: np.ndarray, yes: np.ndarray, fitted: np.ndarray, judged: np.ndarray, C: float) -> float:
    train, scored = standardised(X[fitted], X[judged])
    coef, intercept = fit_logistic(train[None], yes[fitted], C, balanced_weights(yes[fitted]))
    return auc(yes[judged], (scored @ coef[0] + intercept[0]).round(ROUNDED))
