"""Images against one caption for each source, through both towers of a CLIP, of which all or parts may be tuned."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from interp.detectors.whole_clip import WholeClip
from interp.errors import InputError, unknown_name

TUNE = ("all", "image", "lora")
LOSSES = ("captions", "contrastive")
LARGEST_SCALE = math.log(100)
"""CLIP's own bound of its logit scale."""


class CaptionClassifier(nn.Module):
    """Logits: scale · cosine of an image with each caption.

    Args:
        clip: both towers; tuned in place.
        captions: K, one for each source.
        tune: "all" of it, the "image" tower and its projection alone, or "lora": low-rank additions to the query and
            value projections of both towers (Hu et al. 2022, arXiv 2106.09685), everything else frozen.
        rank: of the additions; their factor is 2, that is `lora_alpha` = 2 · rank.
        checkpointing: compute activations again on the way back instead of keeping them.
        random_state: seed of the additions' first values. They add nothing at first.

    Raises:
        InputError: an unknown `tune`, a caption longer than the text tower reads, or `peft` is missing.
    """

    def __init__(
        self,
        clip: WholeClip,
        captions: Sequence[str],
        tune: str = "all",
        rank: int = 8,
        checkpointing: bool = False,
        random_state: int = 0,
    ):
        super().__init__()
        if tune not in TUNE:
            raise unknown_name("tune", tune, TUNE)
        self.clip, self.preprocessing, self.tune = clip.model, clip.preprocessing, tune
        tokens = clip.tokenizer(list(captions), padding=True, return_tensors="pt")
        longest = int(self.clip.config.text_config.max_position_embeddings)
        if tokens["input_ids"].shape[1] > longest:
            raise InputError(
                f"a caption of {tokens['input_ids'].shape[1]} tokens is longer than the {longest} that this text "
                f"tower reads; shorten template= or the generators' names: {max(captions, key=len)!r}"
            )
        self.register_buffer("ids", tokens["input_ids"], persistent=False)
        self.register_buffer("mask", tokens["attention_mask"], persistent=False)
        self.clip.requires_grad_(tune == "all")
        if tune == "image":
            self.clip.vision_model.requires_grad_(True)
            self.clip.visual_projection.requires_grad_(True)
        elif tune == "lora":
            _add_low_rank(self.clip, rank, random_state)
        if checkpointing:
            _keep_no_activations(self.clip)

    def forward(self, pixels: Tensor) -> Tensor:
        """(n, K) logits of grey levels (n, 3, H, W), uint8."""
        seen = self.clip.vision_model(pixel_values=self.preprocessing.normalize(pixels)).pooler_output
        images = functional.normalize(self.clip.visual_projection(seen).float(), dim=1)
        with torch.set_grad_enabled(torch.is_grad_enabled() and self.tune != "image"):
            read = self.clip.text_model(input_ids=self.ids, attention_mask=self.mask).pooler_output
            texts = functional.normalize(self.clip.text_projection(read).float(), dim=1)
        return self.clip.logit_scale.exp() * images @ texts.T

    @torch.no_grad()
    def after_step(self) -> None:
        """Keep the logit scale within CLIP's bound."""
        self.clip.logit_scale.clamp_(max=LARGEST_SCALE)


def caption_loss(logits: Tensor, target: Tensor) -> Tensor:
    """Cross-entropy of logits (n, K) over the captions; target (n,)."""
    return functional.cross_entropy(logits, target)


def contrastive_loss(logits: Tensor, target: Tensor) -> Tensor:
    """CLIP's symmetric loss where several images of a batch have the same caption.

    All captions of the batch stand against all images, and every pair of equal captions counts as a positive: the
    target distribution is 1[cᵢ = cⱼ], rows brought to sum 1, in both directions. With one image for each caption it is
    CLIP's own (Radford et al. 2021, figure 3).

    Args:
        logits: (n, K).
        target: (n,) captions.

    >>> logits = torch.tensor([[2.0, 0.0], [0.0, 1.0]])
    >>> both = functional.cross_entropy(logits, torch.arange(2)) + functional.cross_entropy(logits.T, torch.arange(2))
    >>> bool(torch.isclose(contrastive_loss(logits, torch.arange(2)), both / 2))
    True
    """
    similar = logits[:, target]
    same = (target[:, None] == target[None]).float()
    same = same / same.sum(1, keepdim=True)
    return (functional.cross_entropy(similar, same) + functional.cross_entropy(similar.T, same)) / 2


def _keep_no_activations(model: Any) -> None:
    if hasattr(model, "activation_checkpointing_enable"):  # its name in newer versions of transformers
        model.activation_checkpointing_enable()
    else:
        model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})


def _add_low_rank(model: Any, rank: int, random_state: int) -> None:
    try:
        from peft import LoraConfig, inject_adapter_in_model  # pyright: ignore[reportMissingImports]
    except ImportError:
        raise InputError(
            "tune='lora' needs peft, which is not installed: pip install 'interp[finetune]'"
        ) from None
    if rank < 1:
        raise InputError(f"rank must be at least 1; given {rank}")
    settings = LoraConfig(r=rank, lora_alpha=2 * rank, target_modules=["q_proj", "v_proj"])
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(random_state)
        inject_adapter_in_model(settings, model)
    for name, parameter in model.named_parameters():
        parameter.requires_grad_("lora_" in name)
