"""Twins against their own photographs: how often a detector scores the twin higher, with content held fixed."""

from __future__ import annotations

import numpy as np
import pandas as pd

from interp.errors import InputError
from interp.protocol.intervals import percentile_interval


def within_pairs(
    scores: pd.DataFrame, rows: pd.DataFrame, *, n_resamples: int = 1000, random_state: int = 0
) -> pd.DataFrame:
    """For each arm and mechanism, the share of twins that score above their own photograph; ties count half.

    An AUC also compares a twin with other photographs, whose content moves the score more than any mechanism; this does
    not. It needs the photograph, so it is no detection rate.

    Args:
        scores: of every split, as `Transfer.scores()` gives them: key, arm, train, select, seed, score,
            in_distribution.
        rows: of the store: label, generator, group; one photograph in a group.
        n_resamples: draws of photographs with all their twins and seeds, for the 95 % percentile intervals.
        random_state: seed of the draws.

    Returns:
        arm, test (the mechanism), in_distribution (whether it was trained on), share, low, high, photographs. Splits
        and seeds are averaged for each photograph first.

    Raises:
        InputError: a group with several photographs, or no twin among the scores.

    >>> rows = pd.DataFrame({"label": ["real", "twin"], "generator": ["real", "twin-vae"], "group": "a"})
    >>> rows.index = ["p", "t"]
    >>> scores = pd.DataFrame({"key": ["p", "t"], "arm": "embedding", "train": "x", "select": "y", "seed": 0})
    >>> within_pairs(scores.assign(score=[0.1, 0.4], in_distribution=False), rows)["share"].item()
    1.0
    """
    about = rows[["label", "generator", "group"]]
    real = about[about["label"] == "real"]
    joined = scores.astype({"key": object}).join(about, on="key")
    twins = joined[joined["label"] == "twin"]
    if twins.empty:
        raise InputError("the scores hold no twin; score a store of twins under Protocol.twins")
    crowded = real.loc[real["group"].isin(twins["group"]), "group"]
    if crowded.duplicated().any():
        raise InputError(
            f"group {crowded[crowded.duplicated()].iloc[0]!r} holds several photographs, so that its twins have no one "
            "photograph to be compared with; give each photograph its own group"
        )
    split = ["arm", "train", "select", "seed", "group"]
    own = joined.loc[joined["label"] == "real", [*split, "score"]].rename(columns={"score": "own"})
    pairs = twins.astype({name: object for name in split}).merge(
        own.astype({name: object for name in split}), on=split
    )
    pairs["above"] = (pairs["score"] > pairs["own"]) + 0.5 * (pairs["score"] == pairs["own"])
    means = pairs.groupby(["arm", "generator", "in_distribution", "group"], observed=True)["above"].mean()
    rng = np.random.default_rng(random_state)
    found = []
    for (arm, test, held), values in means.groupby(level=[0, 1, 2], sort=True):
        shares = values.to_numpy()
        drawn = np.array(
            [shares[rng.integers(len(shares), size=len(shares))].mean() for _ in range(n_resamples)]
        )
        low, high = percentile_interval(drawn)
        found.append((arm, test, held, shares.mean(), float(low), float(high), len(shares)))
    columns = ["arm", "test", "in_distribution", "share", "low", "high", "photographs"]
    return pd.DataFrame(found, columns=columns)
