"""Erasers as transformers: scikit-learn's checks, batches, parts, blocks, frames, routing, and what is refused."""

from __future__ import annotations

import pickle

import numpy as np
import pandas as pd
import pytest
import sklearn
import skops.io
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.utils.estimator_checks import parametrize_with_checks

from interp.analysis.generator_erasure import GeneratorErasure
from interp.analysis.leace import Leace
from interp.analysis.subspace_removal import MeanDifferenceRemoval, PcaRemoval
from interp.encoders.layout import HeadLayout
from interp.errors import InputError
from interp.evaluation.arms import Arm
from interp.protocol.roles import Split

# scikit-learn calls fit(X, y) alone: the label is then what is erased, or which rows are fakes. GeneratorErasure and
# MeanDifferenceRemoval cannot be checked so, since they need the generators' names.
CHECKED = [
    Leace(erase="label"),
    Leace(erase="label", method="orth", layout=1),
    Leace(erase="label", shrinkage=True),
    PcaRemoval(of="all"),
    PcaRemoval(),
]
GENERATORS = np.array(["real", "a", "b", "c", "d"])
LAYOUT = HeadLayout(2, 2, 3)


@parametrize_with_checks(CHECKED)
def test_scikit_learns_checks_pass(estimator, check):
    check(estimator)


@pytest.fixture(scope="module")
def rows():
    """X (300, 12), y, generator, content (unknown for photographs), part."""
    rng = np.random.default_rng(0)
    which = np.arange(300) % 5
    content = np.where(which == 0, None, np.array(["cat", "dog", "car"], object)[rng.integers(3, size=300)])
    X = rng.normal(size=(300, 12)) @ rng.normal(size=(12, 12)) + 2 * rng.normal(size=(5, 12))[which] + 4
    X += rng.normal(size=12) * (content == "dog")[:, None]
    part = np.array(["train", "select", "test", ""])[rng.choice(4, size=300, p=[0.5, 0.3, 0.1, 0.1])]
    return X, (which > 0).astype(int), GENERATORS[which], content, part


def context_of(eraser, rows):
    X, y, generator, content, part = rows
    known = {"generator": generator, "part": part}
    return (X, y, known | {"concept": content}) if isinstance(eraser, Leace) else (X, y, known)


ERASERS = [
    Leace(),
    Leace(keep="label", method="orth"),
    Leace(of="fakes", shrinkage=True, layout=LAYOUT),
    GeneratorErasure(),
    GeneratorErasure(layout=3),
    MeanDifferenceRemoval(k=2),
    PcaRemoval(k=2, layout=LAYOUT),
]


@pytest.mark.parametrize("eraser", ERASERS, ids=str)
def test_batches_give_what_all_rows_give(eraser, rows):
    X, y, context = context_of(eraser, rows)
    whole = clone(eraser).fit(X, y, **context)
    order = np.argsort(context["generator"], kind="stable")  # classes appear one after the other
    streamed = clone(eraser)
    for batch in np.array_split(order, 7):
        streamed.partial_fit(X[batch], y[batch], **{name: one[batch] for name, one in context.items()})
    assert streamed.n_rows_ == whole.n_rows_
    np.testing.assert_array_equal(streamed.rank_, whole.rank_)
    np.testing.assert_allclose(streamed.transform(X), whole.transform(X), atol=1e-9)
    np.testing.assert_allclose(streamed.moved_, whole.moved_)


