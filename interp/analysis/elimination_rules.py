"""Make one removal of several: what eliminations on different train and select generators agree on."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from sklearn.base import clone

from interp.errors import InputError, unknown_name

if TYPE_CHECKING:
    from interp.protocol.roles import Split

Name = TypeVar("Name", bound=Hashable)
RULES = ("intersection", "majority")


def agreed(removed: Sequence[Iterable[Name]], rule: str = "majority") -> list[Name]:
    """Coordinates or heads that all eliminations removed, or more than half of them.

    What one pair of generators removes may be that pair's accident; the "selected coordinates" of Gaintseva et al.
    2024 (arXiv 2406.15035) are the intersection over pairs.

    Args:
        removed: what each elimination removed, in its order.
        rule: "intersection" or "majority".

    Returns:
        Those removed most often first; of equally many, those whose mean place is the earliest.

    Raises:
        InputError: an unknown rule, or no elimination.

    >>> agreed([[3, 1, 7], [1, 3], [2, 1]])
    [1, 3]
    >>> agreed([[3, 1, 7], [1, 3], [2, 1]], rule="intersection")
    [1]
    """
    if rule not in RULES:
        raise unknown_name("rule", rule, RULES)
    if not removed:
        raise InputError("there is no elimination to agree on; give what each pair removed")
    places: dict[Name, list[int]] = {}
    for order in removed:
        for place, name in enumerate(dict.fromkeys(order)):
            places.setdefault(name, []).append(place)
    needed = len(removed) if rule == "intersection" else len(removed) // 2 + 1
    kept = [name for name, found in places.items() if len(found) >= needed]
    return sorted(kept, key=lambda name: (-len(places[name]), np.mean(places[name])))


def removed_on_pairs(
    removal: Any, X: np.ndarray, y: np.ndarray, splits: Iterable[Split], *, generator: np.ndarray
) -> list[list[Any]]:
    """What a removal takes out on each split: fit it on every pair, then let `agreed` decide.

    Args:
        removal: an unfitted `CoordinateRemoval` or `HeadRemoval`.
        X: (n, p) features, as the removal reads them.
        y: (n,), 1 fake, 0 photograph.
        splits: who trains and selects; usually a `Protocol`. Test rows are not read.
        generator: (n,) names.

    Returns:
        A list for each split: numbers of coordinates, or names of heads, in the order of their removal.
    """
    found = []
    for split in splits:
        rows = np.union1d(split.train, split.select)
        fitted = clone(removal).fit(X[rows], y[rows], part=split.part[rows], generator=generator[rows])
        found.append(list(np.asarray(fitted.removed_).tolist()))
    return found
