"""A whole CLIP tuned with one caption for each source: transfer, which generator, unseen generators, and costs.

    python -m experiments.clip_finetune STORE --images manifest.csv --where role=test --clip embedded --out runs/tuned
    python -m experiments.clip_finetune STORE … --only attribution       # several generators train: who made it?
    python -m experiments.clip_finetune STORE … --only costs             # a ViT-L/14-sized CLIP with random weights

STORE holds the encoder's features of the same images, for the plain embedding that gains are counted from; images are
equalised as its key says. Transfer has the protocol and tables of `experiments.compare_systems`. Every finished cell is
kept; the same command goes on where it was cut off. Under `accelerate launch` each training uses all GPUs.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import pandas as pd
import torch
import tyro

from experiments.compare_systems import TITLE, rotated, shown, write
from interp import ImageSet, LinearDetector, Protocol
from interp.detectors.clip_finetune import RATES, ClipFinetune
from interp.detectors.whole_clip import load_whole_clip
from interp.evaluation.system_comparison import compare_systems
from interp.features.pixels import StoreWithImages
from interp.protocol.metrics import auc


@dataclass(frozen=True)
class Settings:
    """On what, how often, which parts."""

    store: Annotated[Path, tyro.conf.Positional]
    """A feature store of the images below, with labels, generators and groups."""
    images: Path
    """The manifest or folder that it was extracted from."""
    where: tuple[str, ...] = ()
    """Conditions on the images, as the store has them."""
    clip: str = "embedded"
    """Hub id, folder or "embedded": a CLIP with both towers."""
    only: Literal["transfer", "attribution", "costs", "all"] = "all"
    """Which part."""
    tune: tuple[str, ...] = ("all", "image", "lora")
    """What is tuned, in attribution and costs."""
    epochs: int = 5
    """Passes over the train rows."""
    batch_size: int = 32
    """Images of a step."""
    rate: float | None = None
    """Peak learning rate; by default that of each way of tuning, chosen for large encoders."""
    precision: str = "float32"
    """float32, bfloat16 or float16, of the pass."""
    checkpointing: bool = False
    """Recompute activations on the way back."""
    device: str | None = None
    """cpu, cuda, mps."""
    seeds: int = 1
    """Dealings of photographs and prompts."""
    min_train: int = 200
    """Images that a generator must have to train or select."""
    out: Path = Path("runs/clip_finetune")
    """Folder of tables and finished cells."""
    random_state: int = 0
    """Seed of everything drawn."""
    one_cost: str = ""
    """Measure one way of tuning in this process; used by the costs part itself."""


def main(settings: Settings) -> None:
    """Train what is missing, write the tables, print them."""
    if settings.one_cost:
        print(one_cost(settings, settings.one_cost).to_csv(header=False), end="")
        return
    settings.out.mkdir(parents=True, exist_ok=True)
    if settings.only in ("costs", "all"):
        table = costs(settings)
        table.to_csv(settings.out / "training_costs.csv", index=False)
        print("ViT-L/14-sized CLIP, random weights, batch 32", table.to_string(index=False), sep="\n\n")
    if settings.only == "costs":
        return
    images = ImageSet.open(settings.images, where=settings.where)
    store = StoreWithImages(settings.store, images, settings.clip)
    if settings.only in ("transfer", "all"):
        protocol = rotated(store, settings.seeds, settings.min_train, settings.random_state)
        found = compare_systems(store, protocol, variants(settings), folder=settings.out / "cells")
        title = TITLE.format(encoder=settings.clip, images=len(store))
        write(found, settings.out, title)
        print(title, shown(found.table()).to_string(), sep="\n\n")
    if settings.only in ("attribution", "all"):
        attribution(settings, store)


def tuned(settings: Settings, **options: Any) -> ClipFinetune:
    """A detector with the settings' training."""
    names = ("epochs", "batch_size", "rate", "precision", "checkpointing", "device", "random_state")
    return ClipFinetune(settings.clip, **({n: getattr(settings, n) for n in names} | options))


def variants(settings: Settings) -> dict[str, Any]:
    """What is compared over the protocol, by name; captions are varied because none are published."""
    return {
        "embedding": LinearDetector(),
        "zero-shot": tuned(settings, rate=0.0, epochs=1),
        "whole": tuned(settings),
        "whole, contrastive": tuned(settings, loss="contrastive"),
        "whole, other captions": tuned(
            settings, real="a photograph taken by a camera", template="a fake made by {}"
        ),
        "whole, names alone": tuned(settings, real="real", template="{}"),
        "whole, rate × 10": tuned(settings, rate=10 * (settings.rate or RATES["all"])),
        "image tower": tuned(settings, tune="image"),
        "lora": tuned(settings, tune="lora"),
    }


