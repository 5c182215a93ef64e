"""What a detector may lean on, as groups of statistics: each property of the pixels by the name people use for it."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence

import numpy as np
import pandas as pd

from interp.errors import InputError, unknown_name
from interp.images.pixel_statistics import STATISTICS


def group_of(column: Hashable) -> str:
    """The property in words that a statistic belongs to; one that is not known here is a property of its own.

    >>> group_of("red_over_blue"), group_of("mine")
    ('colour cast', 'mine')
    """
    known = STATISTICS.get(str(column))
    return str(column) if known is None else known.group


def candidates_of(
    columns: Sequence[Hashable], candidates: Mapping[str, Sequence[Hashable]] | None = None
) -> dict[str, list[int]]:
    """Positions of the statistics of each property.

    Args:
        columns: names of the statistics, or their numbers where they have no names.
        candidates: names of properties, and the columns of each; by default by `group_of`.

    Raises:
        InputError: a candidate without columns, or with one that is not there.

    >>> candidates_of(["red_over_blue", "noise", "green_over_magenta"])
    {'colour cast': [0, 2], 'noise': [1]}
    """
    if candidates is None:
        found: dict[str, list[int]] = {}
        for position, column in enumerate(columns):
            found.setdefault(group_of(column), []).append(position)
        return found
    positions = {column: position for position, column in enumerate(columns)}
    for name, members in candidates.items():
        if isinstance(members, str) or not len(members):
            raise InputError(f"candidate {name!r} needs a list of statistics; given {members!r}")
        for member in members:
            if member not in positions:
                raise unknown_name("statistic", str(member), [str(column) for column in columns])
    return {name: [positions[member] for member in members] for name, members in candidates.items()}


def within_classes(values: np.ndarray, kind: np.ndarray) -> np.ndarray:
    """Columns (n, k) minus their mean in each class, so that nothing is left that tells classes apart.

    >>> within_classes(np.array([[1.0], [3.0], [10.0]]), np.array(["real", "real", "glide"])).ravel().tolist()
    [-1.0, 1.0, 0.0]
    """
    return values - pd.DataFrame(values).groupby(kind).transform("mean").to_numpy()


def shuffled_within(kind: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Positions (n,) that put in each row's place another row of its class, at random.

    >>> shuffled_within(np.array([0, 0, 1]), np.random.default_rng(0)).tolist()[2]
    2
    """
    positions = np.empty(len(kind), np.int64)
    positions[np.argsort(kind, kind="stable")] = np.lexsort((rng.random(len(kind)), kind))
    return positions
