"""Fit every arm on every split, score rows nobody chose by, and put the nulls beside them. Resumable by split."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from joblib import Parallel, delayed, parallel_config
from tqdm import tqdm

from interp.analysis.coordinate_removal import CoordinateRemoval
from interp.analysis.shortcut_removal import ShortcutRemoval
from interp.analysis.strength import mean_auc
from interp.detectors.linear import LinearDetector
from interp.evaluation.arms import Arm, FittedArm, needed_features
from interp.evaluation.cells import (
    IN_DISTRIBUTION,
    Cells,
    SplitScores,
    cell_aucs,
    evaluation_sets,
    joint_cells,
)
from interp.evaluation.nulls import null_scores
from interp.evaluation.summary import BASELINE, summarise
from interp.features.lock import only_writer
from interp.features.provenance import open_results
from interp.features.shards import read_json, write_json
from interp.features.store import FeatureStore
from interp.protocol.calibration import calibrate
from interp.protocol.metrics import threshold_for_balanced_accuracy
from interp.protocol.pooling import ViewPool
from interp.protocol.resampling import derive_seed
from interp.protocol.roles import Split
from interp.protocol.splits import Protocol

ARRAYS, NOTES = "scores.npz", "notes.json"
CURVE_STEPS = 16


@dataclass(frozen=True)
class Transfer:
    """What `evaluate_transfer` measured.

    Attributes:
        rows: of the store.
        split_scores: every arm's scores on every split.
        cells: AUC of every cell with its joint resamples.
        nulls: a row for each null draw: arm, null, draw, auc, delta (to the plain embedding).
        choices: a row for each split and arm: train, select, seed, arm, C, select_auc, kept, named; threshold,
            and slope and intercept of the calibration, from select rows.
        curves: for coordinate removal, a row for each split and step: removed, select_auc, test_auc, chosen.
        settings: what decided the numbers.
    """

    rows: pd.DataFrame
    split_scores: list[SplitScores]
    cells: Cells
    nulls: pd.DataFrame
    choices: pd.DataFrame
    curves: pd.DataFrame
    settings: dict[str, Any]

    @cached_property
    def operating(self) -> pd.DataFrame:
        """How every arm decides on every test generator; see `interp.evaluation.operating.operating_points`."""
        from interp.evaluation.operating import RESAMPLES, operating_points

        n_resamples = min(RESAMPLES, self.settings["n_resamples"])
        return operating_points(self, n_resamples=n_resamples, random_state=self.settings["random_state"])

    @cached_property
    def summary(self) -> pd.DataFrame:
        """A row for each arm; see `summarise`."""
        families = self.rows.drop_duplicates("generator").set_index("generator")["family"].to_dict()
        return summarise(self.cells, self.nulls, families)

    def scores(self) -> pd.DataFrame:
        """Every image's score by every arm on every split: key, arm, train, select, seed, score, in_distribution."""
        frames = []
        for one in self.split_scores:
            held = np.isin(one.positions, one.split.in_distribution)
            for number, arm in enumerate(one.arms):
                frame = pd.DataFrame({"key": self.rows.index[one.positions], "score": one.scores[:, number]})
                train, select = "+".join(one.split.train_generators), "+".join(one.split.select_generators)
                frames.append(
                    frame.assign(
                        arm=arm, train=train, select=select, seed=one.split.seed, in_distribution=held
                    )
                )
        table = pd.concat(frames, ignore_index=True)
        return table.astype({name: "category" for name in ("key", "arm", "train", "select")})


