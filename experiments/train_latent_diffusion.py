"""Train a small latent diffusion model on 64-pixel photographs: an autoencoder, then a UNet on its latents.

    python -m experiments.train_latent_diffusion ../shared/tiny-imagenet --out runs/ldm --minutes 8

Each call works for so many minutes, leaves a checkpoint, and exits with 0 when both parts are trained and with 1 when
there is more to do; so a loop trains it to the end:

    until python -m experiments.train_latent_diffusion ../shared/tiny-imagenet --out runs/ldm --minutes 8; do :; done

Photographs are read from train-*.parquet with the columns image, wnid and words. Writes OUT/pipeline, an unconditional
`diffusers` pipeline, for `python -m experiments.lare`. It is far smaller than any model that makes deceiving images.
"""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import torch
import tyro
from torch import Tensor, nn

from experiments.embedded_data import read_photographs
from interp.detectors.lare_maps import import_diffusers
from interp.detectors.resumable_training import ResumableTraining, batch_rows
from interp.images.seeds import derive_seed

DIVERGENCE = 1e-6
"""Weight of the latent's divergence from N(0, 1), that of latent diffusion (Rombach et al. 2022)."""


@dataclass(frozen=True)
class Settings:
    """What to train on, how large, how long."""

    data: Annotated[Path, tyro.conf.Positional]
    """Folder with train-*.parquet."""
    out: Path = Path("runs/ldm")
    """Folder of checkpoints and of the finished pipeline."""
    target: Literal["epsilon", "v_prediction"] = "epsilon"
    """What the UNet predicts."""
    minutes: float = 8
    """Minutes of this call."""
    autoencoder_steps: int = 3000
    """Steps of the autoencoder."""
    unet_steps: int = 6000
    """Steps of the UNet."""
    batch_size: int = 64
    """Images of a step."""
    autoencoder_width: int = 16
    """Channels of the autoencoder's first level; twice as many below."""
    width: int = 64
    """Channels of the UNet's first level; twice as many in its second and third."""
    precision: Literal["float32", "bfloat16", "float16"] = "float32"
    """Of the passes; bfloat16 is faster on a GPU, and on a CPU only on few."""
    device: str | None = None
    """cpu, cuda, mps; by default the best that there is."""
    seed: int = 0
    """Seed of every draw."""


class Autoencoding(nn.Module):
    """Loss of each image: mean absolute error of the reconstruction, and the latent's divergence."""

    def __init__(self, vae: Any):
        super().__init__()
        self.vae = vae

    def forward(self, pixels: Tensor, noise: Tensor) -> Tensor:
        """(n,) of grey levels (n, 3, 64, 64) and noise (n, 4, 16, 16)."""
        images = pixels.float() / 127.5 - 1
        latents = self.vae.encode(images).latent_dist
        found = self.vae.decode(latents.mean + latents.std * noise).sample
        error = (found.float() - images).abs().mean((1, 2, 3))
        return error + DIVERGENCE * latents.kl()


class Denoising(nn.Module):
    """Loss of each image: mean squared error of what the UNet says about the noise in its latent."""

    def __init__(self, vae: Any, unet: Any, scheduler: Any):
        super().__init__()
        self.vae, self.unet, self.scheduler = vae.requires_grad_(False), unet, scheduler

    def forward(self, pixels: Tensor, noise: Tensor, times: Tensor) -> Tensor:
        """(n,) of grey levels (n, 3, 64, 64), noise (n, 4, 16, 16) and times (n,)."""
        with torch.no_grad():
            mean = self.vae.encode(pixels.float() / 127.5 - 1).latent_dist.mean
        latents = mean.float() * self.vae.config.scaling_factor
        answer = self.unet(self.scheduler.add_noise(latents, noise, times), times).sample
        wanted = noise
        if self.scheduler.config.prediction_type == "v_prediction":
            wanted = self.scheduler.get_velocity(latents, noise, times)
        return (answer.float() - wanted).square().mean((1, 2, 3))


def autoencoder(width: int) -> Any:
    """64 × 64 × 3 to 16 × 16 × 4."""
    return import_diffusers().AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 3,
        up_block_types=("UpDecoderBlock2D",) * 3,
        block_out_channels=(width, 2 * width, 2 * width),
        layers_per_block=1,
        norm_num_groups=8,
        latent_channels=4,
        sample_size=64,
    )


