"""Every system of the registry keeps one contract: parts, labels, saving without pickle, names, wrong uses."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from sklearn.base import clone

from interp.detectors import systems
from interp.detectors.component_removal import ComponentRemoval
from interp.detectors.detector import Detector, load_detector, responses
from interp.detectors.rine import Rine
from interp.detectors.systems import SYSTEMS, features_of, make_system
from interp.encoders.layout import HeadLayout
from interp.errors import InputError
from interp.protocol.metrics import auc

LAYOUT, P = HeadLayout(2, 3, 4), 8
rng = np.random.default_rng(0)
Y = np.arange(300) % 2
PART = np.random.default_rng(1).choice(["train", "select", ""], 300)
GENERATOR = np.where(Y == 0, "real", np.resize(["a", "b"], 300))
FOLD = rng.normal(size=(2, 3, 4, P))
HEADS = rng.normal(size=(300, LAYOUT.size)) + np.eye(LAYOUT.size)[5] * 3 * Y[:, None]
EMBEDDING = HEADS @ FOLD.reshape(-1, P) + 0.5
TOKENS = rng.normal(size=(300, 2 * P)) + np.eye(2 * P)[3] * 6 * Y[:, None]
FEATURES = {
    "embedding": EMBEDDING,
    "heads": HEADS,
    "layers": TOKENS,
    "before_mlp": TOKENS,
    "next_to_last": EMBEDDING,
    "embedding_and_heads": np.concatenate([EMBEDDING, HEADS], axis=1),
}
STORE = SimpleNamespace(
    layout=LAYOUT,
    readout=SimpleNamespace(folded=torch.from_numpy(FOLD)),
    key={"encoder": {"name": "tiny"}},
)
TEXTS = rng.normal(size=(3, P))


def built(name: str, seed: int = 0):
    system = make_system(name, STORE, texts=TEXTS, random_state=seed)  # type: ignore[arg-type]
    if name.startswith("best_heads"):
        return system.set_params(layout=LAYOUT)
    if name == "universal_fake_detect":
        return system.set_params(rate=0.01, epochs=10, steps=20)
    if name == "mixture_of_layers":
        return system.set_params(decays=0.1, steps=60)
    return system.set_params(hidden=32, depth=1, steps=100) if isinstance(system, Rine) else system


@pytest.fixture(scope="module", params=sorted(SYSTEMS))
def fitted(request):
    system = built(request.param)
    X = FEATURES[features_of(system)]
    return request.param, system.fit(X, Y, part=PART, generator=GENERATOR), X


def test_it_finds_what_was_planted_on_rows_that_it_did_not_see(fitted):
    name, system, X = fitted
    unseen = PART == ""
    least = 0.65 if name == "nearest_neighbour" else 0.75
    assert auc(Y[unseen], system.decision_function(X[unseen])) > least, name
    assert np.isfinite(system.threshold_)


def test_rows_of_no_part_do_not_matter(fitted):
    name, system, X = fitted
    other, labels = X.copy(), Y.copy()
    other[PART == ""], labels[PART == ""] = 99.0, 1 - Y[PART == ""]
    generator = np.where(labels == 0, "real", GENERATOR)
    generator[(labels == 1) & (generator == "real")] = "a"
    again = clone(system).fit(other, labels, part=PART, generator=generator)
    np.testing.assert_array_equal(again.decision_function(X), system.decision_function(X))


def test_it_is_saved_without_pickle_and_scores_the_same(fitted, tmp_path):
    name, system, X = fitted
    folder = Detector(name, features_of(system), system, system.threshold_, {}).save(tmp_path / name)
    assert not [p for p in folder.iterdir() if p.suffix in (".pkl", ".joblib", ".pt")]
    again = load_detector(folder)
    np.testing.assert_array_equal(responses(again.model, X), responses(system, X))


def test_labels_of_words_give_the_same_scores(fitted):
    name, system, X = fitted
    words = clone(system).fit(X, np.where(Y == 1, "fake", "real"), part=PART, generator=GENERATOR)
    assert list(words.classes_) == ["fake", "real"]
    np.testing.assert_allclose(words.decision_function(X), -system.decision_function(X))
    np.testing.assert_allclose(responses(words, X), system.decision_function(X))
    agree = (words.predict(X) == "fake") == system.predict(X)
    assert agree.mean() > 0.98  # a score at the threshold itself changes sides


def test_one_class_is_refused(fitted):
    name, system, X = fitted
    with pytest.raises(InputError, match="only one class"):
        clone(system).fit(X, np.ones(len(X), int))
    part = np.where(PART == "", "select", np.where(Y == 1, "train", "select"))
    with pytest.raises(InputError, match="needs photographs and fakes among its train rows"):
        clone(system).fit(X, Y, part=part)


def test_wrong_names_and_missing_texts_say_what_to_do():
    with pytest.raises(InputError, match="unknown system 'rinne'; did you mean 'rine'"):
        make_system("rinne", STORE)  # type: ignore[arg-type]
    with pytest.raises(
        InputError, match="an encoder without one, such as a ViT or DeiT, cannot have this system"
    ):
        make_system("text_null_space", STORE)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="clip_finetune needs images, which a feature store does not hold"):
        make_system("clip_finetune", STORE)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="lare needs maps of latent reconstruction error"):
        seen = SimpleNamespace(**vars(STORE), images=(), maps=None, encoder="embedded")
        make_system("lare", seen)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="unknown method 'head_sum'; did you mean 'heads_sum'"):
        ComponentRemoval("head_sum").fit(EMBEDDING, Y)
    with pytest.raises(InputError, match="chooses on select rows"):
        ComponentRemoval("intersection").fit(EMBEDDING, Y)
    with pytest.raises(InputError, match="selects on 'a' and needs generator="):
        ComponentRemoval(select_generators="a").fit(EMBEDDING, Y)
    with pytest.raises(InputError, match="cannot be divided so"):
        Rine(layers=5).fit(TOKENS, Y)


def test_a_system_of_ones_own_is_one_class_and_one_line(monkeypatch):
    class MeanDifference:
        def fit(self, X, y):
            self.coef_ = X[y == 1].mean(0) - X[y == 0].mean(0)
            return self

        def decision_function(self, X):
            return X @ self.coef_

    monkeypatch.setitem(systems.SYSTEMS, "mine", MeanDifference)
    mine = make_system("mine", STORE)  # type: ignore[arg-type]
    assert features_of(mine) == "embedding"
    assert auc(Y, mine.fit(EMBEDDING, Y).decision_function(EMBEDDING)) > 0.7
