"""A figure of one verdict: the largest parts, the grid of heads, and where in the image the heads read it."""

from __future__ import annotations

from textwrap import fill
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import TwoSlopeNorm
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.patches import Patch, Rectangle

from interp.explain.verdict import Verdict

if TYPE_CHECKING:
    from PIL import Image

UNIT = "contribution to the logit (log-odds)"
MAP = "RdBu_r"
FAKE, REAL = "#c8553d", "#8fb8d8"
LINE = 84
"""Characters of a title that fit on a line."""
HATCH = "////"
HATCHED = 0.15
"""Share of the largest value from which a value that speaks for real is hatched on a map."""


def draw_verdict(verdict: Verdict, image: Image.Image | None = None, *, parts: int = 12) -> Figure:
    """Bars of the largest parts, the grid of heads, and the patches over the image, side by side.

    Red speaks for fake and blue for real; in grey, what speaks for real is hatched. Patches add up, with the tokens
    that stand for no patch, to what all heads together add.

    Args:
        verdict: what `explain` gave.
        image: what to draw the patches over; by default the image as the encoder saw it.
        parts: how many bars; all other parts are one more.

    >>> from PIL import Image
    >>> from interp.encoders.loading import load_encoder
    >>> from interp.detectors.detector import Detector, LinearScore
    >>> from interp.explain.verdict import explain
    >>> detector = Detector("demo", "embedding", LinearScore(np.ones(128), 0.5), threshold=0.0, key={})
    >>> figure = draw_verdict(explain(load_encoder("embedded"), detector, Image.new("RGB", (80, 64), "teal")))
    >>> [axis.get_title() for axis in figure.axes][:2]
    ['Largest parts', 'Heads']
    """
    figure = Figure(figsize=(15.0, 4.6), layout="constrained")
    bars, grid, plain, over = figure.subplots(1, 4, width_ratios=[1.3, 1.0, 1.0, 1.25])
    _draw_bars(bars, verdict.parts, parts, UNIT)
    _draw_grid(figure, grid, verdict.heads, UNIT)
    seen = verdict.seen if image is None else np.asarray(image.convert("RGB"))
    plain.imshow(seen)
    plain.set_title("As the encoder saw it" if image is None else "Image")
    height, width = seen.shape[:2]
    over.imshow(seen.mean(-1), cmap="gray", vmin=-400, vmax=290)
    patches = _draw_signed(over, verdict.patches, (-0.5, width - 0.5, height - 0.5, -0.5))
    _draw_scale(figure, over, patches, UNIT)
    over.set_title("What the heads read, where")
    others = f", other tokens {verdict.prefix.sum():+.2f}" if len(verdict.prefix) else ""
    over.set_xlabel(f"patches {verdict.patches.sum():+.2f}{others} log-odds")
    for axis in (plain, over):
        axis.set(xticks=[], yticks=[])
    figure.suptitle(
        f"Called {verdict.label}: logit {verdict.logit:+.2f} log-odds, threshold {verdict.threshold:+.2f}; "
        f"{len(verdict.parts)} parts sum to it within {max(verdict.error, verdict.patch_error):.0e}"
    )
    return figure


def draw_heads(
    table: pd.DataFrame,
    heads: np.ndarray,
    title: str,
    *,
    unit: str = "contribution to the score",
    parts: int = 12,
) -> Figure:
    """Bars of the largest parts beside the grid of heads; with low and high, their intervals.

    Args:
        table: a row for each part: part, contribution, and perhaps low and high.
        heads: (l, h) contributions.
        title: over both.
        unit: of the contributions.
        parts: how many bars; all other parts are one more.
    """
    figure = Figure(figsize=(8.6, 4.6), layout="constrained")
    bars, grid = figure.subplots(1, 2, width_ratios=[1.3, 1.0])
    _draw_bars(bars, table, parts, unit)
    _draw_grid(figure, grid, heads, unit)
    figure.suptitle(fill(title, LINE))
    return figure


