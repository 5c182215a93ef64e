"""Twins by a diffusion model: noise added and taken away again, or a part painted anew under a mask."""

from __future__ import annotations

import functools
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self, cast

import numpy as np
from PIL import Image, ImageDraw

from interp.errors import InputError
from interp.images.launder_parameters import (
    Between,
    Number,
    OneOf,
    draw_number,
    fault,
    number_text,
    read_number,
)
from interp.images.launder_step import Step

STEPS = 50
"""Denoising steps of a whole run from pure noise; at strength s the last s · 50 of them are taken."""

_STRIDE = 8
_GIVEN: dict[str, Any] = {}


@dataclass(frozen=True)
class ModelStep(Step):
    """A mechanism with one number and one model, written `NAME:AMOUNT:MODEL`.

    Attributes:
        amount: what the mechanism says it is; a range or a choice is drawn for each image.
        source: folder or hub id of a pipeline of `diffusers`, or a name given to `use_pipeline`.

    Raises:
        InputError: an amount outside its limits, or no model.
    """

    amount: Number
    source: str
    called: ClassVar[str]
    limits: ClassVar[tuple[float, float]]

    def __post_init__(self) -> None:
        about = dict(zip(("low", "high"), self.limits, strict=True), whole=False, odd=False)
        wrong = fault(self.amount, about) or ("" if self.source else "needs a model behind it")
        if wrong:
            raise InputError(
                f"cannot make twins with {self.name}: {self.called.lower()} {wrong}; got {self.amount} and the model "
                f"{self.source!r}. Write {self.form()}, for example {self.example!r}"
            )

    @classmethod
    def form(cls) -> str:
        return f"{cls.name}:{cls.called}:MODEL"

    @classmethod
    def read(cls, given: str) -> Self:
        first, _, source = given.partition(":")
        amount = read_number(first.strip())
        if amount is None:
            raise InputError(
                f"cannot read {cls.name + ':' + given!r}; write {cls.form()}, for example {cls.example!r}"
            )
        return cls(amount, source.strip())

    def __str__(self) -> str:
        amount = self.amount if isinstance(self.amount, Between | OneOf) else number_text(self.amount)
        return f"{self.name}:{amount}:{self.source}"

    def draw(self, rng: np.random.Generator) -> tuple[Step, ...]:
        return (replace(self, amount=draw_number(self.amount, rng)),)


@dataclass(frozen=True)
class Denoise(ModelStep):
    """Noise is added to the photograph's latent, and a diffusion model takes it away: `img2img` without a prompt.

    The amount is its strength, 0 to 1: how far towards pure noise.
    """

    name = "denoise"
    example = "denoise:0.2:stabilityai/sd-turbo"
    called = "STRENGTH"
    limits = (0.02, 1)

    def apply(self, image: Image.Image, rng: np.random.Generator) -> Image.Image:
        return _run(load_pipeline(self.source, "image-to-image"), image, rng, strength=self.amount)


@dataclass(frozen=True)
class Inpaint(ModelStep):
    """A part of the photograph is made anew; every pixel outside the mask stays what it was.

    The amount is the share of the image's area under the mask. Where a model is given, it paints what lies under the
    mask from pure noise. `inpaint:SHARE:MECHANISM` puts the pixels of another mechanism there.

    Attributes:
        inner: that other mechanism.
    """

    name = "inpaint"
    example = "inpaint:0.3:vae:FOLDER"
    called = "SHARE"
    limits = (0.01, 0.9)
    inner: Step | None = None

    def draw(self, rng: np.random.Generator) -> tuple[Step, ...]:
        (drawn,) = super().draw(rng)
        if self.inner is None:
            return (drawn,)
        (inner,) = self.inner.draw(rng)
        return (replace(drawn, source=str(inner), inner=inner),)

    def mask(self, size: tuple[int, int], rng: np.random.Generator) -> Image.Image:
        """The mask (mode "L", 255 where the image is made anew) for an image of this size (width, height).

        An ellipse somewhere in the image, or a rectangle where an ellipse of this area would not fit. The same
        state of `rng` gives the same mask that `apply` draws first.
        """
        edges = np.array(size, float)
        stretch = np.exp(rng.uniform(-0.4, 0.4))
        axes = np.sqrt(4 / np.pi * cast(float, self.amount) * edges.prod() * np.array([stretch, 1 / stretch]))
        is_ellipse = bool((axes <= edges).all())
        if not is_ellipse:
            axes = np.sqrt(cast(float, self.amount)) * edges
        corner = rng.uniform(0, 1, 2) * (edges - axes)
        mask = Image.new("L", size, 0)
        pen = ImageDraw.Draw(mask)
        (pen.ellipse if is_ellipse else pen.rectangle)([*corner, *(corner + axes - 1)], fill=255)
        return mask

    def apply(self, image: Image.Image, rng: np.random.Generator) -> Image.Image:
        mask = self.mask(image.size, rng)
        if self.inner is not None:
            made = self.inner.apply(image, rng)
        else:
            made = _run(load_pipeline(self.source, "inpainting"), image, rng, mask_image=mask, strength=1.0)
        return Image.composite(made, image, mask)


