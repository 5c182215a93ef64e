"""Preprocessing against the processors of transformers, pixel by pixel."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from interp.errors import InputError
from interp.images.decode import read_image
from interp.images.preprocess import Preprocessing

SIDES = st.integers(1, 90)
COLOURS = st.lists(st.floats(0.1, 0.9), min_size=3, max_size=3)
CONFIGS = st.fixed_dictionaries(
    {
        "image_processor_type": st.sampled_from(
            ["CLIPImageProcessor", "ViTImageProcessor", "DeiTImageProcessor"]
        )
    },
    optional={
        "size": st.builds(lambda edge: {"shortest_edge": edge}, SIDES)
        | st.builds(lambda height, width: {"height": height, "width": width}, SIDES, SIDES)
        | SIDES,
        "crop_size": st.builds(lambda height, width: {"height": height, "width": width}, SIDES, SIDES)
        | SIDES,
        "resample": st.integers(0, 5),
        "do_resize": st.booleans(),
        "do_center_crop": st.booleans(),
        "do_rescale": st.booleans(),
        "do_normalize": st.booleans(),
        "rescale_factor": st.sampled_from([1 / 255, 1 / 127.5]),
        "image_mean": COLOURS | st.just(0.5),
        "image_std": COLOURS | st.just(0.5),
    },
).filter(lambda config: "crop_size" in config or not config.get("do_center_crop") or "ViT" not in str(config))


def noise(width: int, height: int, seed: int = 0) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8))


def reference(config: dict, image: Image.Image, **changes: object) -> np.ndarray:
    kind = getattr(transformers, config["image_processor_type"] + "Pil")
    return np.asarray(kind(**config)(image, **changes)["pixel_values"][0])


@given(CONFIGS, SIDES, SIDES)
def test_equal_to_the_processors_of_transformers(config: dict, width: int, height: int) -> None:
    image = noise(width, height)
    steps = Preprocessing.from_config(config)
    grey = reference(config, image, do_rescale=False, do_normalize=False)
    pixels = steps.apply(image)
    assert pixels.dtype == np.uint8 and pixels.flags.c_contiguous
    assert np.array_equal(pixels, grey)
    values = steps.normalize(torch.from_numpy(pixels)[None])[0].numpy()
    np.testing.assert_allclose(values, reference(config, image), rtol=1e-5, atol=1e-4 * np.abs(values).max())


@given(SIDES, SIDES, st.integers(1, 120))
def test_clip_is_the_default_of_its_processor(width: int, height: int, size: int) -> None:
    config = {"image_processor_type": "CLIPImageProcessor", "size": size, "crop_size": size}
    assert Preprocessing.from_config(config) == Preprocessing.clip(size)
    expected = reference(config, noise(width, height), do_rescale=False, do_normalize=False)
    assert np.array_equal(Preprocessing.clip(size).apply(noise(width, height)), expected)


def test_real_images_through_a_real_configuration(shared: Path) -> None:
    folder = shared / "models/deit-tiny"
    steps = Preprocessing.of(folder)
    assert steps == Preprocessing.from_config(folder) and steps.resize == 256 and steps.crop == (224, 224)
    processor = transformers.CLIPImageProcessorPil.from_pretrained(folder)
    for path in [
        *sorted((shared / "corpus/bsds500").rglob("*.jpg"))[:2],
        *sorted((shared / "corpus").rglob("*.png"))[:2],
    ]:
        image = read_image(path).pixels
        values = steps.normalize(torch.from_numpy(steps.apply(image))[None])
        expected = processor(image, return_tensors="pt")["pixel_values"]
        assert torch.allclose(values, expected, atol=1e-5)


def test_values_are_computed_in_fp32_and_rounded_once() -> None:
    pixels = torch.arange(256, dtype=torch.uint8).repeat(3, 1)[None, :, None]
    steps = Preprocessing.clip()
    exact = (pixels.double() / 255 - torch.tensor(steps.mean)[:, None, None]) / torch.tensor(steps.std)[
        :, None, None
    ]
    kept, values = pixels.clone(), steps.normalize(pixels)
    assert values.dtype == torch.float32 and torch.equal(pixels, kept)
    assert (values - exact).abs().max() < 1e-6
    mean, std = torch.tensor([steps.mean, steps.std])[:, :, None, None]
    assert torch.equal(values, (pixels.float() * steps.scale - mean) / std)  # bit for bit, without its copies
    for dtype in (torch.float16, torch.bfloat16):
        assert torch.equal(steps.normalize(pixels, dtype), steps.normalize(pixels).to(dtype))


@given(CONFIGS)
def test_specifications_are_json_and_tell_settings_apart(config: dict) -> None:
    one, clip = Preprocessing.from_config(config), Preprocessing.clip()
    assert json.loads(json.dumps(one.spec())) == one.spec()
    assert one.spec()["backend"] == "pillow"
    assert (one.spec() == clip.spec()) == (one == clip)


def test_folders_that_save_pretrained_wrote(tmp_path: Path) -> None:
    transformers.ViTImageProcessorPil(size={"height": 32, "width": 48}).save_pretrained(tmp_path / "vit")
    assert Preprocessing.of(tmp_path / "vit").resize == (32, 48)
    assert Preprocessing.of(str(tmp_path / "vit")).mean == (0.5, 0.5, 0.5)


def test_the_model_names_the_processor_where_the_file_does_not(tmp_path: Path) -> None:
    transformers.ViTConfig().save_pretrained(tmp_path)
    (tmp_path / "preprocessor_config.json").write_text(json.dumps({"size": 32, "resample": 2}))
    assert Preprocessing.of(tmp_path) == Preprocessing.from_config(
        {"image_processor_type": "ViTImageProcessor", "size": {"height": 32, "width": 32}}
    )


def test_without_a_type_every_step_must_be_said() -> None:
    flags = dict.fromkeys(("do_resize", "do_center_crop", "do_rescale", "do_normalize"), False)
    image = noise(5, 4)
    assert np.array_equal(Preprocessing.from_config(flags).apply(image), np.asarray(image).transpose(2, 0, 1))
    del flags["do_center_crop"]
    with pytest.raises(InputError, match=r"leaves out do_center_crop.*image_processor_type"):
        Preprocessing.from_config(flags)


CLIP = {"image_processor_type": "CLIPImageProcessor"}


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({**CLIP, "do_pad": True}, "do_pad=True"),
        ({**CLIP, "do_flip_channel_order": True}, "do_flip_channel_order=True"),
        ({**CLIP, "crop_pct": 0.9}, "crop_pct=0.9"),
        ({**CLIP, "auto_map": {"AutoImageProcessor": "mine.Mine"}}, "auto_map"),
        ({**CLIP, "size": {"shortest_edge": 224, "longest_edge": 500}}, "longest_edge"),
        ({**CLIP, "size": {"edge": 224}}, "size must have"),
        ({**CLIP, "image_mean": [0.5]}, "three values"),
        ({**CLIP, "image_std": [0.5, 0.5, 0.0]}, "none of them 0"),
        ({**CLIP, "resample": 17}, "17"),
        ({"image_processor_type": "ConvNextImageProcessor"}, "its own _preprocess, resize"),
        ({"image_processor_type": "CLIPImageProcesor"}, "did you mean 'CLIPImageProcessor'"),
    ],
)
def test_what_is_not_reproduced_is_refused(config: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        Preprocessing.from_config(config)


def test_flags_that_are_off_do_no_harm() -> None:
    assert Preprocessing.from_config({**CLIP, "do_pad": False, "crop_pct": None}) == Preprocessing.clip()


def test_a_folder_without_a_configuration_says_what_to_give(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"openai/clip-vit-large-patch14.*preprocessor_config\.json"):
        Preprocessing.of(tmp_path)
    with pytest.raises(InputError, match="preprocessor_config"):
        Preprocessing.of(tmp_path / "missing")


def test_wrong_inputs_are_refused() -> None:
    with pytest.raises(InputError, match="got mode 'RGBA'"):
        Preprocessing.clip().apply(Image.new("RGBA", (8, 8)))
    with pytest.raises(InputError, match="uint8"):
        Preprocessing.clip().normalize(torch.zeros(1, 3, 4, 4))
    with pytest.raises(InputError, match=r"\(3, 4, 4\)"):
        Preprocessing.clip().normalize(torch.zeros(3, 4, 4, dtype=torch.uint8))
    with pytest.raises(InputError, match="did you mean 'bicubic'"):
        Preprocessing(224, None, "bicubik", 1.0, (0, 0, 0), (1, 1, 1))
    with pytest.raises(InputError, match="at least 1 pixel"):
        Preprocessing.clip(0)
