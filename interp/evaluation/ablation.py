"""What each choice on the way to a detector is worth: a full grid of choices over one store. Resumable by split."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from joblib import Parallel, delayed, parallel_config
from tqdm import tqdm

from interp.errors import InputError, unknown_name
from interp.evaluation.ablation_cells import Material, split_cells
from interp.evaluation.ablation_grid import FACTORS, Combination, Grid, make_grid
from interp.evaluation.ablation_summary import Ablation
from interp.features.provenance import open_results
from interp.features.store import FeatureStore
from interp.protocol.roles import Split
from interp.protocol.splits import Protocol

BYTES = (6000, 60)
"""What a finished split takes on disk: for the file, and for each of its rows."""


def ablate(
    store: FeatureStore,
    protocol: Protocol,
    *,
    heads: Sequence[int | str] | int | str = ("embedding", "all", 12, 24),
    removal: Sequence[str] | str = ("none", "coordinates", "heads"),
    C: Sequence[float | str] | float | str = ("select", 0.01, 1.0),
    aggregate: Sequence[str] | str = ("concat", "sum", "vote"),
    normalise: Sequence[str] | str = ("none", "standard", "l2"),
    seeds: Sequence[int] | int | None = None,
    folder: str | Path | None = None,
    n_jobs: int | None = None,
    random_state: int = 0,
    progress: bool = True,
) -> Ablation:
    """Compute every combination of the values given, on every split; nothing is chosen by test rows.

    Impossible combinations are left out, and those that are the same computation are computed once: see
    `interp.evaluation.ablation_grid.make_grid` for the rules. The plain embedding (C chosen, columns standardised)
    is always computed. A run that was cut off goes on from `folder`, one file for each finished split.

    Args:
        store: features of all images.
        protocol: who trains, selects and tests, over the store's rows.
        heads: "embedding" (no head selection), "all", how many to keep of those that select rows rank best, or
            "best" (as many as select rows choose).
        removal: "none", "coordinates" (`CoordinateRemoval` on the columns that come out of the heads), "heads"
            (`HeadRemoval`, from the plain embedding only), or "generators" (`GeneratorErasure` of those columns; needs
            three generators that train or select, as `Protocol.leave_one_out` gives).
        C: inverse strength of the classifier's penalty: a number, or "select" for the best one on select rows.
        aggregate: of the heads, as in `HeadSelection`: "concat", "sum" or "vote".
        normalise: of the columns before the classifier: "standard" (each centred and scaled by the train rows),
            "none" (one scale for all of them, so that C means the same, and their proportions stay), or "l2" (each
            image's row divided by its length, as in Cozzolino et al. 2024, arXiv 2312.00195; then as "none").
        seeds: the protocol's seeds that are used: all, so many of the first, or those named.
        folder: where finished splits are kept.
        n_jobs: processes; by default one for each core.
        random_state: seed of removals.
        progress: print an estimate and show a bar.

    Raises:
        InputError: an unknown value or seed, a value that fits none of the others, or a folder that holds splits
            that were computed with other settings.
    """
    asked = {"heads": heads, "removal": removal, "C": C, "aggregate": aggregate, "normalise": normalise}
    grid = make_grid(store.layout, int(store.readout.folded.shape[-1]), asked)
    splits = _splits(protocol, seeds)
    settings = _settings(store, splits, grid, random_state)
    done = None if folder is None else open_results(Path(folder).absolute(), settings)
    files = [None if done is None else done / f"{number:05d}.parquet" for number in range(len(splits))]
    todo = [number for number, file in enumerate(files) if file is None or not file.exists()]
    if progress:
        print(_plan(grid, splits, len(todo), done))
    found = {n: pd.read_parquet(file) for n, file in enumerate(files) if file is not None and n not in todo}
    if todo:
        material = Material.of(store, grid.combinations)
        jobs = [
            delayed(_one_split)(splits[n], grid.combinations, material, random_state, files[n]) for n in todo
        ]
        workers = n_jobs or os.cpu_count() or 1
        with parallel_config(backend="loky", inner_max_num_threads=1):
            running = Parallel(n_jobs=workers, return_as="generator")(jobs)
            found |= _watched(zip(todo, running, strict=True), len(todo), workers, progress)
    families = store.rows.drop_duplicates("generator").set_index("generator")["family"].to_dict()
    return Ablation(_table(splits, grid, found), grid, families, settings)


def _one_split(
    split: Split,
    combinations: Sequence[Combination],
    material: Material,
    random_state: int,
    file: Path | None,
) -> pd.DataFrame:
    found = split_cells(split, combinations, material, random_state)
    if file is not None:
        temporary = file.with_name(f".{file.name}.{os.getpid()}")
        found.to_parquet(temporary, index=False)
        os.replace(temporary, file)
    return found


def _watched(
    running: Iterable[tuple[int, pd.DataFrame]], total: int, workers: int, progress: bool
) -> dict[int, pd.DataFrame]:
    """Collect finished splits under a bar; the first one says how long all will take."""
    started, found = time.perf_counter(), {}
    for number, one in tqdm(running, total=total, desc="ablate", unit="split", disable=not progress):
        found[number] = one
        if len(found) == 1 and progress and total > workers:
            seconds = (time.perf_counter() - started) * np.ceil(total / workers)
            duration = f"{seconds / 60:.0f} min" if seconds > 90 else f"{seconds:.0f} s"
            tqdm.write(f"about {duration} for all, by the first split, on {workers} processes")
    return found


def _plan(grid: Grid, splits: Sequence[Split], todo: int, folder: Path | None) -> str:
    """What the work will be, before it begins."""
    n_cells = len(grid.combinations) * sum(len(split.test_generators) for split in splits)
    done = f"; {len(splits) - todo} splits done before" if todo < len(splits) else ""
    sizes = f"{len(grid.combinations)} combinations × {len(splits)} splits"
    lines = [grid.describe(), f"{sizes}, each on all its test generators: {n_cells:,} rows{done}"]
    if folder is not None:
        size = len(splits) * BYTES[0] + n_cells * BYTES[1]
        lines.append(f"at most {max(size / 1e6, 0.1):.1f} MB into {folder}")
    return "\n".join(lines)


def _splits(protocol: Protocol, seeds: Sequence[int] | int | None) -> list[Split]:
    known = sorted({split.seed for split in protocol})
    if seeds is None:
        return list(protocol)
    wanted = list(range(seeds)) if isinstance(seeds, int) else list(seeds)
    for seed in wanted:
        if seed not in known:
            raise unknown_name("seed of the protocol", seed, known)
    if not wanted:
        raise InputError(f"seeds names none; the protocol has {', '.join(map(str, known))}")
    return [split for split in protocol if split.seed in wanted]


def _settings(store: FeatureStore, splits: Sequence[Split], grid: Grid, random_state: int) -> dict[str, Any]:
    """What decides the numbers, as the folder keeps it."""
    digest = hashlib.sha256((store.rows["label"] != "real").to_numpy().tobytes())
    for split in splits:
        for part in (split.train, split.select, split.test):
            digest.update(part.tobytes() + b";")
    return {
        "store": store.key,
        "splits": [f"{split.name} seed {split.seed}" for split in splits],
        "rows": digest.hexdigest(),
        "combinations": [str(combination) for combination in grid.combinations],
        "random_state": random_state,
    }


def _table(splits: Sequence[Split], grid: Grid, found: dict[int, pd.DataFrame]) -> pd.DataFrame:
    """All splits' cells under their combinations' values, in the order of combinations and splits."""
    frames = []
    for number, split in enumerate(splits):
        who = {"train": "+".join(split.train_generators), "select": "+".join(split.select_generators)}
        frames.append(found[number].assign(seed=split.seed, **who))
    cells = pd.concat(frames, ignore_index=True).sort_values("combination", kind="stable", ignore_index=True)
    values = pd.DataFrame(grid.combinations).loc[cells["combination"]].reset_index(drop=True)
    numbers = ["auc", "average_precision", "balanced_accuracy", "select_auc", "n_features"]
    return pd.concat([values[list(FACTORS)], cells[["seed", "train", "select", "test", *numbers]]], axis=1)
