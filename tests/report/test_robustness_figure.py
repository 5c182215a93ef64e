"""The figures hold a panel for each operation, a line for each detector, and name heads only where that is earned."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.text import Text

from interp.errors import InputError
from interp.evaluation.robustness_curves import ALL_LAUNDERINGS, ALL_SETS
from interp.images.launder_severity import cell_of
from interp.report.robustness_figure import head_robustness_figure, robustness_figure

GRID = ["none", "jpeg:90", "jpeg:50", "jpeg:30", "blur:1", "blur:4", "resize:0.5", "resize:0.25", "resize:2"]
GRID += ["noise:5", "noise:20", "crop:0.5", "vae:taef2", "screenshot"]


def drawn_curves() -> pd.DataFrame:
    rows = []
    for at, text in enumerate(GRID):
        cell = cell_of(text)
        for number, (arm, fitted) in enumerate(
            [("embedding", "clean"), ("all_heads", "clean"), ("embedding", "trained on copies")]
        ):
            value = 0.85 - 0.05 * number - 0.01 * at
            row = {
                "laundering": text if at else "clean",
                "operation": cell.operation,
                "severity": cell.severity,
            }
            row |= {"arm": arm, "fitted": fitted, "test": ALL_SETS, "metric": "auc"}
            rows.append(row | {"value": value, "low": value - 0.03, "high": value + 0.03})
    return pd.DataFrame([*rows, rows[0] | {"laundering": ALL_LAUNDERINGS, "operation": ALL_LAUNDERINGS}])


def test_a_panel_for_each_operation_and_a_line_for_each_detector() -> None:
    figure = robustness_figure(drawn_curves())
    panels = [axis for axis in figure.axes if axis.get_visible()]
    labels = [axis.get_xlabel() for axis in panels]
    assert labels[0] == "JPEG: 100 − quality" and labels[-1] == "no scale"
    assert (
        len(labels) == 6
        and "shrink (bicubic): |log2 factor|" in labels
        and "crop: share of edge lost" in labels
    )
    assert all(len(axis.lines) == 2 for axis in panels)  # those fitted on clean images
    line = panels[0].lines[0]
    np.testing.assert_allclose(np.asarray(line.get_ydata(), float), [0.85, 0.84, 0.83, 0.82])
    assert [tick.get_text() for tick in panels[-1].get_xticklabels()] == [
        "clean",
        "resize:2",
        "vae:taef2",
        "screenshot",
    ]
    styles = {(one.get_linestyle(), one.get_marker()) for one in panels[0].lines}
    assert len(styles) == 2  # told apart in grey


def test_detectors_are_chosen_by_name() -> None:
    figure = robustness_figure(drawn_curves(), detectors=["embedding, trained on copies"])
    assert [line.get_label() for line in figure.axes[0].lines] == ["embedding, trained on copies"]
    with pytest.raises(InputError, match="did you mean 'all_heads'"):
        robustness_figure(drawn_curves(), detectors=["all_head"])
    with pytest.raises(InputError, match="unknown metric 'aucs'"):
        robustness_figure(drawn_curves(), metric="aucs")
    with pytest.raises(InputError, match="clean images alone"):
        robustness_figure(drawn_curves().query("laundering == 'clean'"))


@pytest.mark.parametrize("reliability", [0.9, 0.4])
def test_heads_are_named_only_where_their_order_repeats(reliability: float) -> None:
    rng = np.random.default_rng(0)
    heads = pd.DataFrame({"head": [f"L{i // 6}.H{i % 6}" for i in range(36)]})
    heads["transfer_auc"] = rng.uniform(0.55, 0.85, 36)
    heads["laundered_auc"] = heads["transfer_auc"] - rng.uniform(0, 0.15, 36)
    heads["change"] = heads["laundered_auc"] - heads["transfer_auc"]
    heads.attrs["reliability"] = reliability
    axis = head_robustness_figure(heads).axes[0]
    assert len(axis.lines[1].get_xdata()) == 36  # type: ignore[arg-type]
    assert bool(axis.texts) == (reliability >= 0.7)


def test_names_of_near_heads_do_not_overlap() -> None:
    heads = pd.DataFrame(
        {"head": [f"L11.H{i}" for i in range(12)], "transfer_auc": 0.8, "laundered_auc": 0.7}
    )
    heads["change"] = heads["laundered_auc"] - heads["transfer_auc"]
    heads.loc[:1, ["transfer_auc", "laundered_auc"]] = 0.5
    heads.attrs["reliability"] = 0.9
    figure = head_robustness_figure(heads, named=6)
    FigureCanvasAgg(figure).draw()
    boxes = sorted((Text.get_window_extent(text) for text in figure.axes[0].texts), key=lambda box: box.y0)
    assert len(boxes) >= 6
    assert all(low.y1 <= high.y0 for low, high in zip(boxes, boxes[1:], strict=False))
    assert boxes[0].y0 >= 0 and boxes[-1].y1 <= figure.bbox.height
