"""Parts that share anything are refused, and the refusal names it."""

from __future__ import annotations

import time

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from interp.errors import InputError
from interp.protocol.leaks import BOUND, LeakError, check_disjoint, check_rows, units


def clean_rows() -> pd.DataFrame:
    """Nine images that share nothing: three photographs, and three fakes of each of two generators."""
    generator = np.repeat(["real", "glide", "dalle2"], 3)
    return pd.DataFrame(
        {
            "label": np.where(generator == "real", "real", "fake"),
            "generator": generator,
            "group": [f"prompt {i}" for i in range(9)],
            "content_hash": [f"file {i}" for i in range(9)],
            "pixel_hash": [f"pixels {i}" for i in range(9)],
        },
        index=pd.Index([f"image {i}" for i in range(9)], name="key"),
    )


PARTS = {"train": [0, 3, 4, 5], "select": [1], "test": [2, 6, 7, 8]}


def test_parts_that_share_nothing_pass():
    check_disjoint(clean_rows(), PARTS)


@pytest.mark.parametrize("column", BOUND)
def test_one_shared_value_is_named_with_its_parts(column: str):
    rows = clean_rows()
    rows.iloc[8, list(rows.columns).index(column)] = rows[column].iloc[4]
    message = f"train and test share 1 {column}: '{rows[column].iloc[4]}'. What to do: "
    with pytest.raises(LeakError, match=message):
        check_disjoint(rows, PARTS)


@pytest.mark.parametrize("column", BOUND)
@pytest.mark.parametrize("missing", ["", None, np.nan])
def test_missing_values_are_equal_to_nothing(column: str, missing: object):
    rows = clean_rows().assign(**{column: missing})
    check_disjoint(rows, PARTS)
    assert len(np.unique(units(rows))) == len(rows)


def test_a_shared_photograph_is_named():
    with pytest.raises(LeakError, match="train and select share 1 row: 'image 0'"):
        check_disjoint(clean_rows(), {"train": [0, 3], "select": [0, 1]})


def test_a_shared_generator_is_named_and_may_be_allowed():
    parts = {"train": [0, 3], "select": [1, 4], "test": [2, 5, 6]}
    with pytest.raises(LeakError) as caught:
        check_disjoint(clean_rows(), parts)
    for first, second in (("train", "select"), ("train", "test"), ("select", "test")):
        assert f"{first} and {second} share 1 generator: 'glide'" in str(caught.value)
    check_disjoint(clean_rows(), parts, generators=False)


def test_many_shared_groups_are_counted_with_three_examples():
    rows = clean_rows()
    rows["group"] = [f"prompt {i}" for i in (0, 1, 2, 3, 4, 5, 3, 4, 5)]
    with pytest.raises(LeakError, match="share 3 groups: 'prompt 3', 'prompt 4', 'prompt 5'"):
        check_disjoint(rows, PARTS)
    rows = pd.concat([rows, rows.iloc[-1:].rename(index={"image 8": "image 9"})])
    rows["group"] = [f"prompt {i}" for i in (0, 1, 2, 3, 4, 5, 3, 4, 5, 0)]
    with pytest.raises(LeakError, match="share 4 groups: 'prompt 0', 'prompt 3', 'prompt 4', …"):
        check_disjoint(rows, {**PARTS, "test": [2, 6, 7, 8, 9]})


@pytest.mark.parametrize("positions", [[9], [-1], [0.5], ["a"], [[0, 1]]])
def test_positions_that_point_nowhere_are_refused(positions: list):
    with pytest.raises(InputError, match="part 'train' must be a list of integer positions from 0 to 8"):
        check_disjoint(clean_rows(), {"train": positions, "test": [2]})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda rows: rows.drop(columns="group"), "no column group"),
        (
            lambda rows: rows.rename(index={"image 1": "image 0"}),
            "1 row keys stand more than once, first 'image 0'",
        ),
        (
            lambda rows: rows.replace({"label": {"fake": "generated"}}),
            "6 of 9 rows contradict .* 'generated'",
        ),
        (lambda rows: rows.replace({"generator": {"real": "coco"}}), "3 of 9 rows contradict .* 'coco'"),
        (lambda rows: rows.replace({"generator": {"glide": "real"}}), "3 of 9 rows contradict"),
        (lambda rows: rows.replace({"generator": {"glide": None}}), "3 of 9 rows contradict"),
    ],
)
def test_contradictory_rows_are_refused(change, message: str):
    check_rows(clean_rows())
    with pytest.raises(InputError, match=message):
        check_rows(change(clean_rows()))


@pytest.mark.parametrize("dtype", [object, "category", "string"])
def test_every_text_dtype_of_pandas_reads_alike(dtype):
    rows = clean_rows().astype(dtype)
    rows.iloc[8, list(rows.columns).index("group")] = rows["group"].iloc[4]
    check_rows(rows)
    assert units(rows)[8] == units(rows)[4]
    with pytest.raises(LeakError, match="1 group: 'prompt 4'"):
        check_disjoint(rows, PARTS)


@given(
    st.lists(
        st.tuples(*[st.one_of(st.none(), st.sampled_from(["", "a", "b", "c", "d", "e"]))] * 3),
        min_size=1,
        max_size=25,
    )
)
def test_units_are_the_connected_components(cells: list[tuple]):
    """Against a brute-force closure: merge rows that share a value until nothing changes."""
    rows = pd.DataFrame(cells, columns=list(BOUND))
    expected = list(range(len(cells)))
    for _ in cells:
        for i, one in enumerate(cells):
            for j, other in enumerate(cells):
                if any(a == b and a for a, b in zip(one, other, strict=True)):
                    expected[i] = expected[j] = min(expected[i], expected[j])
    found = units(rows)
    same = np.equal.outer(found, found)
    assert np.array_equal(same, np.equal.outer(expected, expected))
    assert list(dict.fromkeys(found)) == list(range(found.max() + 1))  # numbered as they appear


def test_a_hundred_thousand_rows_take_less_than_a_second():
    n = 100_000
    generator = np.array(["real", "glide", "dalle2", "attngan"])[np.arange(n) % 4]
    text = pd.Series(np.arange(n) // 8).astype(str)
    rows = pd.DataFrame({"generator": generator, "group": text, "content_hash": np.arange(n).astype(str)})
    rows["label"] = np.where(generator == "real", "real", "fake")
    third = np.arange(n) // 8 % 3
    parts = {
        name: np.flatnonzero((third == i) & ((generator == "real") | (generator == mine)))
        for i, (name, mine) in enumerate([("train", "glide"), ("select", "dalle2"), ("test", "attngan")])
    }
    start = time.process_time()
    check_disjoint(rows, parts)
    assert time.process_time() - start < 1
