"""Load an encoder from a hub id or a folder, strictly: right classes, no missing weight, right activation."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from interp.encoders.encoder import Encoder, as_device
from interp.encoders.families import Family
from interp.errors import InputError, unknown_name
from interp.images.preprocess import Preprocessing

if TYPE_CHECKING:
    from torch import nn

DEFAULT = "openai/clip-vit-large-patch14"

EMBEDDED = "embedded"
"""The name of the small CLIP inside the package, with its text tower; it is for teaching and trying, at 64 pixels."""

MODEL_TYPES = {
    "clip": ("CLIPVisionModelWithProjection", "CLIPVisionModel"),
    "clip_vision_model": ("CLIPVisionModelWithProjection", "CLIPVisionModel"),
    "metaclip_2": ("MetaClip2VisionModelWithProjection", "MetaClip2VisionModel"),
    "metaclip_2_vision_model": ("MetaClip2VisionModelWithProjection", "MetaClip2VisionModel"),
    "vit": ("ViTModel",),
    "deit": ("DeiTModel",),
    "vit_msn": ("ViTMSNModel",),
    "beit": ("BeitModel",),
    "dinov2": ("Dinov2Model",),
    "dinov2_with_registers": ("Dinov2WithRegistersModel",),
    "dinov3_vit": ("DINOv3ViTModel",),
    "ijepa": ("IJepaModel",),
    "siglip": ("SiglipVisionModel",),
    "siglip_vision_model": ("SiglipVisionModel",),
    "aimv2": ("Aimv2Model",),
    "aimv2_vision_model": ("Aimv2VisionModel",),
}
"""For each `model_type` of a config, the classes to try; the next one if the weights lack a projection."""

NOT_LOADED = {
    "siglip2": "it takes patches, masks and shapes in place of images. The SigLIP 2 checkpoints of one fixed size "
    "(google/siglip2-base-patch16-224 and its like) are 'siglip' models and load; for this one, run the model "
    "yourself inside interp.HeadRecorder",
    "timm_wrapper": "it is run by timm. Make the model with timm and pass it to interp.Encoder(model, "
    "interp.Preprocessing(...), name=...), which knows timm's vision transformers",
}
"""What to do with model types that look loadable and are not."""

ACTIVATIONS = {
    "openai/clip-vit-base-patch32": "quick_gelu",
    "openai/clip-vit-base-patch16": "quick_gelu",
    "openai/clip-vit-large-patch14": "quick_gelu",
    "openai/clip-vit-large-patch14-336": "quick_gelu",
    "laion/CLIP-ViT-B-32-laion2B-s34B-b79K": "gelu",
    "laion/CLIP-ViT-B-16-laion2B-s34B-b88K": "gelu",
    "laion/CLIP-ViT-L-14-laion2B-s32B-b82K": "gelu",
    "laion/CLIP-ViT-H-14-laion2B-s32B-b79K": "gelu",
    "laion/CLIP-ViT-L-14-CommonPool.XL-s13B-b90K": "gelu",
}
"""The activation that each of these checkpoints was trained with; another changes every feature silently."""


def load_encoder(
    name: str | Path = DEFAULT,
    *,
    device: str | None = None,
    dtype: str = "float32",
    revision: str | None = None,
    family: Family | None = None,
    fast: bool = False,
    compile: bool = False,
) -> Encoder:
    """Load an image encoder: CLIP (OpenAI or OpenCLIP weights in `transformers` format), MetaCLIP 2, SigLIP,
    AIMv2, ViT, DeiT, BEiT, I-JEPA, MSN, DINOv2 or DINOv3.

    Args:
        name: a hub id such as `openai/clip-vit-large-patch14`, or a folder with config.json,
            weights and preprocessor_config.json; "embedded" is the small CLIP inside the package.
        device: cpu, cuda, mps; by default the best that there is.
        dtype: float32, bfloat16 or float16.
        revision: commit, tag or branch of a hub repository.
        family: names of the parts, where they are not the known ones: another pooling of a known family, or
            a model that `transformers.AutoModel` loads and that is not known here.
        fast, compile: take shortcuts that change no more than the last bits; see `Encoder`.

    Raises:
        InputError: the encoder cannot be loaded, is of another family, lacks weights, or its config
            names another activation than the one its weights were trained with.

    >>> load_encoder("embedded", device="cpu").layout.n_heads
    36
    """
    location, shown = locate(name)
    config = _load_config(location, revision)
    if config.model_type not in MODEL_TYPES and family is None:
        raise InputError(
            f"{location} is a {config.model_type!r} model; its heads cannot be recorded: "
            + NOT_LOADED.get(config.model_type, "its parts are not known here")
            + f". Known model types: {', '.join(MODEL_TYPES)}. Describe another with interp.Family and pass it "
            "as family=, here or to interp.Encoder(model, ...)"
        )
    vision = getattr(config, "vision_config", config)
    _check_activation(location, config, vision)
    found_revision = getattr(config, "_commit_hash", None) or ""

    if vision is not config and hasattr(config, "projection_dim"):  # a whole CLIP keeps its width outside
        vision.projection_dim = config.projection_dim

    def load() -> nn.Module:
        classes = MODEL_TYPES.get(config.model_type, ("AutoModel",))
        return _load_strictly(location, classes, revision, config, vision)

    return Encoder(
        load(),
        Preprocessing.of(location, revision=revision),
        name=shown,
        revision=found_revision,
        family=family,
        device=as_device(device),
        dtype=dtype,
        reload=load if dtype not in ("float32", "fp32") else None,
        fast=fast,
        compile=compile,
    )


def locate(name: str | Path) -> tuple[str, str]:
    """Where a checkpoint is, a folder or a hub id, and what to call it.

    >>> locate("openai/clip-vit-base-patch32"), locate("embedded")[1]
    (('openai/clip-vit-base-patch32', 'openai/clip-vit-base-patch32'), 'embedded')
    """
    if name == EMBEDDED:  # a folder of that name is reached as ./embedded
        return str(Path(__file__).parent / "embedded_clip"), EMBEDDED
    location = str(name)
    return location, Path(location).resolve().name if Path(location).is_dir() else location


def _load_config(location: str, revision: str | None) -> Any:
    from transformers import AutoConfig

    path = Path(location)
    if path.exists() and not path.is_dir():
        raise InputError(f"{location} is a file; give the folder that holds config.json, or a hub id")
    if not path.exists() and (path.is_absolute() or location.startswith(".") or location.count("/") > 1):
        beside = [p for p in path.parent.iterdir() if p.is_dir()] if path.parent.is_dir() else []
        raise unknown_name("encoder folder", location, beside)
    if path.is_dir() and not (path / "config.json").exists():
        raise InputError(f"the folder {location} holds no config.json; save the model with save_pretrained()")
    try:
        return AutoConfig.from_pretrained(location, revision=revision)
    except (OSError, ValueError) as error:
        known = unknown_name("encoder", location, [EMBEDDED, *ACTIVATIONS])
        raise InputError(
            f"encoder {location!r} is no folder here and could not be fetched from the model hub "
            f"({str(error).strip().splitlines()[0]}). Download it where there is a network "
            f"(hf download {location} --local-dir FOLDER) and pass that folder, or check the name: {known}"
        ) from error


def _check_activation(location: str, config: Any, vision: Any) -> None:
    """Refuse a known checkpoint whose config would run it with an activation it was not trained with."""
    origins = (location.rstrip("/"), getattr(config, "_name_or_path", ""))
    for known, activation in ACTIVATIONS.items():
        same_folder = Path(location).name == known.split("/")[1]
        if (known in origins or same_folder) and vision.hidden_act != activation:
            raise InputError(
                f"{location}: config.json says hidden_act={vision.hidden_act!r}, but {known} was trained with "
                f"{activation!r}; every feature would be silently wrong. Set hidden_act to {activation!r} in "
                "vision_config, or fetch the original config again"
            )


def _load_strictly(
    location: str, classes: tuple[str, ...], revision: str | None, whole: Any, vision: Any
) -> nn.Module:
    import torch
    import transformers

    missing: list[str] = []
    for name in classes:
        kind = getattr(transformers, name)
        wanted = getattr(kind, "config_class", None)  # AutoModel has none
        config = vision if wanted is not None and isinstance(vision, wanted) else whole
        options = {"add_pooling_layer": False} if name in ("ViTModel", "DeiTModel") else {}
        options |= {
            "revision": revision,
            "config": config,
            "dtype": torch.float32,
            "output_loading_info": True,
        }
        try:
            with quiet():
                model, report = kind.from_pretrained(location, **options)
        except (OSError, RuntimeError, ValueError) as error:
            reason = str(error).strip().splitlines()[0]
            raise InputError(f"the weights of {location} cannot be loaded into {name}: {reason}") from error
        missing = sorted(report["missing_keys"])
        if not missing:
            return model
        if any("visual_projection" not in key for key in missing):
            break
    raise InputError(
        f"the weights of {location} lack {len(missing)} of the tensors that its config asks for "
        f"({', '.join(missing[:4])}{', …' if len(missing) > 4 else ''}); they would be random. "
        "Check that config.json and the weights belong together"
    )


@contextmanager
def quiet() -> Iterator[None]:
    """Silence the loader's report of tensors that belong to the text tower or a classifier."""
    from transformers.utils import logging

    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()
