"""What an ablation says: gains by combination and by factor, the one that select rows choose, and the flattery."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import astuple, dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from interp.evaluation.ablation_grid import FACTORS, Grid
from interp.protocol.intervals import Interval, two_way_interval

CELL = ["train", "select", "test"]
PERMUTATIONS = 1000


@dataclass(frozen=True)
class Optimism:
    """What an ablation flatters that reports the combination with the highest test AUC.

    AUCs are means over unseen generators.

    Attributes:
        difference: `auc_by_test` - `auc_by_select`, never below 0.
        by_test, by_select: the combination with the highest test AUC, and the one with the highest select AUC.
        auc_by_test, auc_by_select: their test AUC.
        auc_by_split: test AUC where every split has the combination that its own select rows like best. Select
            generators of one split test in another; this number alone is free of that.
        combinations: how many were tried.
        lead: `auc_by_test` less the mean of all combinations.
        lead_by_luck: 95th percentile of that lead where combinations swap their results at random, apart for each
            test generator: as if all were equally good.
    """

    difference: float
    by_test: str
    by_select: str
    auc_by_test: float
    auc_by_select: float
    auc_by_split: float
    combinations: int
    lead: float
    lead_by_luck: float

    @property
    def words(self) -> str:
        """The same in plain words."""
        within = "no more than" if self.lead <= self.lead_by_luck else "more than"
        return (
            f"{self.combinations} combinations were tried. Chosen by select rows: {self.by_select}; "
            f"AUC on unseen generators {self.auc_by_select:.3f}"
            f" (chosen anew on every split: {self.auc_by_split:.3f}).\n"
            f"The best by test rows, which nobody may choose: {self.by_test}; {self.auc_by_test:.3f}. "
            f"To report that one would flatter by {self.difference:+.3f}.\n"
            f"It leads the mean combination by {self.lead:+.3f}: {within} the best of as many equally good ones would "
            f"by luck (up to {self.lead_by_luck:+.3f}, 95th percentile)."
        )


@dataclass(frozen=True)
class Ablation:
    """What `ablate` measured.

    Attributes:
        table: a row for each combination, split and test generator: heads, removal, C, aggregate, normalise (as
            text; "-" for a factor without a say), seed, train, select, test, auc, average_precision,
            balanced_accuracy (at the threshold that select rows choose), select_auc, n_features.
        grid: what was asked for and what was computed for it.
        families: family of each generator.
        settings: what decided the numbers.
    """

    table: pd.DataFrame
    grid: Grid
    families: Mapping[str, str]
    settings: dict[str, Any]

    def summary(self) -> pd.DataFrame:
        """A row for each combination, highest select AUC first; gains are to the plain embedding on the same cells.

        Returns:
            The factors; select_auc; auc, low, high (mean over unseen generators, seeds averaged first, with the 95 %
            interval over other generators, see `interval_over`); delta, delta_low, delta_high; average_precision,
            balanced_accuracy, n_features (means).
        """
        keys, auc = self._cells
        rows = []
        for values, gains in zip(auc.T, (auc - auc[:, :1]).T, strict=True):
            level, gain = self._interval(keys, values), self._interval(keys, gains)
            low, high = np.clip([level.low, level.high], 0, 1)
            rows.append([level.mean, low, high, gain.mean, gain.low, gain.high])
        names = ["auc", "low", "high", "delta", "delta_low", "delta_high"]
        found = pd.concat([pd.DataFrame(self.grid.combinations), pd.DataFrame(rows, columns=names)], axis=1)
        found.loc[0, ["delta_low", "delta_high"]] = np.nan
        others = ["select_auc", "average_precision", "balanced_accuracy", "n_features"]
        found[others] = self.table.groupby(self._number)[others].mean()
        found = found[[*FACTORS, "select_auc", *names, *others[1:]]]
        return found.sort_values(
            ["select_auc", "n_features"], ascending=[False, True], kind="stable", ignore_index=True
        )

    def best(self) -> pd.Series:
        """The row of `summary` that select rows choose: highest select AUC, then fewer columns, then the simpler.

        The select AUC of a combination that itself searches on select rows (removal, few of many heads) is flattered by
        that search, so that this choice leans towards such combinations; the test AUC beside it is not.
        """
        return self.summary().iloc[0]

    def effects(self) -> pd.DataFrame:
        """What each value of each factor is worth, the other factors alike: means over the settings of the others
        that all values of the factor were computed with.

        Returns:
            factor, value; settings (how many settings of the other factors); delta, low, high (to the plain
            embedding); change, change_low, change_high (to the factor's first value). Empty for a factor whose values
            share no setting.
        """
        keys, auc = self._cells
        rows = []
        for factor in FACTORS:
            settings = self._shared_settings(factor)
            means = {value: auc[:, numbers].mean(1) for value, numbers in settings.items() if len(numbers)}
            for value, mean in means.items():
                gain = self._interval(keys, mean - auc[:, 0])
                change = self._interval(keys, mean - next(iter(means.values())))
                numbers = [gain.mean, gain.low, gain.high, change.mean, change.low, change.high]
                rows.append([factor, value, len(settings[value]), *numbers])
        names = ["delta", "low", "high", "change", "change_low", "change_high"]
        return pd.DataFrame(rows, columns=["factor", "value", "settings", *names])

    def optimism(self, *, random_state: int = 0) -> Optimism:
        """What reporting the combination that is best by test would flatter.

        Args:
            random_state: seed of the permutations behind `lead_by_luck`.
        """
        keys, auc = self._cells
        mean = auc.mean(0)
        by_test, by_select = int(np.argmax(mean)), self._number_of(self.best())
        of_generator = pd.DataFrame(auc).groupby(keys["test"].to_numpy()).sum().to_numpy() / len(keys)
        rng = np.random.default_rng(random_state)
        luck = [rng.permuted(of_generator, axis=1).sum(0).max() for _ in range(PERMUTATIONS)]
        return Optimism(
            difference=float(mean[by_test] - mean[by_select]),
            by_test=str(self.grid.combinations[by_test]),
            by_select=str(self.grid.combinations[by_select]),
            auc_by_test=float(mean[by_test]),
            auc_by_select=float(mean[by_select]),
            auc_by_split=self._auc_by_split(),
            combinations=len(mean),
            lead=float(mean[by_test] - mean.mean()),
            lead_by_luck=float(np.quantile(luck, 0.95) - mean.mean()),
        )

    @property
    def interval_over(self) -> str:
        """What the intervals say of: which families of generators could have been others."""
        keys, auc = self._cells
        found = self._interval(keys, auc[:, 0])
        if found.reason:
            return f"nothing ({found.reason})"
        return "other train and test families" if self._several_train(keys) else "other test families"

    @property
    def words(self) -> str:
        """What was tried, the choice of select rows, and the flattery, in plain words."""
        best = self.best()
        bounds = (
            f" [{best['delta_low']:+.3f}, {best['delta_high']:+.3f}]"
            if np.isfinite(best["delta_low"])
            else ""
        )
        gain = f"Its gain over the plain embedding: {best['delta']:+.3f}{bounds} ({self.interval_over})."
        return "\n".join([self.grid.describe(), "", self.optimism().words, gain])

    def __repr__(self) -> str:
        return self.words

    def _repr_html_(self) -> str:
        return self.summary().to_html(index=False, float_format="%.3f", na_rep="")

    @cached_property
    def _number(self) -> np.ndarray:
        """(rows,) number of each row's combination."""
        numbers = {astuple(one): number for number, one in enumerate(self.grid.combinations)}
        return np.array([numbers[tuple(row)] for row in self.table[list(FACTORS)].to_numpy()])

    @cached_property
    def _cells(self) -> tuple[pd.DataFrame, np.ndarray]:
        """Train, select and test of c cells, and AUC (c, combinations), seeds averaged."""
        wide = self.table.assign(number=self._number).pivot_table(index=CELL, columns="number", values="auc")
        return wide.index.to_frame(index=False), wide.to_numpy()

    def _number_of(self, row: pd.Series) -> int:
        return [astuple(one) for one in self.grid.combinations].index(tuple(row[list(FACTORS)]))

    def _auc_by_split(self) -> float:
        """Mean test AUC where each split has the combination that its own select rows like best."""
        rows = self.table.assign(number=self._number).sort_values(
            ["select_auc", "n_features", "number"], ascending=[False, True, True], kind="stable"
        )
        chosen = rows.drop_duplicates(
            [*CELL, "seed"]
        )  # select_auc is one number for all test generators of a split
        return float(chosen.groupby(CELL)["auc"].mean().mean())

    def _shared_settings(self, factor: str) -> dict[str, np.ndarray]:
        """For each value of a factor the combinations it has in those settings of the others that all values share."""
        asked, others = self.grid.asked, [name for name in FACTORS if name != factor]
        possible = asked[asked["number"] >= 0]
        computed = np.array([getattr(self.grid.combinations[n], factor) for n in possible["number"]])
        has_say = possible[computed == possible[factor].to_numpy()]
        wide = has_say.pivot(index=others, columns=factor, values="number")
        values = list(dict.fromkeys(asked[factor]))
        if not set(values) <= set(wide.columns):
            return {}
        shared = wide.dropna().drop_duplicates().astype(int)
        return {value: shared[value].to_numpy() for value in values}

    def _several_train(self, keys: pd.DataFrame) -> bool:
        """Whether each split trains on one generator, of more than one family over all splits."""
        trained = keys["train"].map(self.families)
        return bool(trained.notna().all() and trained.nunique() > 1)

    def _interval(self, keys: pd.DataFrame, values: np.ndarray) -> Interval:
        """Over other families: of train and test where there are several of both, else of test generators alone."""
        pairs = keys.assign(value=values).groupby(["train", "test"], as_index=False)["value"].mean()
        pairs["test_family"] = pairs["test"].map(self.families)
        pairs["train_family"] = (
            pairs["train"].map(self.families) if self._several_train(keys) else pairs["test_family"]
        )
        return two_way_interval(pairs, train="train_family", test="test_family")
