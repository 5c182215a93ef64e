"""Who trains, who selects, who tests: disjoint generators, disjoint photographs, disjoint groups."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from interp.errors import InputError, unknown_name
from interp.protocol.leaks import TWIN, LeakError
from interp.protocol.mechanisms import twin_splits
from interp.protocol.partition import PARTS
from interp.protocol.roles import IN_DISTRIBUTION, Roles, Split
from interp.protocol.splitter import SelectSplitter

__all__ = ["Protocol", "SelectSplitter", "Split"]

FRACTIONS = (0.4, 0.3, 0.3)
_TWINS = {"leave_one_out": "twins", "pairs": "twins_pairs", "generators": "twins_to_generators"}


class Protocol:
    """Splits of one table of images, every one of them checked for leaks when the protocol is made.

    Args:
        rows: n rows: a unique index, ``label`` ("real", "fake", "twin"), ``generator`` ("real" for photographs,
            the mechanism's name for twins), ``group``, and where known ``content_hash`` and ``pixel_hash``.
        splits: At least one `Split` into these rows.
        kind: How the splits were made, for `describe`.

    Raises:
        LeakError: When parts of a split share a generator, an image, a group or a copy of an image.
        InputError: When a part has no photographs or no fakes of a generator it names.

    >>> rows = pd.DataFrame({"generator": np.repeat(["real", "glide", "dalle2", "attngan"], 10)})
    >>> rows["label"] = np.where(rows["generator"] == "real", "real", "fake")
    >>> rows["group"] = [f"image {i}" for i in range(40)]
    >>> protocol = Protocol.by_hand(rows, train="glide", select="dalle2", test="attngan", seeds=2)
    >>> [(split.name, split.seed, len(split.train), len(split.test)) for split in protocol]
    [('glide>dalle2', 0, 8, 13), ('glide>dalle2', 1, 8, 13)]
    >>> Protocol.by_hand(rows, train="glide", select="dalle2", test="glide")
    Traceback (most recent call last):
    interp.protocol.leaks.LeakError: train and test share the generator 'glide'; name it in one of them only
    """

    def __init__(self, rows: pd.DataFrame, splits: Sequence[Split], kind: str = "splits") -> None:
        if not splits:
            raise InputError("a protocol needs at least one split; given none")
        self.rows = rows
        self.splits = tuple(splits)
        self.kind = kind
        self._roles = Roles(rows)
        for split in self.splits:
            self._roles.check(split)

    def __iter__(self) -> Iterator[Split]:
        return iter(self.splits)

    def __len__(self) -> int:
        return len(self.splits)

    def __repr__(self) -> str:
        return f"Protocol({self.kind}, {len(self)} splits of {len(self.rows)} rows)"

    @classmethod
    def by_hand(
        cls,
        rows: pd.DataFrame,
        train: str | Sequence[str],
        select: str | Sequence[str],
        test: str | Sequence[str],
        seeds: int = 5,
        fractions: Sequence[float] = FRACTIONS,
        random_state: int = 0,
        usable: ArrayLike | None = None,
    ) -> Protocol:
        """Name the generators of each part; photographs and groups are dealt, once for every seed.

        `usable` (n,) bool marks the rows that may be used; the others are in no part.
        """
        roles = Roles(rows, usable)
        names = {
            part: (given,) if isinstance(given, str) else tuple(dict.fromkeys(given))
            for part, given in zip(PARTS, (train, select, test), strict=True)
        }
        for part, given in names.items():
            for name in given:
                if name not in roles.counts:
                    raise unknown_name("generator", name, roles.counts)
            if not given:
                raise InputError(f"{part} names no generator; name at least one of {', '.join(roles.counts)}")
        for first, second in itertools.combinations(PARTS, 2):
            for name in names[first]:
                if name in names[second]:
                    raise LeakError(
                        f"{first} and {second} share the generator {name!r}; name it in one of them only"
                    )
        plan = [(tuple(names["train"]), tuple(names["select"]), tuple(names["test"]))]
        plans = [plan] * _check_seeds(seeds)
        return cls(rows, roles.splits(plans, fractions, random_state), kind="by_hand")

    @classmethod
    def pairs(
        cls,
        rows: pd.DataFrame,
        min_train: int = 200,
        seeds: int = 5,
        fractions: Sequence[float] = FRACTIONS,
        random_state: int = 0,
        usable: ArrayLike | None = None,
    ) -> Protocol:
        """Every ordered pair of generators with `min_train` images trains and selects; all others test.

        Twins are in no part.
        """
        roles = Roles(rows, usable, twins=False)
        eligible = roles.eligible(min_train, at_least=2)
        plan = [
            ((a,), (b,), tuple(name for name in roles.counts if name not in (a, b)))
            for a, b in itertools.permutations(eligible, 2)
        ]
        plans = [plan] * _check_seeds(seeds)
        return cls(rows, roles.splits(plans, fractions, random_state), kind="pairs")

    @classmethod
    def leave_one_out(
        cls,
        rows: pd.DataFrame,
        min_train: int = 200,
        seeds: int = 5,
        fractions: Sequence[float] = FRACTIONS,
        random_state: int = 0,
        usable: ArrayLike | None = None,
    ) -> Protocol:
        """Each generator in turn tests; of the others one selects and the rest train.

        To train or select takes `min_train` usable images. The one that selects changes with the seed, in the
        order of names. Twins are in no part.
        """
        roles = Roles(rows, usable, twins=False)
        eligible = roles.eligible(min_train, at_least=3)
        plans = []
        for seed in range(_check_seeds(seeds)):
            plan = []
            for i, test in enumerate(roles.counts):
                others = [name for name in eligible if name != test]
                select = others[(seed + i) % len(others)]
                plan.append((tuple(name for name in others if name != select), (select,), (test,)))
            plans.append(plan)
        return cls(rows, roles.splits(plans, fractions, random_state), kind="leave_one_out")

    @classmethod
    def twins(
        cls,
        rows: pd.DataFrame,
        mode: str = "leave_one_out",
        seeds: int = 5,
        fractions: Sequence[float] = FRACTIONS,
        random_state: int = 0,
        usable: ArrayLike | None = None,
    ) -> Protocol:
        """Photographs against their twins, by mechanism; a photograph and all its twins stand in one part.

        `mode` is "leave_one_out" (each mechanism tests detectors that were trained on the others but the one that
        selects), "pairs" (train on one mechanism, select on another, test on the rest), or "generators" (each mechanism
        selects, the others train, and the generators of fakes test).
        """
        splits = twin_splits(rows, mode, _check_seeds(seeds), fractions, random_state, usable)
        return cls(rows, splits, kind=_TWINS[mode])

    @classmethod
    def from_parts(
        cls, rows: pd.DataFrame, part: str | ArrayLike, usable: ArrayLike | None = None
    ) -> Protocol:
        """Take the user's part of every row, a column of `rows` or an (n,) array; checked, never repaired.

        A part is "train", "select", "test", "held_out", "in_distribution" (see `Split`), or empty for a row
        that is not used. The generators of a part are those of its fakes.
        """
        roles = Roles(rows, usable)
        if isinstance(part, str) and part not in rows.columns:
            raise unknown_name("column", part, rows.columns)
        column = rows[part] if isinstance(part, str) else pd.Series(np.asarray(part))
        if len(column) != len(rows):
            raise InputError(f"part has {len(column)} entries for {len(rows)} rows; give one for each row")
        given = np.where(column.isna(), "", column.astype(object)).astype(str)
        known = (*PARTS, *IN_DISTRIBUTION)
        for name in np.unique(given[given != ""]):
            if name not in known:
                raise unknown_name("part", name, known)
        at = {name: np.flatnonzero((given == name) & roles.usable) for name in known}
        fakes = [np.unique(roles.generator[at[name]][~roles.real[at[name]]]) for name in PARTS]
        train, select, test = (tuple(map(str, names)) for names in fakes)
        return cls(rows, [Split(train, select, test, 0, len(rows), **at)], kind="from_parts")

    def cv(self, rows: ArrayLike | None = None) -> SelectSplitter:
        """A scikit-learn splitter whose folds are (train, select): the test rows stay unseen.

        A search with `refit` fits its best estimator on every row of X in the end. Search with `refit=False`, or give
        X without test rows, and their positions as `rows` (m,): `np.union1d(split.train, split.select)`.

        Raises:
            InputError: a split trains or selects on a row that is not among `rows`.
        """
        return SelectSplitter(self.splits, self.rows.index, rows)

    def final_split(self) -> Split:
        """The split for a detector that is saved for use: no claim may rest on it.

        With generators named by hand or rows parted by the user: the first split itself. Otherwise all
        generators (of twins: mechanisms) that train anywhere do so together, on seed 0's train part, and select on
        its select part. Train and select then have the same generators, and disjoint photographs, groups and
        copies. Its test part has the generators that only test, if there are any, and the photographs of seed 0's
        test part.
        """
        if self.kind not in ("pairs", "leave_one_out", *_TWINS.values()):
            return self.splits[0]
        splits = [split for split in self.splits if split.seed == 0]
        trains = tuple(sorted({name for split in splits for name in split.train_generators}))
        tests = tuple(sorted({name for split in splits for name in split.test_generators} - set(trains)))

        def together(*names: str) -> np.ndarray:
            return np.unique(np.concatenate([getattr(split, name) for split in splits for name in names]))

        test = together("test")
        final = Split(
            trains,
            trains,
            tests,
            seed=0,
            n_rows=len(self.rows),
            train=together("train"),
            select=together("select", "held_out"),
            test=test[~np.isin(self._roles.generator[test], trains)],
            held_out=together("held_out"),
            in_distribution=together("in_distribution"),
        )
        self._roles.check(final, generators=False)
        return final

    def summary(self) -> pd.DataFrame:
        """A row a split: its name, seed and generators, and each part's photographs, fakes and units.

        A unit is a set of rows that stay together: equal group, or copies of one image.
        """
        table = []
        for split in self.splits:
            row: dict[str, object] = {"split": split.name, "seed": split.seed}
            row |= {f"{part}_generators": "+".join(split.generators_of(part)) for part in PARTS}
            for part in PARTS:
                tally = self._roles.tally(getattr(split, part))
                row |= {f"{part}_{what}": count for what, count in tally.items()}
            row |= {name: len(getattr(split, name)) for name in IN_DISTRIBUTION}
            table.append(row)
        return pd.DataFrame(table)

    def describe(self) -> str:
        """Who trains, selects and tests, and how many images that is, in plain words."""
        table = self.summary()
        choices = table.drop_duplicates([f"{part}_generators" for part in PARTS])
        lines = [
            f"{self.kind}: {len(table)} splits of {len(self.rows)} images "
            f"({len(choices)} choices of generators, {table['seed'].nunique()} seeds). "
            "Parts share no generator, image, group or copy."
        ]
        for part in PARTS:
            names = sorted({name for split in self.splits for name in split.generators_of(part)})
            called = {"photographs": "photographs", "fakes": self._called(names), "units": "units"}
            sizes = ", ".join(f"{_span(table[f'{part}_{what}'])} {word}" for what, word in called.items())
            lines.append(f"{part}: {sizes} a split; generators {', '.join(names)}")
        for name in IN_DISTRIBUTION:
            trained = sorted({name for split in self.splits for name in split.train_generators})
            lines.append(
                f"{name}: {_span(table[name])} {self._called(trained)} of the train generators a split"
            )
        return "\n".join(lines)

    def _called(self, generators: Sequence[str]) -> str:
        """What images of these generators are: fakes, or twins of photographs."""
        rows = self.rows[self.rows["generator"].isin(generators)]
        twins = (rows["label"] == TWIN).to_numpy()
        return "twins" if twins.all() else "fakes and twins" if twins.any() else "fakes"


def _span(values: ArrayLike) -> str:
    low, high = int(np.min(values)), int(np.max(values))
    return str(low) if low == high else f"{low} to {high}"


def _check_seeds(seeds: int) -> int:
    if seeds < 1:
        raise InputError(f"seeds is the number of dealings and must be at least 1; given {seeds}")
    return seeds
