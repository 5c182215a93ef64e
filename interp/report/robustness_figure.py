"""Robustness in pictures: curves against severity, and heads by what they tell clean and laundered."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from interp.errors import InputError, unknown_name
from interp.evaluation.robustness_curves import ALL_LAUNDERINGS, ALL_SETS, main_set

STYLES = (("-", "o", "0.0"), ("--", "s", "0.45"), ("-.", "^", "0.25"), (":", "D", "0.6"), ("-", "v", "0.7"))
"""Line, marker and grey of each detector."""
AXES = {
    "jpeg": "JPEG: 100 − quality",
    "webp": "WebP: 100 − quality",
    "avif": "AVIF: 100 − quality",
    "blur": "blur: sigma, pixels",
    "noise": "noise: sd, grey levels",
    "crop": "crop: share of edge lost",
    "cropback": "crop, scaled back: share lost",
}
NAMES = {"auc": "AUC", "balanced_accuracy": "balanced accuracy", "flip_rate": "verdicts that flip"}


def robustness_figure(
    curves: pd.DataFrame, *, metric: str = "auc", test: str | None = None, detectors: Sequence[str] = ()
) -> Figure:
    """A panel for each operation: a metric against severity, a line for each detector, clean images at 0.

    Operations without a scale share the last panel. Bars are 95 % over images.

    Args:
        curves: of `Robustness`.
        metric: one of its metrics.
        test: one of its test sets; by default all unseen generators.
        detectors: which to draw, as `ARM` or `ARM, FITTED`; by default those fitted on clean images, at most five.

    Raises:
        InputError: an unknown metric, test set or detector, or nothing but clean images.
    """
    test = main_set(curves) if test is None else test
    for name, given, known in (("metric", metric, curves["metric"]), ("test set", test, curves["test"])):
        if given not in set(known):
            raise unknown_name(name, given, list(dict.fromkeys(known)))
    table = curves[(curves["metric"] == metric) & (curves["test"] == test)].copy()
    table["detector"] = np.where(
        table["fitted"] == "clean", table["arm"], table["arm"] + ", " + table["fitted"]
    )
    known = list(dict.fromkeys(table["detector"]))
    shown = list(detectors) or [name for name in known if ", " not in name][: len(STYLES)]
    for name in shown:
        if name not in known:
            raise unknown_name("detector", name, known)
    clean = table[table["laundering"] == "clean"]
    rest = table[~table["laundering"].isin(["clean", ALL_LAUNDERINGS])]
    if not len(rest):
        raise InputError("the curves hold clean images alone; measure them with laundered stores")
    scaled = [name for name, group in rest.groupby("operation", sort=False) if _has_scale(name, group)]
    panels = [*scaled, *([None] if set(rest["operation"]) - set(scaled) else [])]
    rows = -(-len(panels) // 3)
    figure = Figure(figsize=(8.4, 2.5 * rows + 0.7), layout="constrained")
    axes = figure.subplots(rows, 3, sharey=True, squeeze=False).ravel()
    for axis, operation in zip(axes, panels, strict=False):
        group = (
            rest[~rest["operation"].isin(scaled)]
            if operation is None
            else rest[rest["operation"] == operation]
        )
        labels = ["clean", *dict.fromkeys(group["laundering"])]
        for place, name in enumerate(shown):
            line = group[group["detector"] == name]
            start = clean[clean["detector"] == name]
            _draw(axis, line, start, place, len(shown), labels if operation is None else None, name)
        axis.set_xlabel(_axis_name(operation), fontsize=8.5)
        axis.grid(axis="y", color="0.9")
        axis.tick_params(labelsize=8)
        for edge in ("top", "right"):
            axis.spines[edge].set_visible(False)
    for axis in axes[len(panels) :]:
        axis.set_visible(False)
    for axis in axes[::3]:
        axis.set_ylabel(NAMES.get(metric, metric.replace("_", " ")), fontsize=9)
    handles, names = axes[0].get_legend_handles_labels()
    figure.legend(
        handles, names, loc="outside lower center", ncols=min(3, len(shown)), fontsize=8.5, frameon=False
    )
    where = "unseen generators" if test == ALL_SETS else test
    figure.suptitle(
        f"Laundered test images of {where}; thresholds and detectors from other images", fontsize=10
    )
    return figure


def head_robustness_figure(heads: pd.DataFrame, *, named: int = 4) -> Figure:
    """Heads by their AUC on clean and on laundered select rows: those near the diagonal are worth keeping.

    Args:
        heads: of `head_means`.
        named: how many to name at each end of the change, where the ranking is reliable (0.7).
    """
    figure = Figure(figsize=(5.2, 4.8), layout="constrained")
    axis = figure.subplots()
    low = float(heads[["transfer_auc", "laundered_auc"]].min().min()) - 0.02
    high = float(heads[["transfer_auc", "laundered_auc"]].max().max()) + 0.02
    axis.plot([low, high], [low, high], "-", color="0.7", linewidth=1)
    axis.plot(heads["transfer_auc"], heads["laundered_auc"], "o", color="0.2", markersize=4.5)
    reliability = heads.attrs.get("reliability", np.nan)
    ordered = heads.sort_values("change")
    if reliability >= 0.7 and named:
        _name_beside(
            axis, pd.concat([ordered.head(named), heads.head(named)]).drop_duplicates("head"), low, high
        )
    axis.set(xlim=(low, high), ylim=(low, high), aspect="equal")
    axis.set_xlabel("AUC of the head alone on select generators, clean", fontsize=9)
    axis.set_ylabel("the same, mean over launderings", fontsize=9)
    axis.set_title(f"{len(heads)} heads; reliability over seeds {reliability:.2f}", fontsize=10)
    axis.tick_params(labelsize=8)
    for edge in ("top", "right"):
        axis.spines[edge].set_visible(False)
    return figure


def _name_beside(axis: Axes, heads: pd.DataFrame, low: float, high: float, gap: float = 0.045) -> None:
    """Names in a column beside the panel, a thin line to each point, so that near points stay readable."""
    heads = heads.sort_values("laundered_auc")
    heights = ((heads["laundered_auc"] - low) / (high - low)).to_numpy()
    steps = gap * np.arange(len(heights))
    heights = np.maximum.accumulate(heights - steps) + steps
    heights = heights - max(0.0, heights[-1] - 1)
    heights = np.minimum.accumulate((heights - steps)[::-1])[::-1] + steps
    line = {"arrowstyle": "-", "color": "0.6", "linewidth": 0.6, "shrinkB": 3, "relpos": (0, 0.5)}
    for height, row in zip(heights, heads.itertuples(), strict=True):
        at: tuple[float, float] = (row.transfer_auc, row.laundered_auc)  # type: ignore[assignment]
        axis.annotate(
            str(row.head),
            at,
            (1.02, height),
            textcoords="axes fraction",
            va="center",
            fontsize=7.5,
            arrowprops=line,
            annotation_clip=False,
        )


def _short(laundering: str) -> str:
    """A chain on as many lines as it has steps, without the folders that models lie in.

    >>> _short("crop:0.5+vae:/models/taesd")
    'crop:0.5\\n+ vae:taesd'
    """
    steps = laundering.split("+")
    return "\n+ ".join(":".join(part.rsplit("/", 1)[-1] for part in step.split(":")) for step in steps)


def _axis_name(operation: str | None) -> str:
    if operation is None:
        return "no scale"
    resized = operation.startswith(("shrink", "enlarge"))
    return AXES.get(operation, f"{operation}: |log2 factor|" if resized else operation)


def _has_scale(operation: object, group: pd.DataFrame) -> bool:
    return group["severity"].nunique() > 1 or str(operation) in AXES


def _draw(
    axis: Axes,
    line: pd.DataFrame,
    start: pd.DataFrame,
    place: int,
    of: int,
    labels: list[str] | None,
    name: str,
) -> None:
    """One detector in one panel; with labels, dots at them instead of a line."""
    style, marker, grey = STYLES[place % len(STYLES)]
    line = pd.concat([start, line[line["severity"] > 0]])
    if labels is None:
        line = line.sort_values("severity", kind="stable")
        x = line["severity"].to_numpy(float)
        x = x + (place - (of - 1) / 2) * 0.008 * (x.max() or 1)
    else:
        x = np.array([labels.index(one) for one in line["laundering"]]) + (place - (of - 1) / 2) * 0.12
        axis.set_xticks(
            range(len(labels)), [_short(label) for label in labels], fontsize=8 if len(labels) < 4 else 6.5
        )
        axis.set_xlim(-0.6, len(labels) - 0.4)
        style = ""
    y, low, high = (line[column].to_numpy(float) for column in ("value", "low", "high"))
    axis.vlines(x, low, high, color=grey, linewidth=1)
    axis.plot(
        x, y, linestyle=style or "none", marker=marker, color=grey, markersize=3.8, linewidth=1.2, label=name
    )
