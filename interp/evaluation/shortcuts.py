"""Whether detectors lean on something that can be measured in pixels and does not hold elsewhere, split by split."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from joblib import Parallel, delayed, parallel_config
from tqdm import tqdm

from interp.analysis.shortcut_removal import ShortcutRemoval
from interp.evaluation.arms import shortcut_removal_arm
from interp.evaluation.harm import CHANCE
from interp.features.store import FeatureStore
from interp.protocol.resampling import derive_seed
from interp.protocol.splits import Protocol


def shortcuts_by_split(
    store: FeatureStore,
    protocol: Protocol,
    statistics: pd.DataFrame | None = None,
    *,
    n_jobs: int | None = None,
    random_state: int = 0,
    progress: bool = True,
    **options: Any,
) -> pd.DataFrame:
    """Look for shortcuts of a detector on the embedding on every split; test rows are not read.

    Args:
        store: features of all images.
        protocol: over the store's rows.
        statistics: a row for each of them; by default those that `measure_statistics` left in the store.
        n_jobs: processes; by default one for each core.
        random_state: seed of shuffles and folds.
        progress: show a bar.
        options: of `ShortcutRemoval`: candidates, n_null, level.

    Returns:
        A row for each split and candidate: train, select, seed, and the columns of `ShortcutRemoval.table_`.

    Raises:
        InputError: the store has no statistics, or those given are of other rows.
    """
    measured = pd.DataFrame(shortcut_removal_arm(store, statistics).statistics)
    X, groups = store.features("embedding"), store.rows["group"].to_numpy()
    y = (store.rows["label"] != "real").to_numpy().astype(int)
    generator = store.rows["generator"].to_numpy().astype(str)

    def look(rows: np.ndarray, part: np.ndarray, seed: int) -> pd.DataFrame:
        removal = ShortcutRemoval(**{"random_state": seed, **options})
        context: Mapping[str, Any] = {"generator": generator[rows], "groups": groups[rows]}
        return removal.fit(X[rows], y[rows], part[rows], **context, statistics=measured.iloc[rows]).table_

    jobs = []
    for split in protocol:
        seed = derive_seed(random_state, split.name, split.seed) % 2**32
        rows = np.union1d(split.train, split.select)
        jobs.append(delayed(look)(rows, split.part, seed))
    with parallel_config(backend="loky", inner_max_num_threads=1):
        running = Parallel(n_jobs=n_jobs or os.cpu_count() or 1, return_as="generator")(jobs)
        tables = list(tqdm(running, total=len(jobs), desc="shortcuts", unit="split", disable=not progress))
    found = []
    for split, table in zip(protocol, tables, strict=True):
        who = {"train": "+".join(split.train_generators), "select": "+".join(split.select_generators)}
        found.append(pd.DataFrame({**who, "seed": split.seed}, index=table.index).join(table))
    return pd.concat(found, ignore_index=True)


def shortcuts_sentence(table: pd.DataFrame) -> str:
    """What `shortcuts_by_split` found, in a sentence: the properties by name, and in how many splits.

    >>> table = pd.DataFrame({"train": ["a", "a", "b", "b"], "select": "c", "seed": 0, "removed": [1, 0, 1, 0]})
    >>> shortcuts_sentence(table.assign(candidate=["colour cast", "noise"] * 2, gain=[0.03, 0, 0.01, 0]))
    'shortcuts found in 2 of 2 splits (by chance up to 5 %): colour cast (2, mean gain on select rows +0.020 AUC)'
    """
    splits = table.groupby(["train", "select", "seed"], sort=False)["removed"].any()
    count, chance = int(splits.sum()), f"by chance up to {100 * CHANCE:.0f} %"
    if count <= CHANCE * len(splits):
        return f"no shortcut found ({count} of {len(splits)} splits; {chance})"
    removed = table[table["removed"].astype(bool)]
    gains = removed.groupby("candidate")["gain"].mean()
    named = ", ".join(
        f"{name} ({many}, mean gain on select rows {gains[name]:+.3f} AUC)"
        for name, many in Counter(removed["candidate"]).most_common(5)
    )
    return f"shortcuts found in {count} of {len(splits)} splits ({chance}): {named}"
