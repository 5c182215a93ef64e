"""An encoder's own preprocessing, as Pillow does it: resize, centre crop, normalise."""

from __future__ import annotations

import inspect
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from interp.errors import InputError, unknown_name

if TYPE_CHECKING:
    import torch

_FILTERS = {filter.name.lower(): filter for filter in Image.Resampling}
_STEPS = ("do_resize", "do_center_crop", "do_rescale", "do_normalize")
_NO_EFFECT = {"image_processor_type", "feature_extractor_type", "processor_class", "_valid_processor_keys"}
_NO_EFFECT |= {"use_square_size"}  # read by the processor's own constructor
_SAME_FOR_IMAGES = {"BeitImageProcessorPil"}  # what it changes concerns segmentation maps


@dataclass(frozen=True)
class Preprocessing:
    """Resize, centre crop and normalisation, equal to the Pillow backend of `transformers`.

    DINOv3's processor exists for torchvision alone and resizes unrounded values, where Pillow rounds to grey
    levels: its pixels are met within one level.

    Attributes:
        resize: the shorter edge in pixels (the longer edge keeps the ratio, rounded down), or (height,
        width), or None.
        crop: (height, width) of the centre crop in pixels, zeros where the image is smaller; or None.
        resample: Pillow's filter: bicubic, bilinear, lanczos, nearest, box or hamming.
        scale: factor from grey levels to the range of `mean` and `std`, usually 1/255.
        mean, std: of the red, green and blue channel.

    Raises:
        InputError: sizes below 1, an unknown filter, or not three channels.

    >>> clip = Preprocessing.clip()
    >>> clip.apply(Image.new("RGB", (640, 480))).shape
    (3, 224, 224)
    """

    resize: int | tuple[int, int] | None
    crop: tuple[int, int] | None
    resample: str
    scale: float
    mean: tuple[float, ...]
    std: tuple[float, ...]

    def __post_init__(self) -> None:
        if self.resample not in _FILTERS:
            raise unknown_name("resampling filter", self.resample, _FILTERS)
        edges = [self.resize] if isinstance(self.resize, int) else list(self.resize or ())
        if min([*edges, *(self.crop or ()), 1]) < 1:
            raise InputError(f"sizes are at least 1 pixel; got resize={self.resize}, crop={self.crop}")
        if len(self.mean) != 3 or len(self.std) != 3 or 0 in self.std:
            raise InputError(
                f"mean and std need three values, std none of them 0; got {self.mean} and {self.std}"
            )

    @classmethod
    def clip(cls, size: int = 224) -> Preprocessing:
        """What every OpenAI CLIP uses: shorter edge to `size` by bicubic, centre square, CLIP's colours."""
        return cls(
            resize=size,
            crop=(size, size),
            resample="bicubic",
            scale=1 / 255,
            mean=(0.48145466, 0.4578275, 0.40821073),
            std=(0.26862954, 0.26130258, 0.27577711),
        )

    @classmethod
    def of(cls, model: str | Path, *, revision: str | None = None) -> Preprocessing:
        """The preprocessing of a model on the Hugging Face hub, or of one saved in a folder.

        Args:
            model: a model id such as `openai/clip-vit-large-patch14`, or a folder that `save_pretrained`
            wrote.
            revision: branch, tag or commit on the hub.

        Raises:
            InputError: no preprocessor configuration is found, or it asks for a step that is not reproduced
            here.
        """
        from transformers import AutoConfig
        from transformers.image_processing_base import ImageProcessingMixin
        from transformers.models.auto import image_processing_auto as processors

        where = {} if revision is None else {"revision": revision}
        try:
            config, _ = ImageProcessingMixin.get_image_processor_dict(str(model), **where)
            if not _named_type(config):  # older files leave the type to the model's own configuration
                family = AutoConfig.from_pretrained(str(model), **where).model_type
                names = processors.IMAGE_PROCESSOR_MAPPING_NAMES  # pyright: ignore[reportPrivateImportUsage]
                config = {**config, "image_processor_type": names.get(family, {}).get("pil")}
        except (OSError, ValueError) as error:
            reason = str(error).strip().split("\n")[0].split(". ")[0]
            raise InputError(
                f"no preprocessing found for the model {str(model)!r}: {reason}. Give a model id on the hub "
                "such as 'openai/clip-vit-large-patch14' (which takes a network or a filled cache), or a "
                "folder that holds preprocessor_config.json."
            ) from error
        return cls.from_config(config)

    @classmethod
    def from_config(cls, config: Mapping[str, Any] | str | Path) -> Preprocessing:
        """Read a dict as in `preprocessor_config.json`, or the folder that holds this file.

        The named processor class of `transformers` fills in what the dict leaves out. A dict that names none
        has to give all of do_resize, do_center_crop, do_rescale and do_normalize.

        Raises:
            InputError: an unknown processor, or a step that is not reproduced here: nothing is left out
            silently.

        >>> config = {"image_processor_type": "CLIPImageProcessor", "size": 336, "crop_size": 336}
        >>> Preprocessing.from_config(config) == Preprocessing.clip(336)
        True
        """
        if not isinstance(config, Mapping):
            return cls.of(config)
        from transformers.image_processing_backends import PilBackend
        from transformers.processing_utils import ImagesKwargs

        kind = _processor_class(config)
        ancestors = kind.__mro__[: kind.__mro__.index(PilBackend)]
        own = {name for c in ancestors for name, value in vars(c).items() if inspect.isfunction(value)}
        changed = sorted(name for name in own - {"__init__"} if hasattr(PilBackend, name))
        if changed and kind.__name__ not in _SAME_FOR_IMAGES:
            raise InputError(
                f"{kind.__name__} has its own {', '.join(changed)}, which is not reproduced here"
            )
        known = set(ImagesKwargs.__annotations__) | _NO_EFFECT
        strange = [
            f"{key}={value!r}"
            for key, value in config.items()
            if value and (key not in known or key == "do_pad")
        ]
        if strange:
            raise InputError(f"preprocessing that is not reproduced here: {', '.join(strange)}")
        try:
            return cls._from_processor(kind(**config))
        except (TypeError, ValueError) as error:
            raise InputError(
                f"cannot read the preprocessing {json.dumps(dict(config), default=str)}: {error}"
            ) from error

    @classmethod
    def _from_processor(cls, processor: Any) -> Preprocessing:
        size = dict(processor.size or {}) if processor.do_resize else {}
        crop = dict(processor.crop_size or {}) if processor.do_center_crop else {}
        sizes = {key: value for key, value in size.items() if value is not None}
        if processor.do_resize and set(sizes) not in ({"shortest_edge"}, {"height", "width"}):
            raise InputError(f"size must have shortest_edge, or height and width; got {sizes or None}")
        if processor.do_center_crop and not (crop.get("height") and crop.get("width")):
            raise InputError(f"crop_size must have height and width; got {crop or None}")
        scale = processor.rescale_factor if processor.do_rescale else 1.0
        mean, std = (processor.image_mean, processor.image_std) if processor.do_normalize else (0.0, 1.0)
        if mean is None or std is None or scale is None:
            raise InputError(
                "do_normalize needs image_mean and image_std, and do_rescale needs rescale_factor"
            )
        resample = (
            Image.Resampling.BILINEAR if processor.resample is None else Image.Resampling(processor.resample)
        )
        return cls(
            resize=sizes.get("shortest_edge") or ((sizes["height"], sizes["width"]) if sizes else None),
            crop=(crop["height"], crop["width"]) if processor.do_center_crop else None,
            resample=resample.name.lower(),
            scale=float(scale),
            mean=_three(mean),
            std=_three(std),
        )

    def apply(self, image: Image.Image) -> np.ndarray:
        """Resize and crop one image.

        Args:
            image: in mode RGB.

        Returns:
            Grey levels 0…255, shape (3, height, width), uint8.

        Raises:
            InputError: the image is not RGB.
        """
        if image.mode != "RGB":
            raise InputError(
                f"expected an RGB image, got mode {image.mode!r}; decode it with read_image first"
            )
        if self.resize is not None:
            height, width = (
                self.resize if isinstance(self.resize, tuple) else _shorter_edge_to(self.resize, image)
            )
            image = image.resize((width, height), _FILTERS[self.resample])
        if self.crop is not None:
            height, width = self.crop
            left, top = (image.width - width) // 2, (image.height - height) // 2
            image = image.crop((left, top, left + width, top + height))
        return np.array(np.asarray(image).transpose(2, 0, 1), order="C")

    def normalize(self, pixels: torch.Tensor, dtype: torch.dtype | None = None) -> torch.Tensor:
        """Scale and standardise grey levels on their own device: (x · scale − mean) / std, computed in fp32.

        Args:
            pixels: grey levels, shape (n, 3, height, width), uint8.
            dtype: of the result; fp32 unless given.

        Returns:
            Shape (n, 3, height, width), in units of `std`.

        Raises:
            InputError: another shape or dtype.
        """
        import torch

        if pixels.dtype != torch.uint8 or pixels.ndim != 4 or pixels.shape[1] != 3:
            raise InputError(
                f"expected uint8 of shape (n, 3, height, width), got {pixels.dtype} {tuple(pixels.shape)}"
            )
        mean, std = torch.tensor([self.mean, self.std], dtype=torch.float32, device=pixels.device)[
            :, :, None, None
        ]
        return pixels.to(torch.float32).mul_(self.scale).sub_(mean).div_(std).to(dtype or torch.float32)

    def spec(self) -> dict[str, Any]:
        """Everything that decides the result, ready for JSON, for the provenance of what was computed."""
        edge = {"shortest_edge": self.resize} if isinstance(self.resize, int) else _height_width(self.resize)
        return {
            "backend": "pillow",
            "resize": edge,
            "resample": self.resample,
            "crop": _height_width(self.crop),
            "scale": self.scale,
            "mean": list(self.mean),
            "std": list(self.std),
        }


