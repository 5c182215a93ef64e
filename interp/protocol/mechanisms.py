"""Splits of photographs and their twins: a mechanism is left out, a photograph never stands on two sides."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from interp.errors import InputError, unknown_name
from interp.protocol.leaks import REAL, TWIN
from interp.protocol.roles import Names, Roles, Split

MODES = ("leave_one_out", "pairs", "generators")


def twin_splits(
    rows: pd.DataFrame,
    mode: str,
    seeds: int,
    fractions: Sequence[float],
    random_state: int,
    usable: ArrayLike | None,
) -> list[Split]:
    """The splits of `Protocol.twins`.

    Photographs without a twin, and fakes where generators do not test, are in no part. A photograph and all of its
    twins share a group, and are dealt as one.

    Raises:
        InputError: an unknown mode, fewer than three mechanisms, or no generator to test on.
    """
    if mode not in MODES:
        raise unknown_name("mode", mode, MODES)
    roles = Roles(rows, usable)
    is_twin = (rows["label"] == TWIN).to_numpy() & roles.usable
    paired = (rows["label"] == REAL).to_numpy() & np.isin(roles.units, roles.units[is_twin])
    made = (rows["label"] == "fake").to_numpy() if mode == "generators" else np.zeros(len(rows), bool)
    roles = Roles(rows, (is_twin | paired | made) & roles.usable)
    mechanisms = tuple(np.unique(roles.generator[is_twin]).tolist())
    generators = tuple(name for name in roles.counts if name not in mechanisms)
    if len(mechanisms) < 3:
        raise InputError(
            f"the rows hold twins by {len(mechanisms)} mechanisms ({', '.join(mechanisms) or 'none'}); train, select "
            "and test take three at least: make_twins makes more"
        )
    if mode == "generators" and not generators:
        raise InputError(
            "the rows hold no generated image to test on; put them beside the twins in one manifest"
        )
    plans = [_plan(mode, mechanisms, generators, seed) for seed in range(seeds)]
    return roles.splits(plans, fractions, random_state)


def _plan(mode: str, mechanisms: Names, generators: Names, seed: int) -> list[tuple[Names, Names, Names]]:
    """Train, select and test names of one seed."""
    if mode == "pairs":
        return [((a,), (b,), _without(mechanisms, a, b)) for a, b in itertools.permutations(mechanisms, 2)]
    plan = []
    for i, left_out in enumerate(mechanisms):
        if mode == "generators":
            plan.append((_without(mechanisms, left_out), (left_out,), generators))
        else:
            others = _without(mechanisms, left_out)
            select = others[(seed + i) % len(others)]
            plan.append((_without(others, select), (select,), (left_out,)))
    return plan


def _without(names: Names, *dropped: str) -> Names:
    return tuple(name for name in names if name not in dropped)
