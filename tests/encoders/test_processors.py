"""A model in a folder with the processor that its family is published with: the same pixels, the same embedding."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from tiny_models import PIXELS, SHAPE, make, run
from torch.nn import functional as F
from transformers import AutoImageProcessor, PixioConfig, PixioModel

from interp.encoders.encoder import Encoder
from interp.encoders.families import Family, family
from interp.encoders.loading import load_encoder
from interp.errors import InputError
from interp.features.extract import extract
from interp.images.image_set import ImageSet
from interp.images.preprocess import Preprocessing

IMAGENET = {"image_mean": [0.485, 0.456, 0.406], "image_std": [0.229, 0.224, 0.225]}
SQUARE = {"height": 32, "width": 32}
PROCESSORS = {
    "dinov2": {
        "image_processor_type": "BitImageProcessor",
        "size": {"shortest_edge": 37},
        "crop_size": SQUARE,
        "resample": 3,
        "do_convert_rgb": True,
        **IMAGENET,
    },
    "siglip": {
        "image_processor_type": "SiglipImageProcessor",
        "size": SQUARE,
        "resample": 3,
        "do_convert_rgb": None,
        "processor_class": "SiglipProcessor",
        "image_mean": [0.5] * 3,
        "image_std": [0.5] * 3,
    },
    "metaclip2": {
        "image_processor_type": "CLIPImageProcessor",
        "size": {"shortest_edge": 32},
        "crop_size": SQUARE,
    },
    "beit-mean": {
        "image_processor_type": "BeitImageProcessor",
        "size": SQUARE,
        "crop_size": SQUARE,
        "do_center_crop": False,
        "do_reduce_labels": False,
        "resample": 2,
    },
    "ijepa": {"image_processor_type": "ViTImageProcessor", "size": SQUARE, **IMAGENET},
    "vit-msn": {"image_processor_type": "ViTImageProcessor", "size": SQUARE, "resample": 2, **IMAGENET},
    "aimv2-whole": {
        "image_processor_type": "CLIPImageProcessor",
        "size": {"shortest_edge": 32},
        "crop_size": SQUARE,
    },
}
DINOV3 = {"image_processor_type": "DINOv3ViTImageProcessorFast", "size": SQUARE, **IMAGENET}


@pytest.fixture
def save(tmp_path):
    """Write a tiny model and a processor's configuration as they lie on the hub."""

    def save(name: str, processor: dict):
        model = make(name)
        model.save_pretrained(tmp_path / name)
        (tmp_path / name / "preprocessor_config.json").write_text(json.dumps(processor))
        return model, tmp_path / name

    return save


def picture(width: int, height: int) -> Image.Image:
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8))


@pytest.mark.parametrize("name", PROCESSORS)
def test_pixels_equal_those_of_transformers_own_processor(name, save):
    model, folder = save(name, PROCESSORS[name])
    encoder, processor = load_encoder(folder, device="cpu"), AutoImageProcessor.from_pretrained(folder)
    for image in (picture(70, 50), picture(33, 64)):
        theirs = processor(image, return_tensors="pt")["pixel_values"]
        ours = encoder.pixel_values([image])
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(encoder.record(ours).embedding, run(model, theirs), rtol=1e-4, atol=1e-4)
    assert encoder.decompose(ours).error().max() <= 1e-5


def test_dinov3_pixels_are_within_a_grey_level_of_its_unrounded_resize(save):
    """Its processor needs torchvision, whose resize of tensors is torch's antialiased bilinear interpolation."""
    _, folder = save("dinov3", DINOV3)
    encoder = load_encoder(folder, device="cpu")
    mean, std = (torch.tensor(IMAGENET[key])[:, None, None] for key in ("image_mean", "image_std"))
    for image in (picture(70, 50), picture(20, 64)):
        grey = torch.from_numpy(np.array(image)).permute(2, 0, 1)[None] / 255
        theirs = F.interpolate(grey, (32, 32), mode="bilinear", antialias=True, align_corners=False)
        levels = (encoder.pixel_values([image]) - (theirs - mean) / std) * std * 255
        assert levels.abs().max() <= 1.01 and levels.abs().mean() < 0.5
    assert encoder.preprocessing == Preprocessing.from_config(DINOV3)
    assert encoder.preprocessing.spec()["resample"] == "bilinear"


def test_another_pooling_of_a_known_family_loads(save, pixels):
    model, folder = save("dinov2-registers", PROCESSORS["dinov2"])
    pooled = replace(family("dinov2_with_registers"), pooling="mean", prefix_tokens=3)
    found = load_encoder(folder, device="cpu", family=pooled).record(pixels).embedding
    expected = model(pixel_values=pixels).last_hidden_state[:, 3:].mean(1)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


def test_a_model_type_not_known_loads_through_a_users_family(tmp_path, pixels):
    torch.manual_seed(0)
    model = PixioModel(PixioConfig(**SHAPE, **PIXELS, n_cls_tokens=1)).eval()
    model.save_pretrained(tmp_path)
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(PROCESSORS["ijepa"]))
    with pytest.raises(InputError, match=r"'pixio' model; .*not known here.*Known model types.*family="):
        load_encoder(tmp_path)
    names = {"tower": "PixioModel", "block": "PixioLayer", "attention": "PixioAttention", "mlp": "PixioMLP"}
    described = Family("pixio", output_projection="o_proj", final_norm="layernorm", **names)
    parts = load_encoder(tmp_path, device="cpu", family=described).decompose(pixels)
    torch.testing.assert_close(parts.embedding, model(pixels).pooler_output, rtol=1e-4, atol=1e-5)
    assert parts.error().max() <= 1e-5


def test_siglip2_of_any_shape_is_refused_with_what_loads(tmp_path):
    from transformers import Siglip2Config

    Siglip2Config().save_pretrained(tmp_path)
    with pytest.raises(InputError, match=r"'siglip2' model.*siglip2-base-patch16-224.*HeadRecorder"):
        load_encoder(tmp_path)


@pytest.mark.parametrize("name", ["ijepa", "siglip", "dinov2"])
def test_a_store_of_another_family_gives_the_same_head_embeddings(name, tmp_path):
    for i in range(6):
        picture(40 + i, 36).save(tmp_path / f"{i}.png")
    images = ImageSet.from_folder(tmp_path)
    encoder = Encoder(make(name), Preprocessing.clip(32), name=name)
    store = extract(images, encoder, tmp_path / "store", workers=0, store_dtype="float32", progress=False)
    opened = [Image.open(images.path(key)).convert("RGB") for key in store.rows.index]
    parts = encoder.decompose(encoder.pixel_values(opened))
    np.testing.assert_allclose(store.head_embeddings().reshape(parts.heads.shape), parts.heads, atol=1e-4)
    np.testing.assert_allclose(store.embedding(), parts.embedding, atol=1e-4)
    np.testing.assert_allclose(
        store.embedding(without=["L0.MLP"]), parts.embedding - parts.mlps[:, 0], atol=1e-4
    )
