"""Is there a harmful component at all: a coordinate that train rows trust and select rows contradict?

A ridge detector is trained on the train rows. Each coordinate *promises* a margin there and *keeps* some of it in the
select rows (`interp.analysis.promises`). Two facts make a coordinate harmful rather than merely useless or unlucky.

(a) It keeps less than half of its promise, on the scale of the share that the rest of the detector keeps of its own:
    below half, the squared error of a linear score falls when the coordinate goes.
(b) Its excess, promised minus kept, is beyond that of the worst coordinate of randomly rotated spaces. A shift between
    generators in a direction of its own spreads over all coordinates, rotated or not; one that sits in a single
    coordinate does not survive a rotation. If rotated coordinates do as badly, removal is regularisation.

Both are cross-fitted: for each fold of the select rows, the coordinates are searched on the other folds.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import norm
from sklearn.model_selection import StratifiedGroupKFold

from interp.analysis.coordinate_removal import choose_ridge, generator_weights
from interp.analysis.head_nulls import random_rotation
from interp.analysis.head_selection import rows_of_parts
from interp.analysis.paired_auc import auc_gain
from interp.analysis.promises import Promises, excess
from interp.analysis.ranking import standardised
from interp.errors import InputError

BOUND = 0.05
"""Error of the one-sided bounds on what a removal gains."""


@dataclass(frozen=True)
class HarmfulComponents:
    """Whether an embedding has harmful coordinates, which ones, and the evidence; AUC and margins on select rows.

    Attributes:
        found: p_value ≤ level, relief_low > 0, the same coordinates found again without any one fold, and no fall of
            the AUC beyond its bound.
        coordinates: the harmful ones, the worst first; empty unless found.
        gain, gain_low: cross-fitted AUC gained on left-out select rows by removing the coordinates in question and
            refitting, and its one-sided lower bound. The excess of a weak component can be proven long before its
            cost in AUC: a found component may have gain_low below 0.
        null_gain_high: upper quantile of the same gain for one coordinate of rotated spaces.
        excess, null_excess_high, p_value: cross-fitted margin that the worst coordinate promises and does not keep,
            the upper quantile of the same search in rotated spaces, and the share of these that reach it.
        kept: share of the promised margin that left-out select rows keep.
        relief_low: one-sided lower bound of half the promise, on the scale of the rest, minus what is kept.
        level: of p_value and of the quantiles; the bounds have an error of 5 %. n_null: how many rotations.
    """

    found: bool
    coordinates: tuple[int, ...]
    gain: float
    gain_low: float
    null_gain_high: float
    excess: float
    null_excess_high: float
    p_value: float
    kept: float
    relief_low: float
    level: float = field(repr=False)
    n_null: int = field(repr=False)

    @property
    def sentence(self) -> str:
        """The finding in one sentence."""
        evidence = (
            f"promised margin not kept {self.excess:.3f}, null up to {self.null_excess_high:.3f}, "
            f"p = {self.p_value:.3f}; AUC gain {self.gain:+.3f}, null up to {self.null_gain_high:+.3f}"
        )
        if not self.found:
            return f"no harmful component found ({evidence})"
        names = ", ".join(str(coordinate) for coordinate in self.coordinates)
        return f"harmful components: coordinate{'s' * (len(self.coordinates) > 1)} {names} ({evidence})"


def harmful_components(
    X: ArrayLike,
    y: ArrayLike,
    part: ArrayLike,
    *,
    generator: ArrayLike | None = None,
    groups: ArrayLike | None = None,
    n_null: int = 199,
    folds: int = 5,
    level: float = 0.02,
    random_state: int = 0,
) -> HarmfulComponents:
    """Decide whether any coordinate misleads a detector trained on the train rows, and name those that do.

    Args:
        X: (n, p) embeddings.
        y: (n,) 1 fake, 0 photograph.
        part: (n,) "train" or "select"; other rows are not looked at.
        generator: (n,) names; every select generator then weighs the same.
        groups: (n,) names of rows that belong together; a group is never on both sides of a fold.
        n_null: random rotations.
        folds: of the select rows.
        level: the p_value that is accepted; 0.02 keeps the false finds of 100 runs below 5.
        random_state: seed of folds and rotations.

    Raises:
        InputError: a part without both classes, too few rotations for the level, or folds without both classes.

    >>> rng = np.random.default_rng(0)
    >>> y, part = np.arange(400) % 2, np.repeat(["train", "select"], 200)
    >>> X = rng.normal(size=(400, 20)) + 0.5 * y[:, None]
    >>> harmful_components(X, y, part).coordinates
    ()
    >>> X[:200, 17] += 2 * y[:200]                         # fakes of the train rows only
    >>> harmful_components(X, y, part).coordinates
    (17,)
    """
    if (n_null + 1) * level < 1:
        raise InputError(
            f"{n_null} rotations cannot reach level {level}; give at least {int(np.ceil(1 / level)) - 1}"
        )
    values, labels = np.asarray(X, dtype=np.float64), np.asarray(y)
    train, select = rows_of_parts(part, "harmful_components", labels)
    columns, judged = standardised(values[train], values[select])
    y_select = labels[select]
    weight = generator_weights(y_select, None if generator is None else np.asarray(generator)[select])
    together = np.arange(len(select)) if groups is None else np.asarray(groups)[select]
    unit = np.unique(together, return_inverse=True)[1]
    fold = _folds(y_select, unit, folds, random_state)
    ridge = choose_ridge(columns, labels[train], judged, y_select, weight)
    rng = np.random.default_rng(random_state)

    def detector(rest: np.ndarray) -> Promises:
        return Promises(columns[:, rest], labels[train], judged[:, rest], y_select, weight, fold, ridge)

    rest = np.arange(values.shape[1])
    everything = detector(rest)
    first = _rotations(everything, y_select, weight, fold, n_null, level, rng)
    named, current = first.named, first
    while current.named and len(named) < len(rest) - 1:
        left = np.setdiff1d(rest, named)
        current = _rotations(detector(left), y_select, weight, fold, n_null, level, rng)
        named = named + left[current.named].tolist()
    evidence = _cross_fit(everything, named, y_select, weight, fold, unit)
    found = bool(named) and evidence.again and evidence.relief_low > 0 and evidence.gain_high >= 0
    return HarmfulComponents(
        found,
        tuple(named) if found else (),
        evidence.gain,
        evidence.gain_low,
        first.null_gain_high,
        first.excess,
        first.null_excess_high,
        first.p_value,
        evidence.kept,
        evidence.relief_low,
        level,
        n_null,
    )


class _Rotations(NamedTuple):
    """The worst coordinate against those of rotated spaces, and the coordinates that are worse than these."""

    excess: float
    null_excess_high: float
    null_gain_high: float
    p_value: float
    named: list[int]


def _rotations(
    detector: Promises,
    y: np.ndarray,
    weight: np.ndarray,
    fold: np.ndarray,
    n_null: int,
    level: float,
    rng: np.random.Generator,
) -> _Rotations:
    folds = fold.max() + 1
    each = np.arange(folds)
    own = detector.excess()
    observed = float(own[own[:, :folds].argmax(0), folds + each].mean())
    crossed, largest, gains = np.empty(n_null), np.empty(n_null), np.empty(n_null)
    for i in range(n_null):
        rotate = random_rotation(detector.p, rng)
        inverse = rotate(rotate(detector.inverse).T)
        beta, influence = rotate(detector.beta[None])[0], rotate(detector.influence)
        null = excess(inverse, beta, rotate(detector.moments.T).T, detector.n)
        worst = null[:, :folds].argmax(0)
        crossed[i], largest[i] = null[worst, folds + each].mean(), null[:, -1].max()
        without = detector.scores[:, None] - influence[:, worst] * (beta / inverse.diagonal())[worst]
        gains[i] = np.mean(
            [
                auc_gain(y[r] == 1, detector.scores[r], without[r, k], weight[r]).gain
                for k in each
                for r in [fold == k]
            ]
        )
    p_value = float((1 + (crossed >= observed).sum()) / (1 + n_null))
    high = np.quantile([crossed, largest, gains], 1 - level, axis=1, method="higher")
    named = detector.greedy(2 * folds, detector.p // 4, float(high[1])) if p_value <= level else []
    return _Rotations(observed, float(high[0]), float(high[2]), p_value, named)


class _Evidence(NamedTuple):
    """What removal does on left-out folds; `again` if every fold finds the same coordinates by itself."""

    gain: float
    gain_low: float
    gain_high: float
    kept: float
    relief_low: float
    again: bool


def _cross_fit(
    detector: Promises,
    named: list[int],
    y: np.ndarray,
    weight: np.ndarray,
    fold: np.ndarray,
    unit: np.ndarray,
) -> _Evidence:
    folds = fold.max() + 1
    chosen = [detector.greedy(k, max(1, len(named))) for k in range(folds)]
    promised, kept, rest, honest = np.zeros((4, folds))
    gains, errors = [], np.zeros(folds)
    for k, removed in enumerate(chosen):
        added, promised[k] = detector.contribution(removed)
        signed = detector.signed[:, folds + k]
        kept[k], rest[k] = signed @ added, signed @ (detector.scores - added)
        honest[k] = detector.honest_margin(removed)
        inside = fold == k
        means = np.where(y == 1, *(np.abs(signed) @ (added * (y == c)) * 2 for c in (1, 0)))
        errors[k] = np.square(np.bincount(unit, signed * (added - means))).sum()
        after = detector.scores - added
        gains.append(
            auc_gain(y[inside] == 1, detector.scores[inside], after[inside], weight[inside], unit[inside])
        )
    scale = float(np.clip(rest.mean() / honest.mean(), 0, 1)) if honest.mean() > 0 else 0.0
    bound = norm.isf(BOUND)
    relief = scale * promised.mean() / 2 - kept.mean()
    gain, error = (
        np.mean([part.gain for part in gains]),
        np.sqrt(np.sum([part.se**2 for part in gains])) / folds,
    )
    return _Evidence(
        float(gain),
        float(gain - bound * error),
        float(gain + bound * error),
        float(kept.mean() / promised.mean()),
        float(relief - bound * np.sqrt(errors.sum()) / folds),
        all(set(named) <= set(removed) for removed in chosen),
    )


def _folds(y: np.ndarray, unit: np.ndarray, folds: int, random_state: int) -> np.ndarray:
    """The fold of each row; groups stay whole, classes are balanced as far as they allow."""
    fold = np.empty(len(y), int)
    count = min(len(np.unique(unit[y == c])) for c in (0, 1))
    if folds < 2 or count < folds:
        raise InputError(
            f"{folds} folds need as many groups of select rows in each class; given {count}; lower folds"
        )
    splitter = StratifiedGroupKFold(folds, shuffle=True, random_state=random_state)
    for k, (_, rows) in enumerate(splitter.split(y, y, unit)):
        fold[rows] = k
    if any(len(np.unique(y[fold == k])) < 2 for k in range(folds)):
        raise InputError(
            f"{folds} folds by group leave one without photographs or without fakes; lower folds"
        )
    return fold
