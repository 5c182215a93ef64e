"""The page on families runs, shows the docstring's own example, and leaves no family out."""

from __future__ import annotations

import doctest
import inspect
from pathlib import Path

from interp.encoders.families import FAMILIES, Family

PAGE = Path(__file__).resolve().parents[2] / "docs" / "families.md"


def test_the_example_runs_and_is_the_docstrings():
    parser = doctest.DocTestParser()
    page = [(e.source, e.want) for e in parser.get_examples(PAGE.read_text())]
    assert page and page == [(e.source, e.want) for e in parser.get_examples(inspect.getdoc(Family) or "")]
    assert doctest.testfile(str(PAGE), module_relative=False).failed == 0


def test_every_family_stands_in_the_table():
    text = PAGE.read_text()
    assert [f.name for f in FAMILIES if f"`{f.name}`" not in text] == []
