"""How well scores tell fakes from photographs: AUC, its standard error, accuracy at a chosen threshold."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import norm, rankdata

from interp.errors import InputError

SORTED = 2**16
"""Scores sorted at once: few enough to stay in the processor's cache."""


class DeLong(NamedTuple):
    """Two detectors on the same images: AUC of a minus AUC of b, its standard error, two-sided p."""

    difference: float
    se: float
    p: float


def check_scores(y: ArrayLike, scores: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """Labels as (n,) bool, true for a fake, and scores as (n,) or (n, m) float64; refuse anything else.

    >>> check_scores([0, 2], [0.1, 0.2])
    Traceback (most recent call last):
    interp.errors.InputError: y must hold 1 for fakes and 0 for photographs; given [0, 2]
    """
    labels, values = np.asarray(y), np.asarray(scores, dtype=np.float64)
    if labels.ndim != 1 or values.ndim not in (1, 2) or len(labels) != len(values):
        raise InputError(
            f"y must be (n,), scores (n,) or (n, m) with the same n; given {labels.shape} and {values.shape}"
        )
    if not np.isin(labels, (0, 1)).all():
        raise InputError(
            f"y must hold 1 for fakes and 0 for photographs; given {np.unique(labels)[:5].tolist()}"
        )
    absent = int(np.isnan(values).sum())
    if absent:
        raise InputError(
            f"{absent} of {values.size} scores are NaN; drop those rows or find out why they have no score"
        )
    return labels == 1, values


def check_weights(weights: ArrayLike | None, n: int) -> np.ndarray:
    """How often each of n rows counts, as (B, n) float64: B is 1 for weights (n,), and for none, which are ones.

    >>> check_weights(None, 3)
    array([[1., 1., 1.]])
    >>> check_weights([1, -1, 0], 3)
    Traceback (most recent call last):
    interp.errors.InputError: weights must be finite numbers of 0 or more; given one of -1.0
    """
    given = np.ones(n) if weights is None else np.asarray(weights, dtype=np.float64)
    if given.ndim not in (1, 2) or given.shape[-1] != n:
        raise InputError(f"weights must be ({n},) or (B, {n}), a number for each row; given {given.shape}")
    wrong = given[~(np.isfinite(given) & (given >= 0))]
    if len(wrong):
        raise InputError(f"weights must be finite numbers of 0 or more; given one of {wrong[0]}")
    return np.atleast_2d(given)


def auc(y: ArrayLike, scores: ArrayLike) -> float:
    """The chance that a fake scores above a photograph, ties counting half: the area under the ROC curve.

    Args:
        y: (n,) 1 for a fake, 0 for a photograph.
        scores: (n,) float, higher for fakes.

    Returns:
        0 to 1; NaN where a class is missing.

    >>> auc([0, 0, 1, 1], [0.1, 0.4, 0.4, 0.8])
    0.875
    """
    _one_column(scores)
    return float(auc_columns(y, scores))


def auc_columns(y: ArrayLike, scores: ArrayLike) -> np.ndarray:
    """`auc` of each column: scores (n, m) give (m,) float64, scores (n,) give a number.

    >>> auc_columns([0, 1, 1], [[1, 3], [2, 2], [3, 1]])
    array([1., 0.])
    """
    fake, values = check_scores(y, scores)
    return _auc_of_kinds(values, fake.astype(int), 1)[0]


def auc_by_generator(y: ArrayLike, scores: ArrayLike, generator: ArrayLike) -> np.ndarray:
    """AUC of each generator's fakes against all photographs, for each column: one sort serves all generators.

    Args:
        y: (n,) 1 for a fake, 0 for a photograph.
        scores: (n,) or (n, m) float, higher for fakes.
        generator: (n,) names, strings or numbers; those of photographs are not read.

    Returns:
        (generators,) or (generators, m) float64, in the order of the sorted names of the fakes; NaN without a
        photograph.

    >>> auc_by_generator([0, 0, 1, 1], [1.0, 2.0, 2.0, 9.0], ["real", "real", "b", "a"])
    array([1.  , 0.75])
    """
    fake, values = check_scores(y, scores)
    names, number = np.unique(np.asarray(generator)[fake], return_inverse=True)
    kind = np.zeros(len(fake), int)
    kind[fake] = 1 + number
    return _auc_of_kinds(values, kind, len(names))


def _auc_of_kinds(values: np.ndarray, kind: np.ndarray, n_kinds: int) -> np.ndarray:
    """AUC (n_kinds, …) of rows of each kind from 1 on against kind 0, for scores (n, …); NaN if a kind has none."""
    n_rows = np.bincount(kind, minlength=n_kinds + 1)
    if not n_rows.all():
        return np.full((n_kinds, *values.shape[1:]), np.nan)
    by_kind = kind.argsort(kind="stable")
    real, starts = kind[by_kind] == 0, np.cumsum(n_rows)[:-1]
    columns = np.atleast_2d(values.T)
    beaten, step = np.empty((n_kinds, len(columns))), max(1, SORTED // len(kind))
    for start in range(0, len(columns), step):
        part = np.take(columns[start : start + step], by_kind, axis=1)
        order = part.argsort(axis=1)
        twice = np.empty(part.shape, np.int32)
        np.put_along_axis(twice, order, _twice_below(np.sort(part, axis=1), real[order]), 1)
        beaten[:, start : start + step] = np.add.reduceat(twice, starts, axis=1, dtype=np.int64).T
    # Mann and Whitney 1947: U counts the photographs below each fake, and half of those that tie with it
    return (beaten / (2 * n_rows[0] * n_rows[1:, None])).reshape(n_kinds, *values.shape[1:])


def _twice_below(scores: np.ndarray, real: np.ndarray) -> np.ndarray:
    """Twice the photographs below each score, those that tie counted once; rows are sorted, both (r, n)."""
    below = 2 * real.cumsum(1, dtype=np.int32)
    tied = np.flatnonzero((scores[:, 1:] == scores[:, :-1]).any(1))
    if len(tied):
        last = np.ones((len(tied), scores.shape[1]), bool)
        last[:, :-1] = scores[tied, 1:] != scores[tied, :-1]
        first = np.roll(last, 1, axis=1)
        count = below[tied] // 2
        before = np.maximum.accumulate(np.where(first, count - real[tied], 0), axis=1)
        until = np.where(last, count, real.shape[1])[:, ::-1]
        below[tied] = before + np.minimum.accumulate(until, axis=1)[:, ::-1]
    return below


def _one_column(scores: ArrayLike) -> None:
    if np.ndim(scores) != 1:
        raise InputError(f"scores must be (n,); given {np.shape(scores)}. auc_columns takes (n, m)")


def _placements(y: ArrayLike, scores: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """For each fake the share of photographs it beats; for each photograph, of fakes that beat it."""
    _one_column(scores)
    fake, values = check_scores(y, scores)
    ranks = rankdata(values)
    n_fake, n_real = int(fake.sum()), int((~fake).sum())
    of_fakes = (ranks[fake] - rankdata(values[fake])) / max(n_real, 1)
    of_real = 1 - (ranks[~fake] - rankdata(values[~fake])) / max(n_fake, 1)
    return of_fakes, of_real


def auc_influence(y: ArrayLike, scores: ArrayLike) -> np.ndarray:
    """What each image contributes to the AUC: its placement less the AUC, over the images of its class.

    The sum is 0 in each class, and leaving out image i of a class of k changes the AUC by -k / (k - 1) times its
    contribution (the empirical influence function, Hampel 1974).

    Args:
        y: (n,) 1 for a fake, 0 for a photograph, both present.
        scores: (n, m) float, higher for fakes.

    Returns:
        (n, m) float64.

    >>> auc_influence([0, 0, 1, 1], [[1.0], [3.0], [2.0], [4.0]]).ravel()
    array([ 0.125, -0.125, -0.125,  0.125])
    """
    fake, values = check_scores(y, scores)
    found = np.empty(values.shape)
    for column, one in enumerate(values.T):
        of_fakes, of_real = _placements(y, one)
        found[fake, column] = (of_fakes - of_fakes.mean()) / len(of_fakes)
        found[~fake, column] = (of_real - of_real.mean()) / len(of_real)
    return found


def _standard_error(of_fakes: np.ndarray, of_real: np.ndarray) -> float:
    if min(len(of_fakes), len(of_real)) < 2:
        return float("nan")
    return float(np.sqrt(of_fakes.var(ddof=1) / len(of_fakes) + of_real.var(ddof=1) / len(of_real)))


def standard_error_auc(y: ArrayLike, scores: ArrayLike) -> float:
    """Standard error of one AUC over independent images; NaN with fewer than two of a class.

    DeLong, DeLong and Clarke-Pearson 1988, from midranks as in Sun and Xu 2014. Images that share a group are
    not independent: use `interp.protocol.resampling.JointResample` for those.

    >>> round(standard_error_auc([0, 0, 0, 1, 1, 1], [1, 2, 4, 3, 5, 6]), 4)
    0.1571
    """
    return _standard_error(*_placements(y, scores))


def delong(y: ArrayLike, scores_a: ArrayLike, scores_b: ArrayLike) -> DeLong:
    """Compare two detectors by their AUC on the same independent images, with DeLong's paired test.

    Args:
        y: (n,) 1 for a fake, 0 for a photograph; two of each at least, else standard error and p are NaN.
        scores_a, scores_b: (n,) float, of the same images in the same order.

    Returns:
        `DeLong`: difference (a minus b), its standard error, two-sided p. Without any variance p is 1 for equal
        AUCs and 0 otherwise.

    >>> delong([0, 0, 0, 1, 1, 1], [1, 2, 4, 3, 5, 6], [1, 2, 4, 3, 5, 6])
    DeLong(difference=0.0, se=0.0, p=1.0)
    """
    fakes_a, real_a = _placements(y, scores_a)
    fakes_b, real_b = _placements(y, scores_b)
    if not len(fakes_a) or not len(real_a):
        return DeLong(float("nan"), float("nan"), float("nan"))
    difference = float(fakes_a.mean() - fakes_b.mean())
    se = _standard_error(fakes_a - fakes_b, real_a - real_b)
    if se == 0:
        return DeLong(difference, se, 1.0 if difference == 0 else 0.0)
    return DeLong(difference, se, float(2 * norm.sf(abs(difference) / se)))


def balanced_accuracy_at(y: ArrayLike, scores: ArrayLike, threshold: float) -> float:
    """Mean of the share of fakes above `threshold` and the share of photographs not above it.

    NaN where a class is missing. A score equal to the threshold counts as a photograph.

    >>> balanced_accuracy_at([0, 0, 1, 1], [-1.0, 0.0, 0.5, -0.5], threshold=0.0)
    0.75
    """
    _one_column(scores)
    fake, values = check_scores(y, scores)
    if fake.all() or not fake.any():
        return float("nan")
    called_fake = values > threshold
    return float((called_fake[fake].mean() + (~called_fake[~fake]).mean()) / 2)


def threshold_for_balanced_accuracy(y: ArrayLike, scores: ArrayLike) -> float:
    """The threshold with the highest balanced accuracy on these rows: select rows, never test rows.

    Candidates lie halfway between neighbouring scores; of equally good ones the middle one is taken.

    Raises:
        InputError: When a class is missing.

    >>> threshold_for_balanced_accuracy([0, 0, 1, 1], [1.0, 2.0, 4.0, 5.0])
    3.0
    """
    return best_threshold(y, scores, lambda missed, kept: kept - missed)


def best_threshold(
    y: ArrayLike, scores: ArrayLike, worth: Callable[[np.ndarray, np.ndarray], np.ndarray]
) -> float:
    """The threshold halfway between neighbouring scores that is worth most; of several the middle one.

    Args:
        y: (n,) 1 for a fake, 0 for a photograph.
        scores: (n,) float, higher for fakes.
        worth: takes the share of fakes missed and of photographs kept at each of k candidates, gives (k,).

    Raises:
        InputError: When a class is missing.

    >>> best_threshold([0, 0, 1, 1], [1.0, 2.0, 4.0, 5.0], lambda missed, kept: -missed)
    3.0
    """
    _one_column(scores)
    fake, values = check_scores(y, scores)
    if fake.all() or not fake.any():
        raise InputError(
            f"a threshold needs both classes; given {fake.sum()} fakes and {(~fake).sum()} photographs"
        )
    distinct, at = np.unique(values, return_inverse=True)
    if len(distinct) == 1:
        return float(distinct[0])
    missed = np.cumsum(np.bincount(at[fake], minlength=len(distinct)))[:-1] / fake.sum()
    kept = np.cumsum(np.bincount(at[~fake], minlength=len(distinct)))[:-1] / (~fake).sum()
    value = worth(missed, kept)
    best = np.flatnonzero(np.isclose(value, value.max(), rtol=0, atol=1e-12))
    below, above = distinct[best[len(best) // 2]], distinct[best[len(best) // 2] + 1]
    with np.errstate(invalid="ignore", over="ignore"):
        middle = below + (above - below) / 2
    return float(middle if np.isfinite(middle) and middle < above else below)
