"""Which heads see one mechanism of twins and nothing else: a table of heads by mechanisms."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from scipy.stats import norm

from interp.errors import InputError

if TYPE_CHECKING:
    from interp.analysis.ranking import HeadRanking
    from interp.protocol.roles import Split


def heads_by_mechanism(
    ranking: HeadRanking, splits: Iterable[Split], y: np.ndarray, *, level: float = 0.05
) -> pd.DataFrame:
    """What each head's probe reaches on the mechanism it was trained on, and on every other.

    Args:
        ranking: what `rank_heads` gave on `splits`.
        splits: each trains on one mechanism, as those of `Protocol.twins(rows, "pairs")`.
        y: (n,), 1 twin, 0 photograph.
        level: error over the whole table, shared equally among heads × mechanisms (Bonferroni).

    Returns:
        A row for each head and mechanism: head, mechanism, own_auc (held-out twins of this mechanism), elsewhere_auc
        (the same probe on the others, mean), elsewhere_max and elsewhere_best (the other mechanism it does best on),
        chance (the AUC that a blind head stays below), sees (own_auc is above it), only (it sees this mechanism, is
        above chance on no other by this probe, and sees no other by a probe trained on that). Seeds are averaged.
        `chance` is that of one seed with unpaired images, sqrt((n0 + n1 + 1) / (12 n0 n1)) wide (Mann and Whitney
        1947), so that it errs on the high side.

    Raises:
        InputError: a split trains on several mechanisms.
    """
    splits = list(splits)
    several = [split.name for split in splits if len(split.train_generators) > 1]
    if several or not splits:
        raise InputError(
            f"each split has to train on one mechanism; given {several[0] if several else 'no split'}. Use the splits "
            "of Protocol.twins(rows, 'pairs')"
        )
    n0 = min(int((y[split.select] == 0).sum()) for split in splits)
    n1 = min(min(len(split.held_out), int((y[split.select] == 1).sum())) for split in splits)
    found = ranking.per_split
    own = found.groupby(["head", "train"], sort=False)["in_distribution_auc"].mean()
    spread = np.sqrt((n0 + n1 + 1) / (12 * n0 * n1))
    chance = min(1.0, 0.5 + float(norm.isf(level / len(own)) * spread))
    pairs = found.groupby(["head", "train", "select"], sort=False)["transfer_auc"].mean().reset_index()
    best = pairs.loc[pairs.groupby(["head", "train"], sort=False)["transfer_auc"].idxmax()]
    best = best.set_index(["head", "train"])
    table = pd.DataFrame(
        {
            "own_auc": own,
            "elsewhere_auc": pairs.groupby(["head", "train"], sort=False)["transfer_auc"].mean(),
            "elsewhere_max": best["transfer_auc"],
            "elsewhere_best": best["select"],
            "chance": chance,
            "sees": own > chance,
        }
    )
    alone = table.groupby(level="head")["sees"].transform("sum") == 1
    table["only"] = table["sees"] & alone & (table["elsewhere_max"] <= chance)
    return table.rename_axis(["head", "mechanism"]).reset_index()