def _draw_grid(figure: Figure, grid: Axes, heads: np.ndarray, unit: str) -> None:
    layers, n_heads = heads.shape
    grid.set(title="Heads", xlabel="head", ylabel="layer")
    drawn = _draw_signed(grid, heads)
    grid.set_xticks(range(0, n_heads, max(1, n_heads // 8)))
    grid.set_yticks(range(0, layers, max(1, layers // 12)))
    _draw_scale(figure, grid, drawn, unit)


def _draw_bars(axis: Axes, table: pd.DataFrame, parts: int, unit: str) -> None:
    order = table["contribution"].abs().sort_values(ascending=False, kind="stable").index
    shown = table.loc[order[:parts]]
    names, values = list(shown["part"]), shown["contribution"].to_numpy()
    rest = len(table) - len(shown)
    if rest:
        names = [*names, f"{rest} other parts"]
        values = np.append(values, table["contribution"].sum() - values.sum())
    places = np.arange(len(names))
    bars = axis.barh(places, values, color=np.where(values > 0, FAKE, REAL), edgecolor="0.2", linewidth=0.6)
    for bar, value in zip(bars, values, strict=True):
        bar.set_hatch("" if value > 0 else HATCH)
        beyond = (3 if value > 0 else -3, 0)
        axis.annotate(
            f"{value:+.2f}",
            (value, bar.get_y() + bar.get_height() / 2),
            beyond,
            textcoords="offset points",
            ha="left" if value > 0 else "right",
            va="center",
            fontsize=8,
        )
    if "low" in shown:
        ends = np.abs(shown[["low", "high"]].to_numpy().T - shown["contribution"].to_numpy())
        axis.errorbar(
            values[: len(shown)],
            places[: len(shown)] + 0.28,
            xerr=ends,
            fmt="none",
            ecolor="0.1",
            elinewidth=1,
        )
    axis.axvline(0, color="0.2", linewidth=0.8)
    axis.set_yticks(places, names)
    axis.invert_yaxis()
    axis.margins(x=0.2)
    axis.set(title="Largest parts", xlabel=unit)
    axis.spines[["top", "right"]].set_visible(False)
    signs = [Patch(facecolor=FAKE, edgecolor="0.2", label="for fake")]
    signs += [Patch(facecolor=REAL, edgecolor="0.2", hatch=HATCH, label="for real")]
    axis.legend(handles=signs, frameon=False, fontsize=8, loc="best")


def _draw_signed(
    axis: Axes, values: np.ndarray, extent: tuple[float, float, float, float] | None = None
) -> AxesImage:
    """Values in red and blue around 0, hatched below it; over an image (extent) the fainter the smaller they are."""
    bound = float(np.abs(values).max()) or 1.0
    rows, columns = values.shape
    alpha = 0.1 + 0.8 * np.sqrt(np.abs(values) / bound) if extent else None
    left, right, bottom, top = extent or (-0.5, columns - 0.5, rows - 0.5, -0.5)
    drawn = axis.imshow(
        values,
        cmap=MAP,
        norm=TwoSlopeNorm(0.0, -bound, bound),
        extent=(left, right, bottom, top),
        alpha=alpha,
        interpolation="nearest",
        aspect="equal" if extent else "auto",
    )
    width, height = (right - left) / columns, (bottom - top) / rows
    for row, column in np.argwhere(values < -HATCHED * bound):
        at = (left + column * width, top + row * height)
        shade = "0.9" if values[row, column] < -0.6 * bound else "0.25"
        axis.add_patch(Rectangle(at, width, height, fill=False, hatch=HATCH, edgecolor=shade, linewidth=0))
    return drawn


def _draw_scale(figure: Figure, axis: Axes, drawn: AxesImage, unit: str) -> None:
    """The colours' scale, hatched where the map is."""
    bound = drawn.get_clim()[1]
    scale = figure.colorbar(drawn, ax=axis, label=unit, shrink=0.85)
    for low, high, shade in ((-0.6, -HATCHED, "0.25"), (-1, -0.6, "0.9")):
        scale.ax.axhspan(low * bound, high * bound, fill=False, hatch=HATCH, edgecolor=shade, linewidth=0)
