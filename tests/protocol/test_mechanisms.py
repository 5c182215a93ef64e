"""Twins and their photographs: one mechanism is left out, and no photograph stands on two sides."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from interp.errors import InputError
from interp.evaluation.cells import SplitScores, joint_cells
from interp.protocol.leaks import LeakError, check_rows
from interp.protocol.splits import Protocol

MECHANISMS = ("twin-bilinear", "twin-nearest", "twin-vae")


def rows_of_twins(
    photographs: int = 20, mechanisms: tuple[str, ...] = MECHANISMS, fakes: int = 0
) -> pd.DataFrame:
    """Photographs with their twins; further photographs without any; fakes by two generators."""
    rows = [("real", "real", f"p{i}") for i in range(photographs)]
    rows += [("twin", name, f"p{i}") for name in mechanisms for i in range(photographs)]
    rows += [("real", "real", f"alone{i}") for i in range(5)]
    rows += [("fake", name, f"{name}{i}") for name in ("glide", "dalle2") for i in range(fakes)]
    return pd.DataFrame(rows, columns=["label", "generator", "group"])


@settings(max_examples=10, deadline=None)
@given(
    photographs=st.integers(12, 40),
    n=st.integers(3, 5),
    seed=st.integers(0, 1000),
    mode=st.sampled_from(["leave_one_out", "pairs", "generators"]),
)
def test_a_photograph_and_all_its_twins_stand_in_one_part(
    photographs: int, n: int, seed: int, mode: str
) -> None:
    rows = rows_of_twins(photographs, tuple(f"twin-{c}" for c in "abcde"[:n]), fakes=6)
    group, label = rows["group"].to_numpy(), rows["label"].to_numpy()
    protocol = Protocol.twins(rows, mode, seeds=2, random_state=seed)
    assert len(protocol) == 2 * (n * (n - 1) if mode == "pairs" else n)
    for split in protocol:
        parts = {"train": split.train, "select": np.union1d(split.select, split.held_out)}
        parts["test"] = np.union1d(split.test, split.in_distribution)
        seen = [set(group[at]) for at in parts.values()]
        assert not seen[0] & seen[1] and not seen[0] & seen[2] and not seen[1] & seen[2]
        names = [set(split.generators_of(part)) for part in parts]
        assert not names[0] & names[1] and not names[0] & names[2] and not names[1] & names[2]
        for at in parts.values():
            assert not any(name.startswith("alone") for name in group[at])
            pictures = set(group[at][label[at] == "real"])
            assert set(group[at][label[at] == "twin"]) <= pictures
        tested = set(label[split.test]) - {"real"}
        assert tested == ({"fake"} if mode == "generators" else {"twin"})
        assert "fake" not in set(label[split.train]) | set(label[split.select])


def test_each_mechanism_is_left_out_once_a_seed() -> None:
    protocol = Protocol.twins(rows_of_twins(), seeds=3)
    assert [split.test_generators for split in protocol if split.seed == 1] == [
        (name,) for name in MECHANISMS
    ]
    assert {split.select_generators for split in protocol if split.test_generators == ("twin-vae",)} == {
        ("twin-bilinear",),
        ("twin-nearest",),
    }
    assert all(len(split.in_distribution) for split in protocol)


def test_a_description_calls_twins_twins_and_fakes_fakes() -> None:
    among_twins = Protocol.twins(rows_of_twins(fakes=20), seeds=1).describe()
    assert "twins of the train generators" in among_twins and " fakes" not in among_twins
    to_generators = Protocol.twins(rows_of_twins(fakes=20), "generators", seeds=1).describe().splitlines()
    assert [(" twins" in line, " fakes" in line) for line in to_generators[1:4]] == [
        (True, False),
        (True, False),
        (False, True),
    ]


def test_twins_are_neither_generated_nor_real_in_other_protocols() -> None:
    rows = rows_of_twins(fakes=30)
    rows = pd.concat(
        [rows, rows.tail(60).assign(generator=["a"] * 30 + ["b"] * 30, group=[f"x{i}" for i in range(60)])],
        ignore_index=True,
    )
    for protocol in (
        Protocol.pairs(rows, min_train=10, seeds=1),
        Protocol.leave_one_out(rows, min_train=10, seeds=1),
    ):
        used = np.unique(
            np.concatenate([getattr(s, part) for s in protocol for part in ("train", "select", "test")])
        )
        assert set(rows["label"].iloc[used]) == {"real", "fake"}
    mixed = Protocol.by_hand(rows, train="twin-vae", select="twin-nearest", test=["a", "b"], seeds=1)
    assert set(mixed.splits[0].test_generators) == {"a", "b"}


def test_a_twin_called_real_or_apart_from_its_photograph_is_refused() -> None:
    rows = rows_of_twins()
    with pytest.raises(InputError, match="a twin has label 'twin' and the name of its mechanism"):
        check_rows(rows.assign(generator="real"))
    part = rows["generator"].map({"real": "train", "twin-nearest": "select"}).fillna("test")
    with pytest.raises(LeakError, match="train and select share 20 groups"):
        Protocol.from_parts(rows, part)


@pytest.mark.parametrize(
    ("rows", "mode", "words"),
    [
        (rows_of_twins(), "leave-one-out", "did you mean 'leave_one_out'"),
        (
            rows_of_twins(mechanisms=MECHANISMS[:2]),
            "leave_one_out",
            "by 2 mechanisms .twin-bilinear, twin-nearest",
        ),
        (rows_of_twins(mechanisms=()), "pairs", "by 0 mechanisms .none"),
        (rows_of_twins(), "generators", "no generated image to test on"),
    ],
)
def test_what_cannot_be_split_says_what_to_do(rows: pd.DataFrame, mode: str, words: str) -> None:
    with pytest.raises(InputError, match=words):
        Protocol.twins(rows, mode)


def test_unusable_twins_are_in_no_part_and_leave_their_photograph() -> None:
    rows = rows_of_twins()
    usable = ~((rows["group"] == "p3") & (rows["generator"] == "twin-vae")).to_numpy()
    protocol = Protocol.twins(rows, seeds=1, usable=usable)
    used = np.unique(
        np.concatenate(
            [
                getattr(s, part)
                for s in protocol
                for part in ("train", "select", "test", "held_out", "in_distribution")
            ]
        )
    )
    assert set(np.flatnonzero(~usable)) & set(used) == set()
    assert (rows["group"].iloc[used] == "p3").sum() == 3


def test_the_final_split_trains_on_every_mechanism() -> None:
    final = Protocol.twins(rows_of_twins(), seeds=2).final_split()
    assert final.train_generators == final.select_generators == MECHANISMS and final.test_generators == ()


def test_cells_count_twins_as_positives_and_resample_them_with_their_photographs() -> None:
    """Scores that every twin raises by the same amount over its photograph: AUC as scikit-learn counts it."""
    from sklearn.metrics import roc_auc_score

    rows = rows_of_twins(60)
    level = pd.Series(np.random.default_rng(0).normal(size=60), index=[f"p{i}" for i in range(60)])
    score = rows["group"].map(level).fillna(0).to_numpy() + 0.5 * (rows["label"] == "twin")
    protocol = Protocol.twins(rows, seeds=1)
    scored = []
    for split in protocol:
        at = np.union1d(split.test, split.in_distribution)
        scored.append(SplitScores(split, ("planted",), at, score.to_numpy()[at, None]))
    cells = joint_cells(scored, rows, n_resamples=50)
    for split, auc in zip(protocol, cells.auc[cells.unseen, 0], strict=True):
        assert auc == pytest.approx(
            roc_auc_score(rows["label"].iloc[split.test] == "twin", score.iloc[split.test])
        )
    assert np.isfinite(cells.resampled).all()
