"""Severities read off a laundering are those of the grids."""

from __future__ import annotations

import pytest

from interp.images.launder_presets import PRESETS, preset
from interp.images.launder_severity import cell_of

DRAWN = {"rine", "cozzolino"}  # their cells are drawn, or stand alone under a name of their own


@pytest.mark.parametrize("name", [name for name in PRESETS if name not in DRAWN])
def test_a_cell_of_a_grid_is_found_again(name: str) -> None:
    for cell in preset(name, vae=["taesd"]).cells.values():
        found = cell_of(cell.laundering)
        if len(cell.laundering.steps) == 1:
            single = cell.operation in ("social", "messenger") or ":" in cell.operation
            assert single or (found.operation, found.severity) == pytest.approx(
                (cell.operation, cell.severity)
            ), found
        assert found.severity == pytest.approx(cell.severity) and found.laundering == cell.laundering


@pytest.mark.parametrize(
    "text", ["jpeg:30-90", "blur:0-3@0.5", "resize:0.5|2", "jpeg:50+blur:1", "noise:9:variance"]
)
def test_what_is_drawn_or_chained_is_an_operation_of_its_own(text: str) -> None:
    found = cell_of(text)
    assert (found.operation, found.severity) == (text, 1.0)


def test_severity_grows_with_damage() -> None:
    for texts in (
        ["jpeg:90", "jpeg:30"],
        ["resize:0.5", "resize:0.25"],
        ["resize:1.5", "resize:2"],
        ["crop:0.9", "crop:0.5"],
    ):
        mild, hard = map(cell_of, texts)
        assert mild.operation == hard.operation and mild.severity < hard.severity
    assert cell_of("none").severity == 0
