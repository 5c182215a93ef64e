"""Photographs, names and teacher logits for `pretrain_embedded_clip.py`, decoded once and kept as memory maps."""

from __future__ import annotations

import io
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import torch
from PIL import Image
from torch.nn import functional as F

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
SIDE = 64


@dataclass(frozen=True)
class Photographs:
    """Images and the classes they show.

    Attributes:
        pixels: (n, 64, 64, 3) uint8.
        labels: (n,) int64, rows of `words`.
        words: per class, in order of wnid, its WordNet synonyms.
    """

    pixels: np.ndarray
    labels: np.ndarray
    words: tuple[str, ...]


def decode(data: bytes) -> np.ndarray:
    """An encoded image as (64, 64, 3) uint8."""
    with Image.open(io.BytesIO(data)) as image:
        image = image.convert("RGB")
        if image.size != (SIDE, SIDE):
            image = image.resize((SIDE, SIDE), Image.Resampling.BICUBIC)
        return np.asarray(image)


def read_photographs(shards: list[Path], cache: Path) -> Photographs:
    """Read parquet shards with columns `image`, `wnid` and `words`; pixels are decoded into `cache` once."""
    tables = [pq.read_table(shard, columns=["image", "wnid", "words"]) for shard in shards]
    wnids = [wnid for table in tables for wnid in table["wnid"].to_pylist()]
    words = dict(zip(wnids, (words for table in tables for words in table["words"].to_pylist()), strict=True))
    order = {wnid: row for row, wnid in enumerate(sorted(words))}
    if not cache.exists():
        started = cache.with_suffix(".part.npy")
        pixels = np.lib.format.open_memmap(started, "w+", np.uint8, (len(wnids), SIDE, SIDE, 3))
        encoded = (data.as_py() for table in tables for data in table["image"])
        for row, data in enumerate(encoded):
            pixels[row] = decode(data)
        pixels.flush()
        started.replace(cache)
    pixels = np.load(cache, mmap_mode="r")
    if len(pixels) != len(wnids):
        raise ValueError(f"{cache} holds {len(pixels)} images, the shards {len(wnids)}; remove it")
    labels = np.array([order[wnid] for wnid in wnids])
    return Photographs(pixels, labels, tuple(words[wnid] for wnid in order))


def to_unit(pixels: np.ndarray, device: torch.device | str = "cpu") -> torch.Tensor:
    """(n, h, w, 3) uint8 to (n, 3, h, w) float32 in [0, 1]."""
    return torch.from_numpy(np.array(pixels)).to(device).permute(0, 3, 1, 2).float() / 255


def normalise(images: torch.Tensor, mean: tuple[float, ...], std: tuple[float, ...]) -> torch.Tensor:
    """(n, 3, h, w) in [0, 1], less the mean and over the deviation of each channel."""
    shape = (1, 3, 1, 1)
    return (images - images.new_tensor(mean).view(shape)) / images.new_tensor(std).view(shape)


@torch.no_grad()
def teacher_logits(
    photographs: Photographs, teacher: Path, cache: Path, side: int, device: torch.device, piece: int = 64
) -> np.ndarray:
    """(n, 1000) float16 logits of an ImageNet classifier, computed in pieces, so that a stop loses one piece.

    Images are enlarged to `side` pixels; position embeddings are interpolated when that is not the teacher's own.
    """
    from transformers import AutoImageProcessor, ViTForImageClassification

    n = len(photographs.pixels)
    done_file = cache.with_suffix(".done")
    done = int(done_file.read_text()) if done_file.exists() else 0
    logits = np.lib.format.open_memmap(cache, "r+" if done else "w+", np.float16, None if done else (n, 1000))
    if len(logits) != n:
        raise ValueError(
            f"{cache} holds logits of {len(logits)} images, the shards {n} images; remove it and {done_file}"
        )
    if done >= n:
        return logits
    model = ViTForImageClassification.from_pretrained(teacher, dtype=torch.bfloat16).eval()
    torch.nn.Module.to(model, device)
    processor = AutoImageProcessor.from_pretrained(teacher)
    while done < n:
        images = to_unit(photographs.pixels[done : done + piece], device)
        images = F.interpolate(images, size=(side, side), mode="bicubic", antialias=False).clamp(0, 1)
        images = normalise(images, tuple(processor.image_mean), tuple(processor.image_std)).bfloat16()
        answer = model(images, interpolate_pos_encoding=side != model.config.image_size).logits
        logits[done : done + piece] = answer.float().cpu().numpy().astype(np.float16)
        done = min(n, done + piece)
        if done == n or (done // piece) % 16 == 0:
            logits.flush()
            done_file.write_text(str(done))
            print(f"teacher logits: {done}/{n}", flush=True)
    return logits


def teacher_names(teacher: Path) -> dict[str, int]:
    """The teacher's own label texts, and their columns."""
    told = json.loads((teacher / "config.json").read_text())["id2label"]
    return {name: int(column) for column, name in told.items()}


def name_shares(
    logits: np.ndarray,
    labels: np.ndarray,
    words: tuple[str, ...],
    columns: dict[str, int],
    trust: float = 0.5,
) -> np.ndarray:
    """What each image should be called: the label, and for `trust` of the whole what the teacher makes of the names.

    Args:
        logits: (n, 1000) of the teacher.
        labels: (n,) rows of `words`.
        words: WordNet synonyms of each class, as the teacher's own labels write them; one it lacks gets no share.
        columns: `teacher_names`.
        trust: share of the teacher.

    Returns:
        (n, classes) float32, rows sum to 1.
    """
    known = np.array([name in columns for name in words])
    if not known.any():
        return np.eye(len(words), dtype=np.float32)[labels]
    scores = np.full((len(labels), len(words)), -np.inf, dtype=np.float32)
    scores[:, known] = logits[:, [columns[name] for name in words if name in columns]]
    shares = np.exp(scores - scores.max(1, keepdims=True))
    shares *= trust / shares.sum(1, keepdims=True)
    shares[np.arange(len(labels)), labels] += 1 - trust
    return shares
