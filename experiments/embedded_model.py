"""The small CLIP of `pretrain_embedded_clip.py`: its sizes, its tokenizer, and the folder it is shipped as."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, models, pre_tokenizers, trainers
from torch import nn
from transformers import CLIPConfig, CLIPImageProcessor, CLIPModel, CLIPTokenizer

from experiments.embedded_captions import every_text

MEAN, STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
START, END = "<|startoftext|>", "<|endoftext|>"
PIECES, LONGEST, VISION_WIDTH, JOINT_WIDTH = 1600, 32, 192, 128


def build_tokenizer(words: tuple[str, ...], folder: Path) -> CLIPTokenizer:
    """CLIP's tokenizer with pieces learnt from the captions; read from `folder` once it is there."""
    if (folder / "tokenizer_config.json").exists():
        return CLIPTokenizer.from_pretrained(folder)
    empty = CLIPTokenizer()
    learner = Tokenizer(models.BPE(unk_token=END, end_of_word_suffix="</w>"))
    learner.normalizer = empty.backend_tokenizer.normalizer
    learner.pre_tokenizer = empty.backend_tokenizer.pre_tokenizer
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=PIECES,
        special_tokens=[START, END],
        initial_alphabet=alphabet,
        end_of_word_suffix="</w>",
        show_progress=False,
    )
    learner.train_from_iterator(every_text(words), trainer)
    learnt = json.loads(learner.to_str())["model"]
    vocab = dict(learnt["vocab"])
    for letter in alphabet:  # a letter that ends a word is a piece of its own, and any byte may
        vocab.setdefault(letter + "</w>", len(vocab))
    merges: Any = [tuple(pair) for pair in learnt["merges"]]
    tokenizer = CLIPTokenizer(vocab=vocab, merges=merges, model_max_length=LONGEST)
    tokenizer.save_pretrained(folder)
    return tokenizer


class Patches(nn.Conv2d):
    """A convolution whose stride is its kernel, as one matrix product: its gradient comes several times faster."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """(n, 3, height, width) to (n, width of the model, rows, columns)."""
        n, channels, height, width = images.shape
        side = self.kernel_size[0]
        cut = images.reshape(n, channels, height // side, side, width // side, side)
        patches = cut.permute(0, 2, 4, 1, 3, 5).reshape(n, height // side, width // side, -1)
        return (patches @ self.weight.flatten(1).T).permute(0, 3, 1, 2)


def build_model(tokenizer: CLIPTokenizer) -> CLIPModel:
    """The model with random weights. The first end-of-text token is pooled, so padding may repeat it."""
    ids = {
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
    }
    text = {
        "vocab_size": len(tokenizer),
        "hidden_size": 128,
        "intermediate_size": 512,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "max_position_embeddings": LONGEST,
        "projection_dim": JOINT_WIDTH,
        "hidden_act": "gelu",
        **ids,
    }
    vision = {
        "hidden_size": VISION_WIDTH,
        "intermediate_size": 768,
        "num_hidden_layers": 6,
        "num_attention_heads": 6,
        "image_size": 64,
        "patch_size": 8,
        "projection_dim": JOINT_WIDTH,
        "hidden_act": "gelu",
    }
    model = CLIPModel(CLIPConfig(text_config=text, vision_config=vision, projection_dim=JOINT_WIDTH))
    model.set_attn_implementation("eager")  # fused attention goes backward twice as slowly over so few tokens
    embeddings = model.vision_model.embeddings
    patches = Patches(3, VISION_WIDTH, 8, 8, bias=False)
    patches.load_state_dict(embeddings.patch_embedding.state_dict())
    embeddings.patch_embedding = patches
    return model


def save_atomically(state: dict[str, Any], file: Path) -> None:
    """`torch.save` beside the file, then put in its place."""
    part = file.with_suffix(".part")
    torch.save(state, part)
    os.replace(part, file)


def export(
    model: CLIPModel, weights: dict[str, torch.Tensor], tokenizer: CLIPTokenizer, folder: Path
) -> None:
    """Write weights as float16, with configuration, tokenizer and image processor, as `from_pretrained` reads them."""
    shipped = CLIPModel(model.config)
    shipped.load_state_dict(weights)
    shipped.half().save_pretrained(folder)
    (folder / "model.safetensors").chmod(0o644)
    tokenizer.save_pretrained(folder)
    file = folder / "tokenizer_config.json"
    told = {
        k: v for k, v in json.loads(file.read_text()).items() if k not in ("is_local", "local_files_only")
    }
    file.write_text(json.dumps(told, indent=2) + "\n")
    CLIPImageProcessor(
        size={"shortest_edge": 64},
        crop_size={"height": 64, "width": 64},
        resample=3,
        image_mean=list(MEAN),
        image_std=list(STD),
    ).save_pretrained(folder)
