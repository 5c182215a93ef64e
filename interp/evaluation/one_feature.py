"""How much of the label one feature tells: the cross-validated AUC of a classifier that sees nothing else."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy.stats import rankdata
from sklearn.model_selection import StratifiedGroupKFold

from interp.errors import InputError
from interp.protocol.metrics import auc

FOLDS = 5
ALL = "all together"
"""Stands for all features of a kind in tables."""
BINS = 12
"""Most bins of a number; they hold as many images each, and the label has no say in them."""

PERMUTATIONS = 1999
_CHUNK = 250


def folds_of(fake: np.ndarray, unit: np.ndarray, random_state: int = 0) -> np.ndarray:
    """(n,) fold of each row, 0 to 4; rows of one unit share a fold, and each fold has both classes alike.

    Args:
        fake: (n,) bool.
        unit: (n,) numbers of sets of rows that stay together.
        random_state: seed of the dealing.

    Raises:
        InputError: a class with fewer than five units.

    >>> folds_of(np.arange(20) % 2 == 1, np.arange(20)).tolist().count(0)
    4
    """
    fewest = min(len(np.unique(unit[fake])), len(np.unique(unit[~fake])))
    if fewest < FOLDS:
        raise InputError(
            f"{FOLDS} folds need {FOLDS} photographs and {FOLDS} fakes (or twins) that are independent; given {fewest} "
            "of one kind; give an image set with labels real and fake"
        )
    fold = np.empty(len(fake), np.int64)
    dealt = StratifiedGroupKFold(FOLDS, shuffle=True, random_state=random_state)
    for number, (_, held) in enumerate(dealt.split(unit, fake, unit)):
        fold[held] = number
    return fold


def as_categories(column: pd.Series) -> np.ndarray:
    """(n,) int64 codes: names as they are, numbers in bins of as many rows each; what is missing is a value too.

    >>> as_categories(pd.Series(["PNG", "JPEG", "PNG", None])).tolist()
    [0, 1, 0, 2]
    """
    if pd.api.types.is_numeric_dtype(column) and not pd.api.types.is_bool_dtype(column):
        values = column.to_numpy(np.float64)
        known = values[np.isfinite(values)]
        edges = np.unique(np.quantile(known, np.linspace(0, 1, BINS + 1)[1:-1])) if len(known) else known
        return np.where(np.isfinite(values), np.searchsorted(edges, values, side="left"), len(edges) + 1)
    return pd.factorize(column, use_na_sentinel=False)[0].astype(np.int64)


def out_of_fold(columns: Sequence[np.ndarray], fake: np.ndarray, fold: np.ndarray) -> np.ndarray:
    """Scores (n,) of each row by what the other folds say of its values; higher is more likely a fake.

    Naive Bayes: the log-odds of each value, counts smoothed by one half, summed over columns. A value that the other
    folds lack says nothing.

    Args:
        columns: (n,) codes each, as from `as_categories`.
        fake: (n,) bool.
        fold: (n,), as from `folds_of`.
    """
    return _scores(columns, fake[:, None], fold)[:, 0]


def permutation_p(
    columns: Sequence[np.ndarray],
    fake: np.ndarray,
    unit: np.ndarray,
    fold: np.ndarray,
    *,
    n_permutations: int = PERMUTATIONS,
    random_state: int = 0,
) -> float:
    """The chance that these columns reach their cross-validated AUC where labels are dealt to units at random.

    A classifier that is fitted anew on each labelling has no say in this that it does not have in the AUC itself;
    an interval from the scores of one fit is too narrow for that. A unit of both labels keeps its own, shuffled.

    Args:
        columns, fake, fold: as in `out_of_fold`.
        unit: (n,) numbers of sets of rows that stay together.
        n_permutations: labellings drawn.
        random_state: their seed.

    Returns:
        (1 + labellings that reach the AUC) / (1 + labellings).
    """
    reached = auc(fake, out_of_fold(columns, fake, fold))
    rng = np.random.default_rng(random_state)
    as_high = 0
    for start in range(0, n_permutations, _CHUNK):
        labels = _permuted(fake, unit, min(_CHUNK, n_permutations - start), rng)
        ranks = rankdata(_scores(columns, labels, fold), axis=0)
        many = labels.sum(0)
        found = ((ranks * labels).sum(0) - many * (many + 1) / 2) / (many * (len(fake) - many))
        as_high += int((found >= reached - 1e-12).sum())
    return (1 + as_high) / (1 + n_permutations)


def _permuted(fake: np.ndarray, unit: np.ndarray, many: int, rng: np.random.Generator) -> np.ndarray:
    """(n, many) bool: labels dealt to units anew; a unit of both labels keeps them in another order."""
    code = np.unique(unit, return_inverse=True)[1]
    counts = np.bincount(code)
    share = np.bincount(code, fake) / counts
    pure = (share == 0) | (share == 1)
    labels = np.empty((len(fake), many), bool)
    mixed = np.flatnonzero(~pure[code])
    order = mixed[np.argsort(code[mixed], kind="stable")]
    for draw in range(many):
        dealt = share.copy()
        dealt[pure] = rng.permutation(share[pure])
        labels[:, draw] = dealt[code] > 0.5
        labels[order, draw] = fake[mixed[np.lexsort((rng.random(len(mixed)), code[mixed]))]]
    return labels


def _scores(columns: Sequence[np.ndarray], labels: np.ndarray, fold: np.ndarray) -> np.ndarray:
    """(n, B) scores for each of B labellings (n, B) bool."""
    draws = np.arange(labels.shape[1])
    scores = np.zeros(labels.shape)
    for code in columns:
        many = int(code.max()) + 1
        place = code[:, None] + many * draws
        for held in np.unique(fold):
            rows, others = fold == held, fold != held
            seen = np.bincount(code[others], minlength=many)
            counts = np.bincount(place[others].ravel(), labels[others].ravel(), minlength=many * len(draws))
            of_fakes = counts.reshape(len(draws), many).T + 0.5
            odds = np.log(of_fakes) - np.log(seen[:, None] + 1 - of_fakes)
            fakes = labels[others].sum(0) + 0.5
            odds -= np.log(fakes / (others.sum() + 1 - fakes))
            odds[seen == 0] = 0.0
            scores[rows] += odds[code[rows]]
    return scores
