"""A released head on the sets of a benchmark: each generator against the photographs that belong to it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pandas as pd

from interp.errors import InputError, unknown_name
from interp.images.image_set import ImageSet
from interp.protocol.metrics import auc
from interp.protocol.resampling import derive_seed

MEAN = "(mean)"
"""Row of the unweighted mean over sets."""


def set_members(rows: pd.DataFrame, sets: Mapping[str, str]) -> dict[str, np.ndarray]:
    """Positions of each set's images: the generator's own, and its photographs.

    Args:
        rows: label, generator, and `source` where sets have photographs of their own.
        sets: for each generator the `source` of its photographs; empty: every generator against all photographs.

    Raises:
        InputError: the rows have no column `source`, or no photograph at all.

    >>> rows = pd.DataFrame({"label": ["real", "fake", "real"], "generator": ["real", "glide", "real"],
    ...                      "source": ["laion", "glide", "imagenet"]})
    >>> set_members(rows, {"glide": "laion"})["glide"].tolist()
    [0, 1]
    """
    real, fake = (rows["label"] == "real").to_numpy(), (rows["label"] == "fake").to_numpy()
    if not real.any():
        raise InputError("the images hold no photograph; a set needs both classes")
    generator = rows["generator"].to_numpy()
    if not sets:
        return {
            name: np.flatnonzero(real | (fake & (generator == name))) for name in np.unique(generator[fake])
        }
    if "source" not in rows.columns:
        raise InputError(
            "the sets have photographs of their own, and the images have no column `source` that says which; open "
            "the folder in its own layout, or add the column to the manifest"
        )
    source = rows["source"].to_numpy()
    found = {}
    for name, photographs in sets.items():
        mine = fake & (generator == name), real & (source == photographs)
        if mine[0].any() and mine[1].any():
            found[name] = np.flatnonzero(mine[0] | mine[1])
    if not found:
        raise unknown_name("set", next(iter(sets)), np.unique(generator[fake]))
    return found


def sample_sets(images: ImageSet, sets: Mapping[str, str], per_class: int | None, seed: int) -> ImageSet:
    """The images of the sets alone, at most `per_class` of each generator and of each source of photographs.

    The draw depends on the seed and the source alone, so photographs that sets share are the same in each.
    """
    rows = images.table
    used = np.unique(np.concatenate(list(set_members(rows, sets).values())))
    kept = []
    who = (
        rows["generator"]
        if "source" not in rows.columns
        else rows["generator"].where(rows["label"] == "fake", "photographs/" + rows["source"].astype(str))
    )
    for name, positions in pd.Series(used).groupby(who.to_numpy()[used]):
        here = positions.to_numpy()
        if per_class is not None and len(here) > per_class:
            rng = np.random.default_rng(derive_seed(seed, str(name)))
            here = rng.choice(here, per_class, replace=False)
        kept.append(here)
    return replace(images, table=rows.iloc[np.sort(np.concatenate(kept))])


def score_sets(scores: pd.DataFrame, rows: pd.DataFrame, sets: Mapping[str, str]) -> pd.DataFrame:
    """Metrics of each set, and their unweighted mean.

    Args:
        scores: column `score`, a logit, NaN where unreadable; indexed as `rows`.
        rows: of the store.
        sets: as in `set_members`.

    Returns:
        Indexed by set: n_real, n_fake, accuracy, real_accuracy, fake_accuracy (all at logit 0, which is probability
        0.5), ap (average precision), auc, and oracle_accuracy, at the threshold that is best on this very set:
        it looks at test labels and is there for comparison with tables that do so; and n_sets, how many sets the row
        stands for.
    """
    from sklearn.metrics import average_precision_score

    found = {}
    for name, members in set_members(rows, sets).items():
        s = scores["score"].to_numpy()[members]
        y = (rows["label"] == "fake").to_numpy()[members][np.isfinite(s)].astype(int)
        s = s[np.isfinite(s)]
        if len(np.unique(y)) < 2:
            continue
        right = (s > 0) == y
        order = np.argsort(s)
        below = np.cumsum(np.where(y[order] == 0, 1, -1))
        cuts = np.append(np.diff(s[order]) > 0, True)  # a threshold stands between two different scores
        oracle = (y.sum() + max(0, below[cuts].max())) / len(y)
        found[name] = {
            "n_real": int((y == 0).sum()),
            "n_fake": int(y.sum()),
            "accuracy": right.mean(),
            "real_accuracy": right[y == 0].mean(),
            "fake_accuracy": right[y == 1].mean(),
            "ap": average_precision_score(y, s),
            "auc": auc(y, s),
            "oracle_accuracy": oracle,
        }
    table = pd.DataFrame.from_dict(found, orient="index").rename_axis("set")
    n_sets = len(table)
    table.loc[MEAN] = table.mean()
    return table.assign(n_sets=[1] * n_sets + [n_sets])