def evaluate_transfer(
    store: FeatureStore,
    protocol: Protocol,
    arms: Sequence[Arm],
    *,
    n_resamples: int = 1000,
    n_jobs: int | None = None,
    random_state: int = 0,
    pool: str = "mean",
    folder: Path | None = None,
    progress: bool = True,
) -> Transfer:
    """Measure how every arm transfers, and what its nulls gain.

    Args:
        store: features of all images.
        protocol: who trains, selects and tests, over the store's rows.
        arms: the first is the plain embedding, which gains are counted from.
        n_resamples: joint resamples of photographs and groups.
        n_jobs: processes; by default one for each core.
        random_state: seed of nulls and resamples.
        pool: "mean" or "max" over the views of an image, for a store of views; single views fit and choose.
        folder: where finished splits are kept; a run that was cut off goes on from there.
        progress: show a bar.

    Raises:
        InputError: the folder holds splits that were computed with other settings, or is being written.
    """
    settings = {
        "store": store.key,
        "protocol": protocol.describe(),
        "arms": {arm.name: arm.description for arm in arms},
        "random_state": random_state,
        "pool": pool,
    }
    views = ViewPool(store.rows, pool)
    y = (store.rows["label"] != "real").to_numpy().astype(int)
    generator = store.rows["generator"].to_numpy().astype(str)
    features = {kind: store.features(kind) for kind in needed_features(arms)}
    folder = folder and Path(folder).absolute()  # other processes may stand elsewhere
    jobs = [
        delayed(_one_split)(
            split, arms, features, y, generator, views, random_state, folder and folder / f"{number:05d}"
        )
        for number, split in enumerate(protocol)
    ]
    with (
        only_writer(folder) if folder else nullcontext(),
        parallel_config(backend="loky", inner_max_num_threads=1),
    ):
        if folder is not None:
            open_results(folder, settings)
        running = Parallel(n_jobs=n_jobs or os.cpu_count() or 1, return_as="generator")(jobs)
        found = list(tqdm(running, total=len(jobs), desc="splits", unit="split", disable=not progress))
    names = tuple(arm.name for arm in arms)
    split_scores = [
        SplitScores(views.judged(split), names, *one[:2]) for split, one in zip(protocol, found, strict=True)
    ]
    cells = joint_cells(split_scores, store.rows, n_resamples=n_resamples, random_state=random_state)
    notes = [one[2] for one in found]
    return Transfer(
        rows=store.rows,
        split_scores=split_scores,
        cells=cells,
        nulls=_null_draws(protocol, notes, cells),
        choices=_table(protocol, notes, "choices"),
        curves=_table(protocol, notes, "curves"),
        settings={**settings, "n_resamples": n_resamples},
    )


def _one_split(
    split: Split,
    arms: Sequence[Arm],
    features: Mapping[str, np.ndarray],
    y: np.ndarray,
    generator: np.ndarray,
    views: ViewPool,
    random_state: int,
    done: Path | None,
) -> tuple[np.ndarray, np.ndarray, dict[str, Any]]:
    """Positions of k images, scores (k, arms), and notes: choices, curves, the nulls' AUC on each test generator."""
    if done is not None and done.exists():
        with np.load(done / ARRAYS) as arrays:
            return arrays["positions"], arrays["scores"], read_json(done / NOTES)
    positions = np.union1d(split.test, split.in_distribution)
    judged, images = views.judged(split), views.images(positions)
    sets = evaluation_sets(judged, generator, y)
    scores = np.empty((len(images), len(arms)))
    notes: dict[str, Any] = {"choices": [], "curves": [], "nulls": []}
    for number, arm in enumerate(arms):
        X = features[arm.features]
        fitted = arm.fit(X, y, split, generator)
        scores[:, number] = views(positions, fitted.decision_function(X[positions]))
        decides = _decides(views, y, split.select, fitted.decision_function(X[split.select]))
        notes["choices"].append(_choice(fitted) | decides)
        seed = np.random.SeedSequence(derive_seed(random_state, split.name, split.seed, arm.name))
        for null, drawn in null_scores(fitted, X, y, split, generator, positions, seed).items():
            unseen = {name: rows for name, rows in sets.items() if name != IN_DISTRIBUTION}
            aucs = cell_aucs(views(positions, drawn.T), images, unseen, y)
            kept = {"arm": arm.name, "null": null, "test": list(aucs.index), "auc": aucs.to_numpy().tolist()}
            notes["nulls"].append(kept)
        notes["curves"] += _curve(fitted, X, y, split, generator, views)
    if done is not None:
        temporary = done.with_name(f".{done.name}.{os.getpid()}")
        temporary.mkdir(parents=True, exist_ok=True)
        np.savez(temporary / ARRAYS, positions=images, scores=scores)
        write_json(temporary / NOTES, notes)
        os.rename(temporary, done)
    return images, scores, notes


