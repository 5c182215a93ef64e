"""The evidence for and against each candidate shortcut: its statistics alone, the detector's promise, gain and null."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from scipy.stats import norm
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.model_selection import StratifiedKFold, cross_val_predict

from interp.analysis.coordinate_removal import generator_weights
from interp.analysis.nuisances import shuffled_within
from interp.analysis.paired_auc import AucGain, auc_gain
from interp.analysis.shortcut_search import ShortcutSearch

BOUND = 0.05
"""Error of each one-sided bound that a shortcut has to pass."""
FOLDS = 5


class Evidence(NamedTuple):
    """What speaks for a candidate being a shortcut.

    Attributes:
        train_auc: train fakes against photographs by the statistics alone (a linear discriminant, five folds).
        select_auc: select fakes against photographs by the same discriminant.
        told_low: one-sided lower bound of how far the first is above 0.5 or above the second, whichever is less.
        share: of the detector's margin on train rows, through the candidate's directions.
        kept, rest_kept: shares of what is promised that select rows keep, of this part and of the rest.
        excess_z, p_value: promised minus kept, on that scale, over the spread of the same for shuffled statistics;
            and the share of shuffles whose largest candidate reaches it.
        gain, gain_low, gain_high: AUC on select rows that erasing it gains, with its 95 % interval.
        null_gain_high: the 95 % quantile, over shuffles of the statistics among photographs and among fakes, of the
            largest gain of a candidate; NaN where no candidate's p_value reaches the level.
    """

    train_auc: float
    select_auc: float
    told_low: float
    share: float
    kept: float
    rest_kept: float
    excess_z: float
    p_value: float
    gain: float
    gain_low: float
    gain_high: float
    null_gain_high: float

    def passes(self, level: float) -> bool:
        """Whether this is a shortcut: told, leaned on, not kept, beyond chance, and of no proven use on select rows."""
        unkept = self.share > 0 and self.kept < np.clip(self.rest_kept, 0, 1) / 2
        return bool(self.p_value <= level and self.told_low > 0 and unkept and self.gain_high >= 0)

    def sentence(self, name: str) -> str:
        """The evidence in words."""
        interval = f"[{self.gain_low:+.3f}, {self.gain_high:+.3f}]"
        return (
            f"{name}: tells train fakes from photographs with AUC {self.train_auc:.2f} but select fakes with "
            f"{self.select_auc:.2f}; it makes {self.share:.0%} of the detector's margin on train rows, of which select "
            f"rows keep {self.kept:.0%} (of the rest {self.rest_kept:.0%}; p = {self.p_value:.3f}); erasing it gains "
            f"{self.gain:+.3f} {interval} AUC on select rows, null up to {self.null_gain_high:+.3f}"
        )


def judge(
    search: ShortcutSearch,
    members: Mapping[str, Sequence[int]],
    n_null: int,
    rng: np.random.Generator,
    level: float = 1.0,
) -> dict[str, Evidence]:
    """The evidence for every candidate.

    A shuffle of the statistics within classes leaves the classes and the statistics' own correlations as they are; the
    directions that it names are random ones of the embedding's own covariance.

    Args:
        search: detector and rows.
        members: columns of the statistics of each candidate.
        n_null: shuffles.
        rng: of shuffles and folds.
        level: where no p_value reaches it, the costly null of the gains is left out.
    """
    promises = {name: search.promise(search.directions(columns)) for name, columns in members.items()}
    null = np.empty((n_null, len(members)))
    for draw in range(n_null):
        order = shuffled_within(search.kind, rng)
        drawn = [search.directions(columns, order) for columns in members.values()]
        null[draw] = [search.promise(one).excess for one in drawn]
    centre, spread = null.mean(0), np.maximum(null.std(0), np.finfo(float).tiny)
    largest = ((null - centre) / spread).max(1)
    excess = (np.array([one.excess for one in promises.values()]) - centre) / spread
    p_values = (1 + (largest[:, None] >= excess).sum(0)) / (1 + n_null)
    gain_high = np.nan
    if p_values.min() <= level:
        gain_high = _largest_gain_by_chance(search, members, n_null, rng)
    bound, seed, found = norm.isf(BOUND), int(rng.integers(2**32)), {}
    for number, (name, columns) in enumerate(members.items()):
        promise, gain = promises[name], search.gain(search.erasable(columns))
        train, select = _alone(search, columns, seed)
        fall = AucGain(train.gain - select.gain, float(np.hypot(train.se, select.se)))
        reach = norm.isf(0.025) * gain.se
        found[name] = Evidence(
            train_auc=0.5 + train.gain,
            select_auc=0.5 + select.gain,
            told_low=float(min(one.gain - bound * one.se for one in (train, fall))),
            share=promise.share,
            kept=promise.kept,
            rest_kept=promise.rest_kept,
            excess_z=float(excess[number]),
            p_value=float(p_values[number]),
            gain=gain.gain,
            gain_low=float(gain.gain - reach),
            gain_high=float(gain.gain + reach),
            null_gain_high=gain_high,
        )
    return found


def _largest_gain_by_chance(
    search: ShortcutSearch, members: Mapping[str, Sequence[int]], n_null: int, rng: np.random.Generator
) -> float:
    """The 95 % quantile of the largest gain of a candidate, statistics shuffled among photographs and among fakes."""
    largest = []
    for _ in range(n_null):
        order = shuffled_within(search.label, rng)
        gains = search.gains([search.erasable(columns, order) for columns in members.values()])
        largest.append(gains.max())
    return float(np.quantile(largest, 0.95, method="higher"))


def _alone(search: ShortcutSearch, columns: Sequence[int], seed: int) -> tuple[AucGain, AucGain]:
    """AUC above 0.5 of some statistics alone on train rows, each scored by folds without it, and on select rows."""
    train_X, select_X = np.split(search.statistics[:, columns], [len(search.train_y)])
    fewest = int(np.bincount(search.train_y).min())
    discriminant = LinearDiscriminantAnalysis(priors=[0.5, 0.5])
    select = discriminant.fit(train_X, search.train_y).decision_function(select_X)
    train = discriminant.decision_function(train_X)
    if fewest > 1:
        folds = StratifiedKFold(min(FOLDS, fewest), shuffle=True, random_state=seed)
        train = cross_val_predict(discriminant, train_X, search.train_y, cv=folds, method="decision_function")
    found = []
    for y, kind, scores, unit in (
        (search.train_y, search.train_kind, train, None),
        (search.select_y, search.select_kind, select, search.unit),
    ):
        found.append(auc_gain(y == 1, np.zeros(len(y)), scores, generator_weights(y, kind), unit))
    return found[0], found[1]