def _named_type(config: Mapping[str, Any]) -> str | None:
    return config.get("image_processor_type") or config.get("feature_extractor_type")


def _processor_class(config: Mapping[str, Any]) -> Any:
    import transformers
    from transformers.image_processing_backends import PilBackend

    named = _named_type(config)
    if named is None:
        missing = [step for step in _STEPS if config.get(step) is None]
        if missing:
            raise InputError(
                f"the configuration names no image_processor_type and leaves out {', '.join(missing)}; "
                'add them, or "image_processor_type": "CLIPImageProcessor"'
            )
        return PilBackend
    base = named.replace("FeatureExtractor", "ImageProcessor").removesuffix("Fast").removesuffix("Pil")
    if base == "DINOv3ViTImageProcessor":
        return _dinov3_processor()
    kind = getattr(transformers, f"{base}Pil", None)
    if not (inspect.isclass(kind) and issubclass(kind, PilBackend)):
        known = [name.removesuffix("Pil") for name in dir(transformers) if name.endswith("ImageProcessorPil")]
        raise unknown_name("image processor", named, known)
    return kind


def _dinov3_processor() -> Any:
    """The defaults of `DINOv3ViTImageProcessor` on the Pillow backend, which `transformers` has no class for."""
    from transformers.image_processing_backends import PilBackend
    from transformers.utils.constants import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD

    steps = {"do_resize": True, "do_rescale": True, "do_normalize": True}
    defaults = {"resample": Image.Resampling.BILINEAR, "size": {"height": 224, "width": 224}}
    colours = {"image_mean": IMAGENET_DEFAULT_MEAN, "image_std": IMAGENET_DEFAULT_STD}
    return type("DINOv3ViTImageProcessorPil", (PilBackend,), {**steps, **defaults, **colours})


def _shorter_edge_to(edge: int, image: Image.Image) -> tuple[int, int]:
    """Height and width after the shorter edge became `edge`; the longer one is rounded down."""
    short, long = sorted(image.size)
    scaled = int(edge * long / short)
    return (scaled, edge) if image.width <= image.height else (edge, scaled)


def _height_width(size: tuple[int, int] | None) -> dict[str, int] | None:
    return None if size is None else {"height": size[0], "width": size[1]}


def _three(value: Any) -> tuple[float, ...]:
    return (float(value),) * 3 if isinstance(value, int | float) else tuple(float(v) for v in value)
