"""Linear weights read off any linear model, and what heads add to a set of images."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from random_clip import random_clip
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from interp.detectors.detector import Detector, LinearScore, responses
from interp.detectors.linear import LinearDetector
from interp.errors import InputError
from interp.explain.parts import LinearReading, head_differences, linear_score

RNG = np.random.default_rng(0)
X = RNG.normal(size=(60, 5)) * [1, 0.01, 3, 1, 50]
Y = (X[:, 0] + 0.2 * RNG.normal(size=60) > 0).astype(int)
COLUMNS = list("abcde")


@pytest.mark.parametrize(
    "model",
    [
        LogisticRegression(),
        make_pipeline(StandardScaler(), PCA(3), LogisticRegression()),
        LinearDetector(C=1.0),
    ],
)
@pytest.mark.parametrize("labels", [("real", "fake"), (0, 1)])
@pytest.mark.parametrize("named", [True, False])
def test_a_linear_model_becomes_the_weights_that_give_its_scores(model, labels, named):
    given = pd.DataFrame(X, columns=COLUMNS) if named else X
    model.fit(given, np.array(labels)[Y])
    score = linear_score(model, COLUMNS)
    np.testing.assert_allclose(score.decision_function(X), responses(model, given), rtol=1e-7, atol=1e-8)
    assert score.decision_function(X)[Y == 1].mean() > score.decision_function(X)[Y == 0].mean()


def test_a_model_that_is_not_linear_or_reads_other_columns_is_refused():
    model = MLPClassifier((8,), max_iter=20, random_state=0)
    with pytest.warns(match="Maximum"):
        model.fit(X, Y)
    with pytest.raises(InputError, match="not linear.*attribute"):
        linear_score(model, COLUMNS)
    with pytest.raises(InputError, match="5 columns"):
        linear_score(LogisticRegression().fit(X, Y), COLUMNS[:4])


@pytest.fixture(scope="module")
def store() -> Any:
    """What head_differences reads of a store: 40 random images, of which two generators made 30."""
    encoder = random_clip()
    generator = np.repeat(["real", "a", "b"], [10, 20, 10])
    pixels = torch.randn(40, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    record = encoder.record(
        pixels + torch.from_numpy(np.where(generator == "b", 1.0, 0.0)).float()[:, None, None, None]
    )
    rows = pd.DataFrame({"generator": generator, "label": np.where(generator == "real", "real", "fake")})
    rows["group"] = [f"g{i // 2}" for i in range(40)]
    rows.index = pd.Index([f"image{i}" for i in range(40)])
    usable = np.ones(40, bool)
    return SimpleNamespace(
        views=1, usable=usable, rows=rows, readout=encoder.readout, record=lambda: record, folder="x"
    )


def test_differences_are_those_of_the_means_and_sum_to_the_logits_difference(store):
    detector = Detector("d", "embedding", LinearScore(np.linspace(-1, 1, 32), 0.5), 0.0, {})
    table = head_differences(store, detector, n_resamples=200)
    logit = store.record().embedding.double().numpy() @ detector.model.coef + 0.5
    generator = store.rows["generator"].to_numpy()
    for name in ("a", "b"):
        of_name = table[table["generator"] == name].set_index("part")
        assert of_name["difference"].drop("logit").sum() == pytest.approx(
            of_name.loc["logit", "difference"], abs=1e-9
        )
        expected = logit[generator == name].mean() - logit[generator == "real"].mean()
        assert of_name.loc["logit", "difference"] == pytest.approx(expected, abs=1e-5)
    both = table.pivot(index="part", columns="generator", values="difference")
    np.testing.assert_allclose(both["all"], both[["a", "b"]].mean(axis=1), atol=1e-12)
    assert ((table["low"] <= table["difference"]) & (table["difference"] <= table["high"])).mean() > 0.95
    assert (table.loc[table["part"] == "intercept", ["low", "high"]] == 0).all(axis=None)


def test_intervals_are_wider_where_the_images_of_a_group_are_alike(store):
    detector = Detector("d", "heads", LinearScore(np.ones(256), 0.0), 0.0, {})
    alone = SimpleNamespace(**vars(store))
    alone.rows = store.rows.assign(group=[f"g{i}" for i in range(40)])
    copies = SimpleNamespace(**vars(store))
    record, twice = store.record(), np.repeat(np.arange(0, 40, 2), 2)
    copies.record = lambda: type(record)(*(getattr(record, f)[twice] for f in record.__dataclass_fields__))

    def width(of: Any) -> float:
        found = head_differences(of, detector, n_resamples=300)
        return float((found["high"] - found["low"]).mean())

    copied = SimpleNamespace(**vars(copies))
    copied.rows = alone.rows
    assert width(copies) > 1.15 * width(
        copied
    )  # groups of two equal images against forty images taken as single
    assert LinearReading.of(detector, store.readout).reads_embedding is False


def test_twins_are_neither_fakes_nor_photographs(store):
    detector = Detector("d", "embedding", LinearScore(np.linspace(-1, 1, 32), 0.5), 0.0, {})
    among = SimpleNamespace(**vars(store))
    among.rows = store.rows.assign(label=store.rows["label"].mask(store.rows["generator"] == "b", "twin"))
    without = np.flatnonzero(store.rows["generator"] != "b")
    expected = head_differences(store, detector, rows=without, n_resamples=20)
    pd.testing.assert_frame_equal(head_differences(among, detector, n_resamples=20), expected)
    twins = head_differences(among, detector, rows=np.r_[:10, 30:40], n_resamples=20)
    fakes = head_differences(store, detector, rows=np.r_[:10, 30:40], n_resamples=20)
    pd.testing.assert_frame_equal(twins, fakes)


def test_rows_of_one_class_are_refused(store):
    detector = Detector("d", "heads", LinearScore(np.ones(256), 0.0), 0.0, {})
    with pytest.raises(InputError, match="photographs and fakes"):
        head_differences(store, detector, rows=np.arange(10))
