"""The placebo panel: what a detector answers to questions about photographs that have nothing to do with generation."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from joblib import Parallel, delayed, parallel_config
from tqdm import tqdm

from interp.analysis.closed_form import HeadMoments, ridge_probes
from interp.analysis.ranking import PROBE_C
from interp.errors import InputError
from interp.evaluation.arms import Arm, needed_features
from interp.evaluation.cells import UnitInfluence, by_unit
from interp.evaluation.system_arms import SystemArm
from interp.features.store import FeatureStore
from interp.protocol.bca import bca_from_influence
from interp.protocol.metrics import auc_influence
from interp.protocol.resampling import JointResample, resampled_auc
from interp.protocol.roles import Split
from interp.protocol.splits import Protocol

TOLERATED = 0.05
"""A detector whose AUC on a placebo lies further than this from one half may owe its result to that placebo."""

Scored = tuple[np.ndarray, np.ndarray]
Score = Callable[[np.ndarray, int | None], np.ndarray]
"""From rows, and the number of an altered store or None for the photographs as they are, to scores (rows, m)."""


@dataclass(frozen=True, eq=False)
class Placebo:
    """A question about photographs whose answer has nothing to do with who made an image.

    Attributes:
        name: in words, such as "through 128 px and back".
        altered: a store of the same photographs, altered; the question is which of two versions was altered.
        side: by key of photographs, True on one side and False on the other, missing where neither; the question is
            which side a photograph is on.

    Raises:
        InputError: neither, or both.
    """

    name: str
    altered: FeatureStore | None = field(default=None, repr=False)
    side: pd.Series | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        if (self.altered is None) == (self.side is None):
            raise InputError(f"the placebo {self.name!r} is either altered= or side=; give one of them")


def placebo_panel(
    store: FeatureStore,
    protocol: Protocol,
    arms: Sequence[Arm | SystemArm],
    placebos: Sequence[Placebo],
    *,
    n_resamples: int = 1000,
    n_jobs: int | None = None,
    random_state: int = 0,
    progress: bool = True,
) -> pd.DataFrame:
    """Fit every arm on every split, and ask it every placebo about the test photographs, which it has not seen.

    Args:
        store: features of all images.
        protocol: who trains, selects and tests.
        arms: the detectors, systems too (`interp.evaluation.system_arms.SystemArm`); nulls are not drawn.
        placebos: the questions.
        n_resamples: joint resamples of photographs.
        n_jobs: processes; by default one for each core.
        random_state: seed of the resamples.
        progress: show a bar.

    Returns:
        A row for each arm and placebo: arm, placebo, auc (that an altered photograph, or one of the first side, is
        called more generated; mean over splits), low, high (95 % over photographs, detectors as fitted), gap
        (|auc - 0.5|), outside (share of splits whose gap exceeds `TOLERATED`), explained (gap > `TOLERATED`), sure (so
        does the nearer end of the interval), n_one, n_other (photographs a split, mean), splits.

    Raises:
        InputError: stores of views, an altered store that lacks photographs or was made otherwise, or a placebo
            without photographs on both sides of some test part.
    """
    kinds = needed_features(arms)
    asked = _Asked(store, placebos, kinds)
    y = (store.rows["label"] != "real").to_numpy().astype(int)
    generator = store.rows["generator"].to_numpy().astype(str)
    features = {kind: store.features(kind) for kind in kinds}

    def score(split: Split) -> list[Scored]:
        fitted = [arm.fit(features[arm.features], y, split, generator) for arm in arms]

        def scores(rows: np.ndarray, altered: int | None) -> np.ndarray:
            columns = []
            for arm, one in zip(arms, fitted, strict=True):
                X = features[arm.features] if altered is None else asked.features[altered][arm.features]
                columns.append(one.decision_function(X[rows]))
            return np.stack(columns, axis=1)

        return asked.answers(split, y, scores)

    jobs = [delayed(score)(split) for split in protocol]
    with parallel_config(backend="loky", inner_max_num_threads=1):
        running = Parallel(n_jobs=n_jobs or os.cpu_count() or 1, return_as="generator")(jobs)
        found = list(tqdm(running, total=len(jobs), desc="placebos", unit="split", disable=not progress))
    return asked.table(found, [arm.name for arm in arms], "arm", n_resamples, random_state)


def head_placebos(
    store: FeatureStore,
    protocol: Protocol,
    placebos: Sequence[Placebo],
    *,
    C: float = PROBE_C,
    n_resamples: int = 1000,
    random_state: int = 0,
    progress: bool = True,
) -> pd.DataFrame:
    """The same for a probe on each head alone, fitted on train rows as `rank_heads(..., probe="ridge")` does.

    Args:
        store, protocol, placebos, n_resamples, random_state, progress: as in `placebo_panel`.
        C: strength of the probes.

    Returns:
        As `placebo_panel`, with the column head in place of arm.
    """
    asked, layout = _Asked(store, placebos, ["heads"]), store.layout
    y = (store.rows["label"] != "real").to_numpy().astype(int)
    plain = store.features("heads")
    fitted: dict[bytes, tuple[np.ndarray, np.ndarray]] = {}
    found = []
    for split in tqdm(list(protocol), desc="placebos of heads", unit="split", disable=not progress):
        key = split.train.tobytes()
        if key not in fitted:
            real, fake = (HeadMoments.of(plain[split.train[y[split.train] == c]], layout) for c in (0, 1))
            coef, intercept = ridge_probes(real, fake, C)
            fitted[key] = coef.numpy(), intercept.numpy()
        coef, intercept = fitted[key]

        def scores(rows: np.ndarray, altered: int | None, coef=coef, intercept=intercept) -> np.ndarray:
            X = plain if altered is None else asked.features[altered]["heads"]
            heads = X[rows].reshape(len(rows), layout.n_heads, layout.width)
            return np.einsum("nhd,hd->nh", heads, coef) + intercept

        found.append(asked.answers(split, y, scores))
    return asked.table(found, layout.names, "head", n_resamples, random_state)


def placebo_marks(panel: pd.DataFrame, who: str = "arm") -> dict[str, str]:
    """What to print beside each result; empty where no placebo explains it.

    >>> panel = pd.DataFrame({"arm": "all_heads", "placebo": ["through 128 px", "animals"], "auc": [0.7, 0.52],
    ...                       "low": [0.66, 0.49], "high": [0.74, 0.56], "explained": [True, False]})
    >>> placebo_marks(panel)
    {'all_heads': 'explained by through 128 px (AUC 0.70 [0.66, 0.74] on photographs alone)'}
    """
    marks = {}
    for name, part in panel.groupby(who, sort=False):
        told = [
            f"{row.placebo} (AUC {row.auc:.2f} [{row.low:.2f}, {row.high:.2f}] on photographs alone)"
            for row in part[part["explained"]].itertuples()
        ]
        marks[str(name)] = f"explained by {', '.join(told)}" if told else ""
    return marks


def placebo_doubts(panel: pd.DataFrame, baseline: str = "embedding") -> dict[str, str]:
    """For each detector the placebos that could explain its gain over the baseline; detectors without any are left out.

    A placebo can explain a gain where it explains the detector's own answers and lies further from one half than
    with the baseline: a detector that follows a placebo no more than the baseline owes no gain to it.

    >>> panel = pd.DataFrame({"arm": ["embedding", "all_heads", "best_layer"], "placebo": "through 128 px",
    ...                       "auc": [0.6, 0.7, 0.57], "gap": [0.1, 0.2, 0.07], "explained": True})
    >>> placebo_doubts(panel)
    {'all_heads': 'through 128 px (AUC 0.70, plain 0.60)'}
    """
    plain = panel[panel["arm"] == baseline].set_index("placebo")
    doubts: dict[str, list[str]] = {}
    for row in panel[panel["explained"] & (panel["arm"] != baseline)].itertuples():
        if row.gap > plain.loc[row.placebo, "gap"]:
            said = f"{row.placebo} (AUC {row.auc:.2f}, plain {plain.loc[row.placebo, 'auc']:.2f})"
            doubts.setdefault(str(row.arm), []).append(said)
    return {arm: ", ".join(said) for arm, said in doubts.items()}


class _Asked:
    """Placebos laid over a store's rows."""

    def __init__(self, store: FeatureStore, placebos: Sequence[Placebo], kinds: Sequence[str]):
        if not placebos:
            raise InputError("there is no placebo to ask; give at least one")
        if store.views > 1:
            raise InputError(f"{store.folder} holds views of images; placebos are asked of whole images")
        self.rows, self.placebos = store.rows, list(placebos)
        self.real = store.usable & (store.rows["label"] == "real").to_numpy()
        self.features: list[dict[str, np.ndarray]] = []
        self.known, self.side = [], []
        for placebo in placebos:
            known, side = np.zeros(len(store.rows), bool), np.zeros(len(store.rows), bool)
            if placebo.altered is not None:
                known = _laid_over(store, placebo.name, placebo.altered)
                positions = placebo.altered.rows.index.get_indexer(store.rows.index[known])
                self.features.append(
                    {kind: _spread(placebo.altered, kind, positions, known) for kind in kinds}
                )
            elif placebo.side is not None:
                given = placebo.side.reindex(store.rows.index)
                known = given.notna().to_numpy() & self.real
                side = given.fillna(False).to_numpy().astype(bool)
            self.known.append(known & self.real)
            self.side.append(side)

    def answers(self, split: Split, y: np.ndarray, score: Score) -> list[Scored]:
        """For each placebo, positions (k, 2: row, side) and scores (k, m) of its test photographs in one split."""
        photographs = split.test[y[split.test] == 0]
        plain = score(photographs, None)
        found, altered = [], 0
        for placebo, known, side in zip(self.placebos, self.known, self.side, strict=True):
            kept = known[photographs]
            rows = photographs[kept]
            if placebo.altered is not None:
                both = np.concatenate([score(rows, altered), plain[kept]])
                where = np.stack([np.tile(rows, 2), np.repeat([1, 0], len(rows))], axis=1)
                altered += 1
            else:
                both, where = plain[kept], np.stack([rows, side[rows].astype(np.int64)], axis=1)
            counts = np.bincount(where[:, 1], minlength=2)
            if min(counts) < 2:
                raise InputError(
                    f"placebo {placebo.name!r}: the test part of split {split.name}, seed {split.seed}, has "
                    f"{counts[1]} photographs on one side and {counts[0]} on the other; it must divide more"
                )
            found.append((where, both))
        return found

    def table(
        self,
        found: Sequence[list[Scored]],
        names: Sequence[str],
        who: str,
        n_resamples: int,
        random_state: int,
    ) -> pd.DataFrame:
        """Splits averaged, with intervals over one joint resample of photographs."""
        resample = JointResample(self.rows, n_resamples=n_resamples, random_state=random_state)
        tables = []
        for number, placebo in enumerate(self.placebos):
            aucs, drawn, counts, contributed = [], [], [], []
            for one in found:
                where, scores = one[number]
                aucs.append(resampled_auc(where[:, 1], scores, np.ones((1, len(where))))[0])
                unit = resample.unit[where[:, 0]]
                drawn.append(resampled_auc(where[:, 1], scores, resample.counts(where[:, 0]), unit))
                contributed.append(by_unit([(unit, auc_influence(where[:, 1], scores))]))
                counts.append([where[:, 1].sum(), (1 - where[:, 1]).sum()])
            influence = UnitInfluence(resample.stratum, contributed).mean(np.full(len(found), True))
            low, high, _ = bca_from_influence(np.mean(aucs, axis=0), np.nanmean(drawn, axis=0), *influence)
            auc, outside = np.mean(aucs, axis=0), np.abs(np.array(aucs) - 0.5) > TOLERATED
            table = pd.DataFrame(
                {who: list(names), "placebo": placebo.name, "auc": auc, "low": low, "high": high}
            )
            table["gap"], table["outside"] = np.abs(auc - 0.5), outside.mean(axis=0)
            table["explained"] = table["gap"] > TOLERATED
            table["sure"] = np.maximum(low - 0.5, 0.5 - high) > TOLERATED
            table["n_one"], table["n_other"] = np.mean(counts, axis=0)
            tables.append(table.assign(splits=len(found)))
        return pd.concat(tables, ignore_index=True)


def _laid_over(store: FeatureStore, asked: str, other: FeatureStore) -> np.ndarray:
    """(n,) bool: photographs of the store that the altered store has too; refuses one that was made otherwise."""
    for name in ("encoder", "equalize", "preprocessing"):
        if store.key[name] != other.key[name]:
            raise InputError(
                f"placebo {asked!r}: {other.folder} has {name} {other.key[name]!r}, and {store.folder} has "
                f"{store.key[name]!r}; extract the altered photographs as the others were"
            )
    usable = pd.Series(other.usable, index=other.rows.index).reindex(store.rows.index)
    known = usable.fillna(False).to_numpy().astype(bool) & store.usable
    if not known.any():
        raise InputError(f"placebo {asked!r}: {other.folder} has none of the photographs of {store.folder}")
    return known


def _spread(altered: FeatureStore, kind: str, positions: np.ndarray, known: np.ndarray) -> np.ndarray:
    """The altered features at the rows of the store; rows without are 0 and never asked."""
    found = altered.features(kind)
    values = np.zeros((len(known), *found.shape[1:]), found.dtype)
    values[known] = found[positions]
    return values
