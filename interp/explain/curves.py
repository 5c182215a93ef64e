"""Does an attribution rank heads as the detector uses them? Insertion and deletion curves against random orders.

Heads go from the baseline to the image (insertion) or the other way (deletion), the one first that the attribution says
moves the score most towards the verdict (Petsiuk, Das & Saenko 2018, with heads in the place of pixels).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from interp.encoders.layout import HeadLayout
from interp.errors import InputError
from interp.explain.attribution import HeadAttribution, score_function


@dataclass(frozen=True)
class HeadCurves:
    """Insertion and deletion of heads, averaged over images.

    Attributes:
        table: a row for each kind and step: kind ("insertion", "deletion"), heads (how many have gone), score (mean
            distance from the baseline's score towards the image's), null (the same under random orders, their mean).
        summary: a row for each kind: kind, auc (mean over steps, in the unit of the score), null, null_low, null_high
            (mean and middle 95 % of random orders), p (share of random orders at least as good, the observed one
            counted in). Insertion is better when larger, deletion when smaller.
    """

    table: pd.DataFrame
    summary: pd.DataFrame


def head_curves(
    model: Any,
    X: np.ndarray,
    layout: HeadLayout,
    attribution: HeadAttribution,
    *,
    baseline: np.ndarray | None = None,
    nulls: int = 20,
    random_state: int = 0,
) -> HeadCurves:
    """Insert and delete heads in the order of an attribution and in random orders.

    Args:
        model, X, layout, baseline: as `attribute` was given them.
        attribution: what it found.
        nulls: random orders of heads, drawn for each image.
        random_state: their seed.

    Raises:
        InputError: an attribution of other images or heads.

    >>> from interp.detectors.detector import LinearScore
    >>> from interp.explain.attribution import attribute
    >>> model, layout, X = LinearScore(np.array([1.0, 2, 3]), 0.0), HeadLayout(1, 3, 1), np.ones((1, 3))
    >>> curves = head_curves(model, X, layout, attribute(model, X, layout, method="exact"))
    >>> curves.table["score"].tolist()
    [0.0, 3.0, 5.0, 6.0, 6.0, 3.0, 1.0, 0.0]
    """
    X = np.asarray(X, dtype=np.float64)
    at = np.zeros(layout.size) if baseline is None else np.asarray(baseline, dtype=np.float64)
    if attribution.heads.shape != (len(X), layout.n_heads):
        raise InputError(
            f"the attribution is of {attribution.heads.shape} images and heads; X and layout have "
            f"({len(X)}, {layout.n_heads})"
        )
    score = score_function(model, layout)
    side = np.where(attribution.score < attribution.baseline_score, -1.0, 1.0)
    rng = np.random.default_rng(random_state)
    orders = [np.argsort(-attribution.heads * side[:, None], axis=1, kind="stable")]
    orders += [rng.permuted(np.tile(np.arange(layout.n_heads), (len(X), 1)), axis=1) for _ in range(nulls)]
    tables, rows = [], []
    for kind, begin, end in (("insertion", at, X), ("deletion", X, at)):
        curves = np.stack([_curve(score, begin, end, order, layout) for order in orders])
        curves = (side * (curves - attribution.baseline_score)).mean(-1)  # (orders, steps)
        aucs = np.trapezoid(curves, axis=1) / layout.n_heads
        null = curves[1:].mean(0) if nulls else np.full(curves.shape[1], np.nan)
        tables.append(
            pd.DataFrame({"kind": kind, "heads": range(len(null)), "score": curves[0], "null": null})
        )
        better = aucs[1:] >= aucs[0] if kind == "insertion" else aucs[1:] <= aucs[0]
        low, high = np.quantile(aucs[1:], [0.025, 0.975]) if nulls else (np.nan, np.nan)
        rows.append(
            {
                "kind": kind,
                "auc": aucs[0],
                "null": aucs[1:].mean() if nulls else np.nan,
                "null_low": low,
                "null_high": high,
                "p": (1 + better.sum()) / (1 + nulls),
            }
        )
    return HeadCurves(pd.concat(tables, ignore_index=True), pd.DataFrame(rows))


def _curve(
    score: Callable[[np.ndarray], np.ndarray],
    begin: np.ndarray,
    end: np.ndarray,
    order: np.ndarray,
    layout: HeadLayout,
) -> np.ndarray:
    """Scores (heads + 1, n) while each image's heads go from `begin` to `end` in its own order (n, heads)."""
    shape = (len(order), layout.n_heads, layout.width)
    now = np.broadcast_to(begin.reshape(-1, *shape[1:]), shape).copy()
    last = np.broadcast_to(end.reshape(-1, *shape[1:]), shape)
    images, found = np.arange(len(order)), [score(now.reshape(len(order), -1))]
    for heads in order.T:
        now[images, heads] = last[images, heads]
        found.append(score(now.reshape(len(order), -1)))
    return np.stack(found)
