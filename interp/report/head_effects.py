"""A figure of heads: what each adds to a verdict directly, against what the verdict loses when it is pruned."""

from __future__ import annotations

import numpy as np
import seaborn as sns
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure

from interp.evaluation.effect_table import EffectTable

UNITS = {"auc": "AUC", "margin": "log-odds"}


def effect_scatter(table: EffectTable, unit: str = "auc") -> Figure:
    """Direct against total effect of every head, means over splits; darker heads are deeper. Readable in grey.

    Heads are named only where the rankings by both effects are reliable enough to name heads.

    Args:
        table: what was measured.
        unit: "auc" or "margin".

    Raises:
        InputError: another unit.
    """
    pair, summary = table.agreement(unit), table.summary
    direct, total = (summary[f"{kind}_{unit}"].to_numpy() for kind in ("direct", "total"))
    layer = summary["head"].str.extract(r"L(\d+)")[0].astype(int).to_numpy()
    figure = Figure(figsize=(6.0, 5.0), layout="constrained")
    axis = figure.subplots()
    low, high = min(direct.min(), total.min(), 0.0), max(direct.max(), total.max(), 0.0)
    edge = 0.06 * max(high - low, 1e-6)
    axis.plot([low - edge, high + edge], [low - edge, high + edge], ":", color="0.5", label="equal effects")
    axis.axhline(0, color="0.85", linewidth=0.8, zorder=0)
    axis.axvline(0, color="0.85", linewidth=0.8, zorder=0)
    layers = int(layer.max()) + 1
    shades = ListedColormap(sns.color_palette("Greys", layers + 1)[1:])
    points = axis.scatter(
        direct, total, c=layer, cmap=shades, vmin=-0.5, vmax=layers - 0.5, edgecolor="0.1", linewidth=0.6
    )
    figure.colorbar(points, ax=axis, label="layer", ticks=np.unique(layer))
    for head in _named_by_both(table, unit):
        place = int(np.flatnonzero(summary["head"] == head)[0])
        axis.annotate(head, (direct[place], total[place]), (4, 4), textcoords="offset points", fontsize=8)
    axis.set(
        xlabel=f"direct effect: change of {unit_name(unit)} without the stored contribution",
        ylabel=f"total effect: change of {unit_name(unit)} when the head is pruned",
        title=f"Heads: Spearman {pair.spearman:+.2f} [{pair.low:+.2f}, {pair.high:+.2f}]",
    )
    axis.locator_params(nbins=6)
    axis.legend(frameon=False, loc="best")
    return figure


def unit_name(unit: str) -> str:
    """How a unit is written on an axis.

    >>> unit_name("margin")
    'margin (log-odds)'
    """
    return "AUC" if unit == "auc" else f"{unit} ({UNITS[unit]})"


def _named_by_both(table: EffectTable, unit: str) -> list[str]:
    """Heads that either effect names, where both may name heads; whole layers have no point to stand at."""
    named = [table.named(f"{kind}_{unit}") for kind in ("direct", "total")]
    if not all(named) or not all("." in name for names in named for name in names):
        return []
    return list(dict.fromkeys(name for names in named for name in names))
