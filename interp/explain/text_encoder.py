"""The text tower of a CLIP: phrases as unit vectors in the space of its image embeddings."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import ArrayLike

from interp.encoders.encoder import as_device, hash_weights
from interp.encoders.loading import locate, quiet
from interp.errors import InputError, unknown_name
from interp.features.shards import whole_or_absent

TEMPLATES = ("{}", "a photo of {}", "an image of {}", "a picture with {}")
"""Sentences around a phrase whose embeddings may be averaged."""

RELIABILITY = "phrase_reliability.csv"

TOWERS = {"clip": "CLIPTextModelWithProjection", "clip_text_model": "CLIPTextModelWithProjection"}
"""For each `model_type` of a config, the class that holds its text tower and projection."""


class TextEncoder:
    """Embeds texts where a CLIP embeds images.

    Make one with `load_text_encoder`, or from a model and tokenizer that you hold already. It must be of the very
    checkpoint whose images it is compared with: another one's space has nothing to do with it.

    Args:
        model: a whole CLIPModel, or its text tower with projection; it is put in eval mode.
        tokenizer: the one that the model was trained with.
        name: what to call it in reports.
        device: where to run.
        cache: a folder for embeddings already made; they are found again by weights, tokens and templates.
        reliability: which phrases this tower can be trusted with, from `interp.explain.phrase_reliability`; loaded from
            `phrase_reliability.csv` beside the weights, where there is one.

    Attributes:
        width: P, of the joint space.
        reliability: as given; pass it to whatever shows words.
    """

    def __init__(
        self,
        model: Any,
        tokenizer: Any,
        *,
        name: str = "",
        device: str | torch.device = "cpu",
        cache: str | Path | None = None,
        reliability: pd.DataFrame | None = None,
    ):
        projection = getattr(model, "text_projection", None)
        if not isinstance(projection, torch.nn.Linear) or not hasattr(model, "text_model"):
            raise InputError(
                f"{type(model).__name__} holds no text tower with a projection; give a CLIPModel or a "
                "CLIPTextModelWithProjection, or do without texts: interp.explain.named_directions"
            )
        self.name, self.tokenizer, self.cache = name, tokenizer, None if cache is None else Path(cache)
        self.reliability = reliability
        self.device, self.width = torch.device(device), int(projection.out_features)
        self.model = model.eval().requires_grad_(False).to(self.device)
        config = getattr(model.config, "text_config", model.config)
        self._longest = int(min(config.max_position_embeddings, tokenizer.model_max_length))
        self._hash = hash_weights(model) if cache is not None else ""

    def __call__(
        self, texts: Sequence[str], templates: Sequence[str] = ("{}",), batch_size: int = 256
    ) -> np.ndarray:
        """Unit embeddings of texts.

        Args:
            texts: m phrases; what is longer than the tower reads is cut off.
            templates: sentences with one `{}` for the phrase. With several, the unit embeddings of all are averaged
                and brought to length 1 again, as CLIP's own zero-shot classifiers are made (Radford et al. 2021).
            batch_size: sentences in one pass.

        Returns:
            (m, P) float32, each of length 1.

        Raises:
            InputError: no text, an empty one, or a template without its `{}`.
        """
        phrases = [texts] if isinstance(texts, str) else list(texts)
        empty = [i for i, text in enumerate(phrases) if not isinstance(text, str) or not text.strip()]
        if not phrases or empty:
            where = f"; text {empty[0]} is {phrases[empty[0]]!r}" if empty else ""
            raise InputError(f"texts must be one or more phrases that are not empty{where}")
        patterns = [templates] if isinstance(templates, str) else list(templates)
        if not patterns or any(pattern.count("{}") != 1 for pattern in patterns):
            raise InputError(
                f"each template holds one '{{}}' for the phrase, as {TEMPLATES[1]!r}; given {templates}"
            )
        ids = [self._tokens([pattern.replace("{}", phrase) for phrase in phrases]) for pattern in patterns]
        found = self._cached(ids)
        if found is None:
            mean = sum(self._embed(tokens, batch_size) for tokens in ids)
            found = torch.nn.functional.normalize(torch.as_tensor(mean), dim=1).numpy()
            self._keep(ids, found)
        return found

    def _tokens(self, sentences: list[str]) -> list[list[int]]:
        return self.tokenizer(sentences, truncation=True, max_length=self._longest)["input_ids"]

    @torch.inference_mode()
    def _embed(self, tokens: list[list[int]], batch_size: int) -> torch.Tensor:
        """(m, P) unit embeddings; sentences of like length share a batch."""
        order = np.argsort([len(one) for one in tokens], kind="stable")
        found = torch.empty(len(tokens), self.width)
        for start in range(0, len(order), batch_size):
            rows = order[start : start + batch_size]
            batch = self.tokenizer.pad({"input_ids": [tokens[i] for i in rows]}, return_tensors="pt")
            found[rows] = self._project({name: batch[name].to(self.device) for name in batch}).float().cpu()
        return torch.nn.functional.normalize(found, dim=1)

    def _project(self, batch: dict[str, torch.Tensor]) -> torch.Tensor:
        inputs = {name: batch[name] for name in ("input_ids", "attention_mask")}
        return self.model.text_projection(self.model.text_model(**inputs).pooler_output)

    def _file(self, ids: list[list[list[int]]]) -> Path | None:
        if self.cache is None:
            return None
        key = hashlib.sha256(f"{self._hash}{ids}".encode()).hexdigest()
        return self.cache / f"{key}.npy"

    def _cached(self, ids: list[list[list[int]]]) -> np.ndarray | None:
        file = self._file(ids)
        return np.load(file) if file is not None and file.exists() else None

    def _keep(self, ids: list[list[list[int]]], found: np.ndarray) -> None:
        if (file := self._file(ids)) is not None:
            with whole_or_absent(file) as path, path.open("wb") as stream:
                np.save(stream, found)


def load_text_encoder(
    name: str | Path,
    *,
    device: str | None = None,
    revision: str | None = None,
    cache: str | Path | None = None,
) -> TextEncoder:
    """Load the text tower and tokenizer of a CLIP, strictly, as float32.

    Args:
        name: a hub id such as `openai/clip-vit-large-patch14`, or a folder with config.json, weights and tokenizer;
            "embedded" is the small CLIP inside the package.
        device: cpu, cuda, mps; by default the best that there is.
        revision: commit, tag or branch of a hub repository.
        cache: see `TextEncoder`.

    Raises:
        InputError: nothing is there, the model has no text tower known here, weights are missing, or no tokenizer.

    >>> text = load_text_encoder("embedded", device="cpu")
    >>> text(["a blurry photo", "a photo of a bus"]).shape == (2, text.width)
    True
    """
    import transformers

    location, shown = locate(name)
    try:
        config: Any = transformers.AutoConfig.from_pretrained(location, revision=revision)
    except (OSError, ValueError) as error:
        raise InputError(
            f"text encoder {location!r} is no folder with a config.json and could not be fetched from the model hub "
            f"({str(error).strip().splitlines()[0]}); give the folder or hub id of a CLIP"
        ) from error
    if config.model_type not in TOWERS:
        reason = str(unknown_name("text tower", config.model_type, TOWERS))
        raise InputError(
            f"{location}: {reason}. Without a text tower, describe directions by classifier rows or by extreme images "
            "(interp.explain.named_directions)"
        )
    text = getattr(config, "text_config", config)
    text.projection_dim = config.projection_dim  # a whole CLIP keeps its width outside
    kind = getattr(transformers, TOWERS[config.model_type])
    options = {"revision": revision, "config": text, "dtype": torch.float32, "output_loading_info": True}
    try:
        with quiet():
            model, report = kind.from_pretrained(location, **options)
            tokenizer = transformers.AutoTokenizer.from_pretrained(location, revision=revision)
    except (OSError, RuntimeError, ValueError) as error:
        reason = str(error).strip().splitlines()[0]
        raise InputError(f"text tower or tokenizer of {location} cannot be loaded: {reason}") from error
    missing = sorted(report["missing_keys"])
    if missing:
        raise InputError(
            f"the weights of {location} lack {len(missing)} tensors of the text tower ({', '.join(missing[:4])}); "
            "they would be random"
        )
    tried = Path(location) / RELIABILITY
    return TextEncoder(
        model,
        tokenizer,
        name=shown,
        device=as_device(device),
        cache=cache,
        reliability=pd.read_csv(tried) if tried.is_file() else None,
    )


def unit_rows(vectors: ArrayLike, mean: ArrayLike | None = None) -> np.ndarray:
    """Rows (m, P) as float64 of length 1, after `mean` (P,) is taken off; a row of zeros stays zeros.

    Texts and images lie in two cones far apart (the modality gap, Liang et al. 2022). Taking off each side's own mean
    leaves what tells texts from other texts and images from other images.

    >>> unit_rows([[3.0, 4.0]])
    array([[0.6, 0.8]])
    """
    rows = np.atleast_2d(np.asarray(vectors, dtype=np.float64))
    if mean is not None:
        rows = rows - np.asarray(mean, dtype=np.float64)
    norms = np.linalg.norm(rows, axis=1, keepdims=True)
    return rows / np.where(norms > 0, norms, 1)
