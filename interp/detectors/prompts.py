"""Prompts with learnable context: a few free vectors before a word, through a frozen text tower (CoOp)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from interp.errors import InputError


class LearnablePrompts(nn.Module):
    """Unit embeddings of "[V1] … [Vm] WORD." with one context V, shared by all words, that may be trained.

    Zhou et al. 2022 (CoOp, arXiv 2109.01134): unified context, class token at the end. The tower is not changed: a hook
    on its token embedding puts the vectors in, and leaves with the pass.

    Args:
        text: an `interp.explain.text_encoder.TextEncoder`, or any object with such a `model` and `tokenizer`.
        words: K words.
        context: m, how many free vectors.
        random_state: seed of their first values, N(0, 0.02²).

    Raises:
        InputError: no text tower, no words, or prompts longer than the tower reads.
    """

    def __init__(self, text: Any, words: Sequence[str], context: int = 16, random_state: int = 0):
        super().__init__()
        if not hasattr(text, "model") or not hasattr(text, "tokenizer"):
            raise InputError(
                "learnable prompts need text=, the text tower of the encoder that made the embeddings "
                "(interp.explain.text_encoder.load_text_encoder); an encoder without one, such as a ViT or DeiT, has "
                "none: regress on heads instead"
            )
        if not words or context < 1:
            raise InputError(f"give one or more words and vectors; given {list(words)} and context={context}")
        ids = [text.tokenizer([f"{word}."])["input_ids"][0] for word in words]
        config = getattr(text.model.config, "text_config", text.model.config)
        longest = int(config.max_position_embeddings)
        if context + max(map(len, ids)) > longest:
            raise InputError(
                f"{context} vectors and a word of {max(map(len, ids))} tokens are longer than the {longest} that this "
                f"text tower reads; give context={longest - max(map(len, ids))} or fewer"
            )
        tokens = [
            one[:1] + one[1:2] * context + one[1:] for one in ids
        ]  # any token but the end holds the place
        padded = text.tokenizer.pad({"input_ids": tokens}, return_tensors="pt")
        self.register_buffer("ids", padded["input_ids"])
        self.register_buffer("mask", padded["attention_mask"])
        # Kept out of the module's own parameters: only the context is trained.
        self._tower = [text.model]
        width = text.model.text_model.embeddings.token_embedding.embedding_dim
        random = torch.Generator().manual_seed(random_state)
        self.context = nn.Parameter(0.02 * torch.randn(context, width, generator=random))

    def forward(self) -> Tensor:
        """(K, P), each of length 1."""
        model = self._tower[0]
        with self._context_put_in(model.text_model.embeddings.token_embedding):
            found = model.text_model(input_ids=self.ids, attention_mask=self.mask).pooler_output
        return functional.normalize(model.text_projection(found), dim=1)

    @contextmanager
    def _context_put_in(self, embedding: nn.Module) -> Iterator[None]:
        def put(_module: nn.Module, _inputs: Any, output: Tensor) -> Tensor:
            shared = self.context.expand(len(output), -1, -1)
            return torch.cat([output[:, :1], shared, output[:, 1 + len(self.context) :]], dim=1)

        handle = embedding.register_forward_hook(put)
        try:
            yield
        finally:
            handle.remove()
