"""Which rows rank heads: fakes of every generator against photographs, for splits that train on the same rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from interp.protocol.metrics import auc_by_generator

if TYPE_CHECKING:
    from interp.protocol.roles import Split


@dataclass
class Comparison:
    """Splits with the same train rows and select photographs: one fit and one sort serve them all.

    Attributes:
        train: positions to fit on.
        photographs: positions of the select photographs.
        splits: numbers of the splits.
        fakes: the sets of fakes that are compared with the photographs, each once.
        chosen: for each split the numbers of its select generators' sets.
        held: for each split the number of the set of its held-out fakes.
    """

    train: np.ndarray
    photographs: np.ndarray
    splits: list[int] = field(default_factory=list)
    fakes: dict[bytes, np.ndarray] = field(default_factory=dict)
    chosen: list[list[int]] = field(default_factory=list)
    held: list[int] = field(default_factory=list)

    def add(self, number: int, split: Split, y: np.ndarray, generator: np.ndarray) -> None:
        """Take one more split with these train rows and photographs."""
        select = split.select[y[split.select] == 1]
        sets = [select[generator[select] == name] for name in np.unique(generator[select])]
        self.splits.append(number)
        self.chosen.append([self._number(rows) for rows in sets])
        self.held.append(self._number(split.held_out))

    def _number(self, rows: np.ndarray) -> int:
        self.fakes.setdefault(rows.tobytes(), rows)
        return list(self.fakes).index(rows.tobytes())

    @cached_property
    def rows(self) -> np.ndarray:
        """Positions to score: the photographs, then every set of fakes."""
        return np.concatenate([self.photographs, *self.fakes.values()])

    def aucs(self, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """On select generators (their mean) and in distribution, (splits, heads) each, from scores (rows, heads).

        NaN in distribution for a split that holds nothing out.
        """
        sizes = [len(self.photographs), *map(len, self.fakes.values())]
        kind = np.repeat(np.arange(len(sizes)), sizes)
        each = np.full((len(self.fakes), scores.shape[1]), np.nan)
        each[np.array(sizes[1:]) > 0] = auc_by_generator(kind > 0, scores, kind)
        return np.stack([each[numbers].mean(0) for numbers in self.chosen]), each[self.held]


def compared(splits: Sequence[Split], y: np.ndarray, generator: np.ndarray) -> list[Comparison]:
    """Every split in one comparison, those that share a fit and photographs together.

    Args:
        splits: who trains and selects.
        y: (n,), 1 fake, 0 photograph.
        generator: (n,) names.
    """
    found: dict[tuple[bytes, bytes], Comparison] = {}
    for number, split in enumerate(splits):
        photographs = split.select[y[split.select] == 0]
        key = split.train.tobytes(), photographs.tobytes()
        found.setdefault(key, Comparison(split.train, photographs)).add(number, split, y, generator)
    return list(found.values())
