"""How images are dealt to train, select and test: whole units, in the asked fractions for every generator."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np

from interp.errors import InputError

PARTS = ("train", "select", "test")
TEST = PARTS.index("test")


def check_fractions(fractions: Sequence[float]) -> np.ndarray:
    """Refuse fractions that are not three positive numbers with sum 1; else (3,) float64.

    >>> check_fractions((0.5, 0.2, 0.2))
    Traceback (most recent call last):
    interp.errors.InputError: fractions must be three positive numbers (train, select, test) with sum 1; ...
    """
    given = np.asarray(fractions, dtype=np.float64)
    if given.shape != (3,) or not np.all(given > 0) or abs(given.sum() - 1) > 1e-6:
        raise InputError(
            "fractions must be three positive numbers (train, select, test) with sum 1; "
            f"given {tuple(map(float, given.ravel()))}. For example (0.4, 0.3, 0.3)"
        )
    return given / given.sum()


def deal(
    units: np.ndarray,
    generators: np.ndarray,
    *,
    fractions: Sequence[float] = (0.4, 0.3, 0.3),
    test_only: Collection[str] = (),
    random_state: int = 0,
    seed: int = 0,
) -> np.ndarray:
    """Deal rows to train, select and test, unit by unit, so that every generator approaches the fractions.

    Units of one kind (the same number of rows of each generator) are shuffled and dealt by the fractions,
    rounded down. The units left over go one by one, in random order, where their generators' rows are lacking
    most: to the part that lowers ``sum over generators and parts of (share of the rows - fraction)**2`` most,
    ties at random. Units with rows of `test_only` generators alone go to test.

    Args:
        units: (n,) integers: which rows must stay together, as `interp.protocol.leaks.units` numbers them.
        generators: (n,) generator names, "real" for photographs.
        fractions: Of train, select and test.
        random_state, seed: The shuffle follows from ``SeedSequence(random_state, spawn_key=(seed,))``.

    Returns:
        (n,) int8: 0 train, 1 select, 2 test.

    >>> generators = np.repeat(["real", "glide"], 10)
    >>> part = deal(np.arange(20), generators, fractions=(0.5, 0.3, 0.2))
    >>> np.bincount(part[generators == "glide"])
    array([5, 3, 2])
    """
    fraction = check_fractions(fractions)
    rng = np.random.default_rng(np.random.SeedSequence(random_state, spawn_key=(seed,)))
    names, generator = np.unique(np.asarray(generators).astype(str), return_inverse=True)
    n_units = int(units.max(initial=-1)) + 1
    table = np.bincount(units * len(names) + generator, minlength=n_units * len(names)).reshape(n_units, -1)
    trains = ~np.isin(names, list(test_only))
    part = np.full(n_units, TEST, np.int8)
    rest = rng.permutation(np.flatnonzero(table[:, trains].any(axis=1)))
    if len(rest):
        part[rest] = _deal_units(table[rest], fraction, rng)
    return part[units]


def _deal_units(table: np.ndarray, fraction: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Deal shuffled units; `table` (units, generators) counts their rows. (units,) int8."""
    table = table[:, table.any(axis=0)]
    share = table / table.sum(axis=0)  # of all rows of each generator, how much this unit holds
    kind, size = np.unique(table, axis=0, return_inverse=True, return_counts=True)[1:]
    order = np.argsort(kind, kind="stable")
    rank = np.empty(len(table), np.int64)
    rank[order] = np.arange(len(table)) - np.repeat(np.cumsum(size) - size, size)
    upto = np.cumsum(np.floor(size[:, None] * fraction + 1e-9), axis=1)[kind]  # (units, 3)
    part = (rank[:, None] >= upto).sum(axis=1).astype(np.int8)  # 3: left over
    filled = np.stack([share[part == code].sum(axis=0) for code in range(3)])  # (3, generators)
    for unit in np.flatnonzero(part == 3):
        need = (fraction[:, None] - filled) @ share[unit]
        part[unit] = rng.choice(np.flatnonzero(np.isclose(need, need.max(), rtol=0, atol=1e-12)))
        filled[part[unit]] += share[unit]
    return part
