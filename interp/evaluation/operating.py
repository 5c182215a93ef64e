"""How detectors decide on unseen generators: every operating number of every arm, with intervals over images."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from interp.evaluation.cells import IN_DISTRIBUTION, SplitScores, evaluation_sets
from interp.protocol.calibration import Sigmoid
from interp.protocol.intervals import percentile_interval
from interp.protocol.operating_points import average_precision, equal_error_rate, rates_at, tpr_at_fpr
from interp.protocol.operating_table import NEEDED_PHOTOGRAPHS, operating_table
from interp.protocol.reliability import brier_score, calibration_error
from interp.protocol.resampling import JointResample

if TYPE_CHECKING:
    from interp.evaluation.transfer import Transfer

SMALL, SMALL_SETS = 100, "small sets together"
"""Generators with fewer test images than this are judged together, as one row that counts for little."""
UNSEEN = "unseen generators"
RESAMPLES = 200
WITH_INTERVALS = ("average_precision", "equal_error_rate", "tpr_at_5pct_fpr", "balanced_accuracy")
WITH_INTERVALS += ("accuracy_fakes", "accuracy_photographs", "brier", "ece")


def operating_points(
    transfer: Transfer, *, n_resamples: int = RESAMPLES, random_state: int = 0
) -> pd.DataFrame:
    """Ranking, decisions and probabilities of every arm on every test generator, averaged over splits.

    Thresholds (best balanced accuracy) and calibrations (sigmoid) are those that each split chose on its select rows.
    Generators with fewer than 100 test images are pooled into one row, `small sets together`. The row
    `unseen generators` is the mean over the others, without in-distribution images.

    Args:
        transfer: with the scores of every split.
        n_resamples: joint resamples of photographs and groups for the intervals; detectors stay fixed.
        random_state: seed of the resample.

    Returns:
        A row for each arm and test set: arm, test, splits, the columns of
        `interp.protocol.operating_table.operating_table`, and for eight of these their `_low` and `_high` (95 %
        over images).
    """
    resample = JointResample(transfer.rows, n_resamples=n_resamples, random_state=random_state)
    chosen = transfer.choices.set_index(["train", "select", "seed", "arm"])
    found: dict[tuple[str, str], list[tuple[dict[str, float], dict[str, np.ndarray]]]] = {}
    for one in transfer.split_scores:
        who = ("+".join(one.split.train_generators), "+".join(one.split.select_generators), one.split.seed)
        for test, members, y in _sets(one, transfer.rows):
            weights = resample.counts(members)
            scores = one.scores[np.searchsorted(one.positions, members)]
            for column, arm in enumerate(one.arms):
                decided = chosen.loc[(*who, arm)]
                threshold = float(decided["threshold"])
                probability = Sigmoid(decided["slope"], decided["intercept"]).probability(scores[:, column])
                numbers = operating_table(y, scores[:, column], threshold, probability)
                drawn = _resampled(y, scores[:, column], threshold, probability, weights)
                found.setdefault((arm, test), []).append((numbers, drawn))
    rows = []
    for arm in transfer.split_scores[0].arms:
        parts = {test: _mean(entries) for (name, test), entries in found.items() if name == arm}
        unseen = [part for test, part in parts.items() if test not in (IN_DISTRIBUTION, SMALL_SETS)]
        if unseen:
            rows.append(_row(arm, UNSEEN, *_mean(unseen), splits=len(transfer.split_scores)))
        rows += [
            _row(arm, test, *parts[test], splits=len(found[arm, test]))
            for test in sorted(parts, key=lambda name: (name in (SMALL_SETS, IN_DISTRIBUTION), name))
        ]
    return pd.DataFrame(rows)


def probabilities(transfer: Transfer, arm: str) -> tuple[np.ndarray, np.ndarray]:
    """Labels (k,) and probabilities of a fake (k,) of every image of unseen generators, all splits together.

    An image that several splits test is there once for each; each split's calibration is its own.
    """
    generator, column = (
        transfer.rows["generator"].to_numpy().astype(str),
        transfer.split_scores[0].arms.index(arm),
    )
    labels = (transfer.rows["label"] != "real").to_numpy().astype(int)
    chosen = transfer.choices[transfer.choices["arm"] == arm].set_index(["train", "select", "seed"])
    y, found = [], []
    for one in transfer.split_scores:
        sets = evaluation_sets(one.split, generator, labels)
        sets.pop(IN_DISTRIBUTION, None)
        members = np.unique(np.concatenate([*sets.values(), np.empty(0, np.int64)]))
        who = ("+".join(one.split.train_generators), "+".join(one.split.select_generators), one.split.seed)
        decided = chosen.loc[who]
        scores = one.scores[np.searchsorted(one.positions, members), column]
        y.append(labels[members])
        found.append(Sigmoid(decided["slope"], decided["intercept"]).probability(scores))
    return np.concatenate(y), np.concatenate(found)


def _sets(one: SplitScores, rows: pd.DataFrame) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    """Name, positions and labels of each test set of a split, small ones together."""
    y = (rows["label"] != "real").to_numpy().astype(int)
    generator = rows["generator"].to_numpy().astype(str)
    sets, small = evaluation_sets(one.split, generator, y), []
    for test, members in sets.items():
        if test != IN_DISTRIBUTION and y[members].sum() < SMALL:
            small.append(members)
        else:
            yield test, members, y[members]
    if small:
        members = np.unique(np.concatenate(small))
        yield SMALL_SETS, members, y[members]


def _resampled(
    y: np.ndarray, scores: np.ndarray, threshold: float, probability: np.ndarray, weights: np.ndarray
) -> dict[str, np.ndarray]:
    """The numbers that have intervals, (B,) each, under each resample."""
    rates = rates_at(y, scores, threshold, weights)
    enough = (y == 0).sum() >= NEEDED_PHOTOGRAPHS[0.05]
    tpr = tpr_at_fpr(y, scores, 0.05, weights) if enough else np.full(len(weights), np.nan)
    return {
        "average_precision": average_precision(y, scores, weights),
        "equal_error_rate": equal_error_rate(y, scores, weights),
        "tpr_at_5pct_fpr": tpr,
        "balanced_accuracy": rates.balanced_accuracy,
        "accuracy_fakes": rates.tpr,
        "accuracy_photographs": 1 - rates.fpr,
        "brier": brier_score(y, probability, weights),
        "ece": calibration_error(y, probability, weights=weights),
    }


def _mean(
    entries: list[tuple[dict[str, float], dict[str, np.ndarray]]],
) -> tuple[dict[str, float], dict[str, np.ndarray]]:
    """Mean of the numbers and, resample by resample, of what was resampled."""
    numbers = pd.DataFrame([number for number, _ in entries]).mean(skipna=False).to_dict()
    drawn = {name: np.mean([one[name] for _, one in entries], axis=0) for name in WITH_INTERVALS}
    return {str(name): float(value) for name, value in numbers.items()}, drawn


def _row(
    arm: str, test: str, numbers: dict[str, float], drawn: dict[str, np.ndarray], *, splits: int
) -> dict[str, str | float]:
    row: dict[str, str | float] = {"arm": arm, "test": test, "splits": splits, **numbers}
    for name in WITH_INTERVALS:
        known = np.isfinite(drawn[name]).all() and np.isfinite(numbers[name])
        low, high = percentile_interval(drawn[name]) if known else (np.nan, np.nan)
        row[f"{name}_low"], row[f"{name}_high"] = float(low), float(high)
    return row
