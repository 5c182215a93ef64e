"""Numbers of a laundering step: one value, a range, or a few values, of which each image draws its own."""

from __future__ import annotations

import dataclasses
import re
from dataclasses import dataclass
from typing import Any

import numpy as np

_NUMBER = r"\d+(?:\.\d+)?"
_ONE = re.compile(_NUMBER)
_RANGE = re.compile(rf"({_NUMBER})-({_NUMBER})")
_FEW = re.compile(rf"{_NUMBER}(?:\|{_NUMBER})+")
_DECIMALS = 4  # of a drawn number, so that its text is short and exact


@dataclass(frozen=True)
class Between:
    """A number drawn uniformly from `low` to `high`, both included; written `30-100`."""

    low: float
    high: float

    def __str__(self) -> str:
        return f"{number_text(self.low)}-{number_text(self.high)}"


@dataclass(frozen=True)
class OneOf:
    """One of a few values, each as likely as the others; written `3|5|7`."""

    values: tuple[float, ...]

    def __str__(self) -> str:
        return "|".join(number_text(value) for value in self.values)


Number = float | Between | OneOf
"""A parameter of a step."""


def number_text(value: float) -> str:
    """The shortest decimal text that reads back as the same number, without an exponent.

    >>> number_text(2.0), number_text(0.25)
    ('2', '0.25')
    """
    return np.format_float_positional(float(value), trim="-")


def read_number(text: str) -> Number | None:
    """Read `75`, `30-100` or `3|5|7`; None if it is none of these.

    >>> read_number("0-3")
    Between(low=0.0, high=3.0)
    """
    if _ONE.fullmatch(text):
        return float(text)
    if match := _RANGE.fullmatch(text):
        return Between(float(match[1]), float(match[2]))
    if _FEW.fullmatch(text):
        return OneOf(tuple(float(part) for part in text.split("|")))
    return None


def as_kind(value: Number, kind: type[int] | type[float]) -> Number:
    """The same number, range or choice in whole numbers, which encoders insist on, or in floating point."""
    if isinstance(value, Between):
        return Between(kind(value.low), kind(value.high))
    return OneOf(tuple(kind(part) for part in value.values)) if isinstance(value, OneOf) else kind(value)


def draw_number(value: Number, rng: np.random.Generator) -> float:
    """The number that one image gets; whole from a range of whole numbers, else with four decimals."""
    if isinstance(value, OneOf):
        return value.values[int(rng.integers(len(value.values)))]
    if isinstance(value, Between):
        if isinstance(value.low, int):
            return int(rng.integers(value.low, int(value.high) + 1))
        return round(float(rng.uniform(value.low, value.high)), _DECIMALS)
    return value


def number(
    low: float, high: float, default: Number | None = None, *, whole: bool = False, odd: bool = False
) -> Any:
    """A dataclass field for a number from `low` to `high`."""
    about = {"low": low, "high": high, "whole": whole, "odd": odd}
    missing: Any = dataclasses.MISSING
    return dataclasses.field(default=missing if default is None else default, metadata=about)


def word(*choices: str, required: bool = False) -> Any:
    """A dataclass field for one of a few words; the first is the default, unless one has to be given."""
    missing: Any = dataclasses.MISSING
    return dataclasses.field(default=missing if required else choices[0], metadata={"choices": choices})


def fault(value: Any, about: dict[str, Any] | Any) -> str | None:
    """What is wrong with a field's value, in words; None if nothing is."""
    if choices := about.get("choices"):
        return None if value in choices else f"is one of {', '.join(choices)}"
    low, high, whole, odd = (about[name] for name in ("low", "high", "whole", "odd"))
    if isinstance(value, Between):
        parts: tuple[Any, ...] = (value.low, value.high)
        if not (odd or parts[0] >= parts[1]):
            return _fault_of_numbers(parts, low, high, whole, odd)
        return "is a range LOW-HIGH with LOW below HIGH" if not odd else "is one odd number, or a few: 3|5|7"
    if isinstance(value, OneOf):
        if len(value.values) < 2:
            return "is a choice of at least two values"
        return _fault_of_numbers(value.values, low, high, whole, odd)
    return _fault_of_numbers((value,), low, high, whole, odd)


def _fault_of_numbers(parts: tuple[Any, ...], low: float, high: float, whole: bool, odd: bool) -> str | None:
    kind = "an odd number" if odd else "a whole number" if whole else "a number"
    for part in parts:
        is_number = isinstance(part, int | float | np.integer | np.floating) and not isinstance(part, bool)
        if (
            not is_number
            or not low <= part <= high
            or (whole and part != int(part))
            or (odd and not part % 2)
        ):
            return f"is {kind} from {number_text(low)} to {number_text(high)}"
    return None
