"""A tiny autoencoder of a diffusion model's latent space, read from two plain state dicts."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn

from interp.errors import InputError

FILES = ("encoder.safetensors", "decoder.safetensors")
_LIMIT = 3.0  # latents are bent into ±3 before they are decoded
_STAGES, _BLOCKS = 3, 3  # halvings of the size, and blocks after each


class TinyAutoencoder(nn.Module):
    """Encoder and decoder of the TAESD family (Ollin Boer Bohan, MIT), small enough for a CPU.

    Each of three stages halves the size; images need edges divisible by 8. `encode` and `decode` take and give
    images in -1…1, shape (n, 3, height, width), as the autoencoders of `diffusers` do; latents have shape (n, c,
    height / 8, width / 8).

    Args:
        channels: of the latents.
        width: of the convolutions.
        pooled: of the blocks of the lowest resolution, whether they carry a branch with group normalisation.
    """

    def __init__(self, channels: int = 32, width: int = 64, pooled: bool = True):
        super().__init__()
        down: list[nn.Module] = [_conv(3, width), _Block(width)]
        up: list[nn.Module] = [_Bend(), _conv(channels, width), nn.ReLU()]
        for stage in range(_STAGES):
            lowest = pooled and stage == _STAGES - 1
            down.append(nn.Conv2d(width, width, 3, stride=2, padding=1, bias=False))
            down += [_Block(width, pooled=lowest) for _ in range(_BLOCKS)]
        for stage in range(_STAGES):
            up += [_Block(width, pooled=pooled and stage == 0) for _ in range(_BLOCKS)]
            up += [nn.Upsample(scale_factor=2), nn.Conv2d(width, width, 3, padding=1, bias=False)]
        self.encoder = nn.Sequential(*down, _conv(width, channels))
        self.decoder = nn.Sequential(*up, _Block(width), _conv(width, 3))

    @classmethod
    def load(cls, folder: str | Path) -> TinyAutoencoder:
        """Read `encoder.safetensors` and `decoder.safetensors` in a folder; float32, for evaluation.

        Raises:
            InputError: a file is missing, or holds another network.
        """
        from safetensors.torch import load_file

        try:
            encoder, decoder = (load_file(Path(folder) / name) for name in FILES)
            last = encoder[
                max((k for k in encoder if k.endswith("bias")), key=lambda k: int(k.split(".")[0]))
            ]
            network = cls(len(last), len(encoder["0.bias"]), any(".pool." in key for key in encoder))
            network.encoder.load_state_dict(encoder)
            network.decoder.load_state_dict(decoder)
        except (OSError, ValueError, KeyError, RuntimeError) as error:
            reason = str(error).strip().split("\n")[0]
            raise InputError(
                f"cannot read a tiny autoencoder from {str(folder)!r}: {reason}. The folder has to hold "
                f"{' and '.join(FILES)} of the TAESD family (github.com/madebyollin/taesd)"
            ) from error
        return network.eval().requires_grad_(False)

    def encode(self, images: torch.Tensor) -> torch.Tensor:
        """Latents of images in -1…1."""
        return self.encoder((images + 1) / 2)

    def decode(self, latents: torch.Tensor) -> torch.Tensor:
        """Images in -1…1, cut to this range."""
        return (2 * self.decoder(latents) - 1).clamp(-1, 1)


class _Block(nn.Module):
    """Three convolutions around the input, which is added again."""

    def __init__(self, width: int, pooled: bool = False):
        super().__init__()
        self.conv = nn.Sequential(
            _conv(width, width), nn.ReLU(), _conv(width, width), nn.ReLU(), _conv(width, width)
        )
        self.pool = _pooled_branch(width) if pooled else None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.pool is not None:
            x = x + self.pool(x)
        return torch.relu(self.conv(x) + x)


class _Bend(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.tanh(x / _LIMIT) * _LIMIT


def _pooled_branch(width: int) -> nn.Sequential:
    wide = 4 * width
    return nn.Sequential(
        nn.Conv2d(width, wide, 1, bias=False),
        nn.GroupNorm(4, wide),
        nn.ReLU(),
        nn.Conv2d(wide, width, 1, bias=False),
    )


def _conv(inputs: int, outputs: int) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, 3, padding=1)
