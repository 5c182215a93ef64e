"""Frames bring their layout, and generators travel to every step that asked for them."""

from __future__ import annotations

import pickle

import numpy as np
import pandas as pd
import pytest
import sklearn
from planted_harm import FOLD, HARMFUL, plant_harm
from planted_heads import ACCIDENT, GOOD
from sklearn.base import clone
from sklearn.exceptions import NotFittedError, UnsetMetadataPassedError
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, StratifiedKFold, cross_validate
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from interp.analysis.coordinate_removal import CoordinateRemoval
from interp.analysis.head_removal import HeadRemoval
from interp.analysis.head_selection import HeadSelection
from interp.detectors.linear import LinearDetector
from interp.encoders.layout import HeadLayout
from interp.errors import InputError
from interp.protocol.select_rows import parts_of

K = (1, 2)


@pytest.fixture
def frame(planted) -> pd.DataFrame:
    keys = [f"image {i}" for i in range(len(planted.y))]
    return pd.DataFrame(planted.X, index=keys, columns=planted.layout.columns)


@pytest.fixture(scope="module")
def harmed():
    return plant_harm()


@pytest.fixture
def both(harmed) -> pd.DataFrame:
    """As `store.frame("embedding_and_heads")`."""
    names = [*(f"P.{i}" for i in range(96)), *harmed.layout.columns]
    return pd.DataFrame(harmed.X, index=[f"image {i}" for i in range(len(harmed.y))], columns=names)


@pytest.fixture
def routing():
    with sklearn.config_context(enable_metadata_routing=True):
        yield


def selecting(**more):
    """Selection and detector that both ask for the generators."""
    selection = HeadSelection(k=K, select_generators=("b",), **more).set_fit_request(generator=True)
    return make_pipeline(selection, LinearDetector(select_generators=("b",)).set_fit_request(generator=True))


def test_a_frame_brings_its_layout_and_names(planted, frame):
    context = {"generator": planted.generator}
    array = HeadSelection(planted.layout, k=2, select_generators="b").fit(planted.X, planted.y, **context)
    named = HeadSelection(k=2, select_generators="b").set_output(transform="pandas")
    kept = named.fit_transform(frame, planted.y, **context)
    assert named.layout is None and named.layout_ == array.layout_ == planted.layout
    assert named.heads_ == array.heads_ and list(named.feature_names_in_) == planted.layout.columns
    assert kept.index.equals(frame.index)
    assert list(kept.columns) == [f"{head}.{i}" for head in named.heads_ for i in range(8)]
    np.testing.assert_array_equal(kept, frame[list(kept.columns)])
    np.testing.assert_array_equal(kept, array.transform(planted.X))
    coef = np.random.default_rng(0).normal(size=16)
    weights, intercept = named.pull_back(coef, 1.0)
    np.testing.assert_allclose(planted.X @ weights + intercept, kept.to_numpy() @ coef + 1)


def test_a_removal_keeps_names_rows_and_type(planted, frame):
    removal = CoordinateRemoval(max_removed=3, select_generators=["b"]).set_output(transform="pandas")
    kept = removal.fit(frame, planted.y, generator=planted.generator).transform(frame.astype(np.float32))
    assert list(kept.columns) == list(frame.columns[removal.kept_]) and kept.index.equals(frame.index)
    assert (kept.dtypes == np.float32).all()
    np.testing.assert_array_equal(removal.get_support(indices=True), removal.kept_)
    assert set(removal.get_feature_names_out()) | set(frame.columns[removal.removed_]) == set(frame.columns)


