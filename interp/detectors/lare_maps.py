"""Latent reconstruction error in one step: how badly a latent diffusion model tells the noise from an image.

Luo, Du, Yan and Ding, "LaRE²", CVPR 2024, arXiv 2403.17465, section 3.2.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from interp.errors import InputError
from interp.images.preprocess import Preprocessing
from interp.images.seeds import derive_seed

TARGETS = ("epsilon", "v_prediction")
NEEDS = "pip install 'interp[diffusion]'"


class LatentError:
    """(ε̂ − ε)², the mean over some draws of noise, element by element: one map for each image.

    z₀ = one sample of the autoencoder's latent · scaling factor; for each draw e, z_t = √ᾱ_t z₀ + √(1 − ᾱ_t) ε_e and
    the network's answer is compared with ε_e, or, in a model that predicts velocity, with √ᾱ_t ε_e − √(1 − ᾱ_t) z₀. All
    noise is drawn on the CPU from a seed of the image's own hash: a map does not depend on its batch or run, and a
    laundered image gets the noise of its original. The public code draws without a seed.

    Args:
        pipeline: of `diffusers`, or any object with `vae` (or `vqvae`), `unet`, `scheduler` and, for a network that
            reads text, `text_encoder` and `tokenizer`.
        prompt: what the network is told. The public code names the ImageNet class, taken from the file's name; "" is
            what can be said of any image.
        step: t. The published script takes 200 of 1,000; 150 to 300 do alike.
        draws: E, 4 in the published script.
        side: edge in pixels to which an image is brought, whatever its shape; 256 in the published script.
        random_state: goes into the seed of all noise.
        device, dtype: where and in which precision the networks run.

    Raises:
        InputError: no latent diffusion pipeline, one that predicts or needs something else, or a step out of range.

    Attributes:
        preprocessing: brings images to `side`, −1…1.
        shape: (C, h, w) of a map.
    """

    def __init__(
        self,
        pipeline: Any,
        *,
        prompt: str = "",
        step: int = 200,
        draws: int = 4,
        side: int = 256,
        random_state: int = 0,
        device: str | torch.device = "cpu",
        dtype: torch.dtype = torch.float32,
    ):
        vae = getattr(pipeline, "vae", None) or getattr(pipeline, "vqvae", None)
        unet = getattr(pipeline, "unet", None)
        if vae is None or unet is None or not hasattr(pipeline, "scheduler"):
            raise InputError(
                f"{type(pipeline).__name__} is no latent diffusion pipeline with an autoencoder (vae), a UNet (unet) "
                "and a scheduler; Stable Diffusion 1 and 2 and latent diffusion are. Flow models (SD 3, Flux) are not"
            )
        self.scheduler = _ddpm(pipeline.scheduler)
        self.target = self.scheduler.config.prediction_type
        steps = int(self.scheduler.config.num_train_timesteps)
        if self.target not in TARGETS:
            raise InputError(f"the model predicts {self.target!r}; known are {' and '.join(TARGETS)}")
        if not 0 <= step < steps or draws < 1 or side < 8:
            raise InputError(
                f"expected a step from 0 to {steps - 1}, one draw or more and 8 pixels or more; given {step}, {draws}, "
                f"{side}"
            )
        self.device, self.dtype = torch.device(device), dtype
        self.vae, self.unet = self._ready(vae), self._ready(unet)
        self.text = _prompt(pipeline, self.unet, prompt)
        self.step, self.draws, self.side, self.prompt = step, draws, side, prompt
        self.random_state = random_state
        three = (1.0, 1.0, 1.0)
        self.preprocessing = Preprocessing((side, side), None, "bicubic", 1 / 127.5, three, three)
        with torch.inference_mode():
            self.shape = tuple(self._encoded(torch.zeros(1, 3, side, side))[0].shape[1:])
        asked = int(getattr(self.unet.config, "in_channels", self.shape[0]))
        if asked != self.shape[0]:
            raise InputError(
                f"the UNet reads {asked} channels and latents have {self.shape[0]}: it was made for inpainting or the "
                "like; give a plain text-to-image or unconditional pipeline"
            )

    @torch.inference_mode()
    def __call__(self, pixels: Tensor, hashes: Sequence[str]) -> Tensor:
        """Maps (n, C, h, w), float32, of images.

        Args:
            pixels: (n, 3, side, side) grey levels, uint8, as `preprocessing` makes them.
            hashes: (n,) of the images, which seed the noise.
        """
        drawn = torch.stack([self.noise(one) for one in hashes])  # (n, 1 + E, C, h, w)
        mean, deviation = self._encoded(self.preprocessing.normalize(pixels))
        latent = (mean + deviation * drawn[:, 0].to(mean)) * self._scale()
        noise = drawn[:, 1:].flatten(0, 1).to(latent)
        repeated = latent.repeat_interleave(self.draws, dim=0)
        times = torch.full((len(noise),), self.step, device=self.device, dtype=torch.long)
        given = () if self.text is None else (self.text.expand(len(noise), -1, -1),)
        answer = self.unet(self.scheduler.add_noise(repeated, noise, times), times, *given).sample
        wanted = noise if self.target == "epsilon" else self.scheduler.get_velocity(repeated, noise, times)
        errors = (answer.float() - wanted.float()).square()
        return errors.unflatten(0, (len(pixels), self.draws)).mean(1).cpu()

    def noise(self, image: str) -> Tensor:
        """(1 + E, C, h, w) float32: the noise of the latent's sample, then that of each draw."""
        random = torch.Generator().manual_seed(derive_seed("lare", self.random_state, image))
        return torch.randn((1 + self.draws, *self.shape), generator=random)

    @property
    def provenance(self) -> dict[str, Any]:
        """What decides the maps: weights, step, draws, size, prompt, precision, seed."""
        from interp.encoders.encoder import hash_weights

        return {
            "autoencoder": hash_weights(self.vae),
            "unet": hash_weights(self.unet),
            "target": self.target,
            "step": self.step,
            "draws": self.draws,
            "side": self.side,
            "prompt": self.prompt if self.text is not None else "none",
            "dtype": str(self.dtype).removeprefix("torch."),
            "random_state": self.random_state,
        }

    def _ready(self, network: Any) -> Any:
        ready = network.eval().requires_grad_(False).to(self.device)
        parameter = next(ready.parameters(), None)
        return ready if parameter is None or parameter.dtype == self.dtype else ready.to(self.dtype)

    def _encoded(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and deviation of the latents of images in −1…1, before scaling."""
        encoded = self.vae.encode(images.to(self.device, self.dtype))
        if hasattr(encoded, "latent_dist"):
            return encoded.latent_dist.mean, encoded.latent_dist.std
        latents = getattr(encoded, "latents", encoded)
        return latents, torch.zeros_like(latents)

    def _scale(self) -> float:
        return float(getattr(self.vae.config, "scaling_factor", None) or 1.0)


def load_pipeline(source: str | Path) -> Any:
    """A `diffusers` pipeline from a folder or the hub.

    Raises:
        InputError: nothing can be loaded there, or `diffusers` is not installed.
    """
    diffusers = import_diffusers()
    try:
        return diffusers.DiffusionPipeline.from_pretrained(str(source))
    except (OSError, ValueError, ImportError, AttributeError) as error:
        raise InputError(
            f"no diffusion pipeline found as {str(source)!r}: {str(error).strip().splitlines()[0]}. Give a folder with "
            "model_index.json, or a hub id such as 'stable-diffusion-v1-5/stable-diffusion-v1-5' (which takes a "
            "network or a filled cache)"
        ) from error


def _ddpm(scheduler: Any) -> Any:
    """The model's own noise, whatever sampler its pipeline uses."""
    if not hasattr(scheduler.config, "prediction_type"):
        raise InputError(
            f"{type(scheduler).__name__} does not say what its network predicts; give a pipeline with a DDPM-like "
            "scheduler"
        )
    return import_diffusers().DDPMScheduler.from_config(scheduler.config)


def _prompt(pipeline: Any, unet: Any, prompt: str) -> Tensor | None:
    """(1, tokens, width) of the prompt, or None for a network that reads no text."""
    config = unet.config
    if getattr(config, "addition_embed_type", None) or getattr(config, "class_embed_type", None):
        raise InputError(
            "this UNet wants more than a prompt (sizes or classes, as SDXL's does); give a pipeline of Stable "
            "Diffusion 1 or 2, or of latent diffusion"
        )
    if getattr(config, "cross_attention_dim", None) is None:
        return None
    encoder, tokenizer = getattr(pipeline, "text_encoder", None), getattr(pipeline, "tokenizer", None)
    if encoder is None or tokenizer is None:
        raise InputError(
            "this UNet reads text; its pipeline has no text_encoder and tokenizer, load it whole"
        )
    longest = tokenizer.model_max_length
    ids = tokenizer(
        [prompt], padding="max_length", max_length=longest, truncation=True, return_tensors="pt"
    ).input_ids
    parameter = next(unet.parameters())
    with torch.inference_mode():
        return encoder(ids.to(encoder.device))[0].to(parameter.device, parameter.dtype)


def import_diffusers() -> Any:
    """The package, which is an extra.

    Raises:
        InputError: it is not installed.
    """
    try:
        import diffusers  # pyright: ignore[reportMissingImports]
    except ImportError:
        raise InputError(
            f"latent reconstruction errors need diffusers, which is not installed: {NEEDS}"
        ) from None
    return diffusers
