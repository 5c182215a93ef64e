"""Whoever trains is older than whoever selects, and whoever tests is newer; nothing leaks."""

from __future__ import annotations

import datetime

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from interp.errors import InputError
from interp.protocol.chronology import chronological_protocol, release_days

NAMES = ["biggan", "glide", "sdxl", "flux", "imagen"]


def rows_of(sizes: list[int]) -> pd.DataFrame:
    generator = np.repeat(["real", *NAMES], [60, *sizes])
    label = np.where(generator == "real", "real", "fake")
    return pd.DataFrame(
        {"generator": generator, "label": label, "group": [str(i) for i in range(len(label))]}
    )


@settings(max_examples=25, deadline=None)
@given(
    st.lists(st.integers(1, 28), min_size=5, max_size=5), st.lists(st.integers(8, 40), min_size=5, max_size=5)
)
def test_time_runs_one_way(days: list[int], sizes: list[int]) -> None:
    released = {name: datetime.date(2024, 1, day) for name, day in zip(NAMES, days, strict=True)}
    counts = dict(zip(NAMES, sizes, strict=True))
    try:
        protocol = chronological_protocol(rows_of(sizes), released, min_train=20, seeds=2)
    except InputError:
        large = [name for name in NAMES if counts[name] >= 20]
        chains = [
            (a, b, c) for a in large for b in large for c in NAMES if released[a] < released[b] < released[c]
        ]
        assert not chains
        return
    for split in protocol:
        (select,) = split.select_generators
        assert max(released[name] for name in split.train_generators) < released[select]
        assert released[select] < min(released[name] for name in split.test_generators)
        assert min(counts[name] for name in (*split.train_generators, select)) >= 20
    widths = [len(split.train_generators) for split in protocol if split.seed == 0]
    assert protocol.final_split() is protocol.splits[0] and widths[0] == max(widths)


def test_dates_are_read_and_wrong_ones_refused() -> None:
    rows = rows_of([30] * 5)
    released = {"biggan": "2018", "glide": "2021-12", "sdxl": datetime.date(2023, 7, 26)}
    assert [s.name for s in chronological_protocol(rows, released, 30, seeds=1)] == ["biggan>glide"]
    with pytest.raises(InputError, match="cannot read the release of sdxl, 'soon'"):
        chronological_protocol(rows, released | {"sdxl": "soon"}, 30)
    with pytest.raises(InputError, match="did you mean 'sdxl'"):
        chronological_protocol(rows, {**released, "sdlx": "2023"}, 30)
    with pytest.raises(InputError, match=r"one after the other.*sdxl 2023-07-26 \(30\)"):
        chronological_protocol(rows, released | {"glide": "2023-07-26"}, 30)
    with pytest.raises(InputError, match="and 0 seeds"):
        chronological_protocol(rows, released, 30, seeds=0)


def test_a_column_says_the_dates_and_contradictions_are_refused() -> None:
    rows = rows_of([30] * 5)
    years = {"biggan": 2018, "glide": 2021, "sdxl": 2023}
    rows["released"] = rows["generator"].map(years)  # floats, because some have none
    assert release_days(rows) == {name: str(year) for name, year in years.items()}
    assert release_days(rows, ["flux=2024-08"]) == {"flux": "2024-08"}
    with pytest.raises(InputError, match="cannot read the release 'flux'; write GENERATOR=DATE"):
        release_days(rows, ["glide=2021", "flux"])
    rows.loc[rows.index[-1], "generator"] = "glide"
    rows.loc[rows.index[-1], "released"] = 2022
    with pytest.raises(InputError, match="several dates for glide: 2021, 2022"):
        release_days(rows)
