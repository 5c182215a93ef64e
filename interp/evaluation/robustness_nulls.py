"""What random choices of as many heads or coordinates reach under laundering: what a choice has to beat."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from interp.analysis.coordinate_removal import CoordinateRemoval
from interp.analysis.head_removal import HeadRemoval
from interp.analysis.head_selection import HeadSelection
from interp.evaluation.robustness_cells import Judged, is_primary
from interp.evaluation.robustness_curves import ALL_LAUNDERINGS, ALL_SETS
from interp.protocol.metrics import auc_columns


def at_random(transformer: Any, rng: np.random.Generator) -> Any:
    """A copy of a fitted selection or removal that names as many heads or coordinates, drawn; else None.

    A vote has weights of its own for each head and is left out.

    >>> rng = np.random.default_rng(0)
    >>> y, part = np.arange(80) % 2, np.repeat(["train", "select"], 40)
    >>> removal = CoordinateRemoval().fit(rng.normal(size=(80, 6)), y, part=part)
    >>> len(at_random(removal, rng).removed_) == len(removal.removed_)
    True
    """
    if isinstance(transformer, HeadRemoval):
        names = transformer.layout_.names
        return transformer.without(_drawn(rng, names, len(transformer.removed_)))
    other = copy.copy(transformer)
    if isinstance(transformer, HeadSelection) and transformer.aggregate != "vote":
        other.heads_ = _drawn(rng, transformer.layout_.names, transformer.k_)
        return other
    if isinstance(transformer, CoordinateRemoval):
        order = rng.permutation(transformer.n_features_in_)
        other.removed_, other.kept_ = np.split(order, [len(transformer.removed_)])
        other.kept_ = np.sort(other.kept_)
        return other
    return None


def null_curves(
    judged: Sequence[Judged], y: np.ndarray, launderings: Sequence[str], names: Sequence[tuple[str, str, int]]
) -> pd.DataFrame:
    """AUC of every random choice, splits averaged as in `curves_of`, and its gain over the first detector.

    Args:
        judged: of every split, with the scores of m random choices beside those of detectors.
        y: (n,) 1 fake, 0 photograph.
        launderings: s names, the first being none.
        names: m arms, what they were fitted on, and the number of the draw.

    Returns:
        A row for each random choice, laundering and test set: arm, fitted, draw, laundering, test, auc, gain.
    """
    found: dict[str, list[np.ndarray]] = {}
    for one in judged:
        for name, rows in one.sets.items():
            at = np.searchsorted(one.positions, rows)
            scores = np.concatenate([one.scores[at][..., :1], one.nulls[at]], axis=2)
            aucs = auc_columns(y[rows], scores.reshape(len(rows), -1)).reshape(scores.shape[1:])
            found.setdefault(name, []).append(aucs)
    means = {name: np.mean(aucs, axis=0) for name, aucs in found.items()}
    primary = [aucs for name, aucs in means.items() if is_primary(name)]
    if primary:
        means[ALL_SETS] = np.mean(primary, axis=0)
    frames = []
    for test, aucs in means.items():
        cells = list(launderings)
        if len(cells) > 1:
            aucs, cells = np.vstack([aucs, aucs[1:].mean(0)]), [*cells, ALL_LAUNDERINGS]
        for column, (arm, fitted, draw) in enumerate(names, start=1):
            frame = pd.DataFrame({"laundering": cells, "auc": aucs[:, column]})
            frame["gain"] = aucs[:, column] - aucs[:, 0]
            frames.append(frame.assign(arm=arm, fitted=fitted, draw=draw, test=test))
    columns = ["arm", "fitted", "draw", "laundering", "test", "auc", "gain"]
    return pd.concat(frames, ignore_index=True)[columns] if frames else pd.DataFrame(columns=columns)


def _drawn(rng: np.random.Generator, names: Sequence[str], many: int) -> list[str]:
    return [str(names[at]) for at in np.sort(rng.choice(len(names), size=many, replace=False))]
