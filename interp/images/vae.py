"""Laundering by an autoencoder: an image goes through the latent space of a diffusion model and back."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from interp.errors import InputError, UnreadableImage
from interp.images.launder_step import Step

MAX_VAE_PIXELS = 4_200_000
"""Larger images are refused, because the network's activations would not fit into memory."""

_STRIDE = 8  # edges are filled up to a multiple of this
_KINDS = ("AutoencoderKL", "AutoencoderTiny")
_GIVEN: dict[str, Any] = {}


@dataclass(frozen=True)
class Vae(Step):
    """A round trip through an autoencoder: what `img2img` at strength 0 does (Mandelli et al. 2024).

    The latent is the mean of its distribution, so nothing is drawn. Edges are filled up to multiples of 8 by
    repeating the last row and column, and cut off again.

    Attributes:
        source: a folder or a model id on the hub, as in `load_autoencoder`; none of `+@()` in it.
    """

    name = "vae"
    example = "vae:madebyollin/taesd"
    source: str

    def __post_init__(self) -> None:
        text = str(self.source)
        if not text or text != text.strip() or set("+@()") & set(text):
            raise InputError(
                f"vae needs the name of an autoencoder: a folder or a model id without any of + @ ( ); got {text!r}. "
                f"For example {self.example!r}"
            )

    @classmethod
    def form(cls) -> str:
        return "vae:NAME_OR_FOLDER"

    @classmethod
    def read(cls, given: str) -> Vae:
        return cls(given)

    def __str__(self) -> str:
        return f"vae:{self.source}"

    def draw(self, rng: np.random.Generator) -> tuple[Step, ...]:
        return (self,)

    def apply(self, image: Image.Image, rng: np.random.Generator) -> Image.Image:
        return round_trip(image, load_autoencoder(self.source))


def use_autoencoder(name: str, network: Any) -> None:
    """Let `vae:NAME` mean this network, in this process and in those forked from it.

    Args:
        name: as in the text of the step.
        network: has `encode` and `decode` for images in -1…1, shape (n, 3, height, width).

    Raises:
        InputError: it lacks one of the two.
    """
    if not callable(getattr(network, "encode", None)) or not callable(getattr(network, "decode", None)):
        raise InputError(f"an autoencoder has encode and decode; got {type(network).__name__}")
    _GIVEN[Vae(name).source] = network


def load_autoencoder(source: str) -> Any:
    """The autoencoder with this name, kept for the next image.

    Args:
        source: a name given to `use_autoencoder`; a folder with `encoder.safetensors` and `decoder.safetensors` of
            the TAESD family; or a folder or hub id of an AutoencoderKL or AutoencoderTiny of `diffusers`, also as
            the subfolder `vae` of a whole pipeline.

    Raises:
        InputError: nothing is found there, or `diffusers` is needed and not installed.
    """
    return _GIVEN[source] if source in _GIVEN else _loaded(source)


@functools.lru_cache(maxsize=2)
def _loaded(source: str) -> Any:
    from interp.images.tiny_autoencoder import FILES, TinyAutoencoder

    folder = Path(source)
    if folder.is_dir() and not (folder / "config.json").exists() and (folder / FILES[0]).exists():
        return TinyAutoencoder.load(folder)
    try:
        import diffusers  # pyright: ignore[reportMissingImports]
    except ImportError:
        what = (
            "is no such folder, and a model id"
            if not folder.is_dir()
            else "holds no plain state dicts, and a model"
        )
        raise InputError(
            f"the autoencoder {source!r} {what} needs diffusers, which is not installed: "
            f"pip install 'interp[diffusion]', or give a folder that holds {' and '.join(FILES)}"
        ) from None
    library: Any = diffusers
    problem = ""
    for where in ({}, {"subfolder": "vae"}):
        try:
            kind = library.AutoencoderKL.load_config(source, **where).get("_class_name")
            if kind in _KINDS:
                return getattr(library, kind).from_pretrained(source, **where).eval().requires_grad_(False)
            problem = problem or f"it holds a {kind}, not one of {', '.join(_KINDS)}"
        except (OSError, ValueError) as error:
            problem = problem or str(error).strip().split("\n")[0].rstrip(".")
    raise InputError(
        f"no autoencoder found as {source!r}: {problem}. Give a model id on the hub such as 'madebyollin/taesd' "
        "(which takes a network or a filled cache), or a folder"
    )


def round_trip(image: Image.Image, network: Any) -> Image.Image:
    """Encode and decode one RGB image, at its own size; on the CPU with one thread, so that it can be made again.

    Args:
        image: in mode RGB.
        network: with `encode` and `decode` for images in -1…1; they return tensors, or what `diffusers` returns.

    Raises:
        UnreadableImage: more than `MAX_VAE_PIXELS` pixels.
    """
    import torch

    if image.width * image.height > MAX_VAE_PIXELS:
        raise UnreadableImage(
            f"too large for an autoencoder: {image.width} × {image.height}, more than {MAX_VAE_PIXELS:,} pixels; "
            "scale it down first, as in upload:2048:100+vae:…"
        )
    levels = np.asarray(image)
    fill = [(0, -edge % _STRIDE) for edge in levels.shape[:2]]
    levels = np.pad(levels, (*fill, (0, 0)), mode="edge")
    parameter = next(network.parameters(), None) if hasattr(network, "parameters") else None
    pixels = torch.from_numpy(levels.transpose(2, 0, 1)[None].astype(np.float32) / 127.5 - 1)
    if parameter is not None:
        pixels = pixels.to(parameter.device, parameter.dtype)
    with torch.inference_mode(), _one_thread():
        decoded = _sample(network.decode(_latents(network.encode(pixels))))
    tones = decoded[0].float().cpu().numpy().transpose(1, 2, 0)[: image.height, : image.width]
    return Image.fromarray(np.clip(np.rint((tones + 1) * 127.5), 0, 255).astype(np.uint8))


@contextmanager
def _one_thread() -> Iterator[None]:
    """Sums in one order: with more threads a few pixels come out a grey level apart; and forked workers never hang."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _latents(encoded: Any) -> Any:
    """The tensor in what `encode` returned; of a distribution, its mode."""
    if hasattr(encoded, "latent_dist"):
        return encoded.latent_dist.mode()
    return getattr(encoded, "latents", encoded)


def _sample(decoded: Any) -> Any:
    return getattr(decoded, "sample", decoded)
