"""Whether the embedding has harmful coordinates at all, split by split: train rows trust them, select rows do not."""

from __future__ import annotations

import os
from collections import Counter

import numpy as np
import pandas as pd
from joblib import Parallel, delayed, parallel_config
from tqdm import tqdm

from interp.analysis.harmful import harmful_components
from interp.features.store import FeatureStore
from interp.protocol.resampling import derive_seed
from interp.protocol.splits import Protocol

CHANCE = 0.05
"""Share of splits in which something may be found by chance; simulations without any plant gave 0 to 3 %."""


def harm_by_split(
    store: FeatureStore,
    protocol: Protocol,
    *,
    n_jobs: int | None = None,
    random_state: int = 0,
    progress: bool = True,
) -> pd.DataFrame:
    """Look for harmful coordinates of the embedding on every split; test rows are not read.

    Args:
        store: features of all images.
        protocol: over the store's rows.
        n_jobs: processes; by default one for each core.
        random_state: seed of folds and rotations.
        progress: show a bar.

    Returns:
        A row for each split: train, select, seed, found, coordinates (text), gain, gain_low, null_gain_high, p_value.
    """
    X, groups = store.features("embedding"), store.rows["group"].to_numpy()
    y = (store.rows["label"] != "real").to_numpy().astype(int)
    generator = store.rows["generator"].to_numpy().astype(str)

    def look(rows: np.ndarray, part: np.ndarray, seed: int):
        context = {"generator": generator[rows], "groups": groups[rows], "random_state": seed}
        return harmful_components(X[rows], y[rows], part[rows], **context)

    jobs = []
    for split in protocol:
        seed = derive_seed(random_state, split.name, split.seed) % 2**32
        jobs.append(delayed(look)(np.union1d(split.train, split.select), split.part, seed))
    with parallel_config(backend="loky", inner_max_num_threads=1):
        running = Parallel(n_jobs=n_jobs or os.cpu_count() or 1, return_as="generator")(jobs)
        found = list(tqdm(running, total=len(jobs), desc="harm", unit="split", disable=not progress))
    rows = []
    for split, one in zip(protocol, found, strict=True):
        who = {"train": "+".join(split.train_generators), "select": "+".join(split.select_generators)}
        named = " ".join(str(j) for j in one.coordinates)
        numbers = {name: getattr(one, name) for name in ("gain", "gain_low", "null_gain_high", "p_value")}
        rows.append({**who, "seed": split.seed, "found": one.found, "coordinates": named, **numbers})
    return pd.DataFrame(rows)


def harm_sentence(table: pd.DataFrame) -> str:
    """What `harm_by_split` found, in a sentence.

    >>> harm_sentence(pd.DataFrame({"found": [True, False, True], "coordinates": ["17", "", "17 3"]}))
    'harmful components of the embedding in 2 of 3 splits (by chance up to 5 %): coordinate 17 (2), 3 (1)'
    """
    count, chance = int(table["found"].sum()), f"{100 * CHANCE:.0f} %"
    if count <= CHANCE * len(table):
        return f"no harmful component of the embedding found ({count} of {len(table)} splits; by chance up to {chance})"
    named = Counter(j for text in table["coordinates"] for j in text.split())
    shown = ", ".join(f"{j} ({many})" for j, many in named.most_common(5))
    where = f"harmful components of the embedding in {count} of {len(table)} splits"
    return f"{where} (by chance up to {chance}): coordinate {shown}"
