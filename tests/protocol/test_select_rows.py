"""Rows divided without a mark on each: no group on both sides, no generator on both sides, nothing wasted."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from interp.errors import InputError
from interp.protocol.select_rows import parts_of, rows_of_parts, two_classes

GENERATORS = np.array(["real", "a", "b", "c"])


@st.composite
def tables(draw, alone: bool = False):
    """Generators (n,) with each of the four present, and groups (n,)."""
    more = draw(st.lists(st.sampled_from(GENERATORS), max_size=40))
    generator = np.array([*GENERATORS, *GENERATORS, *more])
    many = len(generator) if alone else draw(st.integers(1, len(generator)))
    groups = draw(st.lists(st.integers(0, many - 1), min_size=len(generator), max_size=len(generator)))
    return generator, np.arange(len(generator)) if alone else np.array(groups), draw(st.integers(0, 9))


@given(tables())
def test_select_generators_share_no_group_and_no_generator_with_train(table):
    generator, groups, seed = table
    fake = (generator != "real").astype(int)
    options = {"generator": generator, "groups": groups, "random_state": seed}
    part = parts_of("T", fake, select_generators=["b"], **options)
    train, select = part == "train", part == "select"
    assert not set(groups[train]) & set(groups[select])
    assert set(generator[select]) <= {"real", "b"} and set(generator[train]) <= {"real", "a", "c"}
    assert (train | select)[fake == 0].all()  # every photograph is used
    both = set(groups[generator == "b"]) & set(groups[np.isin(generator, ["a", "c"])])
    with_photographs = set(groups[fake == 0])
    left_out = set(groups[~train & ~select])
    assert left_out <= both | with_photographs
    np.testing.assert_array_equal(part, parts_of("T", fake, select_generators="b", **options))


@given(tables(alone=True))
def test_without_groups_every_fake_follows_its_generator_and_photographs_their_proportion(table):
    generator, _, seed = table
    fake = (generator != "real").astype(int)
    part = parts_of("T", fake, generator=generator, select_generators=["a", "b"], random_state=seed)
    np.testing.assert_array_equal(part[fake == 1] == "select", np.isin(generator[fake == 1], ["a", "b"]))
    share = (part[fake == 1] == "select").mean()
    photographs = part[fake == 0]
    assert abs((photographs == "select").sum() - share * len(photographs)) <= 1
    train, select = rows_of_parts(part, "T", fake)  # both have both classes
    assert len(train) + len(select) == len(fake)


@given(tables(), st.floats(0.05, 0.95))
def test_a_share_is_drawn_by_whole_groups(table, share):
    generator, groups, seed = table
    fake = (generator != "real").astype(int)
    part = parts_of("T", fake, groups=groups, select_share=share, random_state=seed)
    assert set(part) <= {"train", "select"}
    assert not set(groups[part == "train"]) & set(groups[part == "select"])
    alone = parts_of("T", fake, select_share=share, random_state=seed)
    for label in (0, 1):
        chosen, of = (alone[fake == label] == "select").sum(), (fake == label).sum()
        assert 1 <= chosen <= of - 1 and abs(chosen - share * of) <= 1


def test_the_seed_divides_and_the_part_given_is_kept():
    fake, generator = np.repeat([0, 1], 50), np.repeat(["real", "a", "b"], [50, 25, 25])
    drawn = [
        parts_of("T", fake, generator=generator, select_generators="a", random_state=seed)
        for seed in (0, 0, 1)
    ]
    assert np.array_equal(drawn[0], drawn[1]) and not np.array_equal(drawn[0], drawn[2])
    given_part = np.resize(["train", "select", ""], 100)
    assert np.array_equal(parts_of("T", fake, part=given_part, generator=generator), given_part)
    assert parts_of("T", fake, generator=generator) is None


def test_wrong_use_says_what_to_do():
    fake, generator = np.array([0, 0, 1, 1]), ["real", "real", "glide", "dalle2"]
    with pytest.raises(InputError, match="unknown select generator 'glyde'; did you mean 'glide'"):
        parts_of("T", fake, generator=generator, select_generators=["glyde"])
    with pytest.raises(InputError, match=r"T selects on 'glide' and needs generator=.*set_fit_request"):
        parts_of("T", fake, select_generators="glide")
    with pytest.raises(InputError, match=r"T got part= and select_generators="):
        parts_of("T", fake, part=["train"] * 4, generator=generator, select_generators="glide")
    with pytest.raises(InputError, match="select_share must lie between 0 and 1; given 1"):
        parts_of("T", fake, select_share=1)
    with pytest.raises(InputError, match=r"T\.fit needs part=.*select_generators="):
        rows_of_parts(None, "T", fake)
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        parts_of("T", fake, generator=generator[:3], select_generators="glide")


def test_fakes_are_the_rows_that_are_no_photographs():
    generator = np.array(["real", "glide", "real", "dalle2"])
    for labels in ([0, 1, 0, 1], [1, 0, 1, 0], ["real", "fake", "real", "fake"], [-1.0, 1.0, -1.0, 1.0]):
        classes, fake = two_classes("T", labels, generator)
        np.testing.assert_array_equal(fake, [0, 1, 0, 1])
        np.testing.assert_array_equal(classes, np.unique(labels))
    np.testing.assert_array_equal(two_classes("T", ["real", "fake"])[1], [1, 0])  # the greater label
    with pytest.raises(InputError, match="rows of generator 'real' have labels"):
        two_classes("T", [0, 1, 1, 1], generator)
    with pytest.raises(InputError, match="only one class: 3"):
        two_classes("T", [3, 3])
    with pytest.raises(
        InputError, match="Only binary classification is supported. The type of the target is multi"
    ):
        two_classes("T", ["real", "glide", "dalle2"])
    with pytest.raises(ValueError, match="Unknown label type"):
        two_classes("T", [0.1, 0.2, 0.7])
