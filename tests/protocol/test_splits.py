"""No constructor can leak, and no leak given by hand is accepted."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from sklearn import config_context
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, cross_val_score

from interp.errors import InputError
from interp.protocol.leaks import BOUND, LeakError
from interp.protocol.splits import Protocol, Split

PARTS = ("train", "select", "test")


@st.composite
def tables(draw: st.DrawFn) -> pd.DataFrame:
    """Photographs and three to five generators with shared groups, some copied files, some missing hashes."""
    sizes = draw(st.lists(st.integers(20, 40), min_size=4, max_size=5))
    rng = np.random.default_rng(draw(st.integers(0, 10_000)))
    generator = np.repeat(["real", *"abcde"][: len(sizes)], sizes)
    n = len(generator)
    rows = pd.DataFrame({"label": np.where(generator == "real", "real", "fake"), "generator": generator})
    rows["group"] = [f"g{i}" for i in rng.integers(n * draw(st.integers(1, 4)), size=n)]
    rows["content_hash"] = [f"c{i}" for i in range(n)]
    rows["pixel_hash"] = [f"p{i}" if rng.random() < 0.8 else "" for i in range(n)]
    for column in ("content_hash", "pixel_hash"):
        for _ in range(draw(st.integers(0, 3))):
            a, b = rng.integers(n, size=2)
            rows.loc[a, column] = rows.loc[b, column]
    return rows


def simple_rows(n: int = 30, names: str = "abc") -> pd.DataFrame:
    generator = np.repeat(["real", *names], n)
    rows = pd.DataFrame({"label": np.where(generator == "real", "real", "fake"), "generator": generator})
    for column in BOUND:
        rows[column] = [f"{column} {i}" for i in range(len(rows))]
    return rows.set_index(rows["group"].str.replace("group", "image").rename("key"))


def assert_no_leak(rows: pd.DataFrame, split: Split) -> None:
    """Python sets, nothing of the code under test."""
    blocks = {
        "train": set(split.train),
        "select": set(split.select) | set(split.held_out),
        "test": set(split.test) | set(split.in_distribution),
    }
    generator = rows["generator"].tolist()
    for first, second in (("train", "select"), ("train", "test"), ("select", "test")):
        assert not blocks[first] & blocks[second]
        for column in BOUND:
            values = rows[column].tolist()
            one, other = ({values[i] for i in blocks[part]} - {""} for part in (first, second))
            assert not one & other
        named = [{generator[i] for i in getattr(split, part)} - {"real"} for part in (first, second)]
        assert not named[0] & named[1]
    for part in PARTS:
        held = {generator[i] for i in getattr(split, part)}
        assert held == {"real", *getattr(split, f"{part}_generators")}
    for extra in (split.held_out, split.in_distribution):
        assert {generator[i] for i in extra} <= set(split.train_generators)


MAKERS = {
    "by_hand": lambda rows: Protocol.by_hand(rows, train=["a"], select=["b"], test=["c"], seeds=2),
    "pairs": lambda rows: Protocol.pairs(rows, min_train=25, seeds=1),
    "leave_one_out": lambda rows: Protocol.leave_one_out(rows, min_train=20, seeds=1),
}


@pytest.mark.parametrize("maker", MAKERS)
@settings(max_examples=30)
@given(rows=tables())
def test_no_constructor_can_leak(maker: str, rows: pd.DataFrame):
    try:
        protocol = MAKERS[maker](rows)
    except LeakError:
        raise
    except InputError:  # too few images of a generator for three parts
        assume(False)
        return
    for split in protocol:
        assert_no_leak(rows, split)
    again = MAKERS[maker](rows)
    for one, other in zip(protocol, again, strict=True):
        assert np.array_equal(one.part, other.part) and one.name == other.name
    final = protocol.final_split()
    real = (rows["label"] == "real").to_numpy()
    assert not set(final.train[real[final.train]]) & set(final.select[real[final.select]])


def as_parts(rows: pd.DataFrame) -> np.ndarray:
    """a trains, b selects, c tests; ten photographs each."""
    part = rows["generator"].replace({"a": "train", "b": "select", "c": "test"}).to_numpy(object)
    part[:30] = np.repeat(PARTS, 10)
    return part


def test_the_users_own_parts_are_taken_as_they_are():
    rows = simple_rows()
    rows["part"] = as_parts(rows)
    (split,) = Protocol.from_parts(rows, "part")
    assert split.part.tolist() == rows["part"].tolist()
    assert split.name == "a>b" and split.test_generators == ("c",)
    (same,) = Protocol.from_parts(rows, rows["part"].to_numpy())
    assert np.array_equal(same.test, split.test)


@pytest.mark.parametrize("column", BOUND)
@pytest.mark.parametrize(("one", "other"), [(0, 15), (0, 25), (35, 65), (35, 95), (12, 100)])
def test_one_shared_value_in_the_users_parts_is_refused(column: str, one: int, other: int):
    rows = simple_rows()
    part = as_parts(rows)
    rows.iloc[other, list(rows.columns).index(column)] = rows[column].iloc[one]
    first, second = part[one], part[other]
    with pytest.raises(LeakError, match=f"{first} and {second} share 1 {column}: '{rows[column].iloc[one]}'"):
        Protocol.from_parts(rows, part)


def test_one_image_of_a_generator_in_another_part_is_refused():
    rows = simple_rows()
    part = as_parts(rows)
    part[35] = "test"
    with pytest.raises(LeakError, match="train and test share 1 generator: 'a'"):
        Protocol.from_parts(rows, part)
    part[35] = "in_distribution"  # the name under which such a row is welcome
    (split,) = Protocol.from_parts(rows, part)
    assert split.in_distribution.tolist() == [35]
    rows.loc[rows.index[35], "group"] = rows["group"].iloc[36]
    with pytest.raises(LeakError, match="train and test share 1 group"):
        Protocol.from_parts(rows, part)


def hand_made(rows: pd.DataFrame) -> Split:
    at = as_parts(rows)
    train, select, test = (np.flatnonzero(at == part) for part in PARTS)
    return Split(("a",), ("b",), ("c",), 0, len(rows), train, select, test)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: {"test": np.append(s.test, s.train[0])}, "train and test share 1 row: 'image 0'"),
        (lambda s: {"select": np.append(s.select, s.train[-1])}, "train and select share 1 generator: 'a'"),
        (lambda s: {"held_out": s.train[-1:]}, "train and select share 1 row"),
        (lambda s: {"in_distribution": s.train[-1:]}, "train and test share 1 row"),
    ],
)
def test_a_leak_in_a_split_made_by_hand_is_refused(change, message: str):
    rows = simple_rows()
    split = hand_made(rows)
    Protocol(rows, [split])
    with pytest.raises(LeakError, match=message):
        Protocol(rows, [split, replace(split, **change(split))])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: {"train": s.train[10:]}, "train has no photographs; it holds 30 a, and all rows"),
        (lambda s: {"select": s.select[:10]}, "select has no fakes of 'b'; it holds 10 real"),
        (lambda s: {"test": []}, "test has no photographs; it holds nothing"),
        (lambda s: {"test_generators": ("c", "d")}, "test has no fakes of 'd'"),
        (lambda s: {"train_generators": ("d",)}, "train holds rows of a, and its generators are given as d"),
        (lambda s: {"test": s.test[:-9], "in_distribution": s.test[-9:]}, "in_distribution holds rows of c"),
        (lambda s: {"test": s.test[:10], "test_generators": ()}, "test has no fakes; give it rows"),
        (lambda s: {"n_rows": 200}, "the split is of 200 rows, the table has 120"),
    ],
)
def test_a_split_that_lacks_what_it_names_is_refused(change, message: str):
    rows = simple_rows()
    split = hand_made(rows)
    with pytest.raises(InputError, match=message):
        Protocol(rows, [replace(split, **change(split))])


@pytest.mark.parametrize("positions", [[0, 0], [120], [-1], [0.5]])
def test_positions_are_checked(positions: list):
    with pytest.raises(InputError, match="train must be"):
        replace(hand_made(simple_rows()), train=positions)


def test_naming_a_generator_twice_or_wrongly_is_refused():
    rows = simple_rows()
    with pytest.raises(LeakError, match="select and test share the generator 'b'"):
        Protocol.by_hand(rows, train="a", select="b", test=["c", "b"])
    with pytest.raises(InputError, match="unknown generator 'real'"):
        Protocol.by_hand(rows, train="real", select="b", test="c")
    with pytest.raises(InputError, match="select names no generator"):
        Protocol.by_hand(rows, train="a", select=[], test="c")
    with pytest.raises(InputError, match="unknown part 'valid'"):
        Protocol.from_parts(rows, np.where(as_parts(rows) == "select", "valid", as_parts(rows)))
    with pytest.raises(InputError, match="at least one split"):
        Protocol(rows, [])
    with pytest.raises(InputError, match="seeds .* at least 1; given 0"):
        Protocol.pairs(rows, min_train=20, seeds=0)


def test_too_few_generators_are_counted():
    with pytest.raises(InputError, match=r"2 generators \(a 30, b 30\)"):
        Protocol.pairs(simple_rows(names="ab"), min_train=20)
    with pytest.raises(
        InputError, match="0 generators have the 31 images .* 2 are needed; given a 30, b 30, c 30"
    ):
        Protocol.pairs(simple_rows(), min_train=31)
    with pytest.raises(
        InputError, match="2 generators have the 20 images .* 3 are needed; given a 30, b 30, c 5"
    ):
        Protocol.leave_one_out(simple_rows().iloc[:95], min_train=20)


def test_a_generator_of_one_group_cannot_fill_three_parts():
    rows = simple_rows()
    rows.loc[rows["generator"] == "b", "group"] = "one prompt"
    with pytest.raises(InputError, match="no fakes of 'b'.*30 fakes of 'b' in 1 groups"):
        Protocol.pairs(rows, min_train=20)


def test_unusable_rows_are_in_no_part():
    rows = simple_rows()
    usable = np.arange(len(rows)) % 3 != 0
    for split in Protocol.by_hand(rows, "a", "b", "c", usable=usable):
        assert np.all(split.part[~usable] == "") and np.all(usable[split.in_distribution])
        assert np.isin(np.flatnonzero(usable & (rows["generator"] == "c")), split.test).all()
    (split,) = Protocol.from_parts(rows, as_parts(rows), usable=usable)
    assert np.array_equal(split.part, np.where(usable, as_parts(rows), ""))
    with pytest.raises(InputError, match="usable must be 120 booleans"):
        Protocol.by_hand(rows, "a", "b", "c", usable=np.ones(3))


def test_the_splitter_serves_scikit_learn():
    rows = simple_rows()
    protocol = Protocol.by_hand(rows, "a", "b", "c", seeds=3)
    y = (rows["label"] == "fake").to_numpy(int)
    X = np.random.default_rng(0).normal(size=(len(rows), 3)) + y[:, None]
    expected = [
        LogisticRegression().fit(X[s.train], y[s.train]).score(X[s.select], y[s.select]) for s in protocol
    ]
    assert protocol.cv().get_n_splits() == 3
    assert np.allclose(cross_val_score(LogisticRegression(), X, y, cv=protocol.cv()), expected)
    with config_context(enable_metadata_routing=True):
        search = GridSearchCV(LogisticRegression(), {"C": [0.1, 1.0]}, cv=protocol.cv()).fit(X, y)
    assert np.isclose(search.cv_results_["mean_test_score"][1], np.mean(expected))
    with pytest.raises(InputError, match="X has 3 rows, the protocol 120"):
        next(protocol.cv().split(X[:3]))
