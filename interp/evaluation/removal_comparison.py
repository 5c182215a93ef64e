"""Removed heads against random ones, stored removal against true pruning, on test generators with intervals."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from joblib import Parallel, delayed, parallel_config
from tqdm import tqdm

from interp.analysis.head_effects import fixed_detector
from interp.analysis.head_removal import HeadRemoval
from interp.analysis.head_removal_nulls import HeadRemovalNulls, random_head_sets
from interp.analysis.head_selection import HeadSelection
from interp.evaluation.arms import Arm, head_removal_arm
from interp.evaluation.cells import Cells, SplitScores, joint_cells
from interp.features.store import FeatureStore
from interp.protocol.resampling import derive_seed
from interp.protocol.roles import Split
from interp.protocol.splits import Protocol

Prune = Callable[[Sequence[Sequence[str]], np.ndarray, str], np.ndarray]
"""From sets of heads, positions of rows and the name of a split to embeddings (rows, sets, P) under each pruning."""

CONTRASTS = {
    "refitted": [
        ("head_removal", "embedding"),
        ("head_removal", "random_removal"),
        ("selected_heads", "embedding"),
    ],
    "fixed": [
        ("stored_removal", "embedding"),
        ("stored_removal", "random_stored_removal"),
        ("true_pruning", "embedding"),
        ("true_pruning", "random_true_pruning"),
        ("true_pruning", "stored_removal"),
    ],
}
"""What is set against what, of detectors fitted anew on what is left, and of one detector that stays as it was."""


@dataclass(frozen=True)
class RemovalComparison:
    """What `compare_removals` measured; everything on test generators.

    Attributes:
        arms: a row for each detector ("refitted" or "fixed") and arm: detector, arm, splits, auc, low, high.
        contrasts: a row for each pair: detector, arm, against, splits, delta, low, high.
        removed: a row for each split: train, select, seed, removed (names), count.
    """

    arms: pd.DataFrame
    contrasts: pd.DataFrame
    removed: pd.DataFrame


def compare_removals(
    store: FeatureStore,
    protocol: Protocol,
    prune: Prune,
    *,
    n_random: int = 20,
    n_pruned_random: int = 3,
    n_pruned_splits: int = 12,
    n_resamples: int = 1000,
    n_jobs: int | None = None,
    random_state: int = 0,
    progress: bool = True,
) -> RemovalComparison:
    """Remove heads on every split, as `HeadRemoval` finds them, and set the result against what it has to beat.

    Two questions. With a detector fitted anew on what is left: does removal gain over the plain embedding, over random
    heads of equal number, and over `HeadSelection`? With the detector of the untouched embedding: is taking out the
    stored contributions what pruning in the forward pass is? Each split has its own heads, found without its test rows.

    Args:
        store: features of all images.
        protocol: over the store's rows.
        prune: runs the encoder without heads; see `Prune`. Not called for an empty set.
        n_random: random removals of each split with a detector fitted anew.
        n_pruned_random: random sets of each pruned split.
        n_pruned_splits: splits that heads are pruned on, drawn at random: each takes passes over its test rows.
        n_resamples: joint resamples of photographs and groups, for 95 % intervals; detectors stay fixed.
        n_jobs: processes; by default one for each core.
        random_state: seed of every draw.
        progress: show a bar.
    """
    splits = list(protocol)
    y = (store.rows["label"] != "real").to_numpy().astype(int)
    generator = store.rows["generator"].to_numpy().astype(str)
    arm = head_removal_arm(store, n_nulls=0, random_state=random_state)
    both, heads = store.features("embedding_and_heads"), store.features("heads")
    jobs = [
        delayed(_refitted)(split, arm, store, both, heads, y, generator, n_random, random_state)
        for split in splits
    ]
    with parallel_config(backend="loky", inner_max_num_threads=1):
        running = Parallel(n_jobs=n_jobs or os.cpu_count() or 1, return_as="generator")(jobs)
        found = list(tqdm(running, total=len(jobs), desc="remove heads", unit="split", disable=not progress))
    removals = [removal for removal, _ in found]
    rng = np.random.default_rng(derive_seed("pruned splits", random_state))
    some = sorted(rng.permutation(len(splits))[:n_pruned_splits])
    fixed = [
        _fixed(splits[i], removals[i], both, y, generator, prune, n_pruned_random, random_state) for i in some
    ]
    arms, contrasts = [], []
    for name, scores in (("refitted", [scores for _, scores in found]), ("fixed", fixed)):
        cells = joint_cells(scores, store.rows, n_resamples=n_resamples, random_state=random_state)
        arms.append(arm_table(cells).assign(detector=name, splits=len(scores)))
        contrasts.append(contrast_table(cells, CONTRASTS[name]).assign(detector=name, splits=len(scores)))
    removed = [
        {
            "train": "+".join(split.train_generators),
            "select": "+".join(split.select_generators),
            "seed": split.seed,
            "count": len(removal.removed_),
            "removed": " ".join(removal.removed_),
        }
        for split, removal in zip(splits, removals, strict=True)
    ]
    return RemovalComparison(
        pd.concat(arms, ignore_index=True)[["detector", "arm", "splits", "auc", "low", "high"]],
        pd.concat(contrasts, ignore_index=True)[
            ["detector", "arm", "against", "splits", "delta", "low", "high"]
        ],
        pd.DataFrame(removed),
    )


def arm_table(cells: Cells) -> pd.DataFrame:
    """Mean AUC on unseen generators with a 95 % interval; columns `name/0`, `name/1`, … are draws of one arm."""
    rows = []
    for name, columns in _draws(cells.arms).items():
        auc, low, high = (float(one[0]) for one in cells.interval(cells.unseen, _mean_of(cells, columns)))
        rows.append({"arm": name, "auc": auc, "low": low, "high": high})
    return pd.DataFrame(rows)


def contrast_table(cells: Cells, pairs: Sequence[tuple[str, str]]) -> pd.DataFrame:
    """AUC of one arm minus that of another on the same cells and resamples: arm, against, delta, low, high."""
    draws, rows = _draws(cells.arms), []
    for arm, against in pairs:
        ours, theirs = draws[arm], draws[against]
        weights = _mean_of(cells, ours) - _mean_of(cells, theirs)
        delta, low, high = (float(one[0]) for one in cells.interval(cells.unseen, weights))
        rows.append({"arm": arm, "against": against, "delta": delta, "low": low, "high": high})
    return pd.DataFrame(rows)


def _draws(arms: Sequence[str]) -> Mapping[str, list[int]]:
    found: dict[str, list[int]] = {}
    for column, arm in enumerate(arms):
        found.setdefault(arm.partition("/")[0], []).append(column)
    return found


def _mean_of(cells: Cells, columns: list[int]) -> np.ndarray:
    """(m, 1) weights: the mean over some columns."""
    weights = np.zeros((len(cells.arms), 1))
    weights[columns] = 1 / len(columns)
    return weights


def _refitted(
    split: Split,
    arm: Arm,
    store: FeatureStore,
    both: np.ndarray,
    heads: np.ndarray,
    y: np.ndarray,
    generator: np.ndarray,
    n_random: int,
    random_state: int,
) -> tuple[HeadRemoval, SplitScores]:
    """The removal of one split, and scores of detectors fitted anew on what is left."""
    positions = np.union1d(split.test, split.in_distribution)
    embedding = both[:, : both.shape[1] - heads.shape[1]]
    fitted = arm.fit(both, y, split, generator)
    plain = Arm("embedding", "embedding").fit(embedding, y, split, generator)
    selected = Arm("selected_heads", "heads", HeadSelection(store.layout)).fit(heads, y, split, generator)
    nulls = HeadRemovalNulls(fitted.transformer, both, y, split.train, split.select, positions, generator)
    seed = np.random.SeedSequence(derive_seed("random removal", random_state, split.name, split.seed))
    drawn = nulls.random_heads(n_random, seed)
    names = ("embedding", "head_removal", "selected_heads", *(f"random_removal/{i}" for i in range(n_random)))
    scores = [
        plain.decision_function(embedding[positions]),
        fitted.decision_function(both[positions]),
        selected.decision_function(heads[positions]),
        *drawn,
    ]
    return fitted.transformer, SplitScores(split, names, positions, np.stack(scores, axis=1))


def _fixed(
    split: Split,
    removal: HeadRemoval,
    both: np.ndarray,
    y: np.ndarray,
    generator: np.ndarray,
    prune: Prune,
    n_random: int,
    random_state: int,
) -> SplitScores:
    """Scores of the detector of the untouched embedding, on embeddings without some heads, both ways."""
    positions = np.union1d(split.test, split.in_distribution)
    plain = removal.without([]).transform(both)
    detector = fixed_detector(plain, y, split.train, split.select, generator)
    seed = np.random.SeedSequence(derive_seed("random pruning", random_state, split.name, split.seed))
    random = random_head_sets(removal.layout_.names, len(removal.removed_), n_random, seed)
    sets = [removal.removed_, *random]
    stored = np.stack([removal.without(heads).transform(both[positions]) for heads in sets], axis=1)
    if removal.removed_:
        truly = prune(sets, positions, f"{split.name} {split.seed}")
    else:
        truly = stored  # nothing to prune
    names = ["embedding", "stored_removal", *(f"random_stored_removal/{i}" for i in range(n_random))]
    names += ["true_pruning", *(f"random_true_pruning/{i}" for i in range(n_random))]
    scores = [detector.score(plain[positions])[:, None], detector.score(stored), detector.score(truly)]
    return SplitScores(split, tuple(names), positions, np.concatenate(scores, axis=1))
