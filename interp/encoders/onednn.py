"""Linear layers in float32 by oneDNN, in place of the matrix product that torch takes from MKL on a CPU.

MKL uses the widest instructions on processors of its own maker alone: on an AMD EPYC with AVX-512 oneDNN multiplies
twice as fast, from the same weights as they lie in memory. Its convolutions and its low precision are torch's default.
"""

from __future__ import annotations

from typing import Any

import torch
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode


class LinearsByOneDNN(TorchFunctionMode):
    """While it is entered, `torch.nn.functional.linear` in float32 on the CPU is oneDNN's; equal up to rounding.

    For inference only: what it gives knows no gradient.

    >>> layer, x = torch.nn.Linear(64, 32), torch.randn(2, 5, 64)
    >>> with torch.inference_mode(), LinearsByOneDNN():
    ...     y = layer(x)
    >>> torch.allclose(y, layer(x), atol=1e-5)
    True
    """

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: dict | None = None) -> Any:
        if func is F.linear and not kwargs and _can_take(args):
            bias = args[2] if len(args) > 2 else None
            return torch.ops.mkldnn._linear_pointwise(args[0], args[1], bias, "none", [], "")
        return func(*args, **(kwargs or {}))


def has_linears(device: torch.device, dtype: torch.dtype) -> bool:
    """Whether there is anything to gain: float32 on a CPU of the x86 family, in a torch that was built with oneDNN."""
    return (
        (device.type, dtype) == ("cpu", torch.float32)
        and torch.backends.mkldnn.is_available()
        and torch.backends.cpu.get_cpu_capability().startswith("AVX")
        and hasattr(torch.ops.mkldnn, "_linear_pointwise")
    )


def _can_take(args: tuple[Any, ...]) -> bool:
    plain = all(t is None or (t.dtype == torch.float32 and t.device.type == "cpu") for t in args)
    return plain and args[0].ndim > 1 and args[0].numel() > 0 and not torch.is_grad_enabled()
