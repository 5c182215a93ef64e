"""A small whole CLIP, both towers, with random weights, saved as a folder."""

from __future__ import annotations

from pathlib import Path

import torch

from interp.detectors.whole_clip import load_whole_clip

SHAPE = {"hidden_size": 24, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 2}


def save_small_clip(path: Path) -> Path:
    """32 pixels, patches of 16, the embedded CLIP's tokenizer."""
    import transformers

    torch.manual_seed(0)
    tokenizer = load_whole_clip("embedded").tokenizer
    text = {**SHAPE, "vocab_size": len(tokenizer)}
    text |= {name: getattr(tokenizer, name) for name in ("bos_token_id", "eos_token_id", "pad_token_id")}
    vision = {**SHAPE, "image_size": 32, "patch_size": 16}
    config = transformers.CLIPConfig(text_config=text, vision_config=vision, projection_dim=12)
    transformers.CLIPModel(config).save_pretrained(path)
    tokenizer.save_pretrained(path)
    transformers.CLIPImageProcessorPil(size=32, crop_size=32).save_pretrained(path)
    return path
