"""Several detection systems over one protocol: the same splits, the same images, gains paired, costs counted."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from tqdm import tqdm

from interp.detectors.detector import responses
from interp.detectors.systems import features_of
from interp.errors import InputError
from interp.evaluation.cells import Cells, SplitScores, joint_cells
from interp.evaluation.summary import BASELINE, summarise
from interp.evaluation.system_arms import Unfit, fit_system
from interp.features.lock import only_writer
from interp.features.provenance import open_results, refuse_other_settings
from interp.features.shards import read_json, whole_or_absent, write_json
from interp.features.store import FeatureStore
from interp.protocol.intervals import percentile_interval
from interp.protocol.pooling import ViewPool
from interp.protocol.roles import Split
from interp.protocol.splits import Protocol

STATUS = Path("/proc/self/status")


@dataclass(frozen=True)
class SystemComparison:
    """What `compare_systems` measured.

    Attributes:
        rows: of the store.
        cells: AUC of every system in every cell, with joint resamples.
        laundered: for each laundered store by name, the same on its images.
        costs: a row for each system and split: seconds and MiB of the fit, trainable numbers, seconds for 1,000 scores.
        reasons: why a system has no numbers, by its name.
    """

    rows: pd.DataFrame
    cells: Cells
    laundered: dict[str, Cells] = field(default_factory=dict)
    costs: pd.DataFrame = field(default_factory=pd.DataFrame)
    reasons: dict[str, str] = field(default_factory=dict)

    def table(self) -> pd.DataFrame:
        """A row for each system; see `interp.evaluation.summary.summarise`, and beside it costs and reasons.

        laundered_auc, laundered_low and laundered_high are means over the laundered stores; fit_seconds, fit_mib,
        trainable and score_seconds (for 1,000 images, features at hand) are medians over splits.
        """
        families = self.rows.drop_duplicates("generator").set_index("generator")["family"].to_dict()
        nulls = pd.DataFrame({"arm": [], "null": [], "draw": [], "delta": []})
        found = summarise(self.cells, nulls, families).drop(columns=["null_delta", "null_p"])
        if self.laundered:
            each = list(self.laundered.values())
            found["laundered_auc"] = np.mean([one.auc[one.unseen].mean(0) for one in each], axis=0)
            drawn = np.mean([one.resampled[:, one.unseen].mean(1) for one in each], axis=0)
            found["laundered_low"], found["laundered_high"] = percentile_interval(drawn)
        costs = self.costs.groupby("system")[
            ["fit_seconds", "fit_mib", "trainable", "score_seconds"]
        ].median()
        found = found.join(costs)
        found["reason"] = ""
        missing = pd.DataFrame({"reason": self.reasons}).rename_axis("arm")
        return pd.concat([found, missing]).rename_axis("system")


def compare_systems(
    store: FeatureStore,
    protocol: Protocol,
    systems: Mapping[str, Any],
    *,
    laundered: Mapping[str, FeatureStore] | None = None,
    copies: Sequence[FeatureStore] = (),
    n_resamples: int = 1000,
    random_state: int = 0,
    folder: Path | None = None,
    progress: bool = True,
) -> SystemComparison:
    """Fit every system on every split and score rows that nobody chose by.

    A system that cannot be made or fitted costs its own row alone, which then says why.

    Args:
        store: features of all images.
        protocol: who trains, selects and tests.
        systems: by name: an unfitted estimator, or the InputError that making it raised. The plain detector is called
            "embedding"; gains are counted from it.
        laundered: stores of the same images, laundered, that are scored too, by name.
        copies: stores of the same images, laundered, whose train rows are fitted on beside the clean ones.
        n_resamples: joint resamples of photographs and groups.
        random_state: seed of the resamples.
        folder: where finished cells are kept; a run that was cut off goes on from there, and more systems may be
            added.
        progress: show a bar.

    Raises:
        InputError: no plain detector, a store of other images, or a folder of other settings.
    """
    if BASELINE not in systems or isinstance(systems[BASELINE], Exception):
        raise InputError(f"gains are counted from the plain detector; name it {BASELINE!r} among the systems")
    laundered = dict(laundered or {})
    for other in (*laundered.values(), *copies):
        if not other.rows.index.equals(store.rows.index):
            raise InputError(
                f"{other.folder} has other images than {store.folder}; launder the same manifest"
            )
    settings = {
        "store": store.key,
        "protocol": protocol.describe(),
        "laundered": {name: one.key for name, one in laundered.items()},
        "copies": [one.key for one in copies],
    }
    views, reasons, costs = ViewPool(store.rows), {}, []
    clean, bent = _Features(store), {name: _Features(one) for name, one in laundered.items()}
    extra = [_Features(one) for one in copies]
    y = (store.rows["label"] != "real").to_numpy().astype(int)
    generator = store.rows["generator"].to_numpy().astype(str)
    found: dict[str, list[dict[str, np.ndarray]]] = {}
    with only_writer(folder) if folder else contextlib.nullcontext():
        if folder is not None:
            open_results(folder, settings)
        bar = tqdm(total=len(systems) * len(protocol), unit="cell", disable=not progress)
        for name, system in systems.items():
            if isinstance(system, Exception):
                reasons[name] = str(system)
                continue
            bar.set_description(name)
            cells = []
            try:
                for number, split in enumerate(protocol):
                    done = folder / name / f"{number:05d}" if folder else None
                    one = _one_cell(system, split, clean, bent, extra, y, generator, views, done)
                    cells.append(one[0])
                    costs.append({"system": name, "split": split.name, "seed": split.seed, **one[1]})
                    bar.update()
            except Unfit as error:
                reasons[name] = str(error)
                continue
            found[name] = cells
        bar.close()
    if BASELINE not in found:
        raise InputError(f"the plain detector could not be fitted: {reasons[BASELINE]}")

    def joint(which: str) -> Cells:
        scores = []
        for number, split in enumerate(protocol):
            columns = np.stack([found[name][number][which] for name in found], axis=1)
            positions = found[BASELINE][number]["positions"]
            scores.append(SplitScores(views.judged(split), tuple(found), positions, columns))
        return joint_cells(scores, store.rows, n_resamples=n_resamples, random_state=random_state)

    of_laundered = {name: joint(f"laundered {name}") for name in laundered}
    table = pd.DataFrame(costs)
    return SystemComparison(
        store.rows, joint("clean"), of_laundered, table[table["system"].isin(found)], reasons
    )


class _Features:
    """A store's features, read once for each kind."""

    def __init__(self, store: FeatureStore):
        self.store, self._read = store, {}

    def __call__(self, kind: str) -> np.ndarray:
        if kind not in self._read:
            self._read = {kind: self.store.features(kind)}  # systems follow one another; one kind is held
        return self._read[kind]


