"""Every metric of every detector under every laundering on one split, and under one joint resample of its images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from interp.evaluation.cells import IN_DISTRIBUTION
from interp.protocol.metrics import auc_columns
from interp.protocol.operating_points import rates_at, tpr_at_fpr
from interp.protocol.operating_table import NEEDED_PHOTOGRAPHS
from interp.protocol.resampling import JointResample, resampled_auc

SMALL = "(small sets)"
"""Stands for the fakes of all generators with too few images for a row of their own, taken together."""
SMALLEST = 100
"""Images that a generator needs for a row of its own."""
METRICS = (
    "auc",
    "balanced_accuracy",
    "accuracy_fakes",
    "accuracy_photographs",
    "flip_rate",
    *(f"tpr_at_{level * 100:.0f}pct_fpr" for level in NEEDED_PHOTOGRAPHS),
)


@dataclass(frozen=True)
class Judged:
    """Scores of m detectors on k images of one split under s launderings, the first of which is none.

    Attributes:
        sets: positions of the rows of each test set, photographs and fakes.
        positions: (k,) int64, sorted: rows that were scored.
        scores: (k, s, m) float64.
        thresholds: (m,) float64, from clean select rows.
        nulls: (k, s, r) float64: scores of r random choices.
    """

    sets: Mapping[str, np.ndarray]
    positions: np.ndarray
    scores: np.ndarray
    thresholds: np.ndarray
    nulls: np.ndarray


def pooled_sets(
    sets: Mapping[str, np.ndarray], generator: np.ndarray, y: np.ndarray, small: Sequence[str]
) -> dict[str, np.ndarray]:
    """Test sets with those of the small generators taken together as `SMALL`.

    Args:
        sets: of `evaluation_sets`: positions of photographs and one generator's fakes.
        generator: (n,) names.
        y: (n,), 1 fake, 0 photograph.
        small: generators with too few images.

    >>> y, generator = np.array([0, 1, 1, 1]), np.array(["real", "a", "b", "c"])
    >>> sets = {"a": np.array([0, 1]), "b": np.array([0, 2]), "c": np.array([0, 3])}
    >>> {name: rows.tolist() for name, rows in pooled_sets(sets, generator, y, ["b", "c"]).items()}
    {'a': [0, 1], '(small sets)': [0, 2, 3]}
    """
    kept = {name: rows for name, rows in sets.items() if name not in small}
    together = [rows for name, rows in sets.items() if name in small]
    return kept | ({SMALL: np.unique(np.concatenate(together))} if together else {})


def small_generators(generator: np.ndarray, y: np.ndarray, counted: np.ndarray) -> list[str]:
    """Names of the generators with fewer than `SMALLEST` images among the rows counted, (n,) bool."""
    names, counts = np.unique(generator[(y == 1) & counted], return_counts=True)
    return [str(name) for name, count in zip(names, counts, strict=True) if count < SMALLEST]


def split_metrics(
    judged: Judged, y: np.ndarray, resample: JointResample
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Metrics of each test set: values (metrics, s, m), as measured first and then under each resample.

    Returns:
        From the name of a set to float32 of shape (1 + B, metrics, s, m), and int64 (photographs, fakes).
    """
    found = {}
    for name, rows in judged.sets.items():
        at = np.searchsorted(judged.positions, rows)
        weights = np.concatenate([np.ones((1, len(rows)), np.float32), resample.counts(rows)])
        values = _metrics(y[rows], judged.scores[at], judged.thresholds, weights, resample.unit[rows])
        found[name] = values, np.bincount(y[rows], minlength=2)
    return found


def _metrics(
    y: np.ndarray, scores: np.ndarray, thresholds: np.ndarray, weights: np.ndarray, unit: np.ndarray
) -> np.ndarray:
    """(1 + B, metrics, s, m) float32 of scores (n, s, m), weights (1 + B, n), units (n,)."""
    n, s, m = scores.shape
    columns, levels = scores.reshape(n, s * m), np.tile(thresholds, s)
    auc = resampled_auc(y, columns, weights, unit)
    auc[0] = auc_columns(y, columns)
    rates = rates_at(y, columns, levels, weights)
    called = scores > thresholds
    flipped = (called != called[:, :1]).reshape(n, s * m)
    by_class = []
    for of in (y == 0, y == 1):
        total = weights[:, of].sum(axis=1, keepdims=True)
        by_class.append(weights[:, of] @ flipped[of] / np.where(total > 0, total, np.nan))
    found = [auc, rates.balanced_accuracy, rates.tpr, 1 - rates.fpr, np.mean(by_class, axis=0)]
    for level, needed in NEEDED_PHOTOGRAPHS.items():
        enough = (y == 0).sum() >= needed
        found.append(tpr_at_fpr(y, columns, level, weights) if enough else np.full_like(auc, np.nan))
    return np.stack(found, axis=1).reshape(len(weights), len(METRICS), s, m).astype(np.float32)


def is_primary(name: str) -> bool:
    """Whether a test set is one generator's own."""
    return name not in (SMALL, IN_DISTRIBUTION)
