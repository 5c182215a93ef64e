"""Erase the identity of all generators but one, and see what that does for the one that was not there."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from sklearn.base import clone

from interp.analysis.erasure import Erasure
from interp.analysis.generator_erasure import FEWEST, GeneratorErasure
from interp.analysis.logistic import balanced_weights, fit_logistic
from interp.analysis.ranking import standardised
from interp.errors import InputError
from interp.protocol.leaks import REAL
from interp.protocol.metrics import auc


def leave_one_generator_out(
    X: ArrayLike,
    generator: ArrayLike,
    part: ArrayLike,
    *,
    erasure: Erasure | None = None,
    C: float = 0.01,
) -> pd.DataFrame:
    """For each generator in turn: erase the identity of the others, and see what that does for it.

    For each one left out, the eraser and the detectors are fitted on train rows of the others, and judged on select
    rows. `identity` is how well a linear model tells it from the others, `detection` how well a detector of the
    others' fakes finds it. Identity of the generators that were there falls to chance; whether the one left out stays
    recognisable, and whether it is found better or worse, is what the table says.

    Args:
        X: (n, p).
        generator: (n,) names, "real" for photographs.
        part: (n,) "train" and "select"; other rows are not read.
        erasure: what to fit; by default `GeneratorErasure()`.
        C: strength of the linear models, on standardised columns.

    Returns:
        A row for each generator: left_out, detection_before, detection_after, identity_before, identity_after (AUC),
        others_identity_before, others_identity_after (AUC of each other generator against the rest of them, their
        mean), moved (share of its select fakes' variance that the eraser moves).

    Raises:
        InputError: fewer than 4 generators of fakes, or photographs or a generator lacking in a part.
    """
    values, names, parts = (
        np.asarray(X, float),
        np.asarray(generator).astype(str),
        np.asarray(part).astype(str),
    )
    train, select = parts == "train", parts == "select"
    known = [str(one) for one in pd.unique(names[train | select]) if one != REAL]
    if len(known) < FEWEST + 1:
        raise InputError(
            f"leaving one generator out needs {FEWEST + 1} of them; given {len(known)} ({', '.join(known)})"
        )
    for one in (REAL, *known):
        for where, rows in (("train", train), ("select", select)):
            if not np.any(rows & (names == one)):
                raise InputError(f"there are no {where} rows of {one!r}; every generator needs both parts")

    def others_identity(features: np.ndarray, others: Sequence[str], among: np.ndarray) -> float:
        found = [_linear_auc(C, features, names == one, train & among, select & among) for one in others]
        return float(np.mean(found))

    rows = []
    for left_out in known:
        is_it, others = names == left_out, [one for one in known if one != left_out]
        fit_on = train & ~is_it
        fitted = clone(GeneratorErasure() if erasure is None else erasure)
        fitted.fit(values[fit_on], generator=names[fit_on])
        row: dict[str, Any] = {"left_out": left_out}
        erased = fitted.transform(values)
        fake, among = names != REAL, np.isin(names, others)
        for when, features in (("before", values), ("after", erased)):
            judged = select & (is_it | ~fake)
            row[f"detection_{when}"] = _linear_auc(C, features, fake, fit_on, judged)
            row[f"identity_{when}"] = _linear_auc(C, features, is_it, train & fake, select & fake)
            row[f"others_identity_{when}"] = others_identity(features, others, among)
        its = values[select & is_it]
        moved = ((its - erased[select & is_it]) ** 2).sum()
        rows.append({**row, "moved": float(moved / ((its - its.mean(0)) ** 2).sum())})
    return pd.DataFrame(rows)


def _linear_auc(C: float, X: np.ndarray, yes: np.ndarray, train: np.ndarray, judged: np.ndarray) -> float:
    """AUC on the judged rows of a logistic regression fitted on the train rows."""
    fitted, scored = standardised(X[train], X[judged])
    coef, intercept = fit_logistic(
        fitted[None], yes[train].astype(int), C, balanced_weights(yes[train].astype(int))
    )
    return auc(yes[judged], scored @ coef[0] + intercept[0])
