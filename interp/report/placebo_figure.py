"""A figure of the placebo panel: how far each detector's answers about photographs alone lie from one half."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from interp.evaluation.placebos import TOLERATED

_MARKS = "osD^vP*X<>"


def draw_placebos(panel: pd.DataFrame, who: str = "arm") -> Figure:
    """AUC of every detector on every placebo with its 95 % interval; the band is one half ± `TOLERATED`.

    Filled marks lie outside the band: the result is explained by that placebo. Readable in grey.

    Args:
        panel: what `placebo_panel` gave.
        who: the column of names.

    >>> panel = pd.DataFrame({"arm": ["a", "b"], "placebo": "blur", "auc": [0.7, 0.5], "low": [0.6, 0.4],
    ...                       "high": [0.8, 0.6], "explained": [True, False]})
    >>> [text.get_text() for text in draw_placebos(panel).axes[0].get_yticklabels()]
    ['blur']
    """
    names, placebos = list(dict.fromkeys(panel[who])), list(dict.fromkeys(panel["placebo"]))
    figure = Figure(figsize=(8.2, 1.2 + 0.17 * len(names) * len(placebos)), layout="constrained")
    axis = figure.subplots()
    axis.axvspan(0.5 - TOLERATED, 0.5 + TOLERATED, color="0.9", zorder=0)
    axis.axvline(0.5, color="0.4", linewidth=0.8)
    axis.hlines(
        np.arange(1, len(placebos)) - 0.5,
        0,
        1,
        color="0.8",
        linewidth=0.6,
        transform=axis.get_yaxis_transform(),
    )
    offsets = np.linspace(-0.39, 0.39, len(names)) if len(names) > 1 else np.zeros(1)
    for number, (name, offset) in enumerate(zip(names, offsets, strict=True)):
        part = panel[panel[who] == name].set_index("placebo").reindex(placebos)
        shade = str(round(0.62 * number / max(len(names) - 1, 1), 2))
        y = np.arange(len(placebos)) + offset
        axis.hlines(y, part["low"], part["high"], color=shade, linewidth=1.4)
        told = part["explained"].to_numpy(bool)
        for kept, fill in ((told, shade), (~told, "white")):
            axis.scatter(
                part["auc"].to_numpy()[kept],
                y[kept],
                marker=_MARKS[number % len(_MARKS)],
                facecolor=fill,
                edgecolor=shade,
                s=30,
                zorder=3,
            )
        axis.scatter(
            [], [], marker=_MARKS[number % len(_MARKS)], facecolor=shade, edgecolor=shade, label=name
        )
    axis.set_yticks(range(len(placebos)), placebos)
    axis.set_ylim(len(placebos) - 0.5, -0.5)
    axis.set(xlabel="AUC on photographs alone; 0.5: no answer (filled: outside 0.5 ± 0.05)")
    axis.grid(axis="x", color="0.85", linewidth=0.6)
    axis.set_axisbelow(True)
    axis.spines[["top", "right"]].set_visible(False)
    axis.legend(frameon=False, fontsize=8, loc="upper left", bbox_to_anchor=(1.0, 1.0))
    return figure
