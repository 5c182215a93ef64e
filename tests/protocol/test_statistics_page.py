"""The page on statistics runs, and names every number of the operating table."""

from __future__ import annotations

import doctest
from pathlib import Path

from interp.protocol.operating_table import operating_table

PAGE = Path(__file__).resolve().parents[2] / "docs" / "statistics.md"


def test_the_examples_run():
    result = doctest.testfile(str(PAGE), module_relative=False)
    assert result.attempted > 10 and result.failed == 0


def test_every_number_is_defined():
    text = PAGE.read_text()
    names = set(operating_table([0, 1], [0.0, 1.0], 0.5)) - {"n_real", "n_fake", "threshold"}
    assert [name for name in sorted(names) if f"`{name}`" not in text] == []
