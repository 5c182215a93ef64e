"""The registry of results: one TOML file beside this module for each, read and checked as a whole."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import pandas as pd

from interp.errors import InputError, unknown_name

FOLDER = Path(__file__).parent
COMMANDS = ("run", "score")
DRAWN = "drawn"
"""The layout of an entry that needs no data: its images are drawn."""


@dataclass(frozen=True)
class Expected:
    """One number: where it stands, what it is, and the range that counts as the same result.

    Attributes:
        table: file name below `tables`, without .csv.
        row: value of the table's first column.
        column: the metric.
        value: as published.
        low, high: both ends count as within.
    """

    table: str
    row: str
    column: str
    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Data:
    """What images a user must have: layout (a name of `ImageSet.open`, or "drawn"), contents, source, licence."""

    layout: str
    needs: str
    get: str
    licence: str
    where: tuple[str, ...] = ()


@dataclass(frozen=True)
class Entry:
    """One result to reproduce.

    Attributes:
        name: of its file.
        title: one line.
        source: paper and section, or the file of this project that reports it.
        status: whether it was measured or verified here, and on what; or that it was not run here.
        leak_free: yes or no and why: whether anything was chosen on test images.
        n: how many images.
        seed: of every random draw.
        data: what the user must have.
        command: "run" (extract and evaluate) or "score" (a released head).
        steps: settings of the command.
        cautions: what to know before comparing.
        numbers: what is compared.
    """

    name: str
    title: str
    source: str
    status: str
    leak_free: str
    n: str
    seed: int
    data: Data
    command: str
    numbers: tuple[Expected, ...]
    steps: Mapping[str, Any] = field(default_factory=dict)
    cautions: tuple[str, ...] = ()

    @property
    def needs_data(self) -> bool:
        """Whether the user must bring images."""
        return self.data.layout != DRAWN


def read_entry(path: Path) -> Entry:
    """Read one file of the registry.

    Raises:
        InputError: it is no TOML, a field is missing or unknown, or a range does not hold its value.
    """
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
        data = content.pop("data")
        data = Data(**{**data, "where": tuple(data.get("where", ()))})
        numbers = tuple(Expected(*row) for row in content.pop("numbers"))
        cautions = tuple(content.pop("cautions", ()))
        entry = Entry(path.stem, data=data, numbers=numbers, cautions=cautions, **content)
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise InputError(f"{path} is no complete entry: {error}") from error
    if entry.command not in COMMANDS:
        raise unknown_name(f"command of {entry.name}", entry.command, COMMANDS)
    if off := [one for one in numbers if not one.low <= one.value <= one.high]:
        raise InputError(
            f"{path}: the range of {off[0].row} {off[0].column} does not hold its value {off[0].value}"
        )
    if not numbers:
        raise InputError(f"{path} expects no number")
    return entry


@cache
def entries() -> Mapping[str, Entry]:
    """All entries by name."""
    return {path.stem: read_entry(path) for path in sorted(FOLDER.glob("*.toml"))}


def find_entry(name: str) -> Entry:
    """The entry of a name.

    Raises:
        InputError: there is none.

    >>> find_entry("simulated-demo").needs_data
    False
    """
    if name not in entries():
        raise unknown_name("result to reproduce", name, entries())
    return entries()[name]


def list_entries() -> pd.DataFrame:
    """What can be reproduced: a row for each entry, with title, layout of the images, n, seed, numbers, status.

    >>> list_entries().loc["simulated-demo", "layout"]
    'drawn'
    """
    rows = [
        {
            "name": entry.name,
            "title": entry.title,
            "layout": entry.data.layout,
            "n": entry.n,
            "seed": entry.seed,
            "numbers": len(entry.numbers),
            "leak-free": entry.leak_free.split(":")[0],
            "status": entry.status,
        }
        for entry in entries().values()
    ]
    return pd.DataFrame(rows).set_index("name")