def test_a_frame_tells_a_removal_of_heads_which_columns_are_whose(harmed, both):
    context = {"generator": harmed.generator}
    array = HeadRemoval(harmed.layout, FOLD, select_generators="b").fit(harmed.X, harmed.y, **context)
    named = HeadRemoval(fold=FOLD, select_generators="b").set_output(transform="pandas")
    left = named.fit_transform(both, np.array(["real", "fake"])[harmed.y], **context)
    assert named.layout is None and named.layout_ == harmed.layout and named.removed_ == array.removed_
    assert named.removed_[0] == HARMFUL
    assert list(left.columns) == [f"P.{i}" for i in range(96)] and left.index.equals(both.index)
    np.testing.assert_array_equal(left, array.transform(harmed.X))
    one_layer = clone(array).set_params(layout=8, fold=FOLD.reshape(1, 12, 8, 96))
    assert one_layer.fit(harmed.X, harmed.y, **context).removed_[0] == "L0.H7"
    other_names = both.set_axis([f"x{i}" for i in range(192)], axis=1)
    assert clone(array).fit(other_names, harmed.y, **context).get_feature_names_out()[-1] == "x95"


def test_a_frame_that_does_not_fit_a_removal_of_heads_is_refused(harmed, both):
    removal = HeadRemoval(fold=FOLD, select_generators="b")

    def refused(message, X):
        with pytest.raises(InputError, match=message):
            removal.fit(X, harmed.y, generator=harmed.generator)

    refused(r"column 5, 'P.6', does not fit: 'P.5' belongs there", both.drop(columns="P.5"))
    refused(r"X must be \(n, 96 \+ 96\)", both.drop(columns="P.95"))
    refused(r"behind the 96 columns of the embedding.*'L0.H1.0' belongs", both.drop(columns=["L0.H1.0"]))
    refused(r"columns must be named L0.H0.0", both.iloc[:, :96])
    removal.set_params(layout=HeadLayout(4, 3, 8))
    refused(r"columns of X are those of HeadLayout\(layers=3.*layout= is .*layers=4", both)


def test_names_pass_through_a_scaler(planted, frame):
    first = StandardScaler()
    pipeline = make_pipeline(first, HeadSelection(k=1)).set_output(transform="pandas")
    part = parts_of("", planted.y, generator=planted.generator, select_generators="b")
    pipeline.fit(frame, planted.y, headselection__part=part)
    assert list(pipeline.transform(frame).columns) == [f"{GOOD}.{i}" for i in range(8)]
    assert list(pipeline.get_feature_names_out()) == [f"{GOOD}.{i}" for i in range(8)]


def test_a_frame_or_layout_that_does_not_fit_is_refused(planted, frame):
    context = {"generator": planted.generator}
    selection = HeadSelection(k=1, select_generators="b")
    with pytest.raises(InputError, match="needs layout= where X is an array"):
        selection.fit(planted.X, planted.y, **context)
    with pytest.raises(InputError, match=r"column 8, 'L0.H2.0', does not fit: 'L0.H1.0' belongs there"):
        selection.fit(frame.drop(columns=[f"L0.H1.{i}" for i in range(8)]), planted.y, **context)
    with pytest.raises(
        InputError, match=r"columns of X are those of HeadLayout\(layers=3.*layout= is .*layers=4"
    ):
        clone(selection).set_params(layout=HeadLayout(4, 3, 8)).fit(frame, planted.y, **context)
    with pytest.raises(InputError, match=r"layout=7 is the width of a head and must divide the columns"):
        clone(selection).set_params(layout=7).fit(planted.X, planted.y, **context)
    other_names = frame.set_axis([f"x{i}" for i in range(96)], axis=1)
    named = clone(selection).set_params(layout=planted.layout).fit(other_names, planted.y, **context)
    assert named.heads_ == [GOOD] and named.get_feature_names_out()[0] == "x48"
    with pytest.raises(ValueError, match="feature names should match"):
        named.transform(frame)
    with pytest.raises(NotFittedError):
        HeadSelection().pull_back(np.ones(8), 0.0)


def test_generators_travel_through_a_pipeline(planted, frame, routing):
    pipeline = selecting().fit(frame, planted.y, generator=planted.generator)
    part = parts_of("", planted.y, generator=planted.generator, select_generators="b")
    context = {"part": part, "generator": planted.generator}
    selection = HeadSelection(k=K).fit(frame, planted.y, **context)
    detector = LinearDetector().fit(selection.transform(frame), planted.y, **context)
    assert pipeline[0].heads_ == selection.heads_ and pipeline[0].heads_[0] == GOOD
    np.testing.assert_array_equal(pipeline[1].coef_, detector.coef_)
    assert pipeline[1].threshold_ == detector.threshold_
    with pytest.raises(UnsetMetadataPassedError, match="generator"):
        make_pipeline(HeadSelection(), LogisticRegression()).fit(
            frame, planted.y, generator=planted.generator
        )


