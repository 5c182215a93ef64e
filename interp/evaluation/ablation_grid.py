"""What an ablation tries: every combination of the values asked for, less what is impossible or the same twice."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Mapping
from dataclasses import astuple, dataclass

import pandas as pd

from interp.analysis.head_search import AGGREGATES
from interp.encoders.layout import HeadLayout
from interp.errors import InputError, unknown_name

FACTORS = ("heads", "removal", "C", "aggregate", "normalise")
NAMED = {
    "heads": ("embedding", "all", "best"),
    "removal": ("none", "coordinates", "heads", "generators"),
    "C": ("select",),
    "aggregate": AGGREGATES,
    "normalise": ("none", "standard", "l2"),
}
"""The values that have names; `heads` and `C` take numbers as well."""
MOST_COLUMNS = 1024
"""Columns that coordinates or generators are removed from at most: both cost the cube of them, 3 s for 1,024."""
NOT_APPLICABLE = "-"
"""Stands for the value of a factor that has no say in a combination."""


@dataclass(frozen=True)
class Combination:
    """One value of each factor, as text: `heads` "embedding", "all", "best" or a number, `C` "select" or a number."""

    heads: str
    removal: str
    C: str
    aggregate: str
    normalise: str

    def __str__(self) -> str:
        parts = zip(FACTORS, astuple(self), strict=True)
        return ", ".join(f"{factor} {value}" for factor, value in parts if value != NOT_APPLICABLE)


BASELINE = Combination("embedding", "none", "select", NOT_APPLICABLE, "standard")
"""The plain embedding as `evaluate_transfer` has it; part of every ablation, and what gains are counted from."""


@dataclass(frozen=True)
class Grid:
    """What was asked for, and what is computed for it.

    Attributes:
        combinations: what is computed, each once; the plain embedding first.
        asked: a row for each combination asked for: the factors, number (position in `combinations`, -1 for an
            impossible one), reason (why it is impossible, else empty).
        merged: numbers of heads asked for that are all heads of the encoder.
    """

    combinations: tuple[Combination, ...]
    asked: pd.DataFrame
    merged: tuple[str, ...]

    def describe(self) -> str:
        """How many combinations were asked for, and what became of them, in plain words."""
        possible = self.asked[self.asked["number"] >= 0]
        n_repeated = len(possible) - possible["number"].nunique()
        lines = [f"{len(self.asked)} combinations asked for, {len(self.combinations)} to compute"]
        if 0 not in set(possible["number"]):
            lines[0] += ", among them the plain embedding, which gains are counted from"
        if n_repeated:
            lines.append(f"{n_repeated} are the same computation as another one and are done once")
        for reason, count in self.asked.loc[self.asked["number"] < 0, "reason"].value_counts().items():
            lines.append(f"{count} left out: {reason}")
        for number in self.merged:
            lines.append(f"heads={number} is every head of this encoder, the same as heads='all'")
        return "\n".join(lines)


def make_grid(layout: HeadLayout, width: int, asked: Mapping[str, object]) -> Grid:
    """Combine the values of all factors.

    Rules: the plain embedding has no `aggregate`; a vote is a score, so that no `C` and no `normalise` follow it and
    nothing can be removed from it; harmful heads are removed from the plain embedding only; coordinates and
    generators are removed from at most `MOST_COLUMNS` columns, and "best" counts as the most heads it may keep.

    Args:
        layout: heads of the encoder.
        width: P, columns of its embedding.
        asked: for each factor a value or several.

    Raises:
        InputError: an unknown value, none, or one that fits none of the others.

    >>> grid = make_grid(HeadLayout(2, 2, 8), 16, {"heads": ["embedding", 2], "removal": "none", "C": ["select", 1],
    ...                                            "aggregate": ["concat", "vote"], "normalise": "standard"})
    >>> for combination in grid.combinations: print(combination)
    heads embedding, removal none, C select, normalise standard
    heads embedding, removal none, C 1.0, normalise standard
    heads 2, removal none, C select, aggregate concat, normalise standard
    heads 2, removal none, aggregate vote
    heads 2, removal none, C 1.0, aggregate concat, normalise standard
    """
    values = {factor: _values(factor, asked[factor]) for factor in FACTORS}
    merged = tuple(v for v in values["heads"] if v.isdigit() and int(v) >= layout.n_heads)
    values["heads"] = _ordered("heads", {"all" if v in merged else v for v in values["heads"]})
    numbers: dict[Combination, int] = {BASELINE: 0}
    rows = []
    for given in itertools.product(*values.values()):
        combination = _as_computed(Combination(*given))
        reason = _impossible(combination, layout, width)
        number = -1 if reason else numbers.setdefault(combination, len(numbers))
        rows.append([*given, number, reason])
    table = pd.DataFrame(rows, columns=[*FACTORS, "number", "reason"])
    for factor, value in [(factor, value) for factor, known in values.items() for value in known]:
        of_value = table[table[factor] == value]
        if (of_value["number"] < 0).all():
            raise InputError(
                f"{factor}={value!r} fits none of the other values ({'; '.join(of_value['reason'].unique())}); "
                "leave it out or add values that it fits"
            )
    return Grid(tuple(numbers), table, merged)


def _as_computed(given: Combination) -> Combination:
    if given.heads == "embedding":
        return Combination(given.heads, given.removal, given.C, NOT_APPLICABLE, given.normalise)
    if given.aggregate == "vote":
        return Combination(given.heads, given.removal, NOT_APPLICABLE, "vote", NOT_APPLICABLE)
    return given


def _impossible(combination: Combination, layout: HeadLayout, width: int) -> str:
    """Why a combination cannot be computed; empty if it can."""
    if combination.removal == "heads" and combination.heads != "embedding":
        return "harmful heads are removed from the plain embedding only (heads='embedding')"
    if combination.removal in ("coordinates", "generators"):
        if combination.aggregate == "vote":
            return "a vote is one column, nothing can be removed from it"
        if _columns(combination, layout, width) > MOST_COLUMNS:
            return f"{combination.removal} are removed from at most {MOST_COLUMNS:,} columns"
    return ""


def _columns(combination: Combination, layout: HeadLayout, width: int) -> int:
    if combination.aggregate != "concat":
        return width
    return (int(combination.heads) if combination.heads.isdigit() else layout.n_heads) * layout.width


def _values(factor: str, given: object) -> tuple[str, ...]:
    several = list(given) if isinstance(given, Iterable) and not isinstance(given, str) else [given]
    if not several:
        raise InputError(f"{factor} names no value; give one at least, such as {NAMED[factor][0]!r}")
    return _ordered(factor, {_value(factor, value) for value in several})


def _value(factor: str, given: object) -> str:
    text = str(given)
    if text in NAMED[factor]:
        return text
    number = math.nan
    if factor in ("heads", "C") and not isinstance(given, bool):
        try:
            number = int(text) if factor == "heads" else float(text)
        except ValueError:
            pass
        else:
            if 0 < number < math.inf:
                return str(number)
            raise InputError(f"a number for {factor} must be above 0 and finite; given {given}")
    numbers = {"heads": ["a number such as 12"], "C": ["a number such as 0.01"]}
    raise unknown_name(factor, given, [*NAMED[factor], *numbers.get(factor, [])])


def _ordered(factor: str, values: set[str]) -> tuple[str, ...]:
    """Named values as listed, then numbers ascending: the order of what was asked for changes nothing."""
    named = [value for value in NAMED[factor] if value in values]
    return (*named, *sorted(values - set(named), key=float))
