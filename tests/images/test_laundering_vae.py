"""Round trips through autoencoders: any module with encode and decode, and real weights."""

from __future__ import annotations

import math
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from joblib import Parallel, delayed
from PIL import Image
from safetensors.torch import save_file

from interp.errors import InputError, UnreadableImage
from interp.images import vae
from interp.images.decode import read_image
from interp.images.laundering import Laundering
from interp.images.tiny_autoencoder import TinyAutoencoder
from interp.images.vae import Vae, load_autoencoder, round_trip, use_autoencoder


class Nothing:
    """An autoencoder that keeps everything, and what it was shown."""

    def encode(self, images: torch.Tensor) -> torch.Tensor:
        self.seen = images
        return images

    def decode(self, latents: torch.Tensor) -> torch.Tensor:
        return latents


def noise(width: int, height: int) -> Image.Image:
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8))


def saved(folder: Path, **options: bool) -> TinyAutoencoder:
    torch.manual_seed(0)
    network = TinyAutoencoder(channels=6, width=8, **options)
    for part in ("encoder", "decoder"):
        save_file(getattr(network, part).state_dict(), folder / f"{part}.safetensors")
    return network


@pytest.mark.parametrize("size", [(1, 1), (3, 40), (16, 8), (17, 9)])
def test_levels_and_sizes_survive_an_autoencoder_that_keeps_everything(size: tuple[int, int]) -> None:
    image, network = noise(*size), Nothing()
    assert round_trip(image, network).tobytes() == image.tobytes()
    assert network.seen.shape[2] % 8 == network.seen.shape[3] % 8 == 0
    assert network.seen.min() >= -1 and network.seen.max() <= 1


def test_a_network_can_be_given_a_name() -> None:
    use_autoencoder("mine", Nothing())
    image = noise(20, 12)
    assert Laundering.parse("vae:mine").apply(image, "key").tobytes() == image.tobytes()
    with pytest.raises(InputError, match="has encode and decode; got Linear"):
        use_autoencoder("wrong", torch.nn.Linear(1, 1))


@pytest.mark.parametrize("pooled", [True, False])
def test_plain_state_dicts_give_the_same_network(tmp_path: Path, pooled: bool) -> None:
    network = saved(tmp_path, pooled=pooled)
    images = torch.rand(2, 3, 24, 16) * 2 - 1
    with torch.inference_mode():
        latents = network.encode(images)
        assert latents.shape == (2, 6, 3, 2)
        expected = network.decode(latents)
        loaded = load_autoencoder(str(tmp_path))
        torch.testing.assert_close(loaded.decode(loaded.encode(images)), expected, rtol=0, atol=0)
    assert expected.shape == images.shape and expected.abs().max() <= 1


def test_latents_are_bent_into_three() -> None:
    network = TinyAutoencoder(channels=4, width=8)
    with torch.inference_mode():
        far, farther = (network.decode(torch.full((1, 4, 2, 2), value)) for value in (100.0, 1e6))
    torch.testing.assert_close(far, farther)


def test_the_number_of_threads_does_not_matter(tmp_path: Path) -> None:
    saved(tmp_path)
    image, before, made = noise(64, 48), torch.get_num_threads(), []
    try:
        for threads in (1, 2):
            torch.set_num_threads(threads)
            made.append(Laundering.parse(f"vae:{tmp_path}").apply(image, "key").tobytes())
            assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)
    assert made[0] == made[1]


def test_another_process_makes_the_same_pixels(tmp_path: Path) -> None:
    saved(tmp_path)
    chain, image = Laundering.parse(f"jpeg:30-90+vae:{tmp_path}+noise:3"), noise(40, 24)
    here = [chain.apply(image, key).tobytes() for key in ("a", "b")]
    there = Parallel(n_jobs=2, backend="loky")(delayed(chain.apply)(image, key) for key in ("b", "a"))
    assert [one.tobytes() for one in there] == here[::-1]


def test_names_keep_their_case_and_are_checked() -> None:
    assert Laundering.parse("VAE:Some/Model-XL@0.5+jpeg:75").steps[0].steps == (Vae("Some/Model-XL"),)  # pyright: ignore
    assert str(Laundering.parse("vae:/a/b:c")) == "vae:/a/b:c"
    with pytest.raises(InputError, match="without any of"):
        Vae("a+b")


def test_what_cannot_be_loaded_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "diffusers", None)
    with pytest.raises(InputError, match=r"pip install 'interp\[diffusion\]'"):
        load_autoencoder("madebyollin/no-such-model")
    with pytest.raises(InputError, match="holds no plain state dicts"):
        load_autoencoder(str(tmp_path))
    save_file({"0.bias": torch.zeros(4)}, tmp_path / "encoder.safetensors")
    with pytest.raises(InputError, match="cannot read a tiny autoencoder"):
        load_autoencoder(str(tmp_path))


def test_large_images_are_unreadable_rather_than_out_of_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vae, "MAX_VAE_PIXELS", 99)
    with pytest.raises(UnreadableImage, match="10 × 10, more than 99 pixels"):
        round_trip(noise(10, 10), Nothing())


def test_diffusers_models_are_read_from_folders(tmp_path: Path) -> None:
    diffusers = pytest.importorskip("diffusers", reason="the extra [diffusion] is not installed")
    kinds = {"down_block_types": ("DownEncoderBlock2D",) * 4, "up_block_types": ("UpDecoderBlock2D",) * 4}
    torch.manual_seed(0)
    network = diffusers.AutoencoderKL(block_out_channels=(32,) * 4, **kinds)
    network.save_pretrained(tmp_path / "alone")
    network.save_pretrained(tmp_path / "pipeline" / "vae")
    image = noise(21, 13)
    made = [Laundering.parse(f"vae:{tmp_path / where}").apply(image, "k") for where in ("alone", "pipeline")]
    assert made[0].size == image.size and made[0].tobytes() == made[1].tobytes()


def test_real_weights_bring_photographs_back(shared: Path) -> None:
    """23 to 33 dB is what these weights are known for; smooth pictures alone come back better."""
    weights = shared / "models" / "taef2"
    if not weights.exists():
        pytest.skip(f"no weights at {weights}")
    corpus = pd.read_csv(shared / "corpus" / "manifest.csv").query("generator == 'real'")
    chain, found = Laundering.parse(f"vae:{weights}"), []
    for path in corpus["path"].sample(5, random_state=1):
        photograph = read_image(shared / "corpus" / path).pixels
        photograph.thumbnail((256, 256))
        back = chain.apply(photograph, path)
        assert back.size == photograph.size
        error = ((np.asarray(back).astype(float) - np.asarray(photograph)) ** 2).mean()
        found.append(10 * math.log10(255**2 / error))
    assert 23 <= np.median(found) <= 33 and 21 <= min(found) <= max(found) <= 37, found
