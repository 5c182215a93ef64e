"""Figures of a run: heads, transfer, removal, and every arm beside its nulls. Readable in grey."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure

MAP = "cividis"
NULL_MARKS = {"random": "o", "permuted": "s", "rotated": "^", "shuffled": "x"}


def head_map(ranking: pd.DataFrame) -> Figure:
    """Transfer and in-distribution AUC of every head alone, layers down, heads across.

    Args:
        ranking: a row for each head: layer, index, transfer_auc, in_distribution_auc.
    """
    shape = ranking.pivot(index="layer", columns="index", values="transfer_auc").shape
    height, width = 1.6 + 0.34 * shape[0], 2.4 + 2 * max(0.55 * shape[1], 2.2)
    figure = Figure(figsize=(width, height), layout="constrained")
    titles = {"transfer_auc": "unseen generator", "in_distribution_auc": "train generator, held out"}
    low = min(0.5, float(ranking[list(titles)].min().min()))
    axes = figure.subplots(1, 2, sharey=True)
    for axis, (column, title) in zip(axes, titles.items(), strict=True):
        grid = ranking.pivot(index="layer", columns="index", values=column)
        sns.heatmap(
            grid,
            ax=axis,
            cmap=MAP,
            vmin=low,
            vmax=1.0,
            annot=grid.size <= 160,
            fmt=".2f",
            annot_kws={"fontsize": 7},
            cbar=axis is axes[-1],
            cbar_kws={"label": "AUC of the head alone"},
        )
        axis.set(title=title, xlabel="head", ylabel="layer" if axis is axes[0] else "")
        axis.tick_params(axis="y", rotation=0)
    return figure


def transfer_matrix(transfer: pd.DataFrame, arm: str) -> Figure:
    """AUC of one arm for every train generator (rows) and test generator (columns), select generators averaged.

    Args:
        transfer: a row for each arm, train and test: arm, train, test, auc.
        arm: which detector to draw.
    """
    chosen = transfer[transfer["arm"] == arm]
    grid = chosen.pivot_table(index="train", columns="test", values="auc")
    order = grid.mean().sort_values().index
    names = {name for train in grid.index for name in str(train).split("+")} | set(map(str, grid.columns))
    grid.index = pd.Index([_trained_on(str(train), names) for train in grid.index], name="train")
    figure = Figure(figsize=(3.2 + 0.62 * grid.shape[1], 2.4 + 0.42 * grid.shape[0]), layout="constrained")
    axis = figure.subplots()
    sns.heatmap(
        grid[order],
        ax=axis,
        cmap=MAP,
        vmin=min(0.5, float(grid.min().min())),
        vmax=1.0,
        annot=True,
        fmt=".2f",
        annot_kws={"fontsize": 8},
        cbar_kws={"label": "AUC"},
    )
    axis.set(title=f"{arm}: transfer to unseen generators", xlabel="test generator", ylabel="train generator")
    for label in axis.get_xticklabels():
        label.set(rotation=35, horizontalalignment="right")
    axis.tick_params(axis="y", rotation=0)
    return figure


def _trained_on(train: str, names: set[str]) -> str:
    """The generators that a detector trained on, short: those left out where these are fewer.

    >>> _trained_on("a+b+c", {"a", "b", "c", "d"}), _trained_on("a", {"a", "b"})
    ('all but d', 'a')
    """
    trained = train.split("+")
    rest = sorted(name for name in names - set(trained) if not name.startswith("("))
    if len(trained) > 2 and len(rest) < len(trained):
        return "all but " + ",\n".join(rest) if rest else "all"
    return ",\n".join(trained)


def removal_curve(curves: pd.DataFrame) -> Figure:
    """AUC on select and on test rows against the number of coordinates removed, mean and spread over splits.

    Args:
        curves: a row for each split and step: removed, select_auc, test_auc, chosen (bool, the step kept).
    """
    figure = Figure(figsize=(6.4, 4.0), layout="constrained")
    axis = figure.subplots()
    styles = {"select_auc": ("select rows (searched on)", "--"), "test_auc": ("test rows (never seen)", "-")}
    for column, (label, style) in styles.items():
        steps = curves.groupby("removed")[column].agg(["mean", "std", "size"])
        steps = steps[steps["size"] == steps["size"].max()]  # steps that every split was measured at
        axis.plot(steps.index, steps["mean"], style, color="0.15", label=label)
        axis.fill_between(
            steps.index, steps["mean"] - steps["std"], steps["mean"] + steps["std"], color="0.6", alpha=0.25
        )
    chosen = curves.loc[curves["chosen"], "removed"]
    if len(chosen):
        axis.axvline(
            chosen.median(), color="0.4", linestyle=":", label=f"chosen: {chosen.median():.0f} (median)"
        )
    axis.set(
        xlabel="coordinates removed",
        ylabel="AUC (mean ± sd over splits)",
        title="Removing coordinates one by one",
    )
    axis.legend(frameon=False)
    return figure


def gains(summary: pd.DataFrame, nulls: pd.DataFrame) -> Figure:
    """Gain of every arm over the plain embedding with both intervals, and the gains of its nulls under it.

    Args:
        summary: indexed by arm: delta_to_embedding, delta_low, delta_high, delta_generators_low/_high.
        nulls: a row for each null draw: arm, null, draw, delta.
    """
    arms = [arm for arm in summary.index if arm != "embedding"]
    figure = Figure(figsize=(7.2, 1.6 + 0.62 * len(arms)), layout="constrained")
    axis = figure.subplots()
    axis.axvline(0, color="0.7", linewidth=1)
    rng = np.random.default_rng(0)
    for place, arm in enumerate(arms):
        row = summary.loc[arm]
        _interval(axis, place, row, "delta_generators_low", "delta_generators_high", "0.65", 1.5)
        _interval(axis, place, row, "delta_low", "delta_high", "0.1", 4.0)
        axis.plot(row["delta_to_embedding"], place, "D", color="0.1", markersize=7)
        for kind, draws in nulls[nulls["arm"] == arm].groupby("null"):
            mark = next((m for prefix, m in NULL_MARKS.items() if str(kind).startswith(prefix)), "x")
            height = place + 0.3 + rng.uniform(-0.08, 0.08, len(draws))
            axis.plot(
                draws["delta"], height, mark, color="0.45", markersize=3.5, alpha=0.6, markerfacecolor="none"
            )
    handles = [
        axis.plot([], [], "D-", color="0.1", linewidth=4, label="gain, 95 % over images")[0],
        axis.plot([], [], "-", color="0.65", linewidth=1.5, label="95 % over generators")[0],
    ]
    for kind, mark in NULL_MARKS.items():
        if nulls["null"].astype(str).str.startswith(kind).any():
            label = f"null: {kind}"
            handles.append(
                axis.plot(
                    [],
                    [],
                    mark,
                    color="0.45",
                    markersize=4,
                    markerfacecolor="none",
                    linestyle="",
                    label=label,
                )[0]
            )
    axis.set_yticks(range(len(arms)), arms)
    axis.set_ylim(len(arms) - 0.4, -0.6)
    axis.set(
        xlabel="gain in mean AUC on unseen generators over the plain embedding",
        title="Every arm beside its nulls",
    )
    figure.legend(handles=handles, loc="outside lower center", ncols=3, frameon=False)
    return figure


def save_figure(figure: Figure, path: Path) -> Path:
    """Write a figure as PNG at 150 dpi and say where it is."""
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=150)
    return path


def _interval(
    axis: Axes, place: float, row: pd.Series, low: str, high: str, colour: str, width: float
) -> None:
    if np.isfinite(row[low]) and np.isfinite(row[high]):
        axis.plot(
            [row[low], row[high]], [place, place], "-", color=colour, linewidth=width, solid_capstyle="butt"
        )
