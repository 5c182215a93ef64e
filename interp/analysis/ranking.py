"""Rank attention heads: each one alone, by how well a probe on it transfers to generators it was not trained on."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import torch
from scipy.stats import spearmanr, t
from tqdm import tqdm

from interp.analysis.batched_logistic import BatchedLogisticRegression
from interp.analysis.closed_form import RidgeProbes
from interp.analysis.comparisons import Comparison, compared
from interp.encoders.layout import HeadLayout
from interp.errors import InputError, unknown_name
from interp.protocol.intervals import holm, two_way_interval

if TYPE_CHECKING:
    from interp.protocol.roles import Split

PROBE_C = 0.01
"""Strength of the probe on one head; the same for every head, since they have one width."""

PROBES = ("logistic", "ridge")

CHUNK = 2**26
"""Bytes that the ridge probes of some heads may take together."""


@dataclass(frozen=True)
class HeadRanking:
    """Every head alone.

    Attributes:
        table: a row for each head, best first: rank, head, layer, index, transfer_auc (mean over splits, on select
            generators), transfer_sd (over seeds), in_distribution_auc (held-out images of the train generators),
            gap (in distribution - transfer), stability (share of splits that have it among the top heads),
            transfer_low, transfer_high (95 % over other generators: two-way clustered by train and select generator),
            p_holm (that it is as good as the mean of all heads of its split, from the same clusters; Holm over
            heads). NaN where there are fewer than two train or select generators.
        per_split: a row for each head and split: head, train, select, seed, transfer_auc, in_distribution_auc.
        reliability: mean Spearman correlation between the rankings of two seeds; NaN with one seed. Below 0.7
            no single head should be named.
    """

    table: pd.DataFrame
    per_split: pd.DataFrame
    reliability: float

    def top(self, k: int) -> list[str]:
        """Names of the k best heads."""
        return self.table["head"].head(k).tolist()

    def _repr_html_(self) -> str:
        return self.table.to_html(index=False, float_format="%.3f")


def rank_heads(
    X: np.ndarray,
    y: np.ndarray,
    layout: HeadLayout,
    splits: Iterable[Split],
    *,
    generator: np.ndarray,
    C: float = PROBE_C,
    probe: str = "logistic",
    top: int | None = None,
    device: str | None = None,
    progress: bool = True,
) -> HeadRanking:
    """Fit a probe on each head's columns alone, on train rows; score it on select rows. Test rows are not read.

    Args:
        X: (n, l·h·d) head features, columns as in `layout`.
        y: (n,), 1 fake, 0 photograph.
        layout: which columns are which head's.
        splits: who trains and selects; usually a `Protocol`.
        generator: (n,) names.
        C: inverse strength of the probes' penalty, on columns standardised by the train rows.
        probe: "logistic", solved to convergence, for numbers to report; or "ridge", its first Newton step, which is
            linear discriminant analysis in closed form from moments computed once per generator: several times
            quicker, for looking around and for many generators or seeds. Both rank alike: on photographs, ten
            generators and two encoders Spearman 0.99.
        top: how many heads count as top for `stability`; by default an eighth of them.
        device: where probes are fitted, such as "cuda"; by default the CPU.
        progress: show a bar.

    Raises:
        InputError: X does not fit the layout, an unknown probe, or there is no split.
    """
    if X.ndim != 2 or X.shape[1] != layout.size:
        raise InputError(f"X must be (n, {layout.size}) for {layout}; given {X.shape}")
    splits = list(splits)
    if not splits:
        raise InputError("there is no split to rank heads on")
    top = max(1, layout.n_heads // 8) if top is None else top
    if probe not in PROBES:
        raise unknown_name("probe", probe, PROBES)
    comparisons = compared(splits, y, generator)
    found = (_ridge if probe == "ridge" else _logistic)(X, y, layout, comparisons, generator, C, device)
    transfer, own = np.empty((2, len(splits), layout.n_heads))
    with tqdm(total=layout.n_heads * len(splits), desc="rank heads", disable=not progress) as bar:
        for heads, one, scores in found:
            transfer[one.splits, heads], own[one.splits, heads] = one.aucs(scores)
            bar.update(scores.shape[1] * len(one.splits))
    per_split = _per_split(splits, layout, transfer, own)
    return HeadRanking(_summary(per_split, layout, top), per_split, _reliability(per_split))


Scored = Iterator[tuple[slice, Comparison, np.ndarray]]
"""Some heads, a comparison, and the scores (rows, heads) of its rows."""


def _logistic(
    X: np.ndarray,
    y: np.ndarray,
    layout: HeadLayout,
    comparisons: Sequence[Comparison],
    generator: np.ndarray,
    C: float,
    device: str | None,
) -> Scored:
    chunk, columns = 64, X
    if device is not None:
        chunk, columns = layout.n_heads, torch.as_tensor(np.require(X, requirements="W"), device=device)
    for one in comparisons:
        yield slice(None), one, probe_scores(columns, y, layout, one.train, one.rows, C=C, chunk=chunk)


def _ridge(
    X: np.ndarray,
    y: np.ndarray,
    layout: HeadLayout,
    comparisons: Sequence[Comparison],
    generator: np.ndarray,
    C: float,
    device: str | None,
) -> Scored:
    """All rows of all comparisons are scored in one product."""
    rows = np.unique(np.concatenate([one.rows for one in comparisons]))
    own = [np.searchsorted(rows, one.rows) for one in comparisons]
    probes = RidgeProbes(X, y, layout, generator, [one.train for one in comparisons], rows, C, device)
    step = probes.heads_at_once(CHUNK)
    for start in range(0, layout.n_heads, step):
        stop = min(start + step, layout.n_heads)
        for one, chosen, scores in zip(comparisons, own, probes.scores(start, stop), strict=True):
            yield slice(start, stop), one, scores[:, chosen].T


def _per_split(
    splits: Sequence[Split], layout: HeadLayout, transfer: np.ndarray, own: np.ndarray
) -> pd.DataFrame:
    each = {
        "train": ["+".join(split.train_generators) for split in splits],
        "select": ["+".join(split.select_generators) for split in splits],
        "seed": [split.seed for split in splits],
    }
    return pd.DataFrame(
        {
            "head": np.tile(layout.names, len(splits)),
            **{name: np.repeat(values, layout.n_heads) for name, values in each.items()},
            "transfer_auc": transfer.ravel(),
            "in_distribution_auc": own.ravel(),
        }
    )


def probe_scores(
    X: np.ndarray | torch.Tensor,
    y: np.ndarray,
    layout: HeadLayout,
    train: np.ndarray,
    rows: np.ndarray,
    *,
    C: float = PROBE_C,
    chunk: int = 64,
    device: str | None = None,
) -> np.ndarray:
    """Scores of one probe for each head, fitted on its own columns of the train rows.

    Args:
        X, y, layout: as in `rank_heads`; X may be a tensor.
        train, rows: positions to fit on and to score.
        C: inverse strength of the penalty.
        chunk: heads whose columns are copied at once.
        device: where to fit; by default where X is.

    Returns:
        (rows, heads) float64, in log-odds.
    """
    found = np.empty((len(rows), layout.n_heads))
    probes = BatchedLogisticRegression(C, class_weight="balanced", device=device)
    for start in range(0, layout.n_heads, chunk):
        stop = min(start + chunk, layout.n_heads)
        columns = X[:, start * layout.width : stop * layout.width]
        fitted, scored = (
            columns[part].reshape(len(part), stop - start, layout.width).swapaxes(0, 1)
            for part in (train, rows)
        )
        found[:, start:stop] = probes.fit(fitted, y[train]).decision_function(scored).T
    return found


def standardised(train: np.ndarray, *others: np.ndarray) -> tuple[np.ndarray, ...]:
    """Columns centred and scaled by the train rows, float64; a column that is constant there becomes 0."""
    values = train.astype(np.float64)
    center, scale = values.mean(0), values.std(0)
    scale[scale == 0] = np.inf
    return tuple((part - center) / scale for part in (values, *others))


def _summary(per_split: pd.DataFrame, layout: HeadLayout, top: int) -> pd.DataFrame:
    order = per_split.groupby(["train", "select", "seed"])["transfer_auc"].rank(
        ascending=False, method="first"
    )
    grouped = per_split.assign(is_top=order <= top).groupby("head", sort=False)
    table = grouped[["transfer_auc", "in_distribution_auc"]].mean()
    by_seed = per_split.groupby(["head", "seed"])["transfer_auc"].mean()
    table["transfer_sd"] = by_seed.groupby("head").std()
    table["gap"] = table["in_distribution_auc"] - table["transfer_auc"]
    table["stability"] = grouped["is_top"].mean()
    flat = np.array([layout.index(head) for head in table.index])
    table["layer"], table["index"] = flat // layout.heads, flat % layout.heads
    cells = per_split.groupby(["head", "train", "select"], sort=False)["transfer_auc"].mean().reset_index()
    above = cells["transfer_auc"] - cells.groupby(["train", "select"])["transfer_auc"].transform("mean")
    over = [
        _over_generators(cells["transfer_auc"][mine], above[mine], cells.loc[mine])
        for mine in (cells["head"] == head for head in table.index)
    ]
    table[["transfer_low", "transfer_high", "p_holm"]] = over
    table["p_holm"] = holm(table["p_holm"]) if table["p_holm"].notna().all() else np.nan
    table = table.sort_values("transfer_auc", ascending=False, kind="stable").reset_index()
    table.insert(0, "rank", np.arange(1, len(table) + 1))
    first: Sequence[str] = [
        "rank",
        "head",
        "layer",
        "index",
        "transfer_auc",
        "transfer_sd",
        "in_distribution_auc",
    ]
    return table[[*first, "gap", "stability", "transfer_low", "transfer_high", "p_holm"]]


def _over_generators(aucs: pd.Series, above: pd.Series, cells: pd.DataFrame) -> tuple[float, float, float]:
    """One head: ends of the 95 % interval of its AUC, and p of what it lies above the mean head."""
    level, better = (
        two_way_interval(cells.assign(value=values), train="train", test="select") for values in (aucs, above)
    )
    if better.df < 1:
        return level.low, level.high, float("nan")
    half = (better.high - better.low) / 2
    if not half > 0:  # no head differs from the mean in any cell, or all of them differ alike
        return level.low, level.high, float(better.mean == 0)
    error = half / t.ppf(0.975, better.df)
    return level.low, level.high, float(2 * t.sf(abs(better.mean) / error, better.df))


def _reliability(per_split: pd.DataFrame) -> float:
    by_seed = per_split.pivot_table(index="head", columns="seed", values="transfer_auc")
    if by_seed.shape[1] < 2 or len(by_seed) < 3:
        return float("nan")
    pairs = itertools.combinations(by_seed.columns, 2)
    return float(np.mean([spearmanr(by_seed[a], by_seed[b]).statistic for a, b in pairs]))
