"""The training that `pretrain_embedded_clip.py` runs: model, losses, one step, checkpoint, log."""

from __future__ import annotations

import csv
import time
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F
from transformers import CLIPTokenizer

from experiments.embedded_captions import (
    class_caption,
    field_group,
    held_out,
    plain_captions,
    said_group,
    super_group,
    super_table,
)
from experiments.embedded_data import (
    SIDE,
    name_shares,
    normalise,
    read_photographs,
    teacher_logits,
    teacher_names,
    to_unit,
)
from experiments.embedded_losses import both_ways, multi_positive
from experiments.embedded_model import (
    MEAN,
    STD,
    VISION_WIDTH,
    build_model,
    build_tokenizer,
    save_atomically,
)
from experiments.embedded_schedule import Schedule
from experiments.embedded_views import Views, make_views

NATIVE = {32: 0.08, 48: 0.15, 64: 0.25}  # share of the steps on pixels that were never resized
LOSSES = ("names", "teacher", "images", "fields", "super", "said")


@dataclass(frozen=True)
class Settings:
    """What to train on, for how long, and where to keep it."""

    data: Path
    """Folder with train-*.parquet and val.parquet: columns image, wnid, words."""
    teacher: Path
    """An ImageNet classifier in the transformers format."""
    out: Path
    """Folder of checkpoints, caches and the log."""
    extra_data: Path | None = None
    """Folder with more train parquet shards of the same columns."""
    epochs: float = 32
    """Passes over the images at most; the rate falls to zero at their end."""
    minutes: float = float("inf")
    """Training time that the plan is shortened to, by the pace seen so far; the rate falls to zero at its end."""
    piece_minutes: float = 8
    """Time between checkpoints."""
    one_piece: bool = False
    """Stop after the first checkpoint."""
    export: Path | None = None
    """Folder to write the finished model to."""
    export_only: bool = False
    """Write the last checkpoint to `export` and train nothing."""
    batch: int = 256
    """Images of a step."""
    rate: float = 1.5e-3
    """Peak learning rate."""
    teacher_side: int = 192
    """Pixels that images are enlarged to for the teacher."""
    threads: int = 2
    """CPU threads."""
    device: str = "auto"
    """auto, cpu, cuda or mps."""
    seed: int = 0
    """Seed of every draw."""


