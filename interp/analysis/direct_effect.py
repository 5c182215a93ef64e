"""What each head adds to a verdict directly: the margin it promises on train rows, and what unseen generators keep.

A linear detector's score of an embedding splits exactly over heads: head h adds its embedding · coef. The mean of that
over fakes minus the mean over photographs is the margin the head contributes. A head that has learned an accident of
the train generator promises margin on train rows and keeps none of it on another one, however well its probe ranks.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from interp.encoders.layout import HeadLayout
from interp.errors import InputError


def head_scores(X: np.ndarray, layout: HeadLayout, fold: np.ndarray, coef: np.ndarray) -> np.ndarray:
    """What each head adds to a linear detector's score of the embedding.

    Args:
        X: (n, l·h·d) head features, `store.head_features()`.
        layout: which columns are which head's.
        fold: (l, h, d, P), `store.readout.folded`.
        coef: (P,), weights of the detector on the embedding.

    Returns:
        (n, l·h) float64, in the unit of the score.

    Raises:
        InputError: shapes that do not fit.

    >>> head_scores(np.array([[1.0, 3]]), HeadLayout(1, 2, 1), np.ones((1, 2, 1, 1)), np.array([2.0]))
    array([[2., 6.]])
    """
    fold = np.asarray(fold, dtype=np.float64).reshape(layout.n_heads, layout.width, -1)
    if X.ndim != 2 or X.shape[1] != layout.size or fold.shape[-1] != len(coef):
        raise InputError(
            f"X must be (n, {layout.size}) and fold end with the {len(coef)} weights of coef; "
            f"given {X.shape} and {fold.shape}"
        )
    weights = fold @ np.asarray(coef, dtype=np.float64)
    return np.einsum("nhd,hd->nh", X.reshape(len(X), layout.n_heads, layout.width), weights)


def margin_by_head(
    X: np.ndarray,
    y: np.ndarray,
    layout: HeadLayout,
    fold: np.ndarray,
    coef: np.ndarray,
    *,
    train: np.ndarray,
    select: np.ndarray,
) -> pd.DataFrame:
    """Margin that every head promises on train rows and keeps on select rows, the least kept first.

    Args:
        X: (n, l·h·d) head features, `store.head_features()`.
        y: (n,), 1 fake, 0 photograph.
        layout: which columns are which head's.
        fold: (l, h, d, P), `store.readout.folded`.
        coef: (P,), weights of a linear detector on the embedding, fitted on the train rows.
        train, select: positions; the select rows' fakes are of other generators.

    Returns:
        A row for each head: head, promised, kept, excess (promised - kept), all as shares of what all heads
        together promise.

    Raises:
        InputError: shapes that do not fit, or heads that promise nothing together.

    >>> layout, y = HeadLayout(1, 2, 1), np.array([0, 1, 0, 1])
    >>> X = np.array([[0.0, 0], [1, 3], [0, 0], [1, 0]])            # the second head sees the train fake only
    >>> table = margin_by_head(X, y, layout, np.ones((1, 2, 1, 1)), np.ones(1), train=[0, 1], select=[2, 3])
    >>> table.round(2).values.tolist()
    [['L0.H1', 0.75, 0.0, 0.75], ['L0.H0', 0.25, 0.25, 0.0]]
    """
    margins = []
    for rows in (np.asarray(train), np.asarray(select)):
        effect = head_scores(X[rows], layout, fold, coef)
        margins.append(effect[y[rows] == 1].mean(0) - effect[y[rows] == 0].mean(0))
    promised, kept = margins
    total = promised.sum()
    if not total > 0:
        raise InputError(
            f"the heads promise no margin on the train rows ({total:.2g}); fit coef on these rows"
        )
    table = pd.DataFrame({"head": layout.names, "promised": promised / total, "kept": kept / total})
    table["excess"] = table["promised"] - table["kept"]
    return table.sort_values("excess", ascending=False, kind="stable", ignore_index=True)
