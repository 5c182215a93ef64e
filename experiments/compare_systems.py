r"""Compared with what? Published detection systems over one protocol, on one encoder's stored features.

    interp extract manifest.csv --where role=test --encoder E --equalize common:128:75 --out STORE
    interp launder manifest.csv --where role=test --encoder E --equalize common:128:75 --spec jpeg:50 \
        --spec resize:0.5 --copies "blur:0-3@0.5+jpeg:30-100@0.5" --out LAUNDERED                        # optional
    python -m experiments.compare_systems STORE --launderings LAUNDERED --out runs/systems

With --images manifest.csv --encoder E, and --where as the store has it, systems that look at images join:
clip_finetune, and with --pipeline P (a latent diffusion model) lare. Without them these rows say so. With --placebos
too, every system that reads the store is asked about altered photographs, and its row says what it answers.

Each generator with enough images trains, the next one in order of names selects, all others test; photographs and
prompts are dealt anew for every seed. Every cell (system and split) is kept; the same command goes on where it was
cut off, and goes on too when systems are added. Writes systems.csv, .tex and .html, cells.csv and costs.csv.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pandas as pd
import tyro

from interp import FeatureStore, ImageSet, InputError, Protocol, load_encoder
from interp.detectors.lare_maps import LatentError, load_pipeline
from interp.detectors.map_store import extract_maps
from interp.detectors.systems import IMAGE_SYSTEMS, SYSTEMS, make_system
from interp.evaluation.placebo_kinds import usual_placebos
from interp.evaluation.placebos import placebo_panel
from interp.evaluation.system_arms import SystemArm
from interp.evaluation.system_comparison import SystemComparison, compare_systems
from interp.explain.phrases import phrases
from interp.explain.text_encoder import load_text_encoder
from interp.features.laundered import open_launder_stores
from interp.features.pixels import StoreWithImages

TITLE = "Mechanics, not replication: systems trained on stored features of {encoder}, {images} images"

CONTENT = ("objects", "scenes")
"""Categories of phrases that stand for semantics."""


@dataclass(frozen=True)
class Settings:
    """Which systems, on what."""

    store: Annotated[Path, tyro.conf.Positional]
    """A feature store with labels, generators and groups."""
    out: Path = Path("runs/systems")
    """Folder of tables and finished cells."""
    systems: tuple[str, ...] = (*SYSTEMS, *IMAGE_SYSTEMS)
    """Names of systems; the plain detector, embedding, is always among them."""
    text: str | None = None
    """Hub id or folder of the encoder's own text tower, or "embedded"; systems that need texts say so without it."""
    launderings: Path | None = None
    """What `interp launder` wrote of the same images: its laundered stores are scored too."""
    augment: bool = False
    """Fit on its copies beside the clean images."""
    images: Path | None = None
    """The manifest or folder that the store was extracted from, for systems that look at images."""
    where: tuple[str, ...] = ()
    """Conditions on the images, as the store has them."""
    encoder: str = "embedded"
    """Hub id or folder of what these systems tune."""
    pipeline: Path | None = None
    """A latent diffusion pipeline, for lare; folder or hub id."""
    placebos: bool = False
    """Ask every system that reads the store about photographs alone; looks at the photographs of `images` again."""
    side: int = 256
    """Edge in pixels at which it looks."""
    rate: float | None = None
    """Peak learning rate of clip_finetune; its own default is for large encoders."""
    seeds: int = 3
    """Dealings of photographs and prompts into three parts."""
    min_train: int = 200
    """Images that a generator must have to train or select."""
    resamples: int = 1000
    """Joint resamples of photographs and groups."""
    random_state: int = 0
    """Seed of everything drawn."""


def main(settings: Settings) -> None:
    """Fit what is missing, write the tables, print the first."""
    store = with_images(FeatureStore(settings.store), settings, "clean")
    protocol = rotated(store, settings.seeds, settings.min_train, settings.random_state)
    texts = contents(settings.text)
    systems = made(settings.systems, store, texts, settings.random_state)
    if settings.rate is not None and not isinstance(systems.get("clip_finetune"), Exception | None):
        systems["clip_finetune"].set_params(rate=settings.rate)
    laundered, copies = opened(settings.launderings)
    laundered = {name: with_images(one, settings, name) for name, one in laundered.items()}
    copies = [with_images(one, settings, f"copy-{i}") for i, one in enumerate(copies)]
    found = compare_systems(
        store,
        protocol,
        systems,
        laundered=laundered,
        copies=copies if settings.augment else (),
        n_resamples=settings.resamples,
        random_state=settings.random_state,
        folder=settings.out / "cells",
    )
    title = TITLE.format(encoder=store.key["encoder"]["name"], images=len(store))
    panel = asked(found, systems, store, protocol, settings) if settings.placebos else None
    write(found, settings.out, title, panel)
    print(title, shown(found.table(), panel).to_string(), sep="\n\n")


def asked(
    found: SystemComparison,
    systems: dict[str, Any],
    store: FeatureStore,
    protocol: Protocol,
    settings: Settings,
) -> pd.DataFrame:
    """What every system that was fitted, and that reads the store, answers about altered photographs."""
    if settings.images is None:
        raise InputError("placebos look at photographs; give --images and --encoder")
    images = ImageSet.open(settings.images, where=settings.where)
    placebos = usual_placebos(images, load_encoder(settings.encoder), store, settings.out / "altered")
    fitted = [name for name in found.cells.arms if name not in IMAGE_SYSTEMS]
    arms = [SystemArm(name, systems[name]) for name in fitted]
    return placebo_panel(store, protocol, arms, placebos, n_resamples=settings.resamples)


