"""Figures show the numbers they are given: a grid of the right size, marks at the right place, no clipping."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from interp.report import figures


def overlapping_labels(figure: Figure) -> list[tuple[str, str]]:
    """Pairs of tick labels of one axis that lie on each other."""
    figure.canvas.draw()
    found = []
    for axis in figure.axes:
        for labels in (axis.get_xticklabels(), axis.get_yticklabels()):
            boxes = [(label.get_text(), label.get_window_extent()) for label in labels if label.get_text()]
            if any(label.get_rotation() % 90 for label in labels):
                continue  # slanted labels: their boxes overlap, they do not
            found += [(a, b) for (a, x), (b, y) in zip(boxes, boxes[1:], strict=False) if x.overlaps(y)]
    return found


def ranking(layers: int, heads: int) -> pd.DataFrame:
    flat = np.arange(layers * heads)
    values = np.linspace(0.4, 0.95, len(flat))
    table = pd.DataFrame({"layer": flat // heads, "index": flat % heads, "transfer_auc": values})
    return table.assign(in_distribution_auc=values[::-1])


@pytest.mark.parametrize(("layers", "heads"), [(4, 4), (12, 3), (24, 16)])
def test_the_head_map_has_a_cell_for_each_head(layers, heads):
    figure = figures.head_map(ranking(layers, heads))
    left, right = figure.axes[:2]
    assert left.collections[0].get_array().shape == (layers, heads)
    np.testing.assert_allclose(left.collections[0].get_array()[0, 0], 0.4)
    np.testing.assert_allclose(right.collections[0].get_array()[0, 0], 0.95)
    assert overlapping_labels(figure) == []


def test_the_gains_stand_where_the_summary_says():
    summary = pd.DataFrame(
        {
            "delta_to_embedding": [0.0, 0.02, -0.05],
            "delta_low": [np.nan, 0.01, -0.08],
            "delta_high": [np.nan, 0.03, -0.02],
            "delta_generators_low": [0.0, -0.02, np.nan],
            "delta_generators_high": [0.0, 0.06, np.nan],
        },
        index=["embedding", "selected_heads", "coordinate_removal"],
    )
    nulls = pd.DataFrame(
        {
            "arm": "selected_heads",
            "null": "random heads",
            "draw": range(5),
            "delta": [0.0, 0.01, 0.02, -0.01, 0],
        }
    )
    figure = figures.gains(summary, nulls)
    axis = figure.axes[0]
    assert [label.get_text() for label in axis.get_yticklabels()] == ["selected_heads", "coordinate_removal"]
    diamonds = [
        line.get_xdata()[0] for line in axis.lines if line.get_marker() == "D" and len(line.get_xdata())
    ]
    assert diamonds == [0.02, -0.05]
    draws = [line for line in axis.lines if line.get_marker() == "o" and len(line.get_xdata())]
    assert len(draws[0].get_xdata()) == 5
    assert overlapping_labels(figure) == []


def test_the_transfer_matrix_leaves_the_diagonal_empty():
    names = ["a", "b", "c"]
    table = pd.DataFrame([(x, y) for x in names for y in names if x != y], columns=["train", "test"])
    table = table.assign(arm="embedding", auc=np.linspace(0.3, 0.9, len(table)))
    grid = figures.transfer_matrix(table, "embedding").axes[0].collections[0].get_array()
    assert np.ma.getmaskarray(grid).sum() == 3
    assert grid.min() == pytest.approx(0.3)


def test_many_train_generators_have_short_names_inside_the_picture():
    names = [f"generator-with-a-long-name-{letter}" for letter in "abcdefg"]
    rows = [
        ("+".join(n for n in names if n not in (one, two)), one)
        for one, two in zip(names, names[1:], strict=False)
    ]
    table = pd.DataFrame(rows, columns=["train", "test"]).assign(arm="embedding", auc=0.7)
    figure = figures.transfer_matrix(table, "embedding")
    FigureCanvasAgg(figure).draw()
    assert overlapping_labels(figure) == []
    labels = figure.axes[0].get_yticklabels()
    assert labels[0].get_text().startswith("all but generator-with-a-long-name-")
    assert all(label.get_window_extent().x0 >= 0 for label in labels)


def test_the_removal_curve_draws_steps_that_every_split_has():
    parts = [
        pd.DataFrame(
            {"removed": steps, "select_auc": 0.9, "test_auc": 0.8, "chosen": [s == 4 for s in steps]}
        )
        for steps in ([0, 4, 8, 16], [0, 4, 7, 8, 16])
    ]
    axis = figures.removal_curve(pd.concat(parts)).axes[0]
    assert list(axis.lines[0].get_xdata()) == [0, 4, 8, 16]
    assert "chosen: 4" in axis.get_legend().get_texts()[-1].get_text()


def test_a_figure_is_written_as_png(tmp_path):
    path = figures.save_figure(figures.head_map(ranking(2, 2)), tmp_path / "sub" / "map.png")
    assert path.read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
