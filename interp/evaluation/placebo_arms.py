"""Arms from which placebos were erased: does a detector keep what it sees of generation without them?"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from interp.analysis.placebo_erasure import MOVED, PlaceboErasure
from interp.evaluation.arms import Arm
from interp.evaluation.placebos import Placebo
from interp.features.store import FeatureStore


def placebo_erasure_arm(
    store: FeatureStore, placebos: Sequence[Placebo], features: str = "embedding", *, name: str = ""
) -> Arm:
    """The embedding, or all heads, without what tells the sides of each placebo among train and select photographs.

    Args:
        store: whose features.
        placebos: what to erase, in turn.
        features: "embedding" as one representation, or "heads", each head on its own.
        name: of the arm; by default placebo_erasure, or placebo_erasure_heads.
    """
    layout = store.layout if features == "heads" else None
    said = placebo_statistics(store, placebos, features)
    shown = name or ("placebo_erasure" if features == "embedding" else f"placebo_erasure_{features}")
    return Arm(shown, features, PlaceboErasure(layout), statistics=said)


def placebo_statistics(store: FeatureStore, placebos: Sequence[Placebo], features: str) -> pd.DataFrame:
    """What placebos say of a store's rows, as `PlaceboErasure` reads it.

    Returns:
        (n, …) with columns (placebo, "moved", number of the feature), by how much the alteration moves it, or
        (placebo, "side", 0), 1 on the first side; NaN for fakes and where a row is not asked.
    """
    X, real = store.features(features), (store.rows["label"] == "real").to_numpy()
    frames = []
    for placebo in placebos:
        if placebo.altered is not None:
            at = placebo.altered.rows.index.get_indexer(store.rows.index)
            known = (at >= 0) & real
            said = np.full(X.shape, np.nan, np.float32)
            said[known] = placebo.altered.features(features)[at[known]] - X[known]
            columns = pd.MultiIndex.from_product([[placebo.name], [MOVED], range(X.shape[1])])
        else:
            side = pd.Series(placebo.side).reindex(store.rows.index).astype("Float64")
            said = np.where(real, side.to_numpy(np.float64, na_value=np.nan), np.nan)[:, None]
            columns = pd.MultiIndex.from_tuples([(placebo.name, "side", 0)])
        frames.append(pd.DataFrame(said, index=store.rows.index, columns=columns))
    return pd.concat(frames, axis=1)
