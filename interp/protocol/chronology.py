"""Train on older generators, test on newer ones: what a detector meets in use."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date

import pandas as pd
from numpy.typing import ArrayLike

from interp.errors import InputError, unknown_name
from interp.protocol.roles import Names, Roles
from interp.protocol.splits import FRACTIONS, Protocol


def chronological_protocol(
    rows: pd.DataFrame,
    released: Mapping[str, str | date],
    min_train: int = 200,
    seeds: int = 5,
    fractions: Sequence[float] = FRACTIONS,
    random_state: int = 0,
    usable: ArrayLike | None = None,
) -> Protocol:
    """A split for each generator that can select: all that are older train, all that are newer test.

    Older and newer are strict: generators released on the day of the one that selects are left out of its split.
    The split that trains on the most generators comes first, and is that of the final detector.

    Args:
        rows: as for `Protocol`.
        released: the day of each generator's release, as `2022-08-22`, `2022-08`, `2022`, or a date. Generators
            that are not named are in no part.
        min_train: images that a generator must have to train or select.
        seeds, fractions, random_state, usable: as for `Protocol.pairs`.

    Raises:
        InputError: an unknown generator, a date that cannot be read, or too few generators one after the other.

    >>> rows = pd.DataFrame({"generator": ["real"] * 20 + ["biggan"] * 9 + ["glide"] * 9 + ["sdxl"] * 9 + ["flux"] * 9})
    >>> rows["label"] = ["real" if name == "real" else "fake" for name in rows["generator"]]
    >>> rows["group"] = rows.index.astype(str)
    >>> released = {"biggan": "2018-09", "glide": "2021-12-20", "sdxl": "2023", "flux": "2024-08"}
    >>> [(split.name, split.test_generators) for split in chronological_protocol(rows, released, 9, seeds=1)]
    [('biggan+glide>sdxl', ('flux',)), ('biggan>glide', ('flux', 'sdxl'))]
    """
    roles = Roles(rows, usable)
    days: dict[str, pd.Timestamp] = {}
    for name, day in released.items():
        if name not in roles.counts:
            raise unknown_name("generator", name, roles.counts)
        days[name] = _day(name, day)
    can_train = [name for name in days if roles.counts[name] >= min_train]
    plan: list[tuple[Names, Names, Names]] = []
    for select in sorted(can_train, key=lambda name: (days[name], name), reverse=True):
        older = tuple(sorted(name for name in can_train if days[name] < days[select]))
        newer = tuple(sorted(name for name in days if days[name] > days[select]))
        if older and newer:
            plan.append((older, (select,), newer))
    if not plan or seeds < 1:
        listed = (
            ", ".join(f"{name} {day.date()} ({roles.counts[name]})" for name, day in days.items()) or "none"
        )
        raise InputError(
            f"a chronological protocol needs three generators released one after the other, the first two with "
            f"{min_train} images each, and one seed at least; given {listed}, and {seeds} seeds"
        )
    return Protocol(rows, roles.splits([plan] * seeds, fractions, random_state), kind="chronological")


def release_days(rows: pd.DataFrame, given: Sequence[str] = ()) -> dict[str, str]:
    """When each generator was released: as given, or else as the rows' column `released` says.

    Args:
        rows: of a store or manifest.
        given: `NAME=DATE`, such as `glide=2021-12-20`.

    Raises:
        InputError: text without `=`; two dates for one generator; neither dates nor a column.

    >>> rows = pd.DataFrame({"generator": ["real", "glide", "sdxl"], "released": [None, "2021-12-20", 2023]})
    >>> release_days(rows)
    {'glide': '2021-12-20', 'sdxl': '2023'}
    >>> release_days(rows, ["sdxl=2023-07-26"])
    {'sdxl': '2023-07-26'}
    """
    if given:
        if unclear := [text for text in given if not all(text.partition("="))]:
            raise InputError(
                f"cannot read the release {unclear[0]!r}; write GENERATOR=DATE, such as glide=2021-12-20"
            )
        return dict(text.rsplit("=", 1) for text in given)
    if "released" not in rows:
        raise InputError(
            "a chronological protocol needs to know when generators were released; name them by --released "
            "glide=2021-12-20 sdxl=2023-07 …, or add a column 'released' to the manifest"
        )
    known = rows.loc[rows["released"].notna() & (rows["generator"] != "real"), ["generator", "released"]]
    days = known.astype(str).drop_duplicates()
    days["released"] = days["released"].str.replace(
        r"^(\d{4})\.0$", r"\1", regex=True
    )  # a column of years with gaps
    if (twice := days["generator"].duplicated()).any():
        name = days.loc[twice, "generator"].iloc[0]
        both = ", ".join(days.loc[days["generator"] == name, "released"])
        raise InputError(f"the column 'released' has several dates for {name}: {both}; give it one")
    return dict(zip(days["generator"], days["released"], strict=True))


def _day(name: str, given: str | date) -> pd.Timestamp:
    try:
        day = pd.Timestamp(given)
    except (ValueError, TypeError):
        day = pd.NaT
    if not isinstance(day, pd.Timestamp):
        raise InputError(
            f"cannot read the release of {name}, {given!r}; write a date such as 2022-08-22 or 2022-08"
        )
    return day
