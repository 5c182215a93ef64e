"""Tiny models of every family, made from a config, with weights large enough that every part matters."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn

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
    import transformers

    config_class = transformers.DeiTConfig if name.startswith("DeiT") else transformers.ViTConfig
    return getattr(transformers, name)(config_class(**SHAPE, **PIXELS, **more))


FAMILIES: dict[str, Callable[[], nn.Module]] = {
    "clip-quick-gelu": lambda: _clip("CLIPVisionModelWithProjection", hidden_act="quick_gelu"),
    "clip-gelu": lambda: _clip("CLIPVisionModelWithProjection", hidden_act="gelu"),
    "clip-without-projection": lambda: _clip("CLIPVisionModel"),
    "clip-whole": _whole_clip,
    "vit": lambda: _vit("ViTModel"),
    "vit-classifier": lambda: _vit("ViTForImageClassification"),
    "vit-no-qkv-bias": lambda: _vit("ViTModel", qkv_bias=False),
    "deit": lambda: _vit("DeiTModel"),
}


def make(name: str, seed: int = 0) -> nn.Module:
    """A model of the family whose biases, LayerNorms and weights are all far from their initial values."""
    torch.manual_seed(seed)
    model = FAMILIES[name]().eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.2)
    return model


def run(model: nn.Module, pixels: torch.Tensor) -> torch.Tensor:
    """The model's own image embedding, computed without interp."""
    with torch.inference_mode():
        if hasattr(model, "get_image_features"):
            output = model.get_image_features(pixel_values=pixels)
            return output if isinstance(output, torch.Tensor) else output.pooler_output
        output = model(pixel_values=pixels, output_hidden_states=True)
        if hasattr(output, "image_embeds"):
            return output.image_embeds
        if hasattr(output, "logits"):
            return model.vit(pixel_values=pixels).last_hidden_state[:, 0]
        if type(model).__name__ == "CLIPVisionModel":
            return output.pooler_output
        return output.last_hidden_state[:, 0]
