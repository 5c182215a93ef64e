"""Whether the size that an image once had can still be read off its features, after everything was made one size."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy.stats import rankdata
from sklearn.linear_model import RidgeCV
from sklearn.model_selection import GroupKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from interp.errors import InputError
from interp.features.store import FeatureStore
from interp.protocol.clustered_auc import clustered_auc
from interp.protocol.leaks import units

FOLDS = 5
STRENGTHS = tuple(10.0**power for power in range(0, 6))


def native_size_leak(
    store: FeatureStore,
    features: Sequence[str] = ("embedding", "heads"),
    *,
    where: np.ndarray | None = None,
    random_state: int = 0,
) -> pd.DataFrame:
    """How well a ridge on features predicts the native short side of images of one label, fitted on other images.

    Within photographs, or within fakes, the label cannot be what is predicted. What images of another size show may
    differ too, and no equalisation can take that away: compare equalisations with each other, not with 0.5.

    Args:
        store: features, with `width` and `height` of the files in pixels.
        features: which of the store's; see `FeatureStore.features`.
        where: (n,) bool, rows to look at; by default all. Give one source of photographs to leave
            out how sources differ.
        random_state: seed of the folds.

    Returns:
        A row for each label whose sizes vary and each kind of features: label, features, equalize, spearman (between
        predicted and native log2 short side), auc (of an image above the median size against one below it), low, high
        (95 %), n. Predictions are compared within folds: their means over folds would go against the sizes.

    Raises:
        InputError: no label has images of two sizes in ten groups or more.
    """
    kept = store.usable if where is None else store.usable & np.asarray(where, dtype=bool)
    rows = store.rows
    short = np.log2(np.maximum(rows[["width", "height"]].min(axis=1).to_numpy(np.float64), 1))
    found = []
    for label in ("real", "fake"):
        chosen = np.flatnonzero(kept & (rows["label"] == label).to_numpy())
        sizes, unit = short[chosen], units(rows.iloc[chosen])
        middle = np.median(sizes) if len(sizes) else 0.0
        sides = sizes > middle, sizes < middle
        if min(len(np.unique(unit[side])) for side in sides) < FOLDS:
            continue
        unlike = sides[0] | sides[1]
        for kind in features:
            guess = _predicted(store.features(kind)[chosen], sizes, unit, random_state)
            told = clustered_auc(sides[0][unlike], guess[unlike], unit[unlike])
            ranks = np.corrcoef(rankdata(guess), rankdata(sizes))[0, 1]
            who = {"label": label, "features": kind, "equalize": store.key["equalize"]}
            found.append(
                {
                    **who,
                    "spearman": ranks,
                    "auc": told.auc,
                    "low": told.low,
                    "high": told.high,
                    "n": len(chosen),
                }
            )
    if not found:
        raise InputError(
            f"native sizes do not vary within photographs or within fakes of {store.folder}: nothing to predict"
        )
    return pd.DataFrame(found)


def _predicted(X: np.ndarray, sizes: np.ndarray, unit: np.ndarray, random_state: int) -> np.ndarray:
    """Predictions (n,) from other folds, less their mean in each fold."""
    guess = np.empty(len(sizes))
    for others, held in GroupKFold(FOLDS, shuffle=True, random_state=random_state).split(X, groups=unit):
        ridge = make_pipeline(StandardScaler(), RidgeCV(STRENGTHS)).fit(X[others], sizes[others])
        found = np.asarray(ridge.predict(X[held]))
        guess[held] = found - found.mean()
    return guess
