"""Tensors as a RINE checkpoint holds them, with random values."""

from __future__ import annotations

import torch


def rine_tensors(layers: int, width: int, hidden: int, depth: int) -> dict[str, torch.Tensor]:
    shapes = {"alpha": (1, layers, hidden)}
    for i in range(depth):
        shapes[f"proj1.{3 * i + 1}.weight"] = (hidden, width if i == 0 else hidden)
        shapes[f"proj2.{3 * i + 1}.weight"] = (hidden, hidden)
    shapes |= {f"head.{3 * i}.weight": (1 if i == 2 else hidden, hidden) for i in range(3)}
    shapes |= {name.replace("weight", "bias"): shape[:1] for name, shape in shapes.items() if name != "alpha"}
    generator = torch.Generator().manual_seed(3)
    return {name: torch.randn(shape, generator=generator) for name, shape in shapes.items()}