def denoiser(width: int) -> Any:
    """A UNet on 16 × 16 × 4 with attention at 8 and 4."""
    return import_diffusers().UNet2DModel(
        sample_size=16,
        in_channels=4,
        out_channels=4,
        layers_per_block=1,
        block_out_channels=(width, 2 * width, 2 * width),
        down_block_types=("DownBlock2D", "AttnDownBlock2D", "AttnDownBlock2D"),
        up_block_types=("AttnUpBlock2D", "AttnUpBlock2D", "UpBlock2D"),
        norm_num_groups=16,
        attention_head_dim=32,
    )


def main(settings: Settings) -> None:
    """Train for so many minutes; exit with 0 when all is done."""
    diffusers = import_diffusers()
    end = time.monotonic() + 60 * settings.minutes
    settings.out.mkdir(parents=True, exist_ok=True)
    shards = sorted(settings.data.glob("train-*.parquet"))
    pixels = read_photographs(shards, settings.out / "train.npy").pixels
    torch.manual_seed(settings.seed)
    vae, unet = autoencoder(settings.autoencoder_width), denoiser(settings.width)
    betas = {"beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012}  # Stable Diffusion's
    scheduler = diffusers.DDPMScheduler(prediction_type=settings.target, **betas)
    first = training(Autoencoding(vae), settings, "autoencoder", ("autoencoder_width",))
    if not go_on(first, pixels, settings.autoencoder_steps, settings, end):
        sys.exit(1)
    vae.register_to_config(scaling_factor=1 / spread(vae, pixels, first.device))
    second = training(Denoising(vae, unet, scheduler), settings, "unet", ("width", "target"))
    if not go_on(second, pixels, settings.unet_steps, settings, end, times=True):
        sys.exit(1)
    pipeline = diffusers.LDMPipeline(vqvae=vae.cpu(), unet=unet.cpu(), scheduler=scheduler)
    pipeline.save_pretrained(settings.out / "pipeline")
    print(f"trained; the pipeline lies in {settings.out / 'pipeline'}")


def training(network: nn.Module, settings: Settings, name: str, own: tuple[str, ...]) -> ResumableTraining:
    """One part of the model, AdamW with a constant rate, gradient norm 1."""
    learning = [p for p in network.parameters() if p.requires_grad]
    return ResumableTraining(
        network,
        torch.optim.AdamW(learning, lr=3e-4, weight_decay=0.01),
        precision=settings.precision,
        device=settings.device,
        folder=settings.out / name,
        settings={n: getattr(settings, n) for n in ("batch_size", "precision", "seed", *own)},
        every=200,
        random_state=settings.seed,
    )


def go_on(
    part: ResumableTraining,
    pixels: np.ndarray,
    steps: int,
    settings: Settings,
    end: float,
    times: bool = False,
) -> bool:
    """Train one part until `end` at the latest; whether it is done."""
    losses: list[float] = []

    def batch_at(step: int) -> tuple[Tensor, ...]:
        rows = batch_rows(settings.seed, step, len(pixels), settings.batch_size).numpy()
        random = torch.Generator().manual_seed(derive_seed("noise", settings.seed, step))
        images = torch.from_numpy(pixels[rows]).permute(0, 3, 1, 2).contiguous()
        noise = torch.randn(len(rows), 4, 16, 16, generator=random)
        drawn = (torch.randint(1000, (len(rows),), generator=random),) if times else ()
        return images, noise, *drawn, torch.empty(len(rows))

    def loss_of(each: Tensor, _: Tensor) -> Tensor:
        losses.append(float(each.detach().mean()))
        return each.mean()

    costs = part.run(steps, batch_at, loss_of, minutes=(end - time.monotonic()) / 60)
    if losses:
        name = part.folder.name if part.folder else ""
        recent = np.mean(losses[-200:])
        print(
            f"{name}: step {part.step} of {steps}, loss {recent:.4f}, {costs.seconds_per_1000:.1f} s per 1,000"
        )
    return part.finished(steps)


@torch.inference_mode()
def spread(vae: Any, pixels: np.ndarray, device: torch.device) -> float:
    """Standard deviation of the latents of the first 1,000 photographs."""
    images = torch.from_numpy(np.array(pixels[:1000])).permute(0, 3, 1, 2).float() / 127.5 - 1
    return float(
        torch.cat([vae.encode(some.to(device)).latent_dist.mean for some in images.split(100)]).std()
    )


if __name__ == "__main__":
    main(tyro.cli(Settings))
