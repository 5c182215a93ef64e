"""The command asks placebos of a small store and leaves its tables; the figure shows every answer."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.collections import PathCollection

import interp
from interp.cli.options import Parts
from interp.cli.placebos import placebos
from interp.images.simulated import draw_simulated_set
from interp.report.placebo_figure import draw_placebos


def test_every_answer_is_drawn_and_filled_where_it_explains() -> None:
    panel = pd.DataFrame(
        {"arm": ["a", "b"] * 2, "placebo": ["x", "x", "y", "y"], "auc": [0.7, 0.5, 0.48, 0.3]}
    )
    panel = panel.assign(
        low=panel["auc"] - 0.1, high=panel["auc"] + 0.1, explained=[True, False, False, True]
    )
    axis = draw_placebos(panel).axes[0]
    marks = [part for part in axis.collections if isinstance(part, PathCollection)]
    points = [np.asarray(part.get_offsets()) for part in marks]
    drawn = np.concatenate([part.reshape(-1, 2) for part in points if part.size])
    assert sorted(drawn[:, 0].tolist()) == [0.3, 0.48, 0.5, 0.7]
    assert [label.get_text() for label in axis.get_yticklabels()] == ["x", "y"]
    legend = axis.get_legend()
    assert legend is not None and [text.get_text() for text in legend.get_texts()] == ["a", "b"]


def test_the_command_leaves_tables_and_a_figure(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    names = ["simulated-smooth", "simulated-nearest", "simulated-spectral"]
    images = draw_simulated_set(tmp_path / "set", n_per_class=24, generators=names, progress=False)
    store = tmp_path / "store"
    interp.extract(images, interp.load_encoder("embedded"), store, workers=0, progress=False)
    parts = Parts("by-hand", (names[0],), (names[1],), (names[2],), seeds=1)
    options = {"resamples": 20, "jobs": 1, "workers": 0, "parts": parts, "encoder": "embedded"}
    code = placebos(store, tmp_path / "set", tmp_path / "out", words=("bright",), erase=True, **options)
    printed = capsys.readouterr().out
    assert code == 0 and "through 128 px and back" in printed
    panel = pd.read_csv(tmp_path / "out/panel.csv")
    assert set(panel["placebo"]) == {"bright", "through 128 px and back", "JPEG before"}
    assert {"placebo_erasure", "placebo_erasure_heads", "embedding"} <= set(panel["arm"])
    assert len(pd.read_csv(tmp_path / "out/heads.csv")) == 3 * 36
    assert (tmp_path / "out/placebos.png").stat().st_size > 10_000
