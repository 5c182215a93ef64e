"""The arm that erases shortcuts: the planted cast is found in pixels of drawn images, beats its nulls, and is kept."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import interp
from interp.analysis.shortcut_nulls import ShortcutNulls
from interp.analysis.shortcut_removal import ShortcutRemoval
from interp.errors import InputError
from interp.evaluation.arms import Arm, FittedArm, shortcut_removal_arm
from interp.evaluation.final import final_detector
from interp.evaluation.nulls import null_scores
from interp.evaluation.shortcuts import shortcuts_by_split, shortcuts_sentence
from interp.features.statistics import measure_statistics, read_statistics
from interp.images.simulated import draw_simulated_set
from interp.protocol.metrics import auc

PARTS = {
    "train": ["bilinear", "smooth"],
    "select": ["nearest", "diffusion"],
    "test": ["bicubic"],
}
NAMES = {part: [f"simulated-{name}" for name in names] for part, names in PARTS.items()}


@pytest.fixture(scope="module")
def cast(tmp_path_factory):
    """A store of drawn images, the fakes of the train generators warm, with its statistics."""
    folder = tmp_path_factory.mktemp("cast")
    images = draw_simulated_set(
        folder / "images",
        n_per_class=130,
        generators=[name for names in NAMES.values() for name in names],
        shortcut=0.2,
        shortcut_generators=NAMES["train"],
        progress=False,
    )
    encoder = interp.load_encoder("embedded", device="cpu")
    store = interp.extract(images, encoder, folder / "store", workers=0, progress=False)
    with pytest.raises(InputError, match="no statistics"):
        shortcut_removal_arm(store)
    measure_statistics(images, store, workers=0, progress=False)
    train, select, test = NAMES.values()
    fractions = (0.4, 0.4, 0.2)
    protocol = interp.Protocol.by_hand(
        store.rows, train=train, select=select, test=test, seeds=1, fractions=fractions
    )
    return store, protocol


@pytest.fixture(scope="module")
def fitted(cast) -> FittedArm:
    store, protocol = cast
    y, generator = labels(store)
    arm = shortcut_removal_arm(store, n_nulls=6, n_null=99)
    return arm.fit(store.features("embedding"), y, next(iter(protocol)), generator)


def labels(store) -> tuple[np.ndarray, np.ndarray]:
    y = (store.rows["label"] == "fake").to_numpy().astype(int)
    return y, store.rows["generator"].to_numpy().astype(str)


def test_the_cast_is_found_in_the_pixels_and_named(fitted):
    assert fitted.transformer.removed_ == ["colour cast"]
    assert "colour cast: tells train fakes from photographs with AUC" in fitted.transformer.sentence


def test_the_linear_form_scores_the_same(cast, fitted):
    X = cast[0].features("embedding")
    linear = fitted.linear()
    np.testing.assert_allclose(X @ linear.coef + linear.intercept, fitted.decision_function(X), atol=1e-4)


def test_the_detector_no_longer_follows_the_cast(cast, fitted):
    """On test photographs, which had no say: their scores hardly change with their warmth, the plain ones' do."""
    store, protocol = cast
    y, generator = labels(store)
    X, split = store.features("embedding"), next(iter(protocol))
    plain = Arm("embedding", "embedding").fit(X, y, split, generator)
    warmth = fitted.arm.statistics["red_over_blue"].to_numpy()
    rows = split.test
    follows = [
        abs(np.corrcoef(one.decision_function(X[rows]), warmth[rows])[0, 1]) for one in (plain, fitted)
    ]
    assert follows[1] < follows[0] / 2


def test_nulls_erase_as_much_and_are_replayed_by_their_seed(cast, fitted):
    store, protocol = cast
    y, generator = labels(store)
    X, split = store.features("embedding"), next(iter(protocol))

    def drawn(seed: int) -> dict[str, np.ndarray]:
        return null_scores(fitted, X, y, split, generator, split.test, np.random.SeedSequence(seed))

    first, again, other = drawn(0), drawn(0), drawn(1)
    assert {name: one.shape for name, one in first.items()} == {
        "random directions": (6, len(split.test)),
        "shuffled statistics": (6, len(split.test)),
    }
    for name in first:
        np.testing.assert_array_equal(first[name], again[name])
        assert np.abs(first[name] - other[name]).max() > 1e-6
        assert all(0.3 < auc(y[split.test], one) < 1 for one in first[name])


def test_where_nothing_is_found_the_nulls_are_the_plain_detector(cast):
    store, protocol = cast
    y, generator = labels(store)
    X, split = store.features("embedding"), next(iter(protocol))
    arm = shortcut_removal_arm(store, n_nulls=2, candidates={"brightness": ["brightness"]}, n_null=49)
    fitted = arm.fit(X, y, split, generator)
    assert fitted.transformer.removed_ == []
    plain = Arm("embedding", "embedding").fit(X, y, split, generator)
    np.testing.assert_array_equal(fitted.decision_function(X), plain.decision_function(X))
    nulls = ShortcutNulls(
        fitted.transformer, X, y, split.train, split.select, split.test, generator, arm.statistics
    )
    seed = np.random.SeedSequence(0)
    for scores in (nulls.random_directions(2, seed), nulls.shuffled_statistics(2, seed)):
        expected = plain.decision_function(X[split.test])
        np.testing.assert_allclose(
            scores - scores.mean(1, keepdims=True), [expected - expected.mean()] * 2, atol=0.01
        )


def test_it_is_an_arm_of_a_transfer_table_and_a_detector_to_keep(cast, tmp_path):
    store, protocol = cast
    measured = read_statistics(store)
    arms = [Arm("embedding", "embedding"), shortcut_removal_arm(store, measured, n_nulls=3, n_null=49)]
    transfer = interp.evaluate_transfer(
        store, protocol, arms, n_resamples=50, n_jobs=1, folder=tmp_path / "splits", progress=False
    )
    assert "shortcut_removal" in transfer.summary.index
    chosen = transfer.choices.set_index("arm").loc["shortcut_removal"]
    assert chosen["named"] == "colour cast"
    assert set(transfer.nulls["null"]) == {"random directions", "shuffled statistics"}
    other = [arms[0], shortcut_removal_arm(store, measured + 1, n_nulls=3, n_null=49)]
    with pytest.raises(InputError, match="made with other settings"):
        interp.evaluate_transfer(store, protocol, other, folder=tmp_path / "splits", progress=False)
    detector = final_detector(arms[1], store, protocol)
    assert detector.notes["removed"] == ["colour cast"]


def test_every_split_is_looked_at_and_the_finding_put_in_a_sentence(cast):
    store, protocol = cast
    table = shortcuts_by_split(store, protocol, n_jobs=1, progress=False, n_null=99)
    assert len(table) == 10 * len(list(protocol))
    assert table.loc[table["removed"], "candidate"].tolist() == ["colour cast"]
    assert shortcuts_sentence(table).startswith(
        "shortcuts found in 1 of 1 splits (by chance up to 5 %): colour cast"
    )
    assert (
        shortcuts_sentence(table.assign(removed=False))
        == "no shortcut found (0 of 1 splits; by chance up to 5 %)"
    )


def test_statistics_of_other_rows_are_refused(cast):
    store, _ = cast
    with pytest.raises(InputError, match="must have the 780 rows"):
        shortcut_removal_arm(store, pd.DataFrame({"noise": [1.0]}))


def test_an_arm_without_statistics_is_described_as_before():
    arm = Arm("mine", "embedding", ShortcutRemoval())
    assert arm.description == repr(arm) and "statistics" not in repr(arm)
