"""What may be said of single heads: each measure with its interval, its rank, and how far rankings can be trusted."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd
from scipy.stats import rankdata

from interp.analysis.head_effects import MEASURES
from interp.errors import InputError, unknown_name
from interp.protocol.intervals import percentile_interval, two_way_interval

RELIABLE = 0.7
"""Mean rank correlation between seeds, and between select generators, from which single heads may be named."""
BOOTSTRAPS = 2000
CHOICE = ["train", "select"]


@dataclass(frozen=True)
class EffectTable:
    """What `head_effects` measured, and what may be said of it.

    Attributes:
        per_split: a row for each head and split; see `head_effects`.
    """

    per_split: pd.DataFrame

    def __post_init__(self) -> None:
        missing = {"head", *CHOICE, "seed", *MEASURES} - set(self.per_split.columns)
        if missing or not len(self.per_split):
            raise InputError(
                f"per_split comes from head_effects; it lacks {', '.join(sorted(missing)) or 'rows'}"
            )

    @cached_property
    def summary(self) -> pd.DataFrame:
        """A row for each head, in the order of the layout: head, and of each measure M its mean, low, high and rank.

        M_low and M_high are a 95 % interval over other generators (two-way clustered by train and select generator,
        seeds averaged first; NaN where there are too few). M_rank is 1 for the highest mean.
        """
        return _summary(self.per_split, "head")

    @cached_property
    def layers(self) -> pd.DataFrame:
        """The same of whole layers: each measure is the mean over the layer's heads; column `layer`."""
        return _summary(self._by_layer, "layer")

    @cached_property
    def reliability(self) -> pd.DataFrame:
        """Indexed by measure: over_seeds and over_generators, and layers_over_seeds and layers_over_generators.

        The mean Spearman correlation of the rankings of heads (or layers) by each pair of seeds, and by each pair of
        select generators; NaN where there is one.
        """
        found = {}
        for measure in MEASURES:
            found[measure] = {
                "over_seeds": _reliability(self.per_split, measure, "head", "seed"),
                "over_generators": _reliability(self.per_split, measure, "head", "select"),
                "layers_over_seeds": _reliability(self._by_layer, measure, "layer", "seed"),
                "layers_over_generators": _reliability(self._by_layer, measure, "layer", "select"),
            }
        return pd.DataFrame(found).T.rename_axis("measure")

    def named(self, measure: str, k: int = 3) -> tuple[str, ...]:
        """The k heads that a measure is highest for; whole layers (`L3`) where only these are reliable; else none.

        A ranking is reliable where both its correlations are known and at least 0.7.

        Raises:
            InputError: an unknown measure.
        """
        if measure not in MEASURES:
            raise unknown_name("measure", measure, MEASURES)
        row = self.reliability.loc[measure]
        for table, name, prefix in ((self.summary, "head", ""), (self.layers, "layer", "layers_")):
            both = row[[f"{prefix}over_seeds", f"{prefix}over_generators"]]
            if (both >= RELIABLE).all():
                return tuple(table.nsmallest(k, f"{measure}_rank")[name])
        return ()

    def agreement(self, unit: str = "auc", *, worst: int = 5, random_state: int = 0) -> Agreement:
        """How well the direct effect stands for the total one.

        Args:
            unit: "auc" or "margin".
            worst: how many of the heads that differ most to keep.
            random_state: seed of the bootstrap.
        """
        if unit not in ("auc", "margin"):
            raise unknown_name("unit", unit, ["auc", "margin"])
        columns = [f"direct_{unit}", f"total_{unit}"]
        choices = self.per_split.groupby(CHOICE).ngroups
        drawn = CHOICE if choices > 1 else ["seed"]
        means = self.per_split.groupby([*drawn, "head"], sort=False)[columns].mean()
        direct, total = (means[column].unstack("head")[self.summary["head"]].to_numpy() for column in columns)
        splits, rng = len(direct), np.random.default_rng(random_state)
        shares = rng.multinomial(splits, np.full(splits, 1 / splits), size=BOOTSTRAPS) / splits
        resampled = _row_correlations(shares @ direct, shares @ total)
        low, high = percentile_interval(resampled) if splits > 1 else (np.nan, np.nan)
        overall = direct.mean(0), total.mean(0)
        gap = pd.Series(np.abs(overall[0] - overall[1]), index=self.summary["head"])
        return Agreement(
            unit,
            float(_row_correlations(*(part[None] for part in overall))[0]),
            float(low),
            float(high),
            splits,
            float(gap.median()),
            gap.nlargest(worst),
        )

    def sentences(self, k: int = 3) -> list[str]:
        """What may be said, a sentence for each measure and for each unit of the effects."""
        found = []
        for measure in MEASURES:
            row, names = self.reliability.loc[measure], self.named(measure, k)
            trust = f"{row['over_seeds']:.2f} over seeds, {row['over_generators']:.2f} over select generators"
            if not names:
                said = f"below {RELIABLE} or unknown, so no head and no layer is named"
            else:
                what = "heads" if "." in names[0] else f"heads below {RELIABLE}, layers above it; layers"
                said = f"{what} with the highest value: {', '.join(names)}"
            found.append(f"{measure}: reliability {trust}: {said}.")
        for unit, shown in (("auc", "AUC"), ("margin", "log-odds")):
            pair = self.agreement(unit)
            found.append(
                f"direct against total effect on the {unit}: Spearman {pair.spearman:+.2f} "
                f"[{pair.low:+.2f}, {pair.high:+.2f}] over heads ({pair.splits} choices of generators or seeds); "
                f"median |difference| {pair.median_difference:.4f} {shown}, largest {pair.worst.max():.4f}."
            )
        return found

    @cached_property
    def _by_layer(self) -> pd.DataFrame:
        layer = self.per_split["head"].str.partition(".")[0]
        frame = self.per_split.assign(layer=layer)
        return frame.groupby(["layer", *CHOICE, "seed"], sort=False, as_index=False)[list(MEASURES)].mean()


