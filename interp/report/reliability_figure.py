"""Figure of calibration: what a detector says against how often it is right. Readable in grey."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator


def draw_reliability(bins: pd.DataFrame, name: str = "") -> Figure:
    """Share of fakes against the probability of a fake, with 95 % intervals; below, how many images each bin holds.

    The title gives n and the expected calibration error over these bins. Marks on the diagonal are calibrated; below
    it, images are called fake too confidently. The intervals are those of independent images (Wilson 1927).

    Args:
        bins: as `reliability_bins` gives them: n, lowest, highest, predicted, observed, low, high.
        name: of the detector and the images, for the title.

    >>> from interp.protocol.reliability import reliability_bins
    >>> draw_reliability(reliability_bins([0, 0, 1, 1], [0.2, 0.4, 0.6, 0.9], bins=2)).axes[0].get_title()
    '4 images, calibration error 0.275 (2 bins)'
    """
    n = bins["n"].to_numpy(float)
    said, seen = bins["predicted"].to_numpy(), bins["observed"].to_numpy()
    error = float((n * np.abs(said - seen)).sum() / n.sum()) if len(bins) else float("nan")
    figure = Figure(figsize=(5.2, 5.8), layout="constrained")
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=[3.4, 1])
    above.plot([0, 1], [0, 1], "--", color="0.55", linewidth=1, label="calibrated")
    above.errorbar(
        said,
        seen,
        yerr=np.abs(np.stack([seen - bins["low"], bins["high"] - seen])),
        fmt="o-",
        color="0.1",
        ecolor="0.5",
        elinewidth=1.5,
        capsize=2.5,
        markersize=5,
        linewidth=1,
        label="share of fakes, 95 % (Wilson)",
    )
    summary = f"{n.sum():,.0f} images, calibration error {error:.3f} ({len(bins)} bins)"
    above.set(
        ylabel="share of fakes",
        xlim=(-0.02, 1.02),
        ylim=(-0.02, 1.02),
        title=f"{name}\n{summary}" if name else summary,
    )
    above.legend(frameon=False)
    width = np.maximum(bins["highest"] - bins["lowest"], 0.012)
    below.bar(bins["lowest"], n, width=width, align="edge", color="0.75", edgecolor="0.35", linewidth=0.6)
    below.set(xlabel="probability of a fake", ylabel="images")
    below.yaxis.set_major_locator(MaxNLocator(4, integer=True))
    return figure
