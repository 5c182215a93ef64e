"""Saved detectors come back without pickle, score the same, and refuse images that took another path."""

from __future__ import annotations

import dataclasses
import json
import warnings

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.naive_bayes import GaussianNB
from sklearn.pipeline import make_pipeline
from sklearn.svm import SVC

from interp.analysis.coordinate_removal import CoordinateRemoval
from interp.analysis.head_selection import HeadSelection
from interp.detectors.detector import Detector, LinearScore, load_detector, responses
from interp.detectors.linear import LinearDetector
from interp.detectors.scoring import score_images
from interp.errors import InputError
from interp.evaluation.arms import Arm, default_arms
from interp.evaluation.final import final_detector

ARMS = ["embedding", "all_heads", "selected_heads", "coordinate_removal", "best_layer", "all_layers"]


@pytest.mark.parametrize("name", ARMS)
def test_a_saved_arm_scores_as_the_fitted_one(name, small_run):
    store, protocol = small_run.result.store, small_run.result.protocol
    saved = load_detector(small_run.folder / "detectors" / name)
    arm = next(arm for arm in default_arms(store) if arm.name == name)
    split = protocol.final_split()
    y = (store.rows["label"] == "fake").to_numpy().astype(int)
    generator = store.rows["generator"].to_numpy().astype(str)
    X = store.features(arm.features)
    expected = arm.fit(X, y, split, generator).decision_function(X)
    np.testing.assert_allclose(saved.score(store)["score"], expected, rtol=1e-6, atol=1e-8)
    assert saved.threshold == final_detector(arm, store, protocol).threshold
    assert not list((small_run.folder / "detectors" / name).glob("*.pkl"))


def test_new_images_take_the_path_of_the_training_images(small_run):
    from random_clip import random_clip

    store = small_run.result.store
    keys = list(store.rows.index[[0, 100, 200]])
    paths = [small_run.images.path(key) for key in keys]
    folder = small_run.folder / "detectors" / "selected_heads"
    table = score_images(paths, folder, encoder=random_clip(), workers=0)
    expected = load_detector(folder).score(store).loc[keys]
    np.testing.assert_allclose(table["score"], expected["score"], rtol=1e-4, atol=1e-5)
    assert set(table["verdict"]) <= {"real", "fake"}


def test_another_path_is_refused_and_named(small_run):
    store = small_run.result.store
    saved = load_detector(small_run.folder / "detectors" / "embedding")
    other = dataclasses.replace(saved, key={**saved.key, "equalize": "256:75"})
    with pytest.raises(InputError, match="equalize: the store has 'none', asked for '256:75'"):
        other.score(store)


@pytest.mark.parametrize("classifier", [GaussianNB(), SVC(), LogisticRegression()])
def test_any_scikit_learn_classifier_is_an_arm_and_is_kept_with_skops(classifier, small_run, tmp_path):
    store, protocol = small_run.result.store, small_run.result.protocol
    arm = Arm("own", "heads", HeadSelection(store.layout, k=2), classifier)
    detector = final_detector(arm, store, protocol)
    detector.save(tmp_path / "own")
    assert json.loads((tmp_path / "own" / "detector.json").read_text())["linear"] is False
    again = load_detector(tmp_path / "own").score(store)
    pd.testing.assert_frame_equal(again, detector.score(store))

    split, X = protocol.final_split(), store.features("heads")
    y = (store.rows["label"] == "fake").to_numpy().astype(int)
    kept = detector.model[0].transform(X)
    alone = clone(classifier).fit(kept[split.train], y[split.train])
    np.testing.assert_allclose(again["score"], responses(alone, kept))


@pytest.mark.parametrize("classifier", [LinearDetector(), GaussianNB(), LogisticRegression()])
@pytest.mark.parametrize("transformer", [HeadSelection(k=2), CoordinateRemoval(max_removed=2)], ids=str)
def test_a_pipeline_fitted_on_a_frame_with_names_for_labels_is_kept(
    classifier, transformer, small_run, tmp_path
):
    store, protocol = small_run.result.store, small_run.result.protocol
    split, X, labels = protocol.final_split(), store.frame("heads"), store.rows["label"]
    rows = np.union1d(split.train, split.select)
    transformer = clone(transformer).fit(X.iloc[rows], labels.iloc[rows], part=split.part[rows])
    y = (labels == "fake").to_numpy(int)
    scores = {}
    for name, given in (("words", labels.to_numpy()), ("numbers", y)):
        fitted = clone(classifier).fit(transformer.transform(X.iloc[rows]), given[rows])
        model = make_pipeline(transformer, fitted)
        detector = Detector(name, "heads", model, 0.0, store.key)
        detector.save(tmp_path / name)
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # names of columns that do not arrive
            scores[name] = load_detector(tmp_path / name).score(store)
        pd.testing.assert_frame_equal(scores[name], detector.score(store))
    np.testing.assert_allclose(scores["words"]["score"], scores["numbers"]["score"], rtol=1e-6, atol=1e-9)
    assert roc_auc_score(y, scores["words"]["score"]) > 0.5


def test_a_type_that_is_not_trusted_is_named(tmp_path, small_run):
    class Odd:
        coef = 3

    Odd.__module__, Odd.__qualname__ = "somewhere.odd", "Odd"
    import sys
    import types

    sys.modules["somewhere"] = types.ModuleType("somewhere")
    sys.modules["somewhere.odd"] = types.ModuleType("somewhere.odd")
    sys.modules["somewhere.odd"].Odd = Odd  # type: ignore[attr-defined]
    Detector("odd", "embedding", Odd(), 0.5, small_run.result.store.key).save(tmp_path / "odd")
    with pytest.raises(InputError, match=r"not trusted: somewhere\.odd\.Odd"):
        load_detector(tmp_path / "odd")


def test_a_folder_without_a_detector_names_those_inside(small_run, tmp_path):
    with pytest.raises(InputError, match=r"holds the detectors .*embedding"):
        load_detector(small_run.folder / "detectors")
    with pytest.raises(InputError, match="holds no detector"):
        load_detector(tmp_path)


def test_a_linear_score_is_the_weighted_sum():
    X = np.arange(6.0).reshape(2, 3)
    np.testing.assert_array_equal(LinearScore(np.array([1.0, 0, 2]), -1.0).decision_function(X), [3, 12])
