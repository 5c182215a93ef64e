"""Tiny models of every family, made from a config, with weights large enough that every part matters."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn
from written_vits import OpenVisionTransformer, TimmVisionTransformer, TorchvisionTransformer

SHAPE = {"hidden_size": 48, "intermediate_size": 96, "num_hidden_layers": 4, "num_attention_heads": 3}
PIXELS = {"image_size": 32, "patch_size": 8}


def _clip(name: str, **more: object) -> nn.Module:
    import transformers

    config = transformers.CLIPVisionConfig(**SHAPE, **PIXELS, projection_dim=20, **more)
    return getattr(transformers, name)(config)


def _whole_clip() -> nn.Module:
    from transformers import CLIPConfig, CLIPModel

    text = {"hidden_size": 24, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 2}
    vision = {**SHAPE, **PIXELS}
    return CLIPModel(
        CLIPConfig(text_config={**text, "vocab_size": 99}, vision_config=vision, projection_dim=20)
    )


def _vit(name: str, **more: object) -> nn.Module:
    """A model of one `transformers` class and the config class that goes with it."""
    import transformers

    kind = getattr(transformers, name)
    config = kind.config_class(**{**SHAPE, **PIXELS, **more})
    return kind(config)


def _whole(kind: str, **more: object) -> nn.Module:
    """A whole text-image model of which the vision part counts."""
    import transformers

    model = getattr(transformers, kind)
    text = {"hidden_size": 24, "intermediate_size": 48, "num_hidden_layers": 1, "num_attention_heads": 2}
    text |= {"vocab_size": 99, "bos_token_id": 0, "eos_token_id": 1, "pad_token_id": 2}
    return model(model.config_class(text_config=text, vision_config={**SHAPE, **PIXELS}, **more))


_REGISTERS = {"num_register_tokens": 2}
_RELATIVE = {"use_relative_position_bias": True, "use_mask_token": False}

FAMILIES: dict[str, Callable[[], nn.Module]] = {
    "clip-quick-gelu": lambda: _clip("CLIPVisionModelWithProjection", hidden_act="quick_gelu"),
    "clip-gelu": lambda: _clip("CLIPVisionModelWithProjection", hidden_act="gelu"),
    "clip-without-projection": lambda: _clip("CLIPVisionModel"),
    "clip-whole": _whole_clip,
    "clip-wide-heads": lambda: _vit("CLIPVisionModelWithProjection", hidden_size=240, projection_dim=20),
    "metaclip2": lambda: _vit("MetaClip2VisionModelWithProjection", projection_dim=20),
    "metaclip2-whole": lambda: _whole("MetaClip2Model", projection_dim=20),
    "vit": lambda: _vit("ViTModel"),
    "vit-classifier": lambda: _vit("ViTForImageClassification"),
    "vit-no-qkv-bias": lambda: _vit("ViTModel", qkv_bias=False),
    "vit-odd-heads": lambda: _vit("ViTModel", hidden_size=39),
    "vit-msn": lambda: _vit("ViTMSNModel"),
    "deit": lambda: _vit("DeiTModel"),
    "beit": lambda: _vit("BeitModel", use_mean_pooling=False, **_RELATIVE),
    "beit-mean": lambda: _vit("BeitModel", use_mean_pooling=True, **_RELATIVE),
    "dinov2": lambda: _vit("Dinov2Model", mlp_ratio=2),
    "dinov2-swiglu": lambda: _vit("Dinov2Model", mlp_ratio=2, use_swiglu_ffn=True),
    "dinov2-registers": lambda: _vit("Dinov2WithRegistersModel", mlp_ratio=2, **_REGISTERS),
    "dinov3": lambda: _vit("DINOv3ViTModel", **_REGISTERS),
    "dinov3-gated": lambda: _vit("DINOv3ViTModel", use_gated_mlp=True, **_REGISTERS),
    "ijepa": lambda: _vit("IJepaModel"),
    "siglip": lambda: _vit("SiglipVisionModel"),
    "siglip-whole": lambda: _whole("SiglipModel"),
    "aimv2": lambda: _vit("Aimv2VisionModel"),
    "aimv2-whole": lambda: _whole("Aimv2Model", projection_dim=20),
    "timm-token": TimmVisionTransformer,
    "timm-unscaled": lambda: TimmVisionTransformer(fc_norm=True, scaled=False),
    "timm-mean": lambda: TimmVisionTransformer("avg"),
    "timm-mean-then-norm": lambda: TimmVisionTransformer("avg", fc_norm=True),
    "timm-attention": lambda: TimmVisionTransformer("map", prefix=0),
    "open-clip": OpenVisionTransformer,
    "perception-encoder": lambda: OpenVisionTransformer("attn"),
    "torchvision": TorchvisionTransformer,
}
WRITTEN_OUT = ("timm", "open-clip", "perception", "torchvision")
LOADABLE = [name for name in FAMILIES if not name.startswith(WRITTEN_OUT)]
POOLED = ("beit-mean", "ijepa", "siglip", "aimv2")
CLASS_TOKEN = [name for name in LOADABLE if not name.startswith(POOLED)]


def make(name: str, seed: int = 0) -> nn.Module:
    """A model of the family whose biases, LayerNorms and weights are all far from their initial values."""
    torch.manual_seed(seed)
    model = FAMILIES[name]().eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.2)
    return model


def forward(model: nn.Module, pixels: torch.Tensor) -> object:
    """One call of the vision part, as its library makes it."""
    call = getattr(model, "get_image_features", model)
    return call(pixel_values=pixels) if hasattr(model, "config") else call(pixels)


def run(model: nn.Module, pixels: torch.Tensor) -> torch.Tensor:
    """The model's own image embedding, computed without interp."""
    with torch.inference_mode():
        output = forward(model, pixels)
        if isinstance(output, torch.Tensor):
            return output
        if hasattr(output, "image_embeds"):
            return output.image_embeds
        if hasattr(output, "logits"):
            return model.vit(pixel_values=pixels).last_hidden_state[:, 0]
        name = type(model).__name__
        if name.startswith("IJepa"):
            return output.last_hidden_state.mean(1)
        if name.startswith(("ViT", "DeiT")):
            return output.last_hidden_state[:, 0]
        return output.pooler_output
