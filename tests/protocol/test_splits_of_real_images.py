"""The protocols of the shared images: six generators that share prompts, four small ones, photographs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from interp.protocol.leaks import units
from interp.protocol.splits import Protocol

BIG = ["attngan", "dalle2", "glide", "midjourney", "sdxl-2.2beta", "stable-diffusion-1.5"]
SMALL = ["biggan-deep-128", "dalle-mini", "glid-3-xl", "ldm-text2img"]


@pytest.fixture(scope="module")
def rows(shared: Path) -> pd.DataFrame:
    manifest = pd.read_csv(shared / "corpus" / "manifest.csv", index_col="path")
    manifest = manifest.rename(columns={"sha256": "content_hash", "generator_family": "family"})
    return manifest.query("role == 'test'").rename_axis("key")


def test_pairs_are_thirty_a_seed_and_test_on_the_other_eight(rows: pd.DataFrame):
    protocol = Protocol.pairs(rows, min_train=200, seeds=2)
    assert len(protocol) == 60
    assert {split.name for split in protocol} == {f"{a}>{b}" for a in BIG for b in BIG if a != b}
    for split in protocol:
        assert len(split.test_generators) == 8 and set(SMALL) < set(split.test_generators)


def test_photographs_and_fakes_approach_the_fractions(rows: pd.DataFrame):
    table = Protocol.pairs(rows, seeds=3).summary()
    counts = rows["generator"].value_counts()
    for part, fraction in (("train", 0.4), ("select", 0.3)):
        fakes = np.array([counts[name] for name in table[f"{part}_generators"]])
        assert np.abs(table[f"{part}_fakes"] - fraction * fakes).max() <= 2
        assert np.abs(table[f"{part}_photographs"] - fraction * counts["real"]).max() <= 1
        if part == "train":
            assert np.abs(table["in_distribution"] - 0.3 * fakes).max() <= 2


def test_small_sets_keep_all_their_images_for_the_test(rows: pd.DataFrame):
    generator = rows["generator"].to_numpy()
    for protocol in (Protocol.pairs(rows, seeds=1), Protocol.leave_one_out(rows, seeds=1)):
        for split in protocol:
            for name in set(SMALL) & set(split.test_generators):
                assert np.isin(np.flatnonzero(generator == name), split.test).all()


def test_all_splits_of_a_seed_share_one_dealing(rows: pd.DataFrame):
    protocol = Protocol.pairs(rows, seeds=2)
    for seed in (0, 1):
        parts = np.stack([split.part for split in protocol if split.seed == seed])
        for one, other in (("train", "select"), ("train", "test"), ("select", "test")):
            assert not ((parts == one).any(axis=0) & (parts == other).any(axis=0)).any()
    photographs = [split.part[rows["label"] == "real"] for split in protocol]
    assert not np.array_equal(photographs[0], photographs[-1])


def test_what_is_held_out_is_what_the_generator_shows_in_the_other_parts(rows: pd.DataFrame):
    generator = rows["generator"].to_numpy()
    splits = {split.name: split for split in Protocol.pairs(rows, seeds=1)}
    one, swapped, other = splits["glide>dalle2"], splits["dalle2>glide"], splits["attngan>dalle2"]
    assert np.array_equal(one.held_out, swapped.select[generator[swapped.select] == "glide"])
    assert np.array_equal(one.in_distribution, other.test[generator[other.test] == "glide"])


def test_leave_one_out_rotates_the_selecting_generator(rows: pd.DataFrame):
    protocol = Protocol.leave_one_out(rows, seeds=5)
    assert len(protocol) == 10 * 5
    for test in BIG + SMALL:
        splits = [split for split in protocol if split.test_generators == (test,)]
        assert len({split.select_generators for split in splits}) == 5
        for split in splits:
            assert {*split.train_generators, *split.select_generators} == set(BIG) - {test}


def test_the_final_split_trains_on_all_that_may_train_and_keeps_prompts_apart(rows: pd.DataFrame):
    unit, generator = units(rows), rows["generator"].to_numpy()
    for protocol in (Protocol.pairs(rows, seeds=2), Protocol.leave_one_out(rows, seeds=2)):
        final = protocol.final_split()
        assert set(generator[final.train]) == set(generator[final.select]) == {"real", *BIG}
        assert set(generator[final.test]) == {"real", *SMALL}
        assert not set(unit[final.train]) & set(unit[final.select])
        assert not (set(unit[final.train]) | set(unit[final.select])) & set(unit[final.test])
        assert np.isin(final.held_out, final.select).all()
    by_hand = Protocol.by_hand(rows, train="glide", select="dalle2", test=["midjourney", *SMALL])
    assert by_hand.final_split() is by_hand.splits[0]


def test_the_description_says_who_and_how_many(rows: pd.DataFrame):
    text = Protocol.pairs(rows, seeds=2).describe()
    assert "pairs: 60 splits of 2431 images (30 choices of generators, 2 seeds)" in text
    assert "select: 147 photographs, 84 to 90 fakes" in text