class Training:
    """The model, its optimiser and how far it has come."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.device = torch.device(
            ("cuda" if torch.cuda.is_available() else "cpu") if settings.device == "auto" else settings.device
        )
        settings.out.mkdir(parents=True, exist_ok=True)
        shards = sorted(settings.data.glob("train-*.parquet"))
        if settings.extra_data:
            shards += sorted(settings.extra_data.glob("*.parquet"))
        self.train = read_photographs(shards, settings.out / "train.npy")
        self.val = read_photographs([settings.data / "val.parquet"], settings.out / "val.npy")
        self.words = self.train.words
        self.table, self.held_out = super_table(self.words), held_out(self.words)
        self.logits = teacher_logits(
            self.train, settings.teacher, settings.out / "teacher.npy", settings.teacher_side, self.device
        )
        self.columns = teacher_names(settings.teacher)
        torch.manual_seed(settings.seed)
        self.tokenizer: CLIPTokenizer = build_tokenizer(self.words, settings.out / "tokenizer")
        self.model = build_model(self.tokenizer)
        nn.Module.to(self.model, self.device)
        self.head = nn.Linear(VISION_WIDTH, 1000).to(self.device)
        parameters = [*self.model.parameters(), *self.head.parameters()]
        groups = [
            {"params": [p for p in parameters if p.ndim >= 2], "weight_decay": 0.05},
            {"params": [p for p in parameters if p.ndim < 2], "weight_decay": 0.0},
        ]
        self.optimiser = torch.optim.AdamW(groups, lr=settings.rate, betas=(0.9, 0.98), fused=True)
        self.averaged = {k: v.detach().clone() for k, v in self.model.state_dict().items()}
        self.steps_per_epoch = len(self.train.pixels) // settings.batch
        longest = round(settings.epochs * self.steps_per_epoch)
        self.schedule = Schedule(longest, settings.minutes * 60, settings.rate)
        self.checkpoint = settings.out / "checkpoint.pt"
        if self.checkpoint.exists():
            self.resume()

    def resume(self) -> None:
        """Take up the last checkpoint. Draws depend on the seed and the step alone, so nothing else is kept."""
        state = torch.load(self.checkpoint, map_location=self.device, weights_only=True)
        self.model.load_state_dict(state["model"])
        self.head.load_state_dict(state["head"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.averaged = state["averaged"]
        self.schedule = replace(self.schedule, **state["schedule"])

    def save(self) -> None:
        """Write the checkpoint beside the old one, then put it in its place."""
        state = {
            "model": self.model.state_dict(),
            "head": self.head.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "averaged": self.averaged,
            "schedule": self.schedule.progress(),
        }
        save_atomically(state, self.checkpoint)

    def embed_images(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Unit embeddings (n, P) and pooled class tokens (n, D)."""
        pooled = self.model.vision_model(
            pixel_values=normalise(images.to(self.device), MEAN, STD),
            interpolate_pos_encoding=images.shape[-1] != SIDE,
        ).pooler_output
        return F.normalize(self.model.visual_projection(pooled).float(), dim=-1), pooled

    def embed_texts(self, texts: list[str]) -> torch.Tensor:
        """Unit embeddings (texts, P)."""
        tokens = self.tokenizer(texts, padding=True, truncation=True, return_tensors="pt").to(self.device)
        pooled = self.model.text_model(input_ids=tokens.input_ids).pooler_output
        return F.normalize(self.model.text_projection(pooled).float(), dim=-1)

    def batch(self) -> tuple[Views, np.ndarray, np.random.Generator]:
        """The views of this step, their rows among the photographs, and the step's own generator."""
        seed, size = self.settings.seed, self.settings.batch
        epoch, place = divmod(self.schedule.step, self.steps_per_epoch)
        order = np.random.default_rng([seed, 1, epoch]).permutation(len(self.train.pixels))
        rows, rng = (
            order[place * size : (place + 1) * size],
            np.random.default_rng([seed, 2, self.schedule.step]),
        )
        side, native = self.schedule.side, rng.random() < NATIVE[self.schedule.side]
        mixup = rng.random() < 0.5
        views = make_views(self.train.pixels[rows], side, native, mixup, 0.6 if native else 0.2, rng)
        return views, rows, rng

    def losses(self) -> dict[str, torch.Tensor]:
        """What this step's weighted losses are."""
        views, rows, rng = self.batch()
        labels = self.train.labels[rows]
        names = [class_caption(words, rng) for words in self.words]
        groups = {"fields": field_group(views.has, views.unsure, rng)}
        if views.share == 1:
            groups["super"] = super_group(labels, self.table, self.held_out, rng)
            groups["said"] = said_group(labels, self.words, views.has, views.unsure, rng)
        with torch.autocast(self.device.type, torch.bfloat16):
            images, pooled = self.embed_images(views.images)
            texts = self.embed_texts(names + [t for group in groups.values() for t in group.texts])
            copied = self.head(pooled)
        scale = self.model.logit_scale.exp().clamp(max=100)
        similarity = scale * texts @ images.T
        target = torch.from_numpy(labels).to(self.device)
        to_names = similarity[: len(names)].T
        called = name_shares(self.logits[rows], labels, self.words, self.columns)
        called = views.share * called + (1 - views.share) * called[views.partner]
        loss = {"names": F.cross_entropy(to_names, torch.from_numpy(called).to(self.device))}
        taught = torch.from_numpy(self.logits[rows].astype(np.float32)).to(self.device).softmax(-1)
        taught = views.share * taught + (1 - views.share) * taught[views.partner]
        loss["teacher"] = F.kl_div(copied.float().log_softmax(-1), taught, reduction="batchmean")
        if views.share == 1:
            true = torch.arange(len(names), device=self.device)[:, None] == target
            loss["images"] = 0.2 * multi_positive(to_names.T, true, torch.ones_like(true))
        start = len(names)
        for name, group in groups.items():
            part = similarity[start : start + len(group.texts)]
            loss[name] = 0.15 * both_ways(part, group)
            start += len(group.texts)
        return loss

    def take_step(self) -> dict[str, float]:
        """One optimiser step."""
        started = time.perf_counter()
        for group in self.optimiser.param_groups:
            group["lr"] = self.schedule.rate
        loss = self.losses()
        self.optimiser.zero_grad(set_to_none=True)
        torch.stack(list(loss.values())).sum().backward()
        parameters = [p for group in self.optimiser.param_groups for p in group["params"]]
        nn.utils.clip_grad_norm_(parameters, 1.0)
        self.optimiser.step()
        keep = min(0.998, (1 + self.schedule.step) / (10 + self.schedule.step))
        with torch.no_grad():
            now = self.model.state_dict()
            floats = [k for k, v in now.items() if v.is_floating_point()]
            for name in floats:
                self.averaged[name].lerp_(now[name], 1 - keep)
        self.schedule.advance(time.perf_counter() - started)
        return {k: float(v.detach()) for k, v in loss.items()}

    @torch.no_grad()
    def accuracy(self, weights: dict[str, torch.Tensor] | None = None, images: int = 1000) -> float:
        """Zero-shot top-1 on the first val images, "a photo of a" and the first synonym, at the full resolution."""
        kept = {k: v.detach().clone() for k, v in self.model.state_dict().items()}
        if weights:
            self.model.load_state_dict(weights)
        with torch.autocast(self.device.type, torch.bfloat16):
            texts = self.embed_texts(plain_captions(self.val.words))
            parts = np.array_split(self.val.pixels[:images], max(1, images // 250))
            found = torch.cat([self.embed_images(to_unit(part))[0] for part in parts])
        self.model.load_state_dict(kept)
        right = (found @ texts.T).argmax(1).cpu().numpy() == self.val.labels[:images]
        return float(right.mean())

    def better_weights(self) -> dict[str, torch.Tensor]:
        """The averaged weights if they do better on val, else the last ones."""
        images = len(self.val.pixels)
        last, averaged = self.accuracy(images=images), self.accuracy(self.averaged, images)
        print(f"val top-1: last weights {last:.4f}, averaged {averaged:.4f}", flush=True)
        return self.averaged if averaged > last else self.model.state_dict()

    def log(self, losses: dict[str, float], top_1: float | None) -> None:
        """Add a row to log.csv."""
        row = {
            "seconds": round(self.schedule.seconds, 1),
            "step": self.schedule.step,
            "of": self.schedule.total,
            "epoch": round(self.schedule.step / self.steps_per_epoch, 2),
            "side": self.schedule.side,
            "rate": f"{self.schedule.rate:.2e}",
            "scale": round(self.model.logit_scale.exp().item(), 2),
            "val_top_1": top_1 if top_1 is not None else "",
        }
        row |= {name: round(losses.get(name, float("nan")), 4) for name in LOSSES}
        file = self.settings.out / "log.csv"
        new = not file.exists()
        with file.open("a", newline="") as opened:
            writer = csv.DictWriter(opened, row)
            if new:
                writer.writeheader()
            writer.writerow(row)
        print(" ".join(f"{k}={v}" for k, v in row.items()), flush=True)

    def run(self) -> bool:
        """Train until the schedule ends; True when it has."""
        settings, saved, sums = self.settings, time.monotonic(), {name: [] for name in LOSSES}
        while not self.schedule.finished:
            for name, value in self.take_step().items():
                sums[name].append(value)
            if (settings.out / "STOP_AND_ANNEAL").exists():
                self.schedule.begin_anneal()
            if self.schedule.step % 25 == 0 or self.schedule.finished:
                means = {name: float(np.mean(values)) for name, values in sums.items() if values}
                sums = {name: [] for name in LOSSES}
                began = time.perf_counter()
                judged = self.schedule.step % 150 == 0 or self.schedule.finished
                self.log(means, self.accuracy() if judged else None)
                self.schedule.seconds += time.perf_counter() - began
                self.schedule.replan()
            if time.monotonic() - saved > settings.piece_minutes * 60:
                self.save()
                saved = time.monotonic()
                if settings.one_piece:
                    return self.schedule.finished
        self.save()
        return True
