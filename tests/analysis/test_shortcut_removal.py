"""A planted nuisance is found, named and removed; where nothing is planted nothing is found and nothing changes."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import sklearn
from scipy.stats import binom
from sklearn.base import clone
from sklearn.linear_model import Ridge
from sklearn.metrics import roc_auc_score
from sklearn.pipeline import make_pipeline

from interp.analysis.nuisances import candidates_of, shuffled_within, within_classes
from interp.analysis.shortcut_removal import ShortcutRemoval
from interp.detectors.linear import LinearDetector
from interp.errors import InputError
from interp.images.pixel_statistics import STATISTICS

GENERATORS = {"train": ("a", "b"), "select": ("c", "d"), "test": ("e", "f")}


def draw(seed: int = 0, plant: float = 2.0, own: float = 0.0, n: int = 100, p: int = 24):
    """Every statistic moves the embedding in a direction of its own; the fakes of the train rows alone are warm.

    `own` is how far each generator of fakes lies off in a random direction, which no statistic knows of.
    """
    rng = np.random.default_rng(seed)
    generator = np.concatenate([np.repeat(["real", *names], n) for names in GENERATORS.values()])
    part = np.repeat(list(GENERATORS), 3 * n)
    y = (generator != "real").astype(int)
    statistics = rng.normal(size=(len(y), len(STATISTICS)))
    statistics[:, 0] += plant * (y * (part == "train"))
    moved = rng.normal(size=(statistics.shape[1], p)) / np.sqrt(p)
    X = rng.normal(size=(len(y), p)) + 2 * statistics @ moved + 0.6 * np.outer(y, rng.normal(size=p))
    for name in np.unique(generator[y == 1]):
        X[generator == name] += own * rng.normal(size=p)
    return X, y, part, generator, pd.DataFrame(statistics, columns=list(STATISTICS))


def fitted(X, y, part, generator, statistics, n_null: int = 99, **options) -> ShortcutRemoval:
    removal = ShortcutRemoval(n_null=n_null, **options)
    return removal.fit(X, y, part=part, generator=generator, statistics=statistics)


def test_auc(X, y, part, generator) -> float:
    used, test = part != "test", part == "test"
    detector = LinearDetector().fit(X[used], y[used], part=part[used], generator=generator[used])
    return float(roc_auc_score(y[test], detector.decision_function(X[test])))


test_auc.__test__ = False  # type: ignore[attr-defined]


def test_the_planted_shortcut_is_found_named_and_removed():
    X, y, part, generator, statistics = draw()
    removal = fitted(X, y, part, generator, statistics)
    assert removal.removed_ == ["colour cast"]
    assert test_auc(removal.transform(X), y, part, generator) > test_auc(X, y, part, generator) + 0.03
    row = removal.table_.iloc[0]
    assert row["candidate"] == "colour cast" and row["removed"] and not removal.table_["removed"][1:].any()
    rows = part == "train"
    alone = roc_auc_score(y[rows], statistics["red_over_blue"][rows])
    assert row["train_auc"] == pytest.approx(alone, abs=0.03)
    assert row["share"] > 0.1 and row["kept"] < row["rest_kept"] / 2
    assert row["gain"] > row["null_gain_high"] and row["gain_low"] < row["gain"] < row["gain_high"]
    assert removal.sentence.startswith("colour cast: tells train fakes from photographs with AUC 0.9")


def test_two_planted_shortcuts_are_both_removed():
    X, y, part, generator, statistics = draw(1)
    moved = np.linalg.lstsq(statistics, X, rcond=None)[0]
    noise = statistics.columns.get_loc("noise")
    extra = 2.5 * (y * (part == "train"))
    statistics["noise"] += extra
    removal = fitted(X + np.outer(extra, moved[noise]), y, part, generator, statistics)
    assert set(removal.removed_) == {"colour cast", "noise"}
    assert removal.rank_.tolist() == [4]
    assert removal.table_["removed"].tolist() == [True, True] + [False] * (len(removal.table_) - 2)
    assert removal.sentence.count("tells train fakes") == 2


@pytest.mark.parametrize("seed", range(2))
def test_a_property_that_select_fakes_share_is_no_shortcut(seed):
    """Warm fakes everywhere: the cast is evidence, and stays."""
    X, y, part, generator, statistics = draw(seed, plant=0)
    moved = np.linalg.lstsq(statistics, X, rcond=None)[0]
    statistics["red_over_blue"] += 2.0 * y
    removal = fitted(X + 2.0 * np.outer(y, moved[0]), y, part, generator, statistics)
    assert "colour cast" not in removal.removed_


def test_where_nothing_is_found_the_features_pass_through():
    X, y, part, generator, statistics = draw(2, plant=0)
    removal = fitted(X, y, part, generator, statistics)
    assert removal.removed_ == [] and removal.rank_.tolist() == [0] and removal.moved_.tolist() == [0]
    np.testing.assert_array_equal(removal.transform(X), X)
    coef = np.random.default_rng(0).normal(size=X.shape[1])
    np.testing.assert_array_equal(removal.pull_back(coef, 0.5)[0], coef)
    assert removal.sentence.startswith("no shortcut found among 10 properties of the pixels (closest: ")


@pytest.mark.slow
@pytest.mark.parametrize("own", [pytest.param(0.0, marks=pytest.mark.slow), 0.3])
def test_nothing_planted_is_nothing_found(own):
    """At most 5 % of 200 draws, by a binomial bound; with generators that lie off in directions of their own too."""
    draws = (fitted(*draw(seed, 0, own, n=50, p=16), n_null=49, random_state=seed) for seed in range(200))
    found = sum(bool(one.removed_) for one in draws)
    assert found <= binom.ppf(0.999, 200, 0.05)


def test_nothing_linear_is_left_within_labels():
    """The theorem of least-squares erasure, for standardised columns, on the rows fitted on."""
    X, y, part, generator, statistics = draw()
    removal = fitted(X, y, part, generator, statistics)
    rows = part != "test"
    erased = within_classes(removal.transform(X)[rows], y[rows])
    members = candidates_of(list(statistics.columns))["colour cast"]
    measured = within_classes(statistics.to_numpy()[rows][:, members], y[rows])
    np.testing.assert_allclose(erased.T @ measured, 0, atol=1e-8)
    reading = Ridge(1e-3, fit_intercept=False).fit(erased, measured)
    assert abs(reading.score(erased, measured)) < 1e-6
    assert removal.transform(X)[rows].mean(0) == pytest.approx(X[rows].mean(0))


def test_weights_pulled_back_score_as_on_erased_features():
    X, y, part, generator, statistics = draw()
    removal = fitted(X, y, part, generator, statistics)
    coef = np.random.default_rng(0).normal(size=X.shape[1])
    weights, intercept = removal.pull_back(coef, 0.5)
    np.testing.assert_allclose(X @ weights + intercept, removal.transform(X) @ coef + 0.5)
    again = removal.transform(removal.transform(X))
    np.testing.assert_allclose(again, removal.transform(X), atol=1e-9)  # a projection


def test_test_rows_have_no_say_and_scale_of_columns_has_none():
    X, y, part, generator, statistics = draw()
    first = fitted(X, y, part, generator, statistics)
    changed, other = X.copy(), statistics.copy()
    changed[part == "test"], other.loc[part == "test"] = 1e6, np.nan
    second = fitted(changed, y, part, generator, other)
    pd.testing.assert_frame_equal(first.table_, second.table_)
    scale = np.geomspace(1e-3, 1e3, X.shape[1])
    third = fitted(X * scale, y, part, generator, statistics)
    np.testing.assert_allclose(third.transform(X * scale), first.transform(X) * scale, rtol=1e-6, atol=1e-9)


def test_rows_without_statistics_are_left_out():
    X, y, part, generator, statistics = draw()
    lacking = np.arange(len(y)) % 10 == 0
    holed = statistics.mask(lacking[:, None] & np.ones(statistics.shape, bool))
    found = fitted(X, y, part, generator, holed)
    alone = fitted(*(one[~lacking] for one in (X, y, part, generator, statistics)))
    np.testing.assert_array_equal(found.left_, alone.left_)


def test_candidates_may_be_named_by_hand_and_statistics_be_an_array():
    X, y, part, generator, statistics = draw()
    by_hand = {"warmth": [0], "anything else": [4, 7]}
    removal = fitted(X, y, part, generator, statistics.to_numpy(), candidates=by_hand)
    assert removal.removed_ == ["warmth"] and set(removal.table_["candidate"]) == set(by_hand)
    assert clone(removal).get_params()["candidates"] == by_hand
    with pytest.raises(InputError, match="did you mean 'noise'"):
        fitted(X, y, part, generator, statistics, candidates={"grain": ["noize"]})
    with pytest.raises(InputError, match="needs a list of statistics"):
        fitted(X, y, part, generator, statistics, candidates={"grain": "noise"})


def test_it_stands_in_a_pipeline_with_routed_metadata():
    X, y, part, generator, statistics = draw()
    with sklearn.config_context(enable_metadata_routing=True):
        routed = ShortcutRemoval(n_null=99).set_fit_request(part=True, generator=True, statistics=True)
        detector = LinearDetector().set_fit_request(part=True, generator=True)
        pipeline = make_pipeline(routed, detector)
        pipeline.fit(X, y, part=part, generator=generator, statistics=statistics)
    erased = fitted(X, y, part, generator, statistics).transform(X)
    alone = LinearDetector().fit(erased, y, part=part, generator=generator)
    np.testing.assert_allclose(pipeline.decision_function(X), alone.decision_function(erased), atol=1e-9)


def test_shuffles_stay_within_classes_and_are_uniform():
    kind = np.array(["b", "a", "b", "a", "b"])
    rng = np.random.default_rng(0)
    drawn = np.array([shuffled_within(kind, rng) for _ in range(3000)])
    assert (np.sort(drawn, axis=1) == np.arange(5)).all() and (kind[drawn] == kind).all()
    shares = [(drawn[:, 0] == place).mean() for place in (0, 2, 4)]
    assert shares == pytest.approx([1 / 3] * 3, abs=0.04)


def test_wrong_use_says_what_to_do():
    X, y, part, generator, statistics = draw(n=20)
    with pytest.raises(InputError, match="needs statistics="):
        ShortcutRemoval().fit(X, y, part=part)
    with pytest.raises(InputError, match="fit needs part="):
        ShortcutRemoval().fit(X, y, statistics=statistics)
    with pytest.raises(InputError, match="one row for each of the 180 rows"):
        ShortcutRemoval().fit(X, y, part=part, statistics=statistics[:9])
    with pytest.raises(InputError, match="10 shuffles cannot reach level 0.02; give at least 49"):
        ShortcutRemoval(n_null=10).fit(X, y, part=part, statistics=statistics)
    with pytest.raises(InputError, match="photographs and fakes among its train rows"):
        nothing = statistics.mask(((part == "train") & (y == 1))[:, None] & np.ones(statistics.shape, bool))
        ShortcutRemoval().fit(X, y, part=part, statistics=nothing)