def _one_cell(
    system: Any,
    split: Split,
    clean: _Features,
    laundered: Mapping[str, _Features],
    copies: Sequence[_Features],
    y: np.ndarray,
    generator: np.ndarray,
    views: ViewPool,
    done: Path | None,
) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Scores of one system on one split's images, by which store they lie in, and what the fit cost."""
    about = {"system": " ".join(repr(system).split())}
    if done is not None and done.exists():
        cost = read_json(done / "cost.json")
        refuse_other_settings(done, {"system": cost.pop("system")}, about)
        with np.load(done / "scores.npz") as arrays:
            return dict(arrays), cost
    kind = features_of(system)
    X, rows = clean(kind), np.union1d(split.train, split.select)
    part = split.part[rows]
    trained = [other(kind)[split.train] for other in copies]
    labels = np.concatenate([y[rows], *[y[split.train]] * len(copies)])
    names = np.concatenate([generator[rows], *[generator[split.train]] * len(copies)])
    part = np.concatenate([part, np.repeat("train", len(split.train) * len(copies))])
    columns = np.concatenate([X[rows], *trained])
    with _Peak() as peak:
        begun = time.perf_counter()
        model = fit_system(system, columns, labels, part, names)
        seconds = time.perf_counter() - begun
    positions = np.union1d(split.test, split.in_distribution)
    begun = time.perf_counter()
    scores = {"clean": views(positions, responses(model, X[positions]))}
    per_thousand = 1000 * (time.perf_counter() - begun) / max(len(positions), 1)
    for name, other in laundered.items():
        scores[f"laundered {name}"] = views(positions, responses(model, other(kind)[positions]))
    scores["positions"] = views.images(positions)
    cost = {"fit_seconds": seconds, "fit_mib": peak.mib, "score_seconds": per_thousand}
    cost["trainable"] = getattr(model, "n_trainable_", np.size(getattr(model, "coef_", ())) + 1)
    if done is not None:
        done.parent.mkdir(parents=True, exist_ok=True)
        with whole_or_absent(done) as temporary:
            temporary.mkdir()
            np.savez(temporary / "scores.npz", **scores)  # type: ignore[arg-type]
            write_json(temporary / "cost.json", {**about, **cost})
    return scores, cost


class _Peak(contextlib.AbstractContextManager):
    """How much resident memory rose inside, MiB; NaN where the system (other than Linux) does not tell."""

    mib = float("nan")

    def __enter__(self) -> _Peak:
        gc.collect()
        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL(None).malloc_trim(0)  # what earlier fits freed would hide what this one takes
            Path("/proc/self/clear_refs").write_text("5")  # resets the high-water mark
        self._before = _status("VmRSS")
        return self

    def __exit__(self, *_: object) -> None:
        self.mib = max((_status("VmHWM") - self._before) / 1024, 0.0)


def _status(name: str) -> float:
    """A line of /proc/self/status in KiB."""
    if not STATUS.exists():
        return float("nan")
    line = next((one for one in STATUS.read_text().splitlines() if one.startswith(name)), "")
    return float(line.split()[1]) if line else float("nan")
