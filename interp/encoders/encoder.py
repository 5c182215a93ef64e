"""An image encoder with its preprocessing, its heads and its exact decomposition."""

from __future__ import annotations

import copy
import hashlib
import inspect
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import partial
from typing import TYPE_CHECKING, Any

import torch

from interp.encoders.families import Family
from interp.encoders.family import find_parts
from interp.encoders.last_block import class_token_alone, reads_class_token_alone
from interp.encoders.layout import HeadLayout
from interp.encoders.onednn import LinearsByOneDNN, has_linears
from interp.encoders.readout import Decomposition, Readout
from interp.encoders.recorder import HeadRecord, HeadRecorder
from interp.errors import InputError, unknown_name
from interp.images.preprocess import Preprocessing

if TYPE_CHECKING:
    from PIL import Image
    from torch import nn

DTYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}
DTYPES |= {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}
LARGEST_DEVIATION = {torch.float16: 5e-3, torch.bfloat16: 3e-2}
"""Largest relative distance to the float32 embedding at which a low-precision run is allowed."""
LAST_BLOCK, LINEARS = "last block for the class token alone", "linear layers by oneDNN"
COMPILED = "compiled"
LARGEST_SHORTCUT_ERROR = 1e-5
"""Largest relative distance in float32 between what is recorded with and without a shortcut."""


