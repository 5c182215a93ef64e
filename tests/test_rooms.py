"""The tree keeps its promises: rooms import to the left only, modules stay short, and no room is a drawer."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parent.parent / "interp"
ROOMS = (
    "images",
    "encoders",
    "features",
    "protocol",
    "analysis",
    "detectors",
    "explain",
    "evaluation",
    "report",
)
MODULES = sorted(PACKAGE.rglob("*.py"))
LONGEST = 300
DRAWERS = {"utils", "helpers", "common", "misc", "base"}


def imported_rooms(path: Path) -> set[str]:
    """Rooms of this package that a module imports from, at its top or inside a function."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        names = [node.module] if isinstance(node, ast.ImportFrom) and node.module else []
        names += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        found |= {name.split(".")[1] for name in names if name.startswith("interp.")}
    return found & set(ROOMS)


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_a_module_imports_from_rooms_to_its_left_and_is_short(path):
    room = path.relative_to(PACKAGE).parts[0]
    if room in ROOMS:
        to_the_right = set(ROOMS[ROOMS.index(room) + 1 :])
        assert not imported_rooms(path) & to_the_right
    assert len(path.read_text().splitlines()) <= LONGEST
    assert path.stem not in DRAWERS
