"""LaRE²: does a map of latent reconstruction error, from a diffusion model of your own, help on unseen generators?

    python -m experiments.lare STORE --images manifest.csv --where role=test --pipeline runs/ldm/pipeline --side 64 \
        --encoder embedded --out runs/lare
    python -m experiments.lare STORE … --benchmark        # a map's cost against ten-step reconstruction, nothing else

STORE holds the encoder's features of the same images (`interp extract`), for the plain embedding that gains are counted
from; images are equalised as its key says. Maps are made once, beside it in OUT/maps, and gone on with; so are cells.
Protocol and tables are those of `experiments.compare_systems`. "encoder alone" is the same network without maps: the
gain of the maps is the distance to it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import pandas as pd
import torch
import tyro
from torch import Tensor

from experiments.benchmark import Pair, print_table
from experiments.compare_systems import TITLE, rotated, shown, write
from interp import ImageSet, LinearDetector
from interp.detectors.lare import Lare
from interp.detectors.lare_maps import LatentError, import_diffusers, load_pipeline
from interp.detectors.map_store import extract_maps
from interp.evaluation.cells import Cells
from interp.evaluation.system_comparison import compare_systems
from interp.features.pixels import StoreWithImages

STEPS = 10
"""Of the reconstruction that a map is timed against, there and back."""


@dataclass(frozen=True)
class Settings:
    """On what, with which models."""

    store: Annotated[Path, tyro.conf.Positional]
    """A feature store of the images below, with labels, generators and groups."""
    images: Path
    """The manifest or folder that it was extracted from."""
    pipeline: Path
    """A latent diffusion pipeline: folder or hub id."""
    where: tuple[str, ...] = ()
    """Conditions on the images, as the store has them."""
    encoder: str = "embedded"
    """Hub id, folder or "embedded": whose feature map is refined."""
    side: int = 256
    """Edge in pixels at which the diffusion model looks; 64 for that of `experiments.train_latent_diffusion`."""
    step: int = 200
    """Time of the noise, of 1,000."""
    draws: int = 4
    """Draws of noise for each image."""
    epochs: int = 10
    """Passes over the train rows."""
    tune: str = "all"
    """all: everything is trained, as published; head: the encoder is frozen."""
    device: str | None = None
    """cpu, cuda, mps."""
    seeds: int = 1
    """Dealings of photographs and prompts."""
    min_train: int = 200
    """Images that a generator must have to train or select."""
    benchmark: bool = False
    """Time a map against ten-step reconstruction on 16 images, and end."""
    rounds: int = 3
    """Rounds of the benchmark."""
    out: Path = Path("runs/lare")
    """Folder of maps, tables and finished cells."""
    random_state: int = 0
    """Seed of everything drawn."""


def main(settings: Settings) -> None:
    """Make the maps that are missing, fit, write the tables, print one."""
    device = settings.device or ("cuda" if torch.cuda.is_available() else "cpu")
    pipeline = load_pipeline(settings.pipeline)
    error = LatentError(pipeline, step=settings.step, draws=settings.draws, side=settings.side, device=device)
    if settings.benchmark:
        print_table([against_reconstruction(error, device)], settings.rounds)
        return
    images = ImageSet.open(settings.images, where=settings.where)
    store = StoreWithImages(settings.store, images, settings.encoder)
    store.maps = extract_maps(images, error, settings.out / "maps", **store.path).maps
    protocol = rotated(store, settings.seeds, settings.min_train, settings.random_state)
    found = compare_systems(store, protocol, variants(settings), folder=settings.out / "cells")
    title = TITLE.format(encoder=settings.encoder, images=len(store))
    write(found, settings.out, title)
    print(title, shown(found.table()).to_string(), sep="\n\n")
    gains = gains_over(found.cells, "encoder alone")
    gains.to_csv(settings.out / "gain_of_maps.csv")
    print("Gain over the encoder alone, unseen generators, paired", gains.round(3).to_string(), sep="\n\n")


def gains_over(cells: Cells, baseline: str) -> pd.DataFrame:
    """What each system's mean AUC over unseen generators gains over one of them: gain, low, high (joint resample)."""
    gain, low, high = cells.gain(cells.unseen, cells.arms.index(baseline))
    return pd.DataFrame({"gain": gain, "low": low, "high": high}, index=list(cells.arms))


def variants(settings: Settings) -> dict[str, Any]:
    """What is compared, by name."""

    def lare(**options: Any) -> Lare:
        given = {"epochs": settings.epochs, "tune": settings.tune, "device": settings.device} | options
        return Lare(settings.encoder, random_state=settings.random_state, **given)

    return {
        "embedding": LinearDetector(),
        "encoder alone": lare(refine="none"),
        "spatial": lare(refine="spatial"),
        "channel": lare(refine="channel"),
        "lare": lare(),
        "lare, frozen encoder": lare(tune="head"),
    }


def against_reconstruction(error: LatentError, device: str, count: int = 16) -> Pair:
    """A map of each image, and a reconstruction in ten steps there and ten back, on the same networks."""
    random = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (count, 3, error.side, error.side), dtype=torch.uint8, generator=random)
    rebuild = reconstruction(error)

    def waiting(call: Callable[[], object]) -> Callable[[], None]:
        def timed() -> None:
            call()
            if device.startswith("cuda"):
                torch.cuda.synchronize()

        return timed

    ours = waiting(lambda: error(pixels, [str(i) for i in range(count)]))
    name = f"{count} images of {error.side} pixels: map of {error.draws} draws against {STEPS} steps there and back"
    return Pair(name, ours, waiting(lambda: rebuild(pixels)), device)


def reconstruction(error: LatentError) -> Callable[[Tensor], Tensor]:
    """Deterministic inversion to noise and back (DDIM), decoded, as detectors by reconstruction need it (DIRE)."""
    diffusers = import_diffusers()
    there = diffusers.DDIMInverseScheduler.from_config(error.scheduler.config)
    back = diffusers.DDIMScheduler.from_config(error.scheduler.config)
    scale = float(getattr(error.vae.config, "scaling_factor", None) or 1.0)

    @torch.inference_mode()
    def rebuild(pixels: Tensor) -> Tensor:
        images = error.preprocessing.normalize(pixels).to(error.device, error.dtype)
        encoded = error.vae.encode(images)
        latents = encoded.latent_dist.mean if hasattr(encoded, "latent_dist") else encoded.latents
        latents = latents * scale
        given = () if error.text is None else (error.text.expand(len(pixels), -1, -1),)
        for scheduler in (there, back):
            scheduler.set_timesteps(STEPS)
            for time in scheduler.timesteps:
                latents = scheduler.step(error.unet(latents, time, *given).sample, time, latents).prev_sample
        return (error.vae.decode(latents / scale).sample - images).abs()

    return rebuild


if __name__ == "__main__":
    main(tyro.cli(Settings))