@pytest.mark.parametrize("eraser", ERASERS, ids=str)
def test_test_rows_and_unknown_concepts_have_no_say(eraser, rows):
    X, y, context = context_of(eraser, rows)
    used = np.isin(context["part"], ("train", "select"))
    other = X.copy()
    other[~used] = 1e6
    fitted = clone(eraser).fit(other, y, **context)
    alone = clone(eraser).fit(X[used], y[used], **{name: one[used] for name, one in context.items()})
    np.testing.assert_allclose(fitted.transform(X), alone.transform(X), atol=1e-9)
    if "concept" in context:
        other[context["concept"] == None] = -1e6  # noqa: E711
        again = clone(eraser).fit(other, y, **context)
        np.testing.assert_allclose(again.transform(X), alone.transform(X), atol=1e-9)
    for forbidden in ("test", "held_out"):
        with pytest.raises(InputError, match=f"unknown part to fit an eraser on '{forbidden}'"):
            clone(eraser).set_params(parts=("train", forbidden)).fit(X, y, **context)


@pytest.mark.parametrize("eraser", ERASERS, ids=str)
def test_weights_pulled_back_score_as_on_erased_features(eraser, rows):
    X, y, context = context_of(eraser, rows)
    fitted = clone(eraser).fit(X, y, **context)
    coef = np.random.default_rng(1).normal(size=12)
    weights, intercept = fitted.pull_back(coef, 2.0)
    np.testing.assert_allclose(X @ weights + intercept, fitted.transform(X) @ coef + 2)
    kept = skops.io.dumps(fitted)
    unknown = skops.io.get_untrusted_types(data=kept)
    assert all(name.startswith("interp.") for name in unknown)
    for again in (pickle.loads(pickle.dumps(fitted)), skops.io.loads(kept, trusted=unknown)):
        np.testing.assert_array_equal(again.transform(X), fitted.transform(X))


@pytest.mark.parametrize("layout", [LAYOUT, 3, "heads"], ids=str)
def test_each_block_is_erased_on_its_own(layout, rows):
    X, _, generator, _, _ = rows
    frame = pd.DataFrame(X, index=[f"image {i}" for i in range(300)], columns=LAYOUT.columns)
    eraser = GeneratorErasure(layout=layout).set_output(transform="pandas").fit(frame, generator=generator)
    erased = eraser.transform(frame)
    assert list(erased.columns) == LAYOUT.columns and erased.index.equals(frame.index)
    assert list(eraser.get_feature_names_out()) == LAYOUT.columns and eraser.rank_.tolist() == [3] * 4
    for head in LAYOUT.names:
        own = X[:, LAYOUT.slice(head)]
        alone = GeneratorErasure().fit(own, generator=generator).transform(own)
        np.testing.assert_allclose(erased.to_numpy()[:, LAYOUT.slice(head)], alone, atol=1e-9)


def test_a_subspace_is_projected_away(rows):
    X, y, generator, _, _ = rows
    fakes = X[y == 1]
    first = np.linalg.svd(fakes - fakes.mean(0))[2][:3]
    removed = PcaRemoval(k=3).fit(X, y).transform(X)
    np.testing.assert_allclose(removed, X - (X - fakes.mean(0)) @ first.T @ first, atol=1e-9)
    all_of_them = MeanDifferenceRemoval().fit(X, generator=generator)
    orthogonal = GeneratorErasure(method="orth").fit(X, generator=generator)
    np.testing.assert_allclose(all_of_them.transform(X), orthogonal.transform(X), atol=1e-9)
    means = pd.DataFrame(all_of_them.transform(X)).groupby(generator).mean().drop("real")
    assert np.ptp(means, axis=0).max() < 1e-9


@pytest.mark.parametrize("eraser", [GeneratorErasure(), MeanDifferenceRemoval(), PcaRemoval()], ids=str)
def test_an_eraser_stands_in_an_arm(eraser, rows):
    X, y, generator, _, part = rows
    train, select, test = (np.flatnonzero(part == one) for one in ("train", "select", "test"))
    split = Split(("a", "b", "c", "d"), ("a",), ("b",), 0, 300, train, select, test)
    fitted = Arm("erased", "embedding", eraser).fit(X, y, split, generator)
    assert fitted.transformer.n_rows_ == ((y == 1) & np.isin(part, ("train", "select"))).sum()
    linear = fitted.linear()
    np.testing.assert_allclose(X @ linear.coef + linear.intercept, fitted.decision_function(X))