@dataclass(frozen=True)
class Agreement:
    """Direct against total effect over all heads, means over splits.

    Attributes:
        unit: "auc" or "margin" (log-odds).
        spearman, low, high: rank correlation over heads, and its 95 % bootstrap interval over choices of generators
            (over seeds where there is one choice; NaN where there is one seed too).
        splits: how many choices were resampled.
        median_difference: median over heads of |direct - total|.
        worst: |direct - total| of the heads that differ most, indexed by head.
    """

    unit: str
    spearman: float
    low: float
    high: float
    splits: int
    median_difference: float
    worst: pd.Series


def _summary(per_split: pd.DataFrame, by: str) -> pd.DataFrame:
    means = per_split.groupby([by, *CHOICE], sort=False)[list(MEASURES)].mean().reset_index()
    table = pd.DataFrame({by: per_split[by].unique()})
    for measure in MEASURES:
        found = [
            two_way_interval(means[means[by] == one], value=measure, train="train", test="select")
            for one in table[by]
        ]
        table[measure] = [interval.mean for interval in found]
        table[f"{measure}_low"] = [interval.low for interval in found]
        table[f"{measure}_high"] = [interval.high for interval in found]
        table[f"{measure}_rank"] = rankdata(-table[measure], method="ordinal")
    return table


def _reliability(per_split: pd.DataFrame, measure: str, by: str, over: str) -> float:
    """Mean Spearman correlation over pairs of seeds or select generators of their rankings of heads or layers."""
    table = per_split.pivot_table(index=by, columns=over, values=measure, sort=False)
    pairs = list(itertools.combinations(range(table.shape[1]), 2))
    if not pairs or len(table) < 3:
        return float("nan")
    first, second = (table.to_numpy().T[list(side)] for side in zip(*pairs, strict=True))
    return float(_row_correlations(first, second).mean())


def _row_correlations(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Spearman's correlation of each row of (B, m) with that of (B, m), (B,); 0 where a constant row ranks nothing."""
    ranks = [rankdata(part, axis=1) for part in (a, b)]
    centred = [part - part.mean(1, keepdims=True) for part in ranks]
    norm = np.sqrt((centred[0] ** 2).sum(1) * (centred[1] ** 2).sum(1))
    return (centred[0] * centred[1]).sum(1) / np.where(norm == 0, np.inf, norm)
