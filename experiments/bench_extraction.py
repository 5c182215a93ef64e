"""Time the recorded pass against the model's plain forward, and extraction from files against a DataLoader.

python -m experiments.bench_extraction --deit FOLDER --clip FOLDER
OMP_NUM_THREADS=1 python -m experiments.bench_extraction --models --batches 8 --rounds 3
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import tyro

from experiments import benchmark
from experiments.benchmark import print_table
from interp import ImageSet, Preprocessing, extract, load_encoder
from interp.encoders.encoder import DTYPES, Encoder
from interp.images.simulated import draw_simulated_set

Pair = tuple[str, Callable[[], object], Callable[[], object]]
"""What is timed, our side, and the other side."""

VITS = {
    "ViT-B/32": {"hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12, "patch_size": 32},
    "ViT-B/16": {"hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12, "patch_size": 16},
    "ViT-L/14": {"hidden_size": 1024, "num_hidden_layers": 24, "num_attention_heads": 16, "patch_size": 14},
}


@dataclass(frozen=True)
class Settings:
    """What to measure, and for how long."""

    rounds: int = 7
    """Pairs of timings; the two sides take turns."""
    models: tuple[str, ...] = ("ViT-B/32", "ViT-B/16")
    """CLIP towers with random weights: ViT-B/32, ViT-B/16, ViT-L/14."""
    batches: tuple[int, ...] = (8, 32)
    """Images in a pass."""
    dtypes: tuple[str, ...] = ("float32", "bfloat16")
    """Precisions of the passes and of extraction."""
    device: str = "cpu"
    """Where the passes run."""
    compile: bool = False
    """Compile the recorded pass; the plain forward stays eager."""
    deit: Path | None = None
    """Folder of a DeiT-Tiny, timed from files; left out if absent."""
    clip: Path | None = None
    """Folder of a small CLIP, timed from files; left out if absent."""
    images: Path | None = None
    """Folder of images; by default scenes are drawn at 256 pixels."""
    count: int = 512
    """Images that are read from files."""


def main(settings: Settings) -> None:
    """Run every pair and print a Markdown table."""
    print_table(
        (benchmark.Pair(*given, device=settings.device) for given in pairs(settings)), settings.rounds
    )


def pairs(settings: Settings) -> Iterator[Pair]:
    """Every pair of the settings, each made when it is its turn."""
    for model in settings.models:
        for batch in settings.batches:
            for dtype in settings.dtypes:
                yield recorded_pass(model, batch, dtype, settings.device, settings.compile)
    folders = [f for f in (settings.deit, settings.clip) if f is not None and f.is_dir()]
    if folders:
        with tempfile.TemporaryDirectory(prefix="interp-bench-") as drawn:
            images = _images(settings, Path(drawn))
            for folder in folders:
                for dtype in settings.dtypes:
                    yield from_files(folder, images, dtype)


def recorded_pass(model: str, batch: int, dtype: str, device: str = "cpu", compile: bool = False) -> Pair:
    """A pass with every head recorded, the last block for the class token alone, against the model's plain forward."""
    from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

    shape: dict[str, Any] = VITS[model]
    config = CLIPVisionConfig(intermediate_size=4 * shape["hidden_size"], **shape)
    tower, preprocessing = CLIPVisionModelWithProjection(config), Preprocessing.clip()
    options: dict[str, Any] = {"device": device, "dtype": dtype, "fast": True, "compile": compile}
    encoder = Encoder(tower, preprocessing, name=model, **options)
    pixels = torch.randn(batch, 3, 224, 224).to(device, DTYPES[dtype])

    def recorded() -> None:
        encoder.record(pixels)
        _wait(device)

    def plain() -> None:
        with torch.inference_mode():
            encoder.model(pixel_values=pixels)
        _wait(device)

    kind = "compiled recorded" if compile else "recorded"
    return f"{model}, batch {batch}, {dtype}, {device}: {kind} pass against plain forward", recorded, plain


class Files(torch.utils.data.Dataset):
    """Images of files through the Pillow processor of `transformers`, as one writes it down oneself."""

    def __init__(self, files: list[Path], folder: Path):
        from transformers import AutoImageProcessor

        self.files, self.processor = files, AutoImageProcessor.from_pretrained(folder, backend="pil")

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> torch.Tensor:
        from PIL import Image

        with Image.open(self.files[index]) as image:
            return self.processor(image.convert("RGB"), return_tensors="pt")["pixel_values"][0]


def from_files(folder: Path, files: list[Path], dtype: str) -> Pair:
    """`extract` with two workers into a store, against a DataLoader with two workers, plain forward, numpy save.

    The other side runs in float32 whatever `dtype` is, and keeps the embedding alone.
    """
    encoder = load_encoder(folder, device="cpu", dtype=dtype, fast=True)
    model = load_encoder(folder, device="cpu").model
    images, loading = ImageSet.from_paths([*map(str, files)]), Files(files, folder)

    def ours() -> None:
        with tempfile.TemporaryDirectory(prefix="interp-bench-") as out:
            extract(images, encoder, Path(out) / "store", batch_size=32, workers=2, progress=False)

    def theirs() -> None:
        with tempfile.TemporaryDirectory(prefix="interp-bench-") as out, torch.inference_mode():
            batches = torch.utils.data.DataLoader(loading, batch_size=32, num_workers=2)
            found = [_embedding(model(pixel_values=batch)) for batch in batches]
            np.save(Path(out) / "embedding.npy", torch.cat(found).numpy())

    name = f"{len(files)} files, {encoder.name}, {dtype} against float32: extract against DataLoader"
    return name, ours, theirs


def _embedding(output: Any) -> torch.Tensor:
    return output.image_embeds if hasattr(output, "image_embeds") else output.last_hidden_state[:, 0]


def _images(settings: Settings, drawn: Path) -> list[Path]:
    folder = settings.images
    if folder is None:
        draw_simulated_set(
            drawn,
            n_per_class=-(-settings.count // 2),
            size=256,
            generators=["simulated-nearest"],
            progress=False,
        )
        folder = drawn
    kinds = {".jpg", ".jpeg", ".png", ".webp"}
    return sorted(path for path in folder.rglob("*") if path.suffix.lower() in kinds)[: settings.count]


def _wait(device: str) -> None:
    if device.startswith("cuda"):
        torch.cuda.synchronize()


if __name__ == "__main__":
    main(tyro.cli(Settings))
