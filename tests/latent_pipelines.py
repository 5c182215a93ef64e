"""Small unconditional latent diffusion pipelines, made from a config."""

from __future__ import annotations

from typing import Any

import torch


def small_pipeline(target: str = "epsilon") -> Any:
    """Random weights; 16 pixels become 8 × 8 × 4."""
    import diffusers

    torch.manual_seed(0)
    blocks = {"down_block_types": ("DownEncoderBlock2D",) * 2, "up_block_types": ("UpDecoderBlock2D",) * 2}
    vae = diffusers.AutoencoderKL(**blocks, block_out_channels=(8, 8), norm_num_groups=4, latent_channels=4)
    unet = diffusers.UNet2DModel(
        sample_size=8,
        in_channels=4,
        out_channels=4,
        layers_per_block=1,
        block_out_channels=(8, 8),
        down_block_types=("DownBlock2D", "AttnDownBlock2D"),
        up_block_types=("AttnUpBlock2D", "UpBlock2D"),
        norm_num_groups=4,
        attention_head_dim=4,
    )
    scheduler = diffusers.DDIMScheduler(prediction_type=target)
    return diffusers.LDMPipeline(vqvae=vae, unet=unet, scheduler=scheduler)
