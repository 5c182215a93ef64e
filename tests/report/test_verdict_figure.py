"""The figure of a verdict: bars add up to the logit, signs can be told without colour, axes say their unit."""

from __future__ import annotations

import io

import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle
from PIL import Image
from random_clip import random_clip

from interp.detectors.detector import Detector, LinearScore
from interp.explain.verdict import Verdict, explain
from interp.report.verdict_figure import HATCHED, draw_heads, draw_verdict


@pytest.fixture(scope="module")
def verdict() -> Verdict:
    coef = np.random.default_rng(0).normal(size=32)
    detector = Detector("demo", "embedding", LinearScore(coef, 0.5), threshold=0.0, key={})
    pixels = np.random.default_rng(1).integers(0, 255, (64, 80, 3), dtype=np.uint8)
    return explain(random_clip(), detector, Image.fromarray(pixels))


def hatched(axis: Axes) -> list[Rectangle]:
    return [patch for patch in axis.patches if isinstance(patch, Rectangle) and patch.get_hatch()]


def test_bars_and_their_rest_add_up_to_the_logit_and_are_hatched_below_zero(verdict):
    axis = draw_verdict(verdict, parts=5).axes[0]
    bars = [patch for patch in axis.patches if isinstance(patch, Rectangle)]
    widths = [bar.get_width() for bar in bars]
    assert sum(widths) == pytest.approx(verdict.logit, rel=1e-5)
    assert [bool(bar.get_hatch()) for bar in bars] == [width <= 0 for width in widths]
    names = [label.get_text() for label in axis.get_yticklabels()]
    assert names == [*verdict.largest(5)["part"], f"{len(verdict.parts) - 5} other parts"]


def test_maps_hold_the_verdicts_numbers_and_hatch_what_speaks_for_real(verdict):
    axes = draw_verdict(verdict).axes
    for axis, values in ((axes[1], verdict.heads), (axes[3], verdict.patches)):
        np.testing.assert_array_equal(axis.images[-1].get_array(), values)
        below = values < -HATCHED * np.abs(values).max()
        assert len(hatched(axis)) == below.sum()
    height, width = verdict.seen.shape[:2]
    step = height / verdict.grid[0], width / verdict.grid[1]
    for patch in hatched(axes[3]):
        row, column = round((patch.get_y() + 0.5) / step[0]), round((patch.get_x() + 0.5) / step[1])
        assert verdict.patches[row, column] < 0


def test_units_are_named_and_the_picture_can_be_another_one(verdict):
    figure = draw_verdict(verdict, Image.new("RGB", (200, 100), "white"))
    labels = [axis.get_xlabel() + axis.get_ylabel() for axis in figure.axes]
    assert sum("log-odds" in label for label in labels) == 4
    assert figure.axes[3].images[-1].get_extent() == [-0.5, 199.5, 99.5, -0.5]
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=50)
    assert len(file.getvalue()) > 10_000


@pytest.mark.parametrize("words", [1, 12, 30])
def test_a_title_of_any_length_stays_in_the_picture(words):
    table = pd.DataFrame({"part": ["L0.H0", "L0.MLP"], "contribution": [0.2, -0.1]})
    figure = draw_heads(table, np.array([[0.2]]), " ".join(["generators"] * words))
    figure.draw_without_rendering()
    (title,) = [text for text in figure.texts if "generators" in text.get_text()]
    inside = figure.bbox
    drawn = title.get_window_extent()
    assert inside.x0 <= drawn.x0 and drawn.x1 <= inside.x1 and drawn.y1 <= inside.y1
