"""Where each head's columns stand in the 2-D matrix of head values."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cached_property
from itertools import zip_longest

from interp.errors import InputError, unknown_name

COLUMN = re.compile(r"L(\d+)\.H(\d+)\.(\d+)")
"""How a column of head values is named: layer, head, place in the head."""


@dataclass(frozen=True)
class HeadLayout:
    """Names and columns of `layers` × `heads` attention heads of `width` values each.

    A matrix of head values has shape (n, layers · heads · width), layer by layer, head by head.

    >>> layout = HeadLayout(layers=12, heads=3, width=64)
    >>> layout.size, layout.n_heads, layout.names[4]
    (2304, 36, 'L1.H1')
    >>> layout.slice("L1.H1")
    slice(256, 320, None)
    >>> layout.columns[256]
    'L1.H1.0'
    """

    layers: int
    heads: int
    width: int

    @classmethod
    def from_columns(cls, names: Iterable[object]) -> HeadLayout:
        """The layout of a frame of head values, from the names of its columns.

        Args:
            names: `L0.H0.0`, `L0.H0.1`, …, as `columns` gives them: all of them, layer by layer, head by head.

        Raises:
            InputError: a column that does not fit: the first one is named, what belongs there, and the nearest name.

        >>> HeadLayout.from_columns(["L0.H0.0", "L0.H0.1", "L0.H1.0", "L0.H1.1"])
        HeadLayout(layers=1, heads=2, width=2)
        >>> HeadLayout.from_columns(["L0.H0.0", "L0.H0.1", "L0.H1.0", "L0.Hl.1"])
        Traceback (most recent call last):
        interp.errors.InputError: column 3, 'L0.Hl.1', does not fit: 'L0.H1.1' belongs there; ...
        """
        given = [str(name) for name in names]
        found = [match.groups() for name in given if (match := COLUMN.fullmatch(name))]
        if not found:
            raise InputError(
                f"columns must be named L0.H0.0, L0.H0.1, … (layer, head, place in the head); given {given[:3]}. "
                "`FeatureStore.frame('heads')` names them so; for other columns pass layout="
            )
        layout = cls(*(_whole(numbers) for numbers in zip(*found, strict=True)))
        for place, (name, wanted) in enumerate(zip_longest(given, layout.columns)):
            if name != wanted:
                raise _misfit(place, name, wanted, layout)
        return layout

    @property
    def n_heads(self) -> int:
        """Heads in all layers together."""
        return self.layers * self.heads

    @property
    def size(self) -> int:
        """Columns of the matrix: layers · heads · width."""
        return self.n_heads * self.width

    @cached_property
    def names(self) -> tuple[str, ...]:
        """`L0.H0`, `L0.H1`, … in column order."""
        return tuple(f"L{layer}.H{head}" for layer in range(self.layers) for head in range(self.heads))

    @property
    def columns(self) -> list[str]:
        """`L0.H0.0`, `L0.H0.1`, …: one name for each column."""
        return [f"{name}.{i}" for name in self.names for i in range(self.width)]

    def index(self, head: str | int) -> int:
        """The flat number of a head, from its name or that number itself.

        Raises:
            InputError: no such head; the nearest name is given.
        """
        if isinstance(head, str):
            if head not in self._numbers:
                raise unknown_name("head", head, self.names)
            return self._numbers[head]
        if not 0 <= head < self.n_heads:
            raise unknown_name("head number", head, range(self.n_heads))
        return int(head)

    def slice(self, head: str | int) -> slice:
        """The columns of one head."""
        start = self.index(head) * self.width
        return slice(start, start + self.width)

    @cached_property
    def _numbers(self) -> dict[str, int]:
        return {name: i for i, name in enumerate(self.names)}


def _whole(numbers: Iterable[str]) -> int:
    """How many different numbers there are, but for those that stand far more rarely than others: misprints."""
    counts = Counter(numbers)
    return sum(2 * count >= max(counts.values()) for count in counts.values())


def _misfit(place: int, name: str | None, wanted: str | None, layout: HeadLayout) -> InputError:
    order = f"columns go layer by layer, head by head, here of {layout}"
    if name is None:
        return InputError(f"column {place} is missing: {wanted!r} belongs there; {order}")
    near = next(iter(get_close_matches(name, layout.columns, n=1)), None)
    hint = f" (did you mean {near!r}?)" if near not in (None, name, wanted) else ""
    belongs = "no further column" if wanted is None else f"{wanted!r}"
    return InputError(f"column {place}, {name!r}, does not fit: {belongs} belongs there{hint}; {order}")
