"""What an ablation leaves behind: a figure of each choice with the others alike, readable in grey; tables; words."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from interp.errors import InputError
from interp.evaluation.ablation_summary import Ablation
from interp.report.figures import save_figure

TITLES = {
    "heads": "heads kept",
    "removal": "removed",
    "C": "penalty's C",
    "aggregate": "heads joined by",
    "normalise": "columns scaled",
}
SIDES = {
    "delta": ("to the plain embedding", "low", "high"),
    "change": ("to the first value of its group", "change_low", "change_high"),
}


def draw_ablation(ablation: Ablation, path: str | Path | None = None) -> Figure:
    """Draw the main effects: a group of dots for each factor, with 95 % intervals over other generators.

    Left: mean AUC less that of the plain embedding, over the settings of the other factors that all values of the
    factor share. Right: the same less that of the factor's first value, paired.

    Args:
        ablation: what `ablate` measured.
        path: where to write a PNG, 150 dpi.

    Raises:
        InputError: no factor has two values to compare.
    """
    effects = ablation.effects()
    effects = effects[effects.groupby("factor")["value"].transform("size") > 1]
    if not len(effects):
        raise InputError(
            "the ablation has no factor with two values that share a setting of the others; "
            "give several of heads, removal, C, aggregate or normalise"
        )
    groups = [(factor, group.reset_index()) for factor, group in effects.groupby("factor", sort=False)]
    sizes = [len(group) for _, group in groups]
    figure = Figure(figsize=(6.6, 1.5 + 0.24 * sum(sizes) + 0.18 * len(sizes)), layout="constrained")
    axes = figure.subplots(
        len(groups), 2, sharex="col", squeeze=False, gridspec_kw={"height_ratios": [n + 0.4 for n in sizes]}
    )
    for row, (factor, group) in zip(axes, groups, strict=True):
        for axis, side in zip(row, SIDES, strict=True):
            _dots(axis, group, side)
        row[0].set_yticks(range(len(group)), group["value"])
        many = int(group["settings"][0])
        title = f"{TITLES[factor]}\n({many} setting{'s' if many > 1 else ''})"
        row[0].set_ylabel(title, rotation=0, ha="right", va="center", labelpad=10, fontsize=9)
        row[1].set_yticks(range(len(group)), [])
    for axis, (title, *_) in zip(axes[0], SIDES.values(), strict=True):
        axis.set_title(title, fontsize=9.5)
    for axis in axes[:-1].ravel():
        axis.spines["bottom"].set_visible(False)
        axis.tick_params(axis="x", length=0)
    figure.align_ylabels(axes[:, 0])
    for axis in axes[-1]:
        axis.set_xlabel("difference in mean AUC", fontsize=9)
        axis.locator_params(axis="x", nbins=4)
    figure.suptitle("Each choice, the others alike: AUC on unseen generators", fontsize=10.5)
    note = "dots: means over the settings of the other choices; open: what the others are compared with\n"
    figure.supxlabel(f"{note}bars: 95 % over {ablation.interval_over}", fontsize=8, color="0.3")
    if path is not None:
        save_figure(figure, Path(path))
    return figure


def write_ablation(ablation: Ablation, out: str | Path) -> None:
    """Write ablation.csv, summary.csv, effects.csv, ablation.png (where something varies) and ablation.md."""
    out = Path(out)
    out.mkdir(parents=True, exist_ok=True)
    ablation.table.to_csv(out / "ablation.csv", index=False)
    ablation.summary().to_csv(out / "summary.csv", index=False)
    effects = ablation.effects()
    effects.to_csv(out / "effects.csv", index=False)
    if effects["factor"].duplicated().any():
        draw_ablation(ablation, out / "ablation.png")
    lines = [f"- {line}" if line else "" for line in ablation.words.splitlines()]
    (out / "ablation.md").write_text("\n".join(["# Ablation", "", *lines, ""]))


def _dots(axis: Axes, group: pd.DataFrame, side: str) -> None:
    _, low, high = SIDES[side]
    axis.grid(axis="x", color="0.9", linewidth=0.8)
    axis.set_axisbelow(True)
    axis.axvline(0, color="0.5", linewidth=1.2, zorder=1)
    for place, row in group.iterrows():
        reference = side == "change" and place == 0
        if not reference and np.isfinite(row[low]):
            axis.plot([row[low], row[high]], [place, place], "-", color="0.45", linewidth=2.2)
        face = "white" if reference else "0.1"
        axis.plot(row[side], place, "o", color="0.1", markerfacecolor=face, markersize=5.5, zorder=3)
    axis.set_ylim(len(group) - 0.3, -0.7)
    axis.tick_params(labelsize=8.5)
    axis.tick_params(axis="y", length=0)
    for edge in ("top", "right", "left"):
        axis.spines[edge].set_visible(False)
