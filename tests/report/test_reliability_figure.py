"""The reliability plot shows the bins it is given, and its title the error that belongs to them."""

from __future__ import annotations

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg

from interp.protocol.reliability import calibration_error, reliability_bins
from interp.report.reliability_figure import draw_reliability


@pytest.mark.parametrize("binning", ["width", "mass"])
def test_marks_bars_and_title_are_the_bins(binning: str):
    rng = np.random.default_rng(0)
    p = rng.beta(0.6, 0.6, size=400)
    y = rng.uniform(size=400) < p**2
    bins = reliability_bins(y, p, 10, binning)
    figure = draw_reliability(bins, "embedding, glide")
    above, below = figure.axes
    marks = next(line for line in above.lines if line.get_marker() == "o")
    np.testing.assert_allclose(marks.get_xydata(), bins[["predicted", "observed"]])
    ends = np.array([path.vertices[:, 1] for path in above.collections[0].get_paths()])
    np.testing.assert_allclose(ends, bins[["low", "high"]])
    assert [bar.get_height() for bar in below.patches] == bins["n"].tolist()
    error = float(calibration_error(y, p, 10, binning))
    assert above.get_title() == f"embedding, glide\n400 images, calibration error {error:.3f} (10 bins)"


def test_nothing_is_drawn_in_colour_and_nothing_is_cut_off():
    figure = draw_reliability(reliability_bins([0, 1, 1], [0.0, 1.0, 1.0]))
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    pixels = np.asarray(canvas.buffer_rgba())[..., :3].astype(int)
    assert np.ptp(pixels, axis=2).max() <= 2
    box = figure.get_tightbbox().extents
    assert (
        box[0] >= 0 and box[1] >= 0 and box[2] <= figure.get_figwidth() and box[3] <= figure.get_figheight()
    )


def test_a_single_bin_has_a_figure():
    assert draw_reliability(reliability_bins([0, 1], [0.5, 0.5])).axes[0].get_title().startswith("2 images")