def test_generators_travel_to_a_removal_of_heads(harmed, both, routing):
    pipeline = make_pipeline(
        HeadRemoval(fold=FOLD, select_generators="b").set_fit_request(generator=True, groups=True),
        LinearDetector(select_generators="b").set_fit_request(generator=True, groups=True),
    )
    context = {"generator": harmed.generator, "groups": np.arange(len(harmed.y)) // 2}
    pipeline.fit(both, harmed.y, **context)
    part = parts_of("", harmed.y, select_generators="b", **context)
    marked = HeadRemoval(fold=FOLD).fit(both, harmed.y, part=part, generator=harmed.generator)
    assert pipeline[0].removed_ == marked.removed_ and marked.removed_[0] == HARMFUL
    detector = LinearDetector().fit(marked.transform(both), harmed.y, part=part, generator=harmed.generator)
    np.testing.assert_array_equal(pipeline[1].coef_, detector.coef_)
    with pytest.raises(InputError, match="fit needs part="):
        make_pipeline(HeadRemoval(fold=FOLD).set_fit_request(generator=True), LogisticRegression()).fit(
            both, harmed.y, generator=harmed.generator
        )


def test_metadata_travels_through_searches_and_cross_validation(planted, frame, routing):
    folds = list(StratifiedKFold(3).split(frame, planted.generator))
    groups = np.arange(len(planted.y)) // 2
    pipeline = selecting()
    pipeline[0].set_fit_request(groups=True)
    pipeline[1].set_fit_request(groups=True)
    grid = {"headselection__k": [1, 4]}
    search = GridSearchCV(pipeline, grid, cv=folds, scoring="roc_auc", error_score="raise")
    search.fit(frame, planted.y, generator=planted.generator, groups=groups)
    assert (
        search.best_estimator_[0].heads_[0] == GOOD and ACCIDENT not in search.best_estimator_[0].heads_[:1]
    )
    marked = make_pipeline(
        CoordinateRemoval(max_removed=8).set_fit_request(part=True, generator=False),
        LinearDetector().set_fit_request(part=True, generator=True),
    )
    part = parts_of("", planted.y, generator=planted.generator, select_generators="b")
    params = {"part": part, "generator": planted.generator}
    found = cross_validate(marked, frame, planted.y, cv=folds, params=params, return_estimator=True)
    for (train, _), fitted in zip(folds, found["estimator"], strict=True):
        alone = CoordinateRemoval(max_removed=8).fit(frame.iloc[train], planted.y[train], part=part[train])
        np.testing.assert_array_equal(fitted[0].removed_, alone.removed_)


@pytest.mark.parametrize(
    "estimator", [HeadSelection(), CoordinateRemoval(), HeadRemoval(), LinearDetector()], ids=str
)
def test_each_estimator_says_which_metadata_it_takes(estimator, routing):
    asked = set(estimator.get_metadata_routing().fit.requests)
    weight = {"sample_weight"} if isinstance(estimator, LinearDetector) else set()
    assert asked == {"part", "generator", "groups"} | weight
    routed = clone(estimator).set_fit_request(part=True, generator=True)
    assert {name for name, told in routed.get_metadata_routing().fit.requests.items() if told} == {
        "part",
        "generator",
    }


def test_strings_for_labels_and_pickles_give_the_same_heads(planted, frame):
    for aggregate in ("concat", "vote"):
        first = HeadSelection(k=1, aggregate=aggregate, select_generators="b")
        second = clone(first).fit(frame, np.array(["real", "fake"])[planted.y], generator=planted.generator)
        first.fit(frame, planted.y, generator=planted.generator)
        again = pickle.loads(pickle.dumps(first))
        np.testing.assert_array_equal(first.transform(frame), second.transform(frame))
        np.testing.assert_array_equal(first.transform(frame), again.transform(frame))
        assert again.path_.equals(first.path_)