def with_images(store: FeatureStore, settings: Settings, name: str) -> FeatureStore:
    """A store with its images at hand, and with their maps of latent reconstruction error, where settings give them."""
    if settings.images is None:
        return store
    images = ImageSet.open(settings.images, where=settings.where)
    seen = StoreWithImages(store.folder, images, settings.encoder)
    if settings.pipeline is not None:
        error = LatentError(load_pipeline(settings.pipeline), side=settings.side)
        seen.maps = extract_maps(
            images, error, settings.out / "maps" / name.replace("/", "-"), **seen.path
        ).maps
    return seen


def rotated(store: FeatureStore, seeds: int, min_train: int, random_state: int) -> Protocol:
    """Each generator trains, and the next one in order of names selects; splits of `Protocol.pairs`, one in n - 1."""
    options: dict[str, Any] = {"min_train": min_train, "seeds": seeds, "random_state": random_state}
    pairs = Protocol.pairs(store.rows, usable=store.usable, **options)
    names = sorted({split.train_generators[0] for split in pairs})
    after = dict(zip(names, [*names[1:], names[0]], strict=True))
    kept = [one for one in pairs if one.select_generators == (after[one.train_generators[0]],)]
    return Protocol(store.rows, kept, kind="each trains, the next selects")


def opened(launderings: Path | None) -> tuple[dict[str, FeatureStore], list[FeatureStore]]:
    """Laundered stores by their chains, and the copies to train on."""
    return ({}, []) if launderings is None else open_launder_stores(launderings)[1:]


def contents(text: str | None) -> np.ndarray | None:
    """(m, P) embeddings of what images may show, objects and scenes: the semantics that systems take away."""
    if text is None:
        return None
    pool = phrases(CONTENT)["phrase"].to_list()
    return load_text_encoder(text, device="cpu")(pool).astype(np.float64)


def made(names: Sequence[str], store: FeatureStore, texts: np.ndarray | None, seed: int) -> dict[str, Any]:
    """Unfitted systems by name, the plain one first; one that lacks what it needs is its error."""
    found: dict[str, Any] = {}
    for name in dict.fromkeys(("embedding", *names)):
        try:
            found[name] = make_system(name, store, texts=texts, random_state=seed)
        except InputError as error:
            if name not in SYSTEMS | IMAGE_SYSTEMS:
                raise
            found[name] = error
    return found


def shown(table: pd.DataFrame, panel: pd.DataFrame | None = None) -> pd.DataFrame:
    """The table for people: transfer with its interval, the worst generator, the paired gain, placebos, costs."""
    kept = pd.DataFrame(index=table.index)
    kept["transfer [95 %]"] = interval(table, "mean_ood_auc", "low", "high", "{:.3f}")
    kept["in distribution"] = written(table["mean_id_auc"], "{:.3f}")
    kept["worst"] = written(table["worst_auc"], "{:.3f} ") + table["worst_generator"].fillna("").astype(str)
    kept["gain over embedding"] = interval(table, "delta_to_embedding", "delta_low", "delta_high", "{:+.3f}")
    kept["p (Holm)"] = written(table["p_holm"], "{:.3f}")
    if "laundered_auc" in table:
        kept["laundered"] = interval(table, "laundered_auc", "laundered_low", "laundered_high", "{:.3f}")
    if panel is not None:
        marked = panel["auc"].map("{:.2f}".format) + panel["explained"].map({True: " explained", False: ""})
        answers = panel.assign(shown=marked).pivot(index="arm", columns="placebo", values="shown")
        kept = kept.join(answers).fillna({name: "" for name in answers})
    kept["fit s"] = written(table["fit_seconds"], "{:.2f}")
    kept["fit MiB"] = written(table["fit_mib"], "{:.0f}")
    kept["trainable"] = written(table["trainable"], "{:,.0f}")
    without = table["reason"].fillna("") != ""
    kept.loc[without, "transfer [95 %]"] = "none: " + table.loc[without, "reason"]
    return kept


def written(column: pd.Series, how: str) -> pd.Series:
    """Numbers as text; a missing one is empty."""
    return pd.Series(["" if np.isnan(value) else how.format(value) for value in column], index=column.index)


def interval(table: pd.DataFrame, middle: str, low: str, high: str, how: str) -> pd.Series:
    """`0.712 [0.690, 0.735]`, or the number alone where it has no interval."""
    both = zip(written(table[low], how), written(table[high], how), strict=True)
    ends = [f" [{a}, {b}]" if a else "" for a, b in both]
    return written(table[middle], how) + pd.Series(ends, index=table.index)


def write(found: SystemComparison, out: Path, title: str, panel: pd.DataFrame | None = None) -> None:
    """All tables; the heading says what they are."""
    out.mkdir(parents=True, exist_ok=True)
    table = found.table()
    table.to_csv(out / "systems.csv")
    people = shown(table, panel)
    if panel is not None:
        panel.to_csv(out / "placebos.csv", index=False)
    people.to_latex(out / "systems.tex", caption=title, escape=True)
    page = f"<!doctype html><meta charset=utf-8><title>Systems</title><h1>{title}</h1>"
    (out / "systems.html").write_text(page + people.to_html(escape=True))
    found.cells.by(["train", "select", "test"]).to_csv(out / "cells.csv", index=False)
    found.costs.to_csv(out / "costs.csv", index=False)


if __name__ == "__main__":
    main(tyro.cli(Settings))
