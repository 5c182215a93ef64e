"""Where each head's columns stand in the 2-D matrix of head values."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from interp.errors import unknown_name


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
