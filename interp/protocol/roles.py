"""One split: which rows fit, which choose and which report, and what makes it a valid one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from interp.errors import InputError
from interp.protocol.leaks import REAL, TWIN, LeakCheck, check_rows, units
from interp.protocol.partition import PARTS, deal

IN_DISTRIBUTION = ("held_out", "in_distribution")
Names = tuple[str, ...]
_NOBODY = np.empty(0, np.int64)


@dataclass(frozen=True, eq=False)
class Split:
    """Which rows fit, which choose and which report, for one choice of generators and one seed.

    `train` to `in_distribution` are positions into the protocol's rows: int64, sorted, each at most once.

    Attributes:
        train_generators, select_generators, test_generators: Names; no generator stands in two of them.
        seed: The seed index of the dealing.
        n_rows: How many rows the positions point into.
        train, select, test: Fakes of that part's generators and the photographs of that part.
        held_out: Fakes of the train generators in the select part: with the photographs of `select` they give
            an in-distribution AUC on images that were not fitted, while choosing.
        in_distribution: Fakes of the train generators in the test part: with the photographs of `test` they
            give the in-distribution AUC that is reported. Never for fitting or choosing.

    >>> split = Split(("glide",), ("dalle2",), ("attngan",), 0, 6, train=[0, 3], select=[1, 4], test=[2, 5])
    >>> split.name, split.part.tolist()
    ('glide>dalle2', ['train', 'select', 'test', 'train', 'select', 'test'])
    """

    train_generators: Names
    select_generators: Names
    test_generators: Names
    seed: int
    n_rows: int
    train: np.ndarray
    select: np.ndarray
    test: np.ndarray
    held_out: np.ndarray = field(default_factory=_NOBODY.copy)
    in_distribution: np.ndarray = field(default_factory=_NOBODY.copy)

    def __post_init__(self) -> None:
        for name in (*PARTS, *IN_DISTRIBUTION):
            given = np.asarray(getattr(self, name))
            at = np.unique(given).astype(np.int64)
            if len(at) != given.size or (given.size and given.dtype.kind not in "iu"):
                raise InputError(
                    f"{name} must be integer positions without repeats; given {given.size} {given.dtype}"
                )
            if len(at) and (at[0] < 0 or at[-1] >= self.n_rows):
                raise InputError(
                    f"{name} must be positions from 0 to {self.n_rows - 1}; given {at[0]} to {at[-1]}"
                )
            object.__setattr__(self, name, at)

    @property
    def name(self) -> str:
        """Who trains and who selects, such as "attngan>dalle2"."""
        return f"{'+'.join(self.train_generators)}>{'+'.join(self.select_generators)}"

    @property
    def part(self) -> np.ndarray:
        """(n_rows,) str: "train", "select", "test", or "" for a row that is in none of the three."""
        names = np.full(self.n_rows, "", dtype="<U6")
        for name in PARTS:
            names[getattr(self, name)] = name
        return names

    def generators_of(self, part: str) -> Names:
        """The generators of "train", "select" or "test"."""
        return getattr(self, f"{part}_generators")


class Roles:
    """Makes and checks splits of one table of rows; what the rows share is numbered once.

    Args:
        rows: n rows as `check_rows` wants them.
        usable: (n,) bool, the rows that may be used; None for all of them.
        twins: whether twins may be used too.

    Attributes:
        generator, real, usable, units: (n,) str, (n,) bool, (n,) bool, (n,) int64.
        counts: From the name of each generator, in order of names, to its usable images; photographs left
            out.
    """

    def __init__(self, rows: pd.DataFrame, usable: ArrayLike | None = None, *, twins: bool = True) -> None:
        check_rows(rows)
        self.usable = np.ones(len(rows), bool) if usable is None else np.asarray(usable)
        if self.usable.shape != (len(rows),) or self.usable.dtype != bool:
            raise InputError(
                f"usable must be {len(rows)} booleans, one for each row; "
                f"given {self.usable.dtype} of shape {self.usable.shape}"
            )
        if not twins:
            self.usable = self.usable & (rows["label"] != TWIN).to_numpy()
        self.generator = rows["generator"].to_numpy().astype(str)
        self.real = self.generator == REAL
        self.units = units(rows)
        self._names, self._code = np.unique(self.generator, return_inverse=True)
        counted = np.bincount(self._code[self.usable], minlength=len(self._names))
        self.counts = {
            str(name): int(count)
            for name, count in zip(self._names, counted, strict=True)
            if name != REAL and count
        }
        self._leaks = LeakCheck(rows)

    def eligible(self, min_train: int, at_least: int) -> Names:
        """The generators with `min_train` usable images; refuses too few of these, or fewer than 3 in all."""
        names = tuple(name for name, count in self.counts.items() if count >= min_train)
        listed = ", ".join(f"{name} {count}" for name, count in self.counts.items()) or "none"
        if len(self.counts) < 3:
            raise InputError(
                f"the rows hold {len(self.counts)} generators ({listed}); train, select and test must be "
                "different ones: add images of at least one more"
            )
        if len(names) < at_least:
            raise InputError(
                f"{len(names)} generators have the {min_train} images that training asks for, {at_least} are "
                f"needed; given {listed}. Lower min_train, or name the generators with Protocol.by_hand"
            )
        return names

    def splits(
        self,
        plans: Sequence[Sequence[tuple[Names, Names, Names]]],
        fractions: Sequence[float],
        random_state: int,
    ) -> list[Split]:
        """One split for each (train, select, test) names of each seed's plan; one dealing for each seed.

        Generators that only test in all of the plans, and share no unit with others, go wholly to test.
        """
        train_or_select = {name for plan in plans for train, select, _ in plan for name in (*train, *select)}
        test_only = set(self.counts) - train_or_select
        made = []
        used = np.flatnonzero(self.usable)
        units_used = np.unique(self.units[used], return_inverse=True)[1]
        for seed, plan in enumerate(plans):
            part = np.full(len(self.usable), -1, np.int8)
            part[used] = deal(
                units_used,
                self.generator[used],
                fractions=fractions,
                test_only=test_only,
                random_state=random_state,
                seed=seed,
            )
            made += [self._split(part, names, seed) for names in plan]
        return made

    def _split(self, part: np.ndarray, names: tuple[Names, Names, Names], seed: int) -> Split:
        train, select, test = range(3)

        def rows_of(code: int, chosen: Names) -> np.ndarray:
            return np.flatnonzero((part == code) & np.isin(self._names, chosen)[self._code])

        return Split(
            *names,
            seed=seed,
            n_rows=len(part),
            train=rows_of(train, (REAL, *names[train])),
            select=rows_of(select, (REAL, *names[select])),
            test=rows_of(test, (REAL, *names[test])),
            held_out=rows_of(select, names[train]),
            in_distribution=rows_of(test, names[train]),
        )

    def check(self, split: Split, generators: bool = True) -> None:
        """Refuse a split that leaks, or that lacks photographs or a generator it names.

        `generators=False` allows train and select to name the same generators, and test to name none.
        """
        if split.n_rows != len(self.real):
            raise InputError(f"the split is of {split.n_rows} rows, the table has {len(self.real)}")
        self._leaks({part: getattr(split, part) for part in PARTS}, generators)
        self._leaks(
            {
                "train": split.train,
                "select": np.union1d(split.select, split.held_out),
                "test": np.union1d(split.test, split.in_distribution),
            },
            generators=False,
        )
        where = f"split {split.name}, seed {split.seed}"
        for part in PARTS:
            self._check_part(part, split, where)
            if generators and not split.generators_of(part):
                raise InputError(f"{where}: {part} has no fakes; give it rows of at least one generator")
        for extra in IN_DISTRIBUTION:
            found = set(self.generator[getattr(split, extra)]) - set(split.train_generators)
            if found:
                raise InputError(
                    f"{where}: {extra} holds rows of {', '.join(sorted(found))}; it may hold fakes of the "
                    f"train generators only ({', '.join(split.train_generators)})"
                )

    def _check_part(self, part: str, split: Split, where: str) -> None:
        at = getattr(split, part)
        names = split.generators_of(part)
        held = {
            str(name): int(n)
            for name, n in zip(*np.unique(self.generator[at], return_counts=True), strict=True)
        }
        foreign = sorted(set(held) - {REAL, *names})
        if foreign:
            raise InputError(
                f"{where}: {part} holds rows of {', '.join(foreign)}, and its generators are given as "
                f"{', '.join(names) or '(none)'}; give all of its generators"
            )
        for name in (REAL, *names):
            if name not in held:
                all_of = self.generator == name
                n_units = len(np.unique(self.units[all_of]))
                whose = "photographs" if name == REAL else f"fakes of {name!r}"
                holds = ", ".join(f"{count} {who}" for who, count in held.items()) or "nothing"
                raise InputError(
                    f"{where}: {part} has no {whose}; it holds {holds}, and all rows together hold "
                    f"{all_of.sum()} {whose} in {n_units} groups that stay together. "
                    "Add images, leave that generator out, or change the fractions"
                )

    def tally(self, at: np.ndarray) -> dict[str, int]:
        """Photographs, fakes and units (sets of rows that stay together) among the positions `at`."""
        photographs = int(self.real[at].sum())
        return {
            "photographs": photographs,
            "fakes": len(at) - photographs,
            "units": len(np.unique(self.units[at])),
        }
