"""Tensors out of a published checkpoint file, by name and shape, without running any code that it holds."""

from __future__ import annotations

import difflib
import hashlib
import pickle
import re
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from interp.errors import InputError, unknown_name

WRAPPERS = ("model", "state_dict", "net")
"""Names under which training code puts a model's tensors beside its optimizer and step."""
CONVERT = (
    "If you trust its source, convert it once where nothing can be lost (a container without network or credentials): "
    "torch.load(FILE, map_location='cpu', weights_only=False), take its dictionary of tensors, and "
    "safetensors.torch.save_file(TENSORS, 'head.safetensors'); then load head.safetensors"
)


def read_tensors(path: str | Path) -> dict[str, torch.Tensor]:
    """All tensors of a `.safetensors` file or of one that `torch.save` wrote, float32 on the CPU.

    Tensors below "model", "state_dict" or "net" are taken out of there, and the prefix "module." that
    data-parallel training leaves is dropped. Nothing in the file is executed.

    Args:
        path: the file.

    Raises:
        InputError: no such file, no checkpoint, one that would have to run code, or one without tensors.
    """
    path = Path(path)
    if not path.is_file():
        beside = [p.name for p in path.parent.iterdir() if p.is_file()] if path.parent.is_dir() else []
        raise unknown_name(f"checkpoint file in {path.parent}", path.name, beside)
    start = path.open("rb").read(24)
    if start.startswith(b"version https://git-lfs"):
        raise InputError(
            f"{path} is only a git-lfs pointer; run `git lfs pull` in its repository to get the weights"
        )
    content = _safetensors(path) if path.suffix == ".safetensors" else _torch(path, start)
    for wrapper in WRAPPERS:
        if isinstance(content, Mapping) and isinstance(content.get(wrapper), Mapping):
            content = content[wrapper]
            break
    if not isinstance(content, Mapping):
        raise InputError(f"{path} holds a {type(content).__name__}, expected a dictionary of named tensors")
    tensors = {str(name): value for name, value in content.items() if isinstance(value, torch.Tensor)}
    if not tensors:
        shown = ", ".join(str(name) for name in list(content)[:8])
        raise InputError(f"{path} holds no named tensors; it holds {shown or 'nothing'}")
    return {name.removeprefix("module."): value.detach().float() for name, value in tensors.items()}


def strictly(
    tensors: Mapping[str, torch.Tensor], expected: Mapping[str, Sequence[int]], where: object
) -> dict[str, torch.Tensor]:
    """Exactly the expected tensors; anything missing, unexpected, of another shape or not finite is named.

    Args:
        tensors: by name.
        expected: the shape of each name.
        where: the file, for the message.

    Raises:
        InputError: the names or shapes differ, or a value is NaN or infinite.

    >>> strictly({"wieght": torch.zeros(1, 2)}, {"weight": (1, 2)}, "head.pth")
    Traceback (most recent call last):
    interp.errors.InputError: head.pth does not hold the expected tensors: missing weight (1, 2), did you mean
    'wieght'?; unexpected wieght (1, 2)
    """
    wrong = []
    extra = [name for name in tensors if name not in expected]
    for name in expected:
        if name not in tensors:
            near = difflib.get_close_matches(name, extra, n=1)
            hint = f", did you mean {near[0]!r}?" if near else ""
            wrong.append(f"missing {name} {tuple(expected[name])}{hint}")
    wrong += [f"unexpected {name} {tuple(tensors[name].shape)}" for name in extra]
    for name, shape in expected.items():
        if name in tensors and tuple(tensors[name].shape) != tuple(shape):
            wrong.append(f"{name} has shape {tuple(tensors[name].shape)}, expected {tuple(shape)}")
        elif name in tensors and not bool(torch.isfinite(tensors[name]).all()):
            wrong.append(f"{name} holds NaN or infinite values")
    if wrong:
        shown = "; ".join(wrong[:8]) + (f"; … ({len(wrong)} in all)" if len(wrong) > 8 else "")
        raise InputError(f"{where} does not hold the expected tensors: {shown}")
    return {name: tensors[name] for name in expected}


def sha256_of(path: str | Path) -> str:
    """SHA-256 of a file's bytes, as hexadecimal digits."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _safetensors(path: Path) -> Any:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except (SafetensorError, ValueError) as error:
        raise InputError(f"{path} is no safetensors file ({error})") from error


def _torch(path: Path, start: bytes) -> Any:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # about pickles that are refused below anyway
            return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        found = re.search(r"GLOBAL ([\w.]+)", str(error))
        if found or start.startswith(b"\x80"):
            named = f"{found[1]!r}" if found else "something else than tensors"
            raise InputError(
                f"{path} can only be loaded by executing code that it names ({named}), which is not done. {CONVERT}"
            ) from error
        raise _no_checkpoint(path, start) from error
    except (RuntimeError, EOFError, ValueError, KeyError, IndexError, AttributeError, TypeError) as error:
        raise _no_checkpoint(path, start) from error


def _no_checkpoint(path: Path, start: bytes) -> InputError:
    return InputError(
        f"{path} is no checkpoint ({path.stat().st_size} bytes, begins with {start!r}); expected a .safetensors file "
        "or what torch.save writes. Was the download cut off, or a web page saved instead?"
    )
