"""From scores to cells: AUC of every arm for each train, select and test generator, under one joint resample."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from interp.protocol.bca import bca_from_influence
from interp.protocol.intervals import percentile_interval
from interp.protocol.metrics import auc_columns, auc_influence
from interp.protocol.resampling import JointResample, resampled_auc
from interp.protocol.roles import Split

IN_DISTRIBUTION = "(in distribution)"
"""Stands for the test generator in the cells of held-out images of the train generator itself."""


@dataclass(frozen=True)
class SplitScores:
    """Scores of all arms on one split.

    Attributes:
        split: who trained, selected, tests.
        arms: m names.
        positions: (k,) int64: rows of the store that were scored, test and in-distribution ones.
        scores: (k, m) float64.
    """

    split: Split
    arms: tuple[str, ...]
    positions: np.ndarray
    scores: np.ndarray


@dataclass(frozen=True)
class UnitInfluence:
    """What the units of a `JointResample` contribute to the AUCs of cells.

    Attributes:
        stratum: (units,) int64, as in the resample.
        cells: for each cell, units (k,) int64 and contributions (k, m) float64, seeds averaged.
    """

    stratum: np.ndarray
    cells: Sequence[tuple[np.ndarray, np.ndarray]]

    def mean(self, chosen: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Contributions (u, m) of all units that chosen cells (c,) bool hold, to the cells' mean; strata (u,)."""
        units, values = by_unit([self.cells[at] for at in np.flatnonzero(chosen).tolist()])
        return values, self.stratum[units]