class Encoder:
    """A vision transformer whose heads can be recorded and whose embedding can be taken apart.

    Make one with `load_encoder`, or from a model that you hold already:

    >>> from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection
    >>> config = CLIPVisionConfig(hidden_size=32, intermediate_size=64, num_hidden_layers=3,
    ...                           num_attention_heads=4, image_size=32, patch_size=8, projection_dim=16)
    >>> encoder = Encoder(CLIPVisionModelWithProjection(config), Preprocessing.clip(32), name="tiny")
    >>> parts = encoder.decompose(torch.rand(2, 3, 32, 32))
    >>> parts.heads.shape, bool(parts.error().max() < 1e-5)
    (torch.Size([2, 3, 4, 16]), True)

    Args:
        model: any model that holds one vision tower of a known family; it is put in eval mode.
        preprocessing: what turns an image into pixel values.
        name: what to call it in stores and reports; a hub id or a folder's name.
        revision: the commit of the weights, where there is one.
        family: names of the parts, for a model of your own.
        device, dtype: where and in which precision to run.
        reload: makes the float32 model again, for checking a low-precision one against it.
        fast: take shortcuts where the model and the machine allow them: the last block is computed for the class
            token alone, and float32 linear layers on a CPU by oneDNN. What is recorded then differs from the plain
            pass by rounding (about 1e-6 in float32), so that a store made with shortcuts has a key that names them.
            Where none is found, the pass and the key are the plain ones.
        compile: one more shortcut: the pass goes through `torch.compile`, on a GPU with CUDA graphs. It takes a
            compiler and, for each batch size, up to minutes at the first pass.

    Attributes:
        shortcuts: those that are taken: asked for, allowed by the model's structure, and found right on two random
            images. Where somebody else listens to the last block, it is computed for every token all the same.
    """

    def __init__(
        self,
        model: nn.Module,
        preprocessing: Preprocessing,
        *,
        name: str,
        revision: str = "",
        family: Family | None = None,
        device: str | torch.device = "cpu",
        dtype: str | torch.dtype = "float32",
        reload: Callable[[], nn.Module] | None = None,
        fast: bool = False,
        compile: bool = False,
    ):
        self.name, self.revision, self.preprocessing = name, revision, preprocessing
        self.device, self.dtype = torch.device(device), as_dtype(dtype)
        self.weight_hash = hash_weights(model)
        self.readout = Readout.of(find_parts(model, family))
        self._family = family
        self._reload: Callable[[], nn.Module] | None = None
        if self.dtype != torch.float32:
            exact = model if reload else copy.deepcopy(model)
            self._reload = reload or (lambda: exact)
        self.model = model.eval().requires_grad_(False).to(self.device, self.dtype)
        self.recorder = HeadRecorder(self.model, family)
        self._compiled: Callable[[torch.Tensor], object] | None = None
        self.shortcuts = self._find_shortcuts(fast, compile)

    @property
    def family(self) -> str:
        """Name of the model family: clip, dinov2, siglip, …, or your own."""
        return self.recorder.parts.family.name

    @property
    def layout(self) -> HeadLayout:
        """Layers, heads and head width."""
        return self.recorder.layout

    @property
    def width(self) -> int:
        """P, the width of the embedding."""
        return self.readout.projection.shape[1]

    @property
    def provenance(self) -> dict[str, Any]:
        """What identifies this encoder in a store: name, revision, weights, precision, preprocessing."""
        pooling = self.recorder.parts.family.pooling
        config = getattr(self.model, "config", None)
        activation = getattr(getattr(config, "vision_config", config), "hidden_act", None)
        return {
            "encoder": {
                "name": self.name,
                "revision": self.revision,
                "weights": self.weight_hash,
                "family": self.family,
                **({"activation": activation} if isinstance(activation, str) else {}),
                **({} if pooling == "class" else {"pooling": pooling}),
                "dtype": str(self.dtype).removeprefix("torch."),
            },
            "preprocessing": self.preprocessing.spec(),
            **({"pass": ", ".join(self.shortcuts)} if self.shortcuts else {}),
        }

    def pixel_values(self, images: Sequence[Image.Image]) -> torch.Tensor:
        """Preprocess RGB images into (n, 3, H, W), normalised, on the encoder's device."""
        pixels = torch.stack([torch.from_numpy(self.preprocessing.apply(image)) for image in images])
        return self.preprocessing.normalize(pixels.to(self.device))

    @torch.inference_mode()
    def record(self, pixel_values: torch.Tensor) -> HeadRecord:
        """One pass over (n, 3, H, W) normalised pixel values; what it left at the image's token."""
        return self._record(pixel_values, self.shortcuts)

    def _record(self, pixel_values: torch.Tensor, shortcuts: Sequence[str]) -> HeadRecord:
        parts = self.recorder.parts
        alone = LAST_BLOCK in shortcuts and reads_class_token_alone(parts)
        # compiled code hears no hooks
        heard = any(m._forward_hooks or m._forward_pre_hooks for m in self.model.modules())
        with ExitStack() as contexts:
            recorder = contexts.enter_context(self.recorder)
            if alone:
                contexts.enter_context(class_token_alone(parts))
            if LINEARS in shortcuts:
                contexts.enter_context(LinearsByOneDNN())
            look = self._compile() if COMPILED in shortcuts and not heard else partial(_look, self.model)
            look(pixel_values.to(self.device, self.dtype))
            return recorder.take()

    @torch.inference_mode()
    def _find_shortcuts(self, fast: bool, compile: bool) -> tuple[str, ...]:
        """The shortcuts that the structure allows and that prove right on two random images."""
        shape, found = self.preprocessing.crop or self.preprocessing.resize, []
        possible = [LAST_BLOCK] if fast and reads_class_token_alone(self.recorder.parts) else []
        possible += [LINEARS] if fast and not compile and has_linears(self.device, self.dtype) else []
        possible += [COMPILED] if compile else []
        if not possible or not isinstance(shape, tuple):
            return ()
        pixels = torch.randn(2, 3, *shape, generator=torch.Generator().manual_seed(0))
        plain = self._record(pixels, ())
        for shortcut in possible:
            try:
                short = self._record(pixels, [*found, shortcut])
            except (RuntimeError, TypeError, ValueError):  # fewer tokens are not taken, or no compiler
                continue
            if _distance(short, plain) <= LARGEST_DEVIATION.get(self.dtype, LARGEST_SHORTCUT_ERROR):
                found.append(shortcut)
        return tuple(found)

    def _compile(self) -> Callable[[torch.Tensor], object]:
        if self._compiled is None:
            mode = "reduce-overhead" if self.device.type == "cuda" else "default"
            self._compiled = torch.compile(partial(_look, self.model), mode=mode)
        return self._compiled

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_compiled": None}  # a copy, or another process, compiles for itself

    def to(self, device: str | torch.device) -> Encoder:
        """Move to a device, in place; shortcuts that are not to be had there are dropped.

        >>> from interp.encoders.loading import load_encoder
        >>> load_encoder("embedded").to("meta").device
        device(type='meta')
        """
        self.device = torch.device(device)
        self.model.to(self.device)
        self._compiled = None
        if not has_linears(self.device, self.dtype):
            self.shortcuts = tuple(name for name in self.shortcuts if name != LINEARS)
        return self

    def for_processes(self) -> Encoder:
        """A copy on the CPU to send to other processes, without the float32 model of `precision_error`."""
        sent = copy.copy(self)
        sent._reload = sent._compiled = None
        return sent if self.device.type == "cpu" else copy.deepcopy(sent).to("cpu")

    def decompose(self, pixel_values: torch.Tensor, centering: str = "own") -> Decomposition:
        """The embeddings of (n, 3, H, W) pixel values as a sum of heads, MLPs, first residual and bias.

        See `Readout.decompose` for the two centerings.
        """
        return self.readout.decompose(self.record(pixel_values), centering)  # type: ignore[arg-type]

    def precision_error(self, pixel_values: torch.Tensor) -> torch.Tensor:
        """‖embedding − float32 embedding‖ / ‖float32 embedding‖ of each image, (n,); zeros in float32."""
        if self._reload is None:
            return torch.zeros(len(pixel_values))
        reference = self._reload().eval().float().to(self.device)
        with torch.inference_mode(), HeadRecorder(reference, self._family) as recorder:
            _look(reference, pixel_values.to(self.device, torch.float32))
            exact = recorder.take().embedding
        return ((self.record(pixel_values).embedding - exact).norm(dim=-1) / exact.norm(dim=-1)).cpu()

    def __repr__(self) -> str:
        shape, pooling = self.layout, self.recorder.parts.family.pooling
        kind = self.family if pooling == "class" else f"{self.family} pooled by {pooling}"
        return (
            f"Encoder({self.name!r}, {kind}, {shape.layers} layers × {shape.heads} heads × "
            f"{shape.width}, embedding {self.width}, {self.provenance['encoder']['dtype']} on {self.device}"
            f"{''.join(f', {shortcut}' for shortcut in self.shortcuts)})"
        )


