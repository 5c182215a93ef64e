"""Three measures of a head, kept apart: what it knows, what it adds to a verdict, and what the verdict loses with it.

Information is what a probe reads from the head alone. The direct effect takes the head's stored contribution out of the
embedding: what later layers made of it stays. The total effect prunes the head in the forward pass. Both effects are
judged by one fixed detector, fitted on train rows of the untouched embedding, on select rows.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pandas as pd
from tqdm import tqdm

from interp.analysis.direct_effect import head_scores
from interp.analysis.ranking import probe_scores, standardised
from interp.analysis.strength import choose_strength, mean_auc
from interp.encoders.layout import HeadLayout
from interp.errors import InputError

if TYPE_CHECKING:
    from interp.protocol.roles import Split

MEASURES = ("information", "direct_margin", "direct_auc", "total_margin", "total_auc")
"""Columns of the three measures; the effects are after minus before, so that above 0 the verdict is better without."""


class FixedDetector(NamedTuple):
    """Weights (P,) and intercept of a detector on the embedding, in log-odds under equal classes."""

    coef: np.ndarray
    intercept: float

    def score(self, embedding: np.ndarray) -> np.ndarray:
        """(…,) scores of embeddings (…, P)."""
        return np.asarray(embedding, dtype=np.float64) @ self.coef + self.intercept


def fixed_detector(
    embedding: np.ndarray, y: np.ndarray, train: np.ndarray, select: np.ndarray, generator: np.ndarray
) -> FixedDetector:
    """Fit on train rows of the embedding (n, P), the strength chosen on select rows."""
    columns = standardised(embedding[train], embedding[select])
    choice = choose_strength(columns[0], y[train], columns[1], y[select], generator=generator[select])
    center, scale = embedding[train].astype(np.float64).mean(0), embedding[train].astype(np.float64).std(0)
    scale[scale == 0] = np.inf
    coef = choice.coef / scale
    return FixedDetector(coef, float(choice.intercept - center @ coef))


def margins(y: np.ndarray, scores: np.ndarray, generator: np.ndarray) -> np.ndarray:
    """Mean score of the fakes minus that of the photographs, (m,), of score columns (n, m); generators weigh the same.

    >>> margins(np.array([0, 1, 1, 1]), np.array([[1.0], [2], [4], [9]]), np.array(["real", "a", "a", "b"]))
    array([5.])
    """
    fake = y == 1
    each = [scores[fake & (generator == name)].mean(0) for name in np.unique(generator[fake])]
    return np.mean(each, axis=0) - scores[~fake].mean(0)


def head_effects(
    embedding: np.ndarray,
    heads: np.ndarray,
    pruned: np.ndarray,
    y: np.ndarray,
    layout: HeadLayout,
    fold: np.ndarray,
    splits: Iterable[Split],
    *,
    generator: np.ndarray,
    progress: bool = True,
) -> pd.DataFrame:
    """Measure every head on every split; test rows are not read.

    Args:
        embedding: (n, P), `store.embedding()`.
        heads: (n, l·h·d), `store.head_features()`.
        pruned: (n, l·h, P), the embedding under the pruning of each head, `prune_effects`.
        y: (n,), 1 fake, 0 photograph.
        layout: which columns of `heads` are which head's.
        fold: (l, h, d, P), `store.readout.folded`.
        splits: who trains and selects; usually a `Protocol`.
        generator: (n,) names.
        progress: show a bar.

    Returns:
        A row for each head and split: head, train, select, seed; information (AUC of a probe on the head alone);
        direct_margin, total_margin (change of the fake minus photograph margin, log-odds) and direct_auc, total_auc
        (change of AUC) when the head goes; margin and auc of the untouched embedding. All on select rows, mean over
        their generators.

    Raises:
        InputError: arrays that do not fit, no split, or select rows without pruned embeddings.
    """
    if pruned.shape != (len(embedding), layout.n_heads, embedding.shape[1]):
        raise InputError(
            f"pruned must be ({len(embedding)}, {layout.n_heads}, {embedding.shape[1]}), every head in the order of "
            f"the layout; given {pruned.shape}"
        )
    splits = list(splits)
    if not splits:
        raise InputError("there is no split to measure heads on")
    frames = []
    for split in tqdm(splits, desc="head effects", unit="split", disable=not progress):
        rows, names = split.select, generator[split.select]
        if not np.isfinite(pruned[rows]).all():
            raise InputError(
                f"select rows of {split.name} have no pruned embeddings; give prune_effects the rows of all parts"
            )
        detector = fixed_detector(embedding, y, split.train, rows, generator)
        before = detector.score(embedding[rows])[:, None]
        after = {
            "direct": before - head_scores(heads[rows], layout, fold, detector.coef),
            "total": detector.score(pruned[rows]),
        }
        probes = probe_scores(heads, y, layout, split.train, rows)
        found = {"information": mean_auc(y[rows], probes, names)}
        margin, auc = margins(y[rows], before, names), mean_auc(y[rows], before, names)
        for kind, scores in after.items():
            found[f"{kind}_margin"] = margins(y[rows], scores, names) - margin
            found[f"{kind}_auc"] = mean_auc(y[rows], scores, names) - auc
        who = {
            "head": layout.names,
            "train": "+".join(split.train_generators),
            "select": "+".join(split.select_generators),
            "seed": split.seed,
        }
        frames.append(pd.DataFrame({**who, **found, "margin": margin[0], "auc": auc[0]}))
    return pd.concat(frames, ignore_index=True)