@dataclass(frozen=True)
class Cells:
    """AUC of m arms in c cells, seeds averaged, with B joint resamples of photographs and groups.

    Attributes:
        table: c rows: train, select, test, n_real, n_fake (mean over seeds), seeds.
        arms: m names.
        auc: (c, m) float64.
        resampled: (B, c, m) float64.
        influence: what each unit of the resample contributes to each cell; None leaves intervals uncorrected.
    """

    table: pd.DataFrame
    arms: tuple[str, ...]
    auc: np.ndarray
    resampled: np.ndarray
    influence: UnitInfluence | None = None

    def interval(
        self, chosen: np.ndarray, weights: np.ndarray | None = None
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Means over the chosen cells (c,) bool, with 95 % over images (BCa, see `interp.protocol.bca`).

        Args:
            chosen: (c,) bool.
            weights: (m, k): numbers made of the arms' AUCs, such as one less another; by default the arms' own.

        Returns:
            value, low, high: (k,) float64.
        """
        combine = np.eye(len(self.arms)) if weights is None else weights
        value, drawn = self.auc[chosen].mean(0) @ combine, self.resampled[:, chosen].mean(1) @ combine
        if self.influence is None:
            return value, *percentile_interval(drawn)
        contributed, stratum = self.influence.mean(chosen)
        low, high, _ = bca_from_influence(value, drawn, contributed @ combine, stratum)
        return value, low, high

    def gain(self, chosen: np.ndarray, base: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The same of every arm's AUC less that of the arm at position `base`."""
        less = np.eye(len(self.arms))
        less[base] -= 1
        return self.interval(chosen, less)

    def mean(self, chosen: np.ndarray) -> pd.DataFrame:
        """Mean AUC over the chosen cells (c,) bool: a row for each arm with auc, low, high."""
        return pd.DataFrame(
            dict(zip(("auc", "low", "high"), self.interval(chosen), strict=True)), index=list(self.arms)
        )

    def by(self, columns: Sequence[str]) -> pd.DataFrame:
        """Mean AUC with intervals for each group of cells: arm, the columns, auc, low, high, n_real, n_fake."""
        parts = []
        for values, group in self.table.groupby(list(columns), sort=True):
            chosen = self.table.index.isin(group.index)
            part = self.mean(chosen).rename_axis("arm").reset_index()
            for name, value in zip(columns, values, strict=True):
                part[name] = value
            part["n_real"], part["n_fake"] = group["n_real"].mean(), group["n_fake"].mean()
            parts.append(part)
        found = pd.concat(parts, ignore_index=True)
        return found[["arm", *columns, "auc", "low", "high", "n_real", "n_fake"]]

    @property
    def unseen(self) -> np.ndarray:
        """(c,) bool: cells whose test generator was not trained on."""
        return (self.table["test"] != IN_DISTRIBUTION).to_numpy()


def evaluation_sets(split: Split, generator: np.ndarray, y: np.ndarray) -> dict[str, np.ndarray]:
    """Positions of test photographs and one test generator's fakes, for each of them and in distribution.

    Args:
        split: the split.
        generator: (n,) name of each row's generator.
        y: (n,), 1 fake, 0 photograph.
    """
    photographs = split.test[y[split.test] == 0]
    fakes = split.test[y[split.test] == 1]
    sets = {name: fakes[generator[fakes] == name] for name in split.test_generators}
    sets[IN_DISTRIBUTION] = split.in_distribution[y[split.in_distribution] == 1]
    return {name: np.concatenate([photographs, found]) for name, found in sets.items() if len(found)}


def cell_aucs(
    scores: np.ndarray, positions: np.ndarray, sets: dict[str, np.ndarray], y: np.ndarray
) -> pd.DataFrame:
    """AUC of each score column (k, m) on each test set: rows are test generators, columns the m columns."""
    found = {}
    for name, rows in sets.items():
        found[name] = auc_columns(y[rows], scores[np.searchsorted(positions, rows)])
    return pd.DataFrame(found).T


def joint_cells(
    splits: Sequence[SplitScores], rows: pd.DataFrame, *, n_resamples: int = 1000, random_state: int = 0
) -> Cells:
    """AUC of every cell, and the same under one joint resample of photographs and groups, seeds averaged.

    Detectors stay fixed: the intervals say what other images of the same generators would give.

    Args:
        splits: scores of the same arms on every split.
        rows: (n) rows of the store that positions count in: label, generator, group.
        n_resamples: B.
        random_state: seed of the resample.
    """
    resample = JointResample(rows, n_resamples=n_resamples, random_state=random_state)
    y = (rows["label"] != "real").to_numpy().astype(int)
    generator = rows["generator"].to_numpy().astype(str)
    arms = splits[0].arms
    sums: dict[tuple[str, str, str], list] = {}
    shared: dict[tuple[str, str, str], list[tuple[np.ndarray, np.ndarray]]] = {}
    for one in splits:
        for test, members in evaluation_sets(one.split, generator, y).items():
            scores = one.scores[np.searchsorted(one.positions, members)]
            unit = resample.unit[members]
            entry = (
                auc_columns(y[members], scores),
                resampled_auc(y[members], scores, resample.counts(members), unit),
            )
            cell = ("+".join(one.split.train_generators), "+".join(one.split.select_generators), test)
            sums.setdefault(cell, []).append(
                (*entry, int((y[members] == 0).sum()), int((y[members] == 1).sum()))
            )
            shared.setdefault(cell, []).append((unit, auc_influence(y[members], scores)))
    table = pd.DataFrame(list(sums), columns=["train", "select", "test"])
    table["n_real"] = [np.mean([entry[2] for entry in entries]) for entries in sums.values()]
    table["n_fake"] = [np.mean([entry[3] for entry in entries]) for entries in sums.values()]
    table["seeds"] = [len(entries) for entries in sums.values()]
    auc = np.array([np.mean([entry[0] for entry in entries], axis=0) for entries in sums.values()])
    resampled = np.stack(
        [_mean_of_known(np.array([entry[1] for entry in entries])) for entries in sums.values()], axis=1
    )
    influence = UnitInfluence(resample.stratum, [by_unit(entries) for entries in shared.values()])
    return Cells(table, arms, auc, resampled, influence)


def _mean_of_known(values: np.ndarray) -> np.ndarray:
    """Mean over the first axis of what is not NaN; NaN where a resample holds no image of a cell under any seed."""
    known = ~np.isnan(values)
    count = known.sum(axis=0)
    return np.where(count > 0, np.where(known, values, 0).sum(axis=0) / np.maximum(count, 1), np.nan)


def by_unit(entries: Sequence[tuple[np.ndarray, np.ndarray]]) -> tuple[np.ndarray, np.ndarray]:
    """Units (k,) and their contributions (k, m): summed within each entry (a seed, a cell), the mean over entries."""
    units, at = np.unique(np.concatenate([unit for unit, _ in entries]), return_inverse=True)
    sums = np.zeros((len(units), entries[0][1].shape[1]))
    np.add.at(sums, at, np.concatenate([values for _, values in entries]))
    return units, sums / len(entries)
