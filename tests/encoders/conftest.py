"""One tiny model of each family in turn, and a few images' worth of pixel values."""

from __future__ import annotations

import pytest
import torch
from tiny_models import CLASS_TOKEN, FAMILIES, make
from torch import nn


@pytest.fixture(params=CLASS_TOKEN)
def model(request: pytest.FixtureRequest) -> nn.Module:
    """One model of each family that `transformers` holds and that reads its class token, in turn."""
    return make(request.param)


@pytest.fixture(params=list(FAMILIES))
def any_model(request: pytest.FixtureRequest) -> nn.Module:
    """One model of each family in turn, whatever it pools by and whoever wrote it."""
    return make(request.param)


@pytest.fixture
def pixels() -> torch.Tensor:
    """Five images' worth of normalised pixel values."""
    return torch.randn(5, 3, 32, 32, generator=torch.Generator().manual_seed(1))
