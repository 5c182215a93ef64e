"""How detectors bear laundering: trained and given their thresholds on clean images, judged on laundered ones."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from joblib import Parallel, delayed, parallel_config
from tqdm import tqdm

from interp.errors import InputError
from interp.evaluation.arms import Arm, FittedArm, needed_features
from interp.evaluation.cells import evaluation_sets
from interp.evaluation.joint_scores import JointScores
from interp.evaluation.robustness_cells import Judged, pooled_sets, small_generators, split_metrics
from interp.evaluation.robustness_curves import Detectors, curves_of, robustness_sentences
from interp.evaluation.robustness_nulls import at_random, null_curves
from interp.features.provenance import differences
from interp.features.store import FeatureStore
from interp.images.launder_severity import cell_of
from interp.protocol.metrics import threshold_for_balanced_accuracy
from interp.protocol.pooling import ViewPool
from interp.protocol.resampling import JointResample, derive_seed
from interp.protocol.roles import Split
from interp.protocol.splits import Protocol

FITTED = ("clean", "chosen on copies", "trained on copies")
"""What a detector was fitted on: clean rows; clean train rows, heads and strengths being chosen on clean and laundered
select rows; or clean and laundered rows for both. Its threshold always comes from clean select rows."""


@dataclass(frozen=True)
class Robustness:
    """What `robustness_curves` measured.

    Attributes:
        curves: a row for each laundering, arm, fitted, test set and metric: operation, severity, value with low and
            high (95 % over images), change (to clean images, paired), gain (over the first arm fitted on clean images,
            paired) and refit (over the same arm fitted on clean images, paired) with theirs, n_real, n_fake (means over
            splits), splits.
        choices: a row for each split, arm and fitted: train, select, seed, threshold, C, select_auc, kept, named
            (heads kept or removed).
        nulls: a row for each random choice of as many heads or coordinates, laundering and test set: arm, fitted, draw,
            auc, gain (over the first arm fitted on clean images).
        left_out: images of test parts that some laundering could not take, left out everywhere.
        settings: what decided the numbers.
    """

    curves: pd.DataFrame
    choices: pd.DataFrame
    nulls: pd.DataFrame
    left_out: int
    settings: dict[str, Any]

    @property
    def words(self) -> str:
        """What was found, in sentences."""
        return "\n".join(robustness_sentences(self.curves, self.nulls, self.left_out))


def robustness_curves(
    clean: FeatureStore,
    laundered: Mapping[str, FeatureStore],
    protocol: Protocol,
    arms: Sequence[Arm],
    *,
    copies: Sequence[FeatureStore] = (),
    n_resamples: int = 1000,
    n_jobs: int | None = None,
    random_state: int = 0,
    pool: str = "mean",
    progress: bool = True,
) -> Robustness:
    """Measure every arm on test rows under every laundering, against the severity.

    Detectors are fitted on train rows and choose on select rows as ever, and their threshold is the one that is best
    for the balanced accuracy of *clean* select rows: nothing is tuned on a laundered test image. AUC is
    that of laundered photographs against laundered fakes. The flip rate is the share of images whose verdict is not
    that of their clean version, the mean over the two classes. Generators with fewer than 100 images are taken together
    as one secondary set; TPR at 5 % FPR needs 200 test photographs and at 1 % 1,000, and is NaN below.

    Args:
        clean: features of all images.
        laundered: stores of the same images by name, as `launder_stores` makes them.
        protocol: who trains, selects and tests, over the store's rows.
        arms: the first is what gains are counted from. One that selects or removes is also fitted `n_nulls` times with
            as many heads or coordinates drawn at random: what its choice has to beat.
        copies: stores of laundered copies: each arm is also fitted with heads and strengths chosen on them, and trained
            on them, see `FITTED`.
        n_resamples: joint resamples of photographs and groups; detectors stay fixed.
        n_jobs: processes; by default one for each core.
        random_state: seed of the resamples and of random choices.
        pool: "mean" or "max" over the views of an image.
        progress: show bars.

    Raises:
        InputError: a store has other images or was made otherwise in more than its laundering; or an arm that reads
            statistics or a concept is to be fitted on copies.
    """
    for name, store in [*laundered.items(), *((f"copy {k + 1}", store) for k, store in enumerate(copies))]:
        _refuse_other_store(clean, name, store)
    beside = [arm.name for arm in arms if arm.beside]
    if copies and beside:
        raise InputError(
            f"{beside[0]} reads {', '.join(next(a for a in arms if a.beside).beside)} of clean images and cannot "
            "be fitted on copies; leave it out, or give no copies"
        )
    run = _Run(clean, copies, arms, ViewPool(clean.rows, pool), random_state)
    workers = n_jobs or os.cpu_count() or 1
    with parallel_config(backend="loky", inner_max_num_threads=1):
        fitting = Parallel(n_jobs=workers, return_as="generator")(
            delayed(run.fit)(split) for split in protocol
        )
        fitted = list(tqdm(fitting, total=len(protocol), desc="fit", unit="split", disable=not progress))
        usable = np.logical_and.reduce([store.usable for store in (clean, *laundered.values())])
        judged = run.judge(list(protocol), fitted, [clean, *laundered.values()], usable, progress)
        resample = JointResample(clean.rows, n_resamples=n_resamples, random_state=random_state)
        measuring = Parallel(n_jobs=workers, return_as="generator")(
            delayed(split_metrics)(one, run.y, resample) for one in judged
        )
        bar = tqdm(measuring, total=len(judged), desc="measure", unit="split", disable=not progress)
        cells = {"clean": cell_of("none")}
        cells |= {name: cell_of(store.key["laundering"]) for name, store in laundered.items()}
        names = [(one.arm.name, one.fitted, one.draw) for one in fitted[0]]
        real = [(arm, how) for arm, how, draw in names if draw is None]
        curves = curves_of(bar, cells, Detectors(*map(list, zip(*real, strict=True))))
    drawn = [(arm, how, draw) for arm, how, draw in names if draw is not None]
    nulls = null_curves(judged, run.y, list(cells), drawn)
    tested = np.unique(np.concatenate([np.union1d(s.test, s.in_distribution) for s in protocol]))
    settings = {"store": clean.key, "protocol": protocol.describe(), "pool": pool, "n_resamples": n_resamples}
    settings |= {"arms": {arm.name: arm.description for arm in arms}, "random_state": random_state}
    settings |= {"launderings": {name: store.key["laundering"] for name, store in laundered.items()}}
    settings |= {"copies": [store.key["laundering"] for store in copies]}
    left_out = int((clean.usable & ~usable)[tested].sum())
    return Robustness(curves, _choices(protocol, fitted), nulls, left_out, settings)


@dataclass(frozen=True)
class _Fitted:
    arm: Arm
    fitted: str
    model: FittedArm
    threshold: float
    draw: int | None = None
    """The number of a random choice; None for the arm itself."""


class _Run:
    """What all splits share: features of the clean images and of the copies, labels, views."""

    def __init__(
        self,
        clean: FeatureStore,
        copies: Sequence[FeatureStore],
        arms: Sequence[Arm],
        views: ViewPool,
        random_state: int,
    ):
        self.arms, self.views, self.random_state = tuple(arms), views, random_state
        self.y = (clean.rows["label"] != "real").to_numpy().astype(int)
        self.generator = clean.rows["generator"].to_numpy().astype(str)
        self._usable = np.logical_and.reduce([store.usable for store in (clean, *copies)])
        kinds = needed_features(arms)
        self._features = {kind: [s.features(kind) for s in (clean, *copies)] for kind in kinds}

    def fit(self, split: Split) -> list[_Fitted]:
        """Every arm in every way on one split, with its threshold from clean select rows; random choices last."""
        found, drawn = [], []
        modes = FITTED if len(self._features[self.arms[0].features]) > 1 else FITTED[:1]
        y_select = self.y[self.views.images(split.select)]
        for mode in modes:
            for arm in self.arms:
                features = self._features[arm.features]
                given, rows = self._stacked(
                    split, 1 if mode == FITTED[0] else len(features), mode == FITTED[2]
                )
                X = np.concatenate([one[rows] for one in features[: given.n_rows // len(rows)]])
                many = given.n_rows // len(rows)
                fitting = X, np.tile(self.y[rows], many), given, np.tile(self.generator[rows], many)
                model = arm.fit(*fitting)
                scores = self.views(split.select, model.decision_function(features[0][split.select]))
                found.append(_Fitted(arm, mode, model, threshold_for_balanced_accuracy(y_select, scores)))
                seed = derive_seed(self.random_state, split.name, split.seed, arm.name, mode)
                rng = np.random.default_rng(seed)
                for draw in range(arm.n_nulls):
                    if (random := at_random(model.transformer, rng)) is not None:
                        drawn.append(_Fitted(arm, mode, arm.behind(random, *fitting), np.nan, draw))
        return found + drawn

    def _stacked(self, split: Split, many: int, train_all: bool) -> tuple[Split, np.ndarray]:
        """A split of the clean train and select rows and their copies, stacked, and the rows that are stacked.

        Copies select, and they train where `train_all` says so.
        """
        rows = np.union1d(split.train, split.select)
        rows = rows[self._usable[rows]] if many > 1 else rows
        trains = np.tile(np.isin(rows, split.train), many)
        first = np.arange(len(rows) * many) < len(rows)
        nobody = np.empty(0, np.int64)
        parts = {"train": np.flatnonzero(trains & (first | train_all)), "select": np.flatnonzero(~trains)}
        others = dict.fromkeys(("test", "held_out", "in_distribution"), nobody)
        return replace(split, n_rows=len(trains), **parts, **others), rows

    def judge(
        self,
        splits: Sequence[Split],
        fitted: Sequence[Sequence[_Fitted]],
        stores: Sequence[FeatureStore],
        usable: np.ndarray,
        progress: bool,
    ) -> list[Judged]:
        """Scores of all detectors on the test rows of all splits, one store at a time."""
        rows_of = [np.union1d(s.test, s.in_distribution) for s in splits]
        rows_of = [rows[usable[rows]] for rows in rows_of]
        scores: list[list[np.ndarray]] = [[] for _ in splits]
        joint = [JointScores([one.model for one in models]) for models in fitted]
        for store in tqdm(stores, desc="score", unit="store", disable=not progress):
            features = {kind: store.features(kind) for kind in self._features}
            for at, (rows, score) in enumerate(zip(rows_of, joint, strict=True)):
                scores[at].append(self.views(rows, score(features, rows)))
        small, found = small_generators(self.generator, self.y, usable & self._whole), []
        for at, (split, rows) in enumerate(zip(splits, rows_of, strict=True)):
            kept = replace(
                split,
                test=split.test[usable[split.test]],
                in_distribution=split.in_distribution[usable[split.in_distribution]],
            )
            sets = evaluation_sets(self.views.judged(kept), self.generator, self.y)
            sets = pooled_sets(sets, self.generator, self.y, small)
            real = np.array([one.draw is None for one in fitted[at]])
            thresholds = np.array([one.threshold for one in fitted[at]])[real]
            both = np.stack(scores[at], axis=1)
            found.append(Judged(sets, self.views.images(rows), both[..., real], thresholds, both[..., ~real]))
        return found

    @property
    def _whole(self) -> np.ndarray:
        """(n,) bool: one row for each image."""
        return np.isin(np.arange(len(self.y)), self.views.images(np.arange(len(self.y))))


def _refuse_other_store(clean: FeatureStore, name: str, store: FeatureStore) -> None:
    if not store.rows.index.equals(clean.rows.index):
        raise InputError(
            f"the store {name!r} has other rows than the clean one ({len(store.rows)} and {len(clean.rows)}); make "
            "all of them with one launder_stores(images, …)"
        )
    alike = [{k: v for k, v in s.key.items() if not k.startswith("laundering")} for s in (clean, store)]
    libraries = [dict(key.pop("libraries", {})) for key in alike]
    found = differences(
        {**alike[0], "libraries": {n: v for n, v in libraries[0].items() if n in libraries[1]}},
        {**alike[1], "libraries": {n: v for n, v in libraries[1].items() if n in libraries[0]}},
    )
    if found:
        raise InputError(
            f"the store {name!r} differs from the clean one in more than laundering: {'; '.join(found)}"
        )


def _choices(protocol: Protocol, fitted: Sequence[Sequence[_Fitted]]) -> pd.DataFrame:
    rows = []
    for split, detectors in zip(protocol, fitted, strict=True):
        who = {"train": "+".join(split.train_generators), "select": "+".join(split.select_generators)}
        for one in (detector for detector in detectors if detector.draw is None):
            transformer, classifier = one.model.transformer, one.model.classifier
            named = getattr(transformer, "heads_", getattr(transformer, "removed_", None))
            row = {**who, "seed": split.seed, "arm": one.arm.name, "fitted": one.fitted}
            row |= {"threshold": one.threshold, "C": getattr(classifier, "C_", None)}
            row |= {"select_auc": getattr(classifier, "select_auc_", None)}
            row |= {"kept": len(transformer.heads_) if hasattr(transformer, "heads_") else None}
            rows.append(row | {"named": "" if named is None else " ".join(map(str, named))})
    return pd.DataFrame(rows)
