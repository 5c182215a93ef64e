"""Loading is strict: right class, no missing weight, right activation, an error that says what to do."""

from __future__ import annotations

import json

import pytest
import torch
from tiny_models import LOADABLE, make, run

from interp.encoders.encoder import as_device, as_dtype
from interp.encoders.loading import load_encoder
from interp.errors import InputError
from interp.images.preprocess import Preprocessing

PROCESSOR = {
    "image_processor_type": "CLIPImageProcessor",
    "size": {"shortest_edge": 32},
    "crop_size": {"height": 32, "width": 32},
    "resample": 3,
    "image_mean": [0.5, 0.5, 0.5],
    "image_std": [0.5, 0.5, 0.5],
}


@pytest.fixture
def save(tmp_path):
    """Write a tiny model as a user would have it on disk."""

    def save(name: str, folder: str = "model"):
        model = make(name)
        model.save_pretrained(tmp_path / folder)
        (tmp_path / folder / "preprocessor_config.json").write_text(json.dumps(PROCESSOR))
        return model, tmp_path / folder

    return save


@pytest.mark.parametrize("name", LOADABLE)
def test_a_saved_model_of_each_family_loads_with_its_own_numbers(name, save, pixels):
    model, folder = save(name)
    encoder = load_encoder(folder, device="cpu")
    torch.testing.assert_close(encoder.record(pixels).embedding, run(model, pixels))
    assert encoder.decompose(pixels).error().max() <= 1e-5
    assert encoder.preprocessing.crop == (32, 32)
    assert encoder.name == "model"


def test_the_weight_hash_follows_the_weights(save, pixels):
    _, folder = save("clip-gelu")
    first = load_encoder(folder).weight_hash
    assert load_encoder(folder).weight_hash == first
    model = make("clip-gelu", seed=1)
    model.save_pretrained(folder)
    assert load_encoder(folder).weight_hash != first


def test_missing_weights_are_an_error_that_names_them(save):
    from safetensors.torch import load_file, save_file

    _, folder = save("clip-gelu")
    path = folder / "model.safetensors"
    tensors = load_file(path)
    tensors.pop(next(k for k in tensors if "layers.2.mlp.fc1.weight" in k))
    save_file(tensors, path, metadata={"format": "pt"})
    with pytest.raises(InputError, match=r"lack 1 of the tensors.*layers\.2\.mlp\.fc1\.weight"):
        load_encoder(folder)


def test_a_known_checkpoint_with_the_wrong_activation_is_refused(save):
    _, folder = save("clip-gelu", "clip-vit-large-patch14")
    with pytest.raises(InputError, match="clip-vit-large-patch14 was trained with 'quick_gelu'"):
        load_encoder(folder)
    _, folder = save("clip-quick-gelu", "CLIP-ViT-B-32-laion2B-s34B-b79K")
    with pytest.raises(InputError, match="trained with 'gelu'"):
        load_encoder(folder)


def test_another_architecture_says_what_is_possible(tmp_path):
    from transformers import ResNetConfig

    ResNetConfig().save_pretrained(tmp_path)
    with pytest.raises(InputError, match=r"'resnet' model.*Known model types: clip, .*dinov2, .*Family"):
        load_encoder(tmp_path)


def test_folders_and_names_that_do_not_exist(tmp_path, monkeypatch):
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="holds no config.json"):
        load_encoder(tmp_path / "empty")
    with pytest.raises(InputError, match=r"unknown encoder folder .*did you mean '.*/empty'"):
        load_encoder(tmp_path / "emtpy")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(InputError, match=r"hf download.*did you mean 'openai/clip-vit-large-patch14'"):
        load_encoder("openai/clip-vit-large-patch15")


def test_devices_and_dtypes_are_checked():
    assert as_dtype("bf16") is torch.bfloat16
    with pytest.raises(InputError, match="did you mean 'float16'"):
        as_dtype("flot16")
    with pytest.raises(InputError, match="cannot be used here"):
        as_device("cuda:99")


def test_an_encoder_from_a_hub_processor_equals_the_processor(save):
    """The same folder through `transformers`' own Pillow processor gives the same pixel values to one level."""
    import numpy as np
    from PIL import Image
    from transformers import CLIPImageProcessorPil

    _, folder = save("clip-gelu")
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (50, 70, 3), dtype=np.uint8))
    theirs = CLIPImageProcessorPil.from_pretrained(folder)(image, return_tensors="pt")["pixel_values"]
    ours = load_encoder(folder, device="cpu").pixel_values([image])
    assert (ours - theirs).abs().max() <= 1.01 / 255 / 0.5
    assert Preprocessing.of(folder).spec()["backend"] == "pillow"
