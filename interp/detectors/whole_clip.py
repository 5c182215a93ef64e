"""A whole CLIP, both towers with tokenizer and preprocessing, as what is to be fine-tuned needs it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from interp.encoders.encoder import hash_weights
from interp.encoders.loading import locate, quiet
from interp.errors import InputError
from interp.images.preprocess import Preprocessing


@dataclass(frozen=True)
class WholeClip:
    """A CLIP with both towers.

    Attributes:
        model: a `transformers.CLIPModel`, float32.
        tokenizer: its own.
        preprocessing: of its images.
        name: what to call it.
    """

    model: Any
    tokenizer: Any
    preprocessing: Preprocessing
    name: str

    @property
    def weights(self) -> str:
        """SHA-256 over the weights."""
        return hash_weights(self.model)


def load_whole_clip(name: str | Path, *, revision: str | None = None) -> WholeClip:
    """Load both towers of a CLIP, strictly, as float32.

    Args:
        name: a hub id, a folder with config.json, weights and tokenizer, or "embedded".
        revision: commit, tag or branch of a hub repository.

    Raises:
        InputError: nothing is there, it has no text tower, weights are missing, or no tokenizer.

    >>> load_whole_clip("embedded").preprocessing.crop
    (64, 64)
    """
    import transformers

    location, shown = locate(name)
    try:
        config: Any = transformers.AutoConfig.from_pretrained(location, revision=revision)
    except (OSError, ValueError) as error:
        raise InputError(
            f"{location!r} is no folder with a config.json and could not be fetched from the model hub "
            f"({str(error).strip().splitlines()[0]}); give the folder or hub id of a CLIP, or 'embedded'"
        ) from error
    if config.model_type != "clip":
        raise InputError(
            f"{location} is a {config.model_type!r} model, without the text tower of a CLIP, so it cannot be tuned "
            "with captions; give a whole CLIP ('embedded' is one), or train another system on its features"
        )
    kind: Any = transformers.CLIPModel
    try:
        with quiet():
            model, report = kind.from_pretrained(
                location, revision=revision, dtype=torch.float32, output_loading_info=True
            )
            tokenizer = transformers.AutoTokenizer.from_pretrained(location, revision=revision)
    except (OSError, RuntimeError, ValueError) as error:
        reason = str(error).strip().splitlines()[0]
        raise InputError(f"weights or tokenizer of {location} cannot be loaded: {reason}") from error
    if missing := sorted(report["missing_keys"]):
        towers = "its text tower" if all("text" in one for one in missing) else f"{len(missing)} tensors"
        raise InputError(
            f"the weights of {location} lack {towers} ({', '.join(missing[:3])}, …); they would be random. Give a "
            "whole CLIP, both towers in one folder"
        )
    return WholeClip(model, tokenizer, Preprocessing.of(location, revision=revision), shown)