def attribution(settings: Settings, store: StoreWithImages) -> None:
    """Each generator left out in turn; the others train together, and their test rows and its own are attributed."""
    options: dict[str, Any] = {"min_train": settings.min_train, "seeds": 1, "usable": store.usable}
    protocol = Protocol.leave_one_out(store.rows, random_state=settings.random_state, **options)
    X = store.features("pixels")
    fake = (store.rows["label"] == "fake").to_numpy().astype(int)
    generator = store.rows["generator"].to_numpy().astype(str)
    rows = []
    for split in protocol:
        for tune in settings.tune:
            name = f"{split.name} {tune}".replace("/", "-").replace(">", "-")
            made = tuned(settings, tune=tune, folder=str(settings.out / "attribution" / name))
            at = np.union1d(split.train, split.select)
            made.fit(X[at], fake[at], part=split.part[at], generator=generator[at])
            test = np.union1d(split.test, split.in_distribution)
            made.confusion(X[test], generator[test]).to_csv(settings.out / "attribution" / f"{name}.csv")
            rows.append({"split": split.name, "tune": tune, **attributed(made, X[test], generator[test])})
            rows[-1] |= {"s per 1,000": made.costs_.seconds_per_1000, "peak MiB": made.costs_.peak_mib}
    table = pd.DataFrame(rows)
    table.to_csv(settings.out / "attribution.csv", index=False)
    means = table.groupby("tune").mean(numeric_only=True)
    print("Who made it? Means over the generators left out", means.round(3).to_string(), sep="\n\n")


def attributed(detector: ClipFinetune, X: np.ndarray, generator: np.ndarray) -> dict[str, float]:
    """How often sources are named rightly, and what becomes of generators that did not train."""
    source, known = detector.source(X), np.isin(generator, detector.sources_)
    real, unseen = generator == "real", ~known
    fakes = known & ~real
    found = {
        "real right": float((source[real] == "real").mean()),
        "known fakes not real": float((source[fakes] != "real").mean()) if fakes.any() else np.nan,
        "known fakes right": float((source[fakes] == generator[fakes]).mean()) if fakes.any() else np.nan,
        "unseen not real": float((source[unseen] != "real").mean()),
        "AUC unseen against real": auc(unseen[real | unseen], detector.decision_function(X[real | unseen])),
    }
    if fakes.any():
        both = fakes | unseen
        found["AUC unseen against known fakes"] = auc(unseen[both], detector.unknown_score(X[both]))
    return found


def costs(settings: Settings) -> pd.DataFrame:
    """Each way of tuning in a process of its own, so that one's peak memory is not another's."""
    rows = []
    for tune in settings.tune:
        for checkpointing in (False, True):
            command = [
                sys.executable,
                "-m",
                "experiments.clip_finetune",
                str(settings.store),
                "--images",
                "none",
            ]
            command += ["--one-cost", tune, "--precision", settings.precision]
            command += ["--batch-size", str(settings.batch_size)]
            command += ["--checkpointing"] if checkpointing else []
            command += [] if settings.device is None else ["--device", settings.device]
            ended = subprocess.run(command, capture_output=True, text=True, check=False)
            values = [line.split(",")[1] for line in ended.stdout.splitlines()[-4:] if "," in line]
            reason = "" if ended.returncode == 0 else (ended.stderr.strip().splitlines() or ["killed"])[-1]
            rows.append([tune, checkpointing, *(values if not reason else [""] * 4), reason])
    names = ["tune", "checkpointing", "s per 1,000", "peak MiB", "device", "trainable", "reason"]
    return pd.DataFrame(rows, columns=names)


def one_cost(settings: Settings, tune: str) -> pd.Series:
    """Four steps on random images."""
    y = np.arange(4 * settings.batch_size) % 2
    pixels = np.random.default_rng(0).integers(0, 256, (len(y), 3, 224, 224), dtype=np.uint8)
    with tempfile.TemporaryDirectory(prefix="interp-large-") as folder:
        save_large(Path(folder))
        made = tuned(settings, tune=tune, epochs=1).set_params(clip=folder)
        spent = made.fit(pixels, y, generator=np.where(y == 0, "real", "g")).costs_
    return pd.Series([spent.seconds_per_1000, spent.peak_mib, spent.device, spent.trainable])


def save_large(folder: Path) -> None:
    """A CLIP of the size of OpenAI's ViT-L/14, with random weights and the embedded CLIP's tokenizer."""
    from transformers import CLIPConfig, CLIPImageProcessorPil, CLIPModel

    tokenizer = load_whole_clip("embedded").tokenizer
    text = {"hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 12, "num_attention_heads": 12}
    vision = {
        "hidden_size": 1024,
        "intermediate_size": 4096,
        "num_hidden_layers": 24,
        "num_attention_heads": 16,
    }
    text |= {"vocab_size": 49408, "eos_token_id": tokenizer.eos_token_id}
    torch.manual_seed(0)
    model = CLIPModel(
        CLIPConfig(text_config=text, vision_config=vision | {"patch_size": 14}, projection_dim=768)
    )
    for part in (model, tokenizer, CLIPImageProcessorPil()):
        part.save_pretrained(folder)


if __name__ == "__main__":
    main(tyro.cli(Settings))
