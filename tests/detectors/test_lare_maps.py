"""Maps of latent reconstruction error: by hand on a stub, real pipelines of small networks, the store, wrong uses."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from latent_pipelines import small_pipeline
from PIL import Image
from torch import nn

from interp.detectors.lare_maps import LatentError, load_pipeline
from interp.detectors.map_store import MapStore, extract_maps
from interp.errors import InputError
from interp.images.image_set import ImageSet

diffusers = pytest.importorskip("diffusers")
PIXELS = torch.randint(0, 256, (3, 3, 16, 16), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
HASHES = ["a", "b", "c"]


class StubVae(nn.Module):
    """The latent is the 2 × 2 mean of each channel and of grey; its deviation is a tenth of the mean."""

    config = SimpleNamespace(scaling_factor=0.5)

    def encode(self, images: torch.Tensor) -> SimpleNamespace:
        four = torch.cat([images, images.mean(1, keepdim=True)], dim=1)
        mean = nn.functional.avg_pool2d(four, 2)
        return SimpleNamespace(latent_dist=SimpleNamespace(mean=mean, std=mean.abs() / 10))


class StubUnet(nn.Module):
    """Answers a third of what it is given, plus the time."""

    def __init__(self, text: int | None = None, channels: int = 4):
        super().__init__()
        self.weight = nn.Parameter(torch.tensor(1 / 3))
        self.config = SimpleNamespace(in_channels=channels, cross_attention_dim=text)
        self.told: list[torch.Tensor] = []

    def forward(self, latent, times, text=None) -> SimpleNamespace:
        if text is not None:
            self.told.append(text)
        return SimpleNamespace(sample=self.weight * latent + times[:, None, None, None] / 1000)


def stub(target: str = "epsilon", **more) -> SimpleNamespace:
    scheduler = diffusers.DDIMScheduler(prediction_type=target)
    return SimpleNamespace(**({"vae": StubVae(), "unet": StubUnet(), "scheduler": scheduler} | more))


@pytest.mark.parametrize("target", ["epsilon", "v_prediction"])
def test_a_map_equals_the_hand_computation(target):
    error = LatentError(stub(target), step=200, draws=3, side=16, random_state=7)
    found = error(PIXELS, HASHES)
    betas = np.linspace(1e-4, 0.02, 1000, dtype=np.float64)
    kept = np.cumprod(1 - betas)[200]
    for row, name in enumerate(HASHES):
        drawn = error.noise(name).double().numpy()
        image = PIXELS[row].double().numpy() / 127.5 - 1
        four = np.concatenate([image, image.mean(0, keepdims=True)])
        mean = four.reshape(4, 8, 2, 8, 2).mean((2, 4))
        z0 = 0.5 * (mean + np.abs(mean) / 10 * drawn[0])
        squares = []
        for noise in drawn[1:]:
            noisy = np.sqrt(kept) * z0 + np.sqrt(1 - kept) * noise
            wanted = noise if target == "epsilon" else np.sqrt(kept) * noise - np.sqrt(1 - kept) * z0
            squares.append((noisy / 3 + 0.2 - wanted) ** 2)
        np.testing.assert_allclose(found[row].numpy(), np.mean(squares, axis=0), rtol=1e-4, atol=1e-5)
    assert found.shape == (3, 4, 8, 8) and found.dtype == torch.float32


def test_a_map_depends_on_its_image_and_the_seed_alone():
    error = LatentError(stub(), side=16)
    together = error(PIXELS, HASHES)
    torch.testing.assert_close(error(PIXELS[1:2], ["b"]), together[1:2])
    torch.testing.assert_close(error(PIXELS.flip(0), HASHES[::-1]), together.flip(0))
    assert not torch.allclose(error(PIXELS[1:2], ["another"]), together[1:2])
    assert not torch.allclose(LatentError(stub(), side=16, random_state=1)(PIXELS, HASHES), together)


def test_a_network_that_knows_the_noise_has_no_error():
    pipeline = stub()
    error = LatentError(pipeline, side=16, draws=2)
    answers = torch.cat([error.noise(name)[1:] for name in HASHES])
    error.unet = lambda latent, times: SimpleNamespace(sample=answers)  # type: ignore[assignment]
    assert error(PIXELS, HASHES).abs().max() == 0


@pytest.mark.parametrize("target", ["epsilon", "v_prediction"])
def test_real_pipelines_are_read_and_loaded_from_a_folder(target, tmp_path):
    pipeline = small_pipeline(target)
    error = LatentError(pipeline, side=16, draws=2)
    found = error(PIXELS, HASHES)
    assert found.shape == (3, 4, 8, 8) and (found > 0).all() and error.target == target
    pipeline.save_pretrained(tmp_path / "pipeline")
    again = LatentError(load_pipeline(tmp_path / "pipeline"), side=16, draws=2)
    torch.testing.assert_close(again(PIXELS, HASHES), found)
    assert again.provenance == error.provenance


def test_the_prompt_is_read_by_the_pipelines_own_text_tower():
    from interp.detectors.whole_clip import load_whole_clip

    clip = load_whole_clip("embedded")
    config = clip.model.config.text_config
    clip.tokenizer.model_max_length = config.max_position_embeddings
    unet = StubUnet(text=config.hidden_size)
    text = {"unet": unet, "text_encoder": clip.model.text_model, "tokenizer": clip.tokenizer}
    LatentError(stub(**text), side=16, draws=2, prompt="a photo of a bus")(PIXELS[:1], ["a"])
    told = unet.told[-1]
    assert told.shape == (2, config.max_position_embeddings, config.hidden_size)
    LatentError(stub(**text), side=16, draws=2)(PIXELS[:1], ["a"])
    assert not torch.allclose(unet.told[-1], told)


@pytest.fixture
def images(tmp_path) -> ImageSet:
    folder = tmp_path / "images" / "real"
    folder.mkdir(parents=True)
    for i in range(7):
        noise = np.random.default_rng(i).integers(0, 256, (20, 24, 3), dtype=np.uint8)
        Image.fromarray(noise).save(folder / f"{i}.png")
    (folder / "3.png").write_bytes(b"no image")
    return ImageSet.open(folder.parent)


def test_a_store_of_maps_goes_on_where_it_was_cut_off(images, tmp_path):
    error, options = (
        LatentError(stub(), side=16),
        {"batch_size": 2, "shard_size": 3, "workers": 0, "progress": False},
    )
    whole = extract_maps(images, error, tmp_path / "whole", **options)
    assert len(whole) == 7 and whole.maps.shape == (7, 4, 8, 8)
    assert whole.usable.tolist() == [i != 3 for i in range(7)]
    np.testing.assert_array_equal(np.isnan(whole.maps).all((1, 2, 3)), ~whole.usable)
    calls = []

    class Dies(LatentError):
        def __call__(self, pixels, hashes):
            calls.append(len(hashes))
            if len(calls) == 4:
                raise KeyboardInterrupt
            return super().__call__(pixels, hashes)

    with pytest.raises(KeyboardInterrupt):
        extract_maps(images, Dies(stub(), side=16), tmp_path / "cut", **options)
    with pytest.raises(InputError, match="no finished maps"):
        MapStore(tmp_path / "cut")
    kept = (tmp_path / "cut" / "shards" / "00000" / "map.npy").stat().st_mtime_ns
    resumed = extract_maps(images, error, tmp_path / "cut", **options)
    np.testing.assert_array_equal(resumed.maps, whole.maps)
    assert (tmp_path / "cut" / "shards" / "00000" / "map.npy").stat().st_mtime_ns == kept
    with pytest.raises(InputError, match="lare.step: the store has 200, asked for 100"):
        extract_maps(images, LatentError(stub(), side=16, step=100), tmp_path / "cut", **options)


def test_laundering_changes_the_image_and_not_its_noise(images, tmp_path):
    error, options = LatentError(stub(), side=16), {"workers": 0, "progress": False}
    plain = extract_maps(images, error, tmp_path / "plain", **options)
    bent = extract_maps(images, error, tmp_path / "bent", launder="jpeg:30", **options)
    same = bent.rows["pixel_hash"][plain.usable] == plain.rows["pixel_hash"][plain.usable]
    assert same.all() and not np.allclose(bent.maps[bent.usable], plain.maps[plain.usable])
    assert np.corrcoef(bent.maps[bent.usable].ravel(), plain.maps[plain.usable].ravel())[0, 1] > 0.9


def test_wrong_uses_say_what_to_do(tmp_path):
    with pytest.raises(InputError, match="no latent diffusion pipeline with an autoencoder"):
        LatentError(SimpleNamespace(unet=StubUnet(), scheduler=diffusers.DDPMScheduler()))
    with pytest.raises(InputError, match="predicts 'sample'; known are epsilon and v_prediction"):
        LatentError(stub("sample"), side=16)
    with pytest.raises(InputError, match="a step from 0 to 999"):
        LatentError(stub(), step=1000, side=16)
    with pytest.raises(InputError, match="reads 9 channels and latents have 4"):
        LatentError(stub(unet=StubUnet(channels=9)), side=16)
    with pytest.raises(InputError, match="has no text_encoder and tokenizer"):
        LatentError(stub(unet=StubUnet(text=8)), side=16)
    with pytest.raises(InputError, match="FlowMatchEulerDiscreteScheduler does not say"):
        LatentError(stub(scheduler=diffusers.FlowMatchEulerDiscreteScheduler()), side=16)
    with pytest.raises(InputError, match="no diffusion pipeline found"):
        load_pipeline(tmp_path)
