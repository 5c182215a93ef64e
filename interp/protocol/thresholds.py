"""Thresholds for a purpose, chosen on select rows: at most so many false alarms, or as many as misses."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike

from interp.errors import InputError
from interp.protocol.metrics import best_threshold, check_scores


def threshold_for_fpr(y: ArrayLike, scores: ArrayLike, fpr: float = 0.05, *, on_new: bool = False) -> float:
    """The lowest threshold that calls at most `fpr` of these photographs fake: select rows, never test rows.

    It is the score of a photograph, and a score equal to a threshold counts as a photograph. With N photographs
    of which k are above it, new ones of the same kind are called fake with a chance of (k + 1) / (N + 1) on
    average, for their ranks are exchangeable: a little more than `fpr`. With `on_new` this chance is held
    to the level instead (split conformal prediction: Vovk, Gammerman and Shafer 2005).

    Args:
        y: (n,) 1 for a fake, 0 for a photograph; fakes are not looked at.
        scores: (n,) float, higher for fakes.
        fpr: the level, between 0 and 1.
        on_new: hold the level for new photographs on average, not for these.

    Raises:
        InputError: so few photographs that the level allows none of them.

    >>> threshold_for_fpr([0, 0, 0, 0, 1], [1.0, 2.0, 3.0, 4.0, 9.0], fpr=0.25)
    3.0
    >>> threshold_for_fpr([0, 0, 0, 0, 1], [1.0, 2.0, 3.0, 4.0, 9.0], fpr=0.01)
    Traceback (most recent call last):
    interp.errors.InputError: an FPR of 1 % needs 100 photographs or more; given 4, which support 25 % at least. ...
    """
    if not 0 < fpr < 1:
        raise InputError(f"the FPR of a threshold lies between 0 and 1, such as 0.05; given {fpr}")
    if np.ndim(scores) != 1:
        raise InputError(f"scores must be (n,); given {np.shape(scores)}")
    fake, values = check_scores(y, scores)
    ranked = np.sort(values[~fake])[::-1]
    possible = len(ranked) + int(on_new)
    allowed = math.floor(fpr * possible + 1e-9)
    if not allowed or not len(ranked):
        needed = math.ceil(1 / fpr - 1e-9) - int(on_new)
        smallest = f"{100 / possible:.3g} % at least" if len(ranked) else "none"
        raise InputError(
            f"an FPR of {fpr * 100:.3g} % needs {needed:,} photographs or more; given {len(ranked)}, which "
            f"support {smallest}. Ask for a larger FPR or give more select photographs"
        )
    return float(ranked[allowed - int(on_new)])


def threshold_for_equal_error(y: ArrayLike, scores: ArrayLike) -> float:
    """The threshold at which misses and false alarms are nearest to equal shares: select rows, never test rows.

    Candidates lie halfway between neighbouring scores; of equally good ones the middle one is taken.

    Raises:
        InputError: When a class is missing.

    >>> threshold_for_equal_error([0, 0, 0, 1, 1, 1], [1.0, 2.0, 5.0, 3.0, 4.0, 6.0])
    3.5
    """
    return best_threshold(y, scores, lambda missed, kept: -np.abs(missed - (1 - kept)))