def use_pipeline(name: str, pipeline: Any) -> None:
    """Let `denoise:STRENGTH:NAME` and `inpaint:SHARE:NAME` mean this pipeline, in this process.

    Args:
        name: as in the text of the mechanism.
        pipeline: called as one of `diffusers` (prompt=, image=, strength=, num_inference_steps=, generator=, and for
            inpainting mask_image=); what it returns has the attribute `images`, a list of PIL images.

    Raises:
        InputError: it cannot be called.
    """
    if not callable(pipeline):
        raise InputError(f"a pipeline is called with an image; got {type(pipeline).__name__}")
    _GIVEN[name] = pipeline


def load_pipeline(source: str, task: str) -> Any:
    """The pipeline with this name, kept for the next image; in float32, on a GPU where there is one.

    Args:
        source: a name given to `use_pipeline`, or a folder or hub id of a pipeline of `diffusers`.
        task: "image-to-image" or "inpainting".

    Raises:
        InputError: nothing is found there, or `diffusers` is not installed.
    """
    return _GIVEN[source] if source in _GIVEN else _loaded(source, task)


@functools.lru_cache(maxsize=1)
def _loaded(source: str, task: str) -> Any:
    try:
        import diffusers  # pyright: ignore[reportMissingImports]
    except ImportError:
        raise InputError(
            f"the {task} model {source!r} needs diffusers, which is not installed: pip install 'interp[diffusion]', "
            "or hand a pipeline to use_pipeline"
        ) from None
    import torch

    kind = "AutoPipelineForImage2Image" if task == "image-to-image" else "AutoPipelineForInpainting"
    try:
        pipeline = getattr(diffusers, kind).from_pretrained(source, torch_dtype=torch.float32)
    except (OSError, ValueError) as error:
        reason = str(error).strip().split("\n")[0].rstrip(".")
        raise InputError(
            f"no {task} pipeline found as {source!r}: {reason}. Give a folder, or a model id on the hub (which takes "
            "a network or a filled cache)"
        ) from error
    pipeline.set_progress_bar_config(disable=True)
    return pipeline.to("cuda" if torch.cuda.is_available() else "cpu")


def _run(pipeline: Any, image: Image.Image, rng: np.random.Generator, **options: Any) -> Image.Image:
    """One image through a pipeline; edges are filled up to multiples of 8, and cut off again."""
    import torch

    width, height = image.size
    whole = (width + -width % _STRIDE, height + -height % _STRIDE)
    filled = {
        name: _filled(value, whole) for name, value in options.items() if isinstance(value, Image.Image)
    }
    made = pipeline(
        prompt="",
        image=_filled(image, whole),
        num_inference_steps=STEPS,
        generator=torch.Generator().manual_seed(int(rng.integers(2**63))),
        **{**options, **filled},
    ).images[0]
    if made.size != whole:
        raise InputError(
            f"the pipeline made {made.width} × {made.height} pixels of {whole[0]} × {whole[1]}; twins keep the size of "
            "their photographs: choose side= as the model wants it"
        )
    return made.convert("RGB").crop((0, 0, width, height))


def _filled(image: Image.Image, size: tuple[int, int]) -> Image.Image:
    levels = np.asarray(image)
    fill = [(0, size[1] - levels.shape[0]), (0, size[0] - levels.shape[1])]
    return Image.fromarray(np.pad(levels, [*fill, (0, 0)][: levels.ndim], mode="edge"))
