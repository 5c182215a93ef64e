"""The text tower gives what the whole CLIP gives, from a folder, offline."""

from __future__ import annotations

import string

import numpy as np
import pytest
import torch
from transformers import CLIPConfig, CLIPModel, CLIPTokenizer

from interp.errors import InputError
from interp.explain.text_encoder import TEMPLATES, TextEncoder, load_text_encoder, unit_rows

TEXTS = ["cat", "a dog on the beach", "jpeg", "waxy skin and extra fingers"]


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    """A whole CLIP with random weights and a tokenizer of letters, saved in one folder."""
    start, end = "<|startoftext|>", "<|endoftext|>"
    letters = [c + tail for c in string.ascii_lowercase for tail in ("", "</w>")]
    tokenizer = CLIPTokenizer(
        vocab={token: i for i, token in enumerate([start, end, *letters])}, merges=[], model_max_length=40
    )
    text = {"hidden_size": 24, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 2}
    text |= {"vocab_size": len(tokenizer), "max_position_embeddings": 40, "projection_dim": 20}
    text |= {"bos_token_id": 0, "eos_token_id": 1, "pad_token_id": 1}
    vision = {"hidden_size": 24, "intermediate_size": 48, "num_hidden_layers": 1, "num_attention_heads": 2}
    vision |= {"image_size": 16, "patch_size": 8, "projection_dim": 20}
    torch.manual_seed(0)
    model = CLIPModel(CLIPConfig(text_config=text, vision_config=vision, projection_dim=20)).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.2)
    folder = tmp_path_factory.mktemp("clip")
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return model, tokenizer, folder


def one_by_one(model, tokenizer, sentences):
    """Unit embeddings by the whole model's own method, without any padding."""
    with torch.inference_mode():
        found = [model.get_text_features(**tokenizer([s], return_tensors="pt")) for s in sentences]
    rows = torch.cat([getattr(one, "pooler_output", one) for one in found]).numpy()
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def test_a_loaded_tower_gives_what_the_whole_model_gives(clip):
    model, tokenizer, folder = clip
    encoder = load_text_encoder(folder, device="cpu")
    found = encoder(TEXTS, batch_size=3)
    assert found.shape == (4, encoder.width) == (4, 20) and found.dtype == np.float32
    np.testing.assert_allclose(found, one_by_one(model, tokenizer, TEXTS), atol=1e-5)
    np.testing.assert_allclose(TextEncoder(model, tokenizer)(TEXTS), found, atol=1e-6)
    assert np.abs(found[0] - found[1]).max() > 1e-3


def test_templates_are_averaged_and_brought_to_length_one(clip):
    model, tokenizer, _ = clip
    found = TextEncoder(model, tokenizer)(TEXTS, TEMPLATES)
    sentences = [one_by_one(model, tokenizer, [t.format(x) for x in TEXTS]) for t in TEMPLATES]
    np.testing.assert_allclose(found, unit_rows(np.mean(sentences, axis=0)), atol=1e-5)


def test_what_was_embedded_once_is_read_from_the_cache(clip, tmp_path):
    model, tokenizer, _ = clip
    encoder = TextEncoder(model, tokenizer, cache=tmp_path)
    first = encoder(TEXTS)
    (file,) = tmp_path.iterdir()
    np.save(file, first + 1)  # so that only the file can give it
    np.testing.assert_array_equal(TextEncoder(model, tokenizer, cache=tmp_path)(TEXTS), first + 1)
    encoder(TEXTS[:2])
    encoder(TEXTS, TEMPLATES)
    assert len(list(tmp_path.iterdir())) == 3
    other = CLIPModel(model.config)
    assert np.abs(TextEncoder(other, tokenizer, cache=tmp_path)(TEXTS) - first).max() < 2.1
    assert len(list(tmp_path.iterdir())) == 4


def test_a_text_that_is_too_long_is_cut(clip):
    model, tokenizer, _ = clip
    encoder = TextEncoder(model, tokenizer)
    np.testing.assert_allclose(encoder(["ab " * 40]), encoder(["ab " * 60]), atol=1e-6)


@pytest.mark.parametrize(
    ("texts", "templates", "words"),
    [
        ([], ["{}"], "one or more"),
        (["cat", " "], ["{}"], "text 1"),
        (["cat"], ["a photo"], "holds one"),
        (["c"], [], "holds"),
    ],
)
def test_empty_texts_and_templates_are_refused(clip, texts, templates, words):
    model, tokenizer, _ = clip
    with pytest.raises(InputError, match=words):
        TextEncoder(model, tokenizer)(texts, templates)


def test_models_without_a_text_tower_are_refused(clip, tmp_path):
    model, tokenizer, _ = clip
    with pytest.raises(InputError, match="no text tower"):
        TextEncoder(model.vision_model, tokenizer)
    model.vision_model.config.save_pretrained(tmp_path)
    with pytest.raises(InputError, match="named_directions"):
        load_text_encoder(tmp_path)
    with pytest.raises(InputError, match="no folder with a config.json"):
        load_text_encoder(tmp_path / "absent")


def test_weights_without_the_text_tower_are_refused(clip, tmp_path):
    from safetensors.torch import save_file

    model, tokenizer, _ = clip
    model.config.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    state = {k: v.clone() for k, v in model.state_dict().items() if not k.startswith("text_projection")}
    save_file(state, tmp_path / "model.safetensors", {"format": "pt"})
    with pytest.raises(InputError, match="lack 1 tensors .*text_projection"):
        load_text_encoder(tmp_path)