def test_what_to_erase_travels_by_metadata_routing(rows):
    X, y, generator, content, part = rows
    with sklearn.config_context(enable_metadata_routing=True):
        asks = set(Leace().get_metadata_routing().fit.requests)
        assert asks == {"concept", "part", "generator"}
        assert set(GeneratorErasure().get_metadata_routing().partial_fit.requests) == {"part", "generator"}
        pipeline = make_pipeline(
            GeneratorErasure().set_fit_request(generator=True, part=True),
            Leace(keep="label", of="fakes").set_fit_request(concept=True, part=True, generator=True),
            LogisticRegression(),
        )
        with pytest.raises(InputError, match="does not vary beyond"):
            pipeline.fit(X, y, generator=generator, part=part, concept=np.full(300, "cat"))
        pipeline.fit(X, y, generator=generator, part=part, concept=content)
    first = GeneratorErasure().fit(X, generator=generator, part=part)
    second = Leace(keep="label", of="fakes")
    second.fit(first.transform(X), y, concept=content, part=part, generator=generator)
    np.testing.assert_array_equal(pipeline[1].left_, second.left_)


@pytest.mark.parametrize(
    "eraser, change, message",
    [
        (Leace(), {"concept": None}, "needs concept="),
        (Leace(), {"concept": np.zeros(300, int)}, "does not vary among the 2"),
        (Leace(), {"concept": np.full(300, np.inf)}, "infinite"),
        (Leace(), {"concept": np.full((300, 2), "cat")}, "must hold numbers"),
        (Leace(keep="labels"), {}, "unknown keep 'labels'; did you mean 'label'"),
        (Leace(erase="label", keep="label"), {}, "both 'label'"),
        (Leace(method="ort"), {}, "did you mean 'orth'"),
        (Leace(of="fake"), {}, "did you mean 'fakes'"),
        (Leace(layout=5), {}, "must divide the columns"),
        (Leace(layout=HeadLayout(1, 2, 3)), {}, r"X must be \(n, 6\)"),
        (Leace(layout="heads"), {}, "pass a frame"),
        (Leace(), {"part": np.full(300, "test")}, "n_samples = 0"),
        (GeneratorErasure(), {"generator": None}, "needs generator="),
        (GeneratorErasure(), {"generator": GENERATORS[np.arange(300) % 3]}, r"Given 2 \(a, b\)"),
        (MeanDifferenceRemoval(k=0), {}, "k must be at least 1"),
        (PcaRemoval(k=12), {}, "less than the 12 columns"),
    ],
    ids=lambda one: str(one) if isinstance(one, str) else "",
)
def test_what_cannot_be_erased_is_refused(eraser, change, message, rows):
    X, y, context = context_of(eraser, rows)
    with pytest.raises(InputError, match=message):
        eraser.fit(X, y, **context | change)


def test_a_stream_that_does_not_suffice_yet_refuses_to_transform(rows):
    X, _, generator, _, _ = rows
    eraser = GeneratorErasure()
    for one, more in (("a", "needs 3"), ("b", "needs 3"), ("c", None)):
        eraser.partial_fit(X[generator == one], generator=generator[generator == one])
        if more:
            with pytest.raises(InputError, match=more):
                eraser.transform(X)
    assert eraser.transform(X).shape == X.shape


def test_batches_must_agree_on_what_a_concept_is(rows):
    X, _, _, _, _ = rows
    for first, then in (
        (np.arange(300) % 3, np.arange(300.0)),
        (np.arange(300.0), np.arange(300) % 3),
        (np.ones((300, 2)), np.ones((300, 1))),
    ):
        with pytest.raises(InputError, match="give classes in all batches"):
            Leace().partial_fit(X, concept=first).partial_fit(X, concept=then)
