"""The figure of an ablation shows its effects where they are, and the command writes what it promises."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from random_clip import random_clip

from interp.cli.ablation import Choices, ablate
from interp.cli.options import Parts
from interp.encoders.layout import HeadLayout
from interp.errors import InputError
from interp.evaluation.ablation_grid import make_grid
from interp.evaluation.ablation_summary import Ablation
from interp.features.extract import extract
from interp.images.simulated import draw_simulated_set
from interp.report.ablation_figure import draw_ablation


def invented(families: str = "xxyz", **asked) -> Ablation:
    values = {"heads": ("embedding", "all", "best", 12, 24), "removal": ("none", "coordinates", "heads")}
    values |= {"C": ("select", 0.01, 1.0), "aggregate": ("concat", "sum", "vote")}
    values |= {"normalise": ("none", "standard", "l2")}
    grid = make_grid(HeadLayout(12, 12, 64), 512, {**values, **asked})
    rng = np.random.default_rng(0)
    rows = []
    for one in grid.combinations:
        for train, select, test in ("abc", "abd", "bac", "bad", "cdb"):
            cell = {"seed": 0, "train": train, "select": select, "test": test}
            rows.append({**vars(one), **cell, "auc": 0.7 + 0.04 * rng.normal()})
    table = pd.DataFrame(rows).assign(
        select_auc=0.8, average_precision=0.5, balanced_accuracy=0.5, n_features=1
    )
    return Ablation(table, grid, dict(zip("abcd", families, strict=True)), {})


def overlapping(figure: Figure) -> list[tuple[str, str]]:
    """Pairs of texts that lie on each other, or texts that leave the figure."""
    FigureCanvasAgg(figure).draw()
    texts = list(figure.texts)
    for axis in figure.axes:
        texts += [axis.title, axis.xaxis.label, axis.yaxis.label, *axis.get_yticklabels()]
    for axis in figure.axes[-2:]:
        low, high = axis.get_xlim()
        ticks = zip(axis.get_xticks(), axis.get_xticklabels(), strict=True)
        texts += [label for at, label in ticks if low <= at <= high]
    boxes = [(text.get_text(), text.get_window_extent()) for text in texts if text.get_text()]
    found = [(a, b) for i, (a, x) in enumerate(boxes) for b, y in boxes[i + 1 :] if x.overlaps(y)]
    whole = figure.bbox
    return found + [
        (a, "edge") for a, x in boxes if x.x0 < whole.x0 or x.x1 > whole.x1 or x.y0 < 0 or x.y1 > whole.y1
    ]


def test_dots_and_bars_stand_where_the_effects_say(tmp_path):
    ablation = invented()
    effects = ablation.effects()
    figure = draw_ablation(ablation, tmp_path / "ablation.png")
    assert (tmp_path / "ablation.png").read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    left, right = figure.axes[::2], figure.axes[1::2]
    for axes, side, low in ((left, "delta", "low"), (right, "change", "change_low")):
        dots = [line.get_xdata()[0] for axis in axes for line in axis.lines if line.get_marker() == "o"]
        np.testing.assert_allclose(dots, effects[side])
        bars = [line.get_xdata()[0] for axis in axes for line in axis.lines if line.get_linestyle() == "-"]
        drawn = [x for x in bars if x != 0]  # the line at 0 aside
        first = ~effects["factor"].duplicated()
        assert set(np.round(drawn, 9)) >= set(np.round(effects.loc[~first, low], 9))
    shown = [label.get_text() for axis in left for label in axis.get_yticklabels()]
    assert shown == effects["value"].tolist()


@pytest.mark.parametrize("asked", [{}, {"removal": "none", "C": 1.0, "aggregate": "sum", "normalise": "l2"}])
def test_no_text_lies_on_another_at_a_thousand_pixels(asked):
    figure = draw_ablation(invented(**asked))
    assert figure.get_figwidth() * 150 <= 1000
    assert overlapping(figure) == []


def test_without_families_there_are_dots_and_a_reason():
    figure = draw_ablation(invented(families="xxxx"))
    bars = [line for axis in figure.axes for line in axis.lines if len(set(line.get_xdata())) > 1]
    assert bars == []
    assert "nothing (all cells have one" in figure.get_supxlabel()


def test_nothing_to_compare_is_refused():
    one = {"heads": 12, "removal": "none", "C": 1.0, "aggregate": "sum", "normalise": "l2"}
    with pytest.raises(InputError, match="no factor with two values"):
        draw_ablation(invented(**one))


def test_the_command_writes_tables_figure_and_words(tmp_path, capsys):
    images = draw_simulated_set(tmp_path / "images", n_per_class=20)
    extract(images, random_clip(), tmp_path / "store", workers=0, progress=False)
    generators = {"train": ("simulated-nearest",), "select": ("simulated-smooth",)}
    parts = Parts(protocol="by-hand", **generators, test=("simulated-palette", "simulated-spectral"), seeds=1)
    choices = Choices(
        heads=("embedding", "2"), removal=("none",), C=("1.0",), aggregate=("sum",), normalise=("l2",)
    )
    assert ablate(tmp_path / "store", tmp_path / "out", parts, choices, jobs=1) == 0
    table, summary = (pd.read_csv(tmp_path / "out" / f"{name}.csv") for name in ("ablation", "summary"))
    assert len(table) == 3 * 2  # the plain embedding is added; two test generators
    assert len(summary) == 3
    assert (tmp_path / "out" / "ablation.png").stat().st_size > 5000
    assert "3 combinations were tried" in (tmp_path / "out" / "ablation.md").read_text()
    assert "3 combinations were tried" in capsys.readouterr().out
