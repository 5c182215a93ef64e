"""Quality regression: prompts through the tower, the code form as an MLP, the cosine form, saving, wrong uses."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr

from interp.detectors.clip_agiqa import ClipAgiqa
from interp.detectors.prompts import LearnablePrompts
from interp.detectors.quality_head import QualityHead
from interp.errors import InputError
from interp.explain.text_encoder import TextEncoder, load_text_encoder

rng = np.random.default_rng(0)


@pytest.fixture(scope="module")
def text() -> TextEncoder:
    return load_text_encoder("embedded", device="cpu")


@pytest.fixture(scope="module")
def rated(text) -> tuple[np.ndarray, np.ndarray]:
    """Embeddings whose first coordinate is their quality, and opinions from 1 to 5."""
    X = rng.normal(size=(90, text.width)) + 3 * np.eye(text.width)[1]
    X[:, 0] += 6 * np.linspace(-1, 1, 90)
    return X, 3 + 2 * np.linspace(-1, 1, 90)


def test_context_of_a_phrases_own_vectors_is_that_phrase(text):
    prompts = LearnablePrompts(text, ["good"], context=3)
    ids = text.tokenizer(["a photo of good."])["input_ids"][0]
    assert len(ids) == 3 + len(text.tokenizer(["good."])["input_ids"][0])
    embedding = text.model.text_model.embeddings.token_embedding
    with torch.no_grad():
        prompts.context.copy_(embedding(torch.tensor(ids[1:4])))
        found = prompts().numpy()
    np.testing.assert_allclose(found, text(["a photo of good."]), atol=1e-5)
    assert not embedding._forward_hooks


def test_only_the_context_is_trained_and_words_differ(text):
    prompts = LearnablePrompts(text, ["good", "terrible"], context=4)
    assert [name for name, _ in prompts.named_parameters()] == ["context"]
    found = prompts()
    torch.testing.assert_close(found.norm(dim=1), torch.ones(2))
    (found[0] - found[1]).square().sum().backward()
    assert prompts.context.grad is not None and prompts.context.grad.abs().max() > 0
    assert not any(p.requires_grad for p in text.model.parameters())


@pytest.fixture(scope="module")
def trained(text, rated) -> ClipAgiqa:
    X, y = rated
    return ClipAgiqa(text, hidden=16, context=4, epochs=3, rate=0.02).fit(X, y)


def test_the_code_form_is_an_mlp_on_the_image_embedding(text, rated, trained):
    X, _ = rated
    prompts = LearnablePrompts(text, trained.words, trained.context)
    with torch.no_grad():
        prompts.context.copy_(torch.from_numpy(trained.context_))
        texts = prompts().numpy()
    unit = X / np.linalg.norm(X, axis=1, keepdims=True)
    joined = np.concatenate([unit, np.tile(texts.ravel(), (len(X), 1))], axis=1)
    hidden = np.maximum(joined @ trained.first_weight_.T + trained.first_bias_, 0)
    weights = trained.head_.weights
    whole = (hidden @ weights["last_weight"].T + weights["last_bias"])[:, 0]
    assert np.abs(whole - trained.predict(X)).max() <= 1e-5
    assert np.ptp(whole) > 1e-3


def test_the_cosine_form_is_the_expected_level_and_learns(text, rated):
    y = rated[1]
    ends = text(["terrible.", "perfect."])
    X = 0.5 * rng.normal(size=(90, text.width)) + 3 * ends[0] + np.outer(10 * (y - 3), ends[1] - ends[0])
    before = ClipAgiqa(text, "cosine", context=4, epochs=1, scale=20).fit(X, y)
    after = ClipAgiqa(text, "cosine", context=4, epochs=8, rate=0.05, scale=20).fit(X, y)
    cosines = X / np.linalg.norm(X, axis=1, keepdims=True) @ after.prompts_.T
    share = np.exp(20 * (cosines - cosines.max(1, keepdims=True)))
    expected = (share / share.sum(1, keepdims=True)) @ after.head_.weights["levels"]
    np.testing.assert_allclose(after.predict(X), expected, atol=1e-4)
    assert ((after.predict(X) - y) ** 2).mean() < 0.6 * ((before.predict(X) - y) ** 2).mean()


def test_select_rows_choose_the_epoch(text, rated):
    X, y = rated
    part = np.where(np.arange(90) % 3 == 0, "select", "train")
    fitted = ClipAgiqa(text, hidden=16, context=4, epochs=4, rate=0.02).fit(X, y, part=part)
    one = ClipAgiqa(text, hidden=16, context=4, epochs=1, rate=0.02).fit(X, y, part=part)
    select = part == "select"
    reached = [spearmanr(model.predict(X[select]), y[select])[0] for model in (fitted, one)]
    assert 0 <= fitted.epoch_ < 4 and reached[0] >= reached[1] - 1e-9


def test_one_seed_one_model_and_it_is_saved_without_the_tower(text, rated, trained, tmp_path):
    X, y = rated
    again = ClipAgiqa(text, hidden=16, context=4, epochs=3, rate=0.02).fit(X, y)
    np.testing.assert_array_equal(again.predict(X), trained.predict(X))
    path = trained.head_.save(tmp_path / "quality.safetensors")
    np.testing.assert_array_equal(QualityHead.load(path).predict(X), trained.predict(X))
    with pytest.raises(InputError, match="must end in .safetensors"):
        trained.head_.save(tmp_path / "quality.pt")
    (tmp_path / "other.safetensors").write_bytes(b"nothing")
    with pytest.raises(InputError, match="is no quality head"):
        QualityHead.load(tmp_path / "other.safetensors")


def test_wrong_uses_say_what_to_do(text, rated):
    X, y = rated
    with pytest.raises(
        InputError, match="need text=, the text tower of the encoder .* regress on heads instead"
    ):
        ClipAgiqa().fit(X, y)
    with pytest.raises(InputError, match="X has 5 columns, the text tower writes 128"):
        ClipAgiqa(text, context=4).fit(X[:, :5], y)
    with pytest.raises(InputError, match="give context=2[0-9] or fewer"):
        ClipAgiqa(text, context=40).fit(X, y)
    with pytest.raises(InputError, match="unknown form 'cosin'; did you mean 'cosine'"):
        ClipAgiqa(text, "cosin").fit(X, y)
    with pytest.raises(InputError, match="part= needs some of both"):
        ClipAgiqa(text, context=4).fit(X, y, part=np.full(90, "train"))
    with pytest.raises(InputError, match="a quality head holds"):
        QualityHead({"weights": np.ones(3)})