def _look(model: nn.Module, pixel_values: torch.Tensor) -> None:
    """Run the vision part: of a whole CLIP, `get_image_features` alone, which needs no text."""
    call = next(
        (getattr(model, n) for n in ("get_image_features", "encode_image") if hasattr(model, n)), model
    )
    inputs = inspect.signature(getattr(call, "forward", call)).parameters.values()
    free = [i for i in inputs if i.kind not in (i.VAR_POSITIONAL, i.VAR_KEYWORD)]
    missing = [i.name for i in free if i.default is i.empty and i.name != "pixel_values"]
    by_name = not free or any(i.name == "pixel_values" for i in free)
    if len(missing) > (not by_name):
        raise InputError(
            f"{type(model).__name__} takes {', '.join(missing)} besides the images, which an Encoder cannot make; "
            "run the model yourself inside interp.HeadRecorder"
        )
    call(pixel_values=pixel_values) if by_name else call(pixel_values)  # type: ignore[operator]


def _distance(ours: HeadRecord, theirs: HeadRecord) -> float:
    """Largest relative distance of an array of two records, means aside, which may be 0."""
    pairs = [
        (getattr(ours, n).float(), v.float())
        for n, v in vars(theirs).items()
        if n not in ("norm_mean", "first")
    ]
    return max(float((a - b).norm() / b.norm().clamp_min(1e-12)) for a, b in pairs)


def hash_weights(model: nn.Module) -> str:
    """SHA-256 over the names, shapes and bytes of a model's weights, as hexadecimal digits."""
    digest = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(f"{name}:{tuple(tensor.shape)}:{tensor.dtype}".encode())
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
    return digest.hexdigest()


def as_dtype(dtype: str | torch.dtype) -> torch.dtype:
    """float32, bfloat16 or float16 (or fp32, bf16, fp16) as a torch dtype."""
    if isinstance(dtype, torch.dtype) and dtype in DTYPES.values():
        return dtype
    if str(dtype) not in DTYPES:
        raise unknown_name("dtype", dtype, DTYPES)
    return DTYPES[str(dtype)]


def as_device(device: str | None) -> torch.device:
    """The device asked for; by default the best that there is.

    Raises:
        InputError: no such device on this machine.
    """
    if device in (None, "auto"):
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise InputError(
            f"device {device!r} cannot be used here ({str(error).splitlines()[0]}); "
            "use 'cpu', 'cuda' or 'mps', or leave it out to get the best one"
        ) from error
    return torch.device(str(device))