def _decides(views: ViewPool, y: np.ndarray, select: np.ndarray, scores: np.ndarray) -> dict[str, float]:
    """Threshold and calibration from select rows: an image is called fake above the one; see `Sigmoid`."""
    labels, pooled = y[views.images(select)], views(select, scores)
    sigmoid = calibrate(labels, pooled).numbers()
    threshold = threshold_for_balanced_accuracy(labels, pooled)
    return {"threshold": threshold, "slope": sigmoid["slope"], "intercept": sigmoid["intercept"]}


def _choice(fitted: FittedArm) -> dict[str, Any]:
    """What an arm chose on this split, for the table of choices."""
    classifier, transformer = fitted.classifier, fitted.transformer
    chosen = {"arm": fitted.arm.name, "C": getattr(classifier, "C_", None)}
    chosen |= {"select_auc": getattr(classifier, "select_auc_", None), "kept": None, "named": ""}
    if hasattr(transformer, "heads_"):
        chosen |= {"kept": len(transformer.heads_), "named": " ".join(transformer.heads_)}
    elif isinstance(transformer, ShortcutRemoval):
        chosen["named"] = ", ".join(transformer.removed_)
    elif hasattr(transformer, "removed_"):
        chosen |= {"kept": len(transformer.kept_), "named": " ".join(str(j) for j in transformer.removed_)}
    return chosen


def _curve(
    fitted: FittedArm, X: np.ndarray, y: np.ndarray, split: Split, generator: np.ndarray, views: ViewPool
) -> list[dict[str, Any]]:
    """AUC on select and on test rows along a removal, with a detector fitted anew at up to 16 of its steps."""
    if not isinstance(fitted.transformer, CoordinateRemoval):
        return []
    order = fitted.transformer.curve_["coordinate"].dropna().astype(int).tolist()
    chosen = len(fitted.transformer.removed_)
    steps = {int(step) for step in np.linspace(0, len(order) - 1, CURVE_STEPS)} | {chosen}
    rows, images = np.union1d(split.train, split.select), views.images(split.test)
    found = []
    for step in sorted(steps):
        kept = np.setdiff1d(np.arange(X.shape[1]), order[:step])
        detector = LinearDetector().fit(
            X[rows][:, kept], y[rows], part=split.part[rows], generator=generator[rows]
        )
        scores = views(split.test, detector.decision_function(X[split.test][:, kept])[:, None])
        test_auc = mean_auc(y[images], scores, generator[images])
        one = {"removed": step, "select_auc": detector.select_auc_, "test_auc": float(test_auc[0])}
        found.append({**one, "chosen": step == chosen})
    return found


def _null_draws(protocol: Protocol, notes: Sequence[Mapping[str, Any]], cells: Cells) -> pd.DataFrame:
    """Mean AUC of each null draw over all unseen cells, seeds averaged first, and its gain over the plain embedding."""
    frames = []
    for split, note in zip(protocol, notes, strict=True):
        for null in note["nulls"]:
            frame = pd.DataFrame(np.array(null["auc"]), index=pd.Index(null["test"], name="test"))
            frame = frame.rename_axis(columns="draw").stack().rename("auc").reset_index()
            frame["arm"], frame["null"] = null["arm"], null["null"]
            frames.append(
                frame.assign(train="+".join(split.train_generators), select="+".join(split.select_generators))
            )
    if not frames:
        return pd.DataFrame({"arm": [], "null": [], "draw": [], "auc": [], "delta": []})
    by_cell = pd.concat(frames).groupby(["arm", "null", "draw", "train", "select", "test"])["auc"].mean()
    draws = by_cell.groupby(["arm", "null", "draw"]).mean().reset_index()
    plain = cells.auc[cells.unseen, cells.arms.index(BASELINE)].mean()
    return draws.assign(delta=draws["auc"] - plain)


def _table(protocol: Protocol, notes: Sequence[Mapping[str, Any]], name: str) -> pd.DataFrame:
    rows = []
    for split, note in zip(protocol, notes, strict=True):
        who = {"train": "+".join(split.train_generators), "select": "+".join(split.select_generators)}
        rows += [{**who, "seed": split.seed, **row} for row in note[name]]
    return pd.DataFrame(rows)
