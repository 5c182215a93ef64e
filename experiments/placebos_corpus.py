"""What do detectors answer about photographs alone, and can the placebos be cleaned away at little cost?

    python -m experiments.placebos_corpus corpus/manifest.csv --where role=test --encoder deit-tiny \
        --equalize 256:75 --out runs/placebos/deit-tiny-256-75

Extracts the images as they are (out/store) and the photographs through 128 px and as JPEG 50 (out/altered). Asks every
detector five placebos about the test photographs: the two alterations; one source of photographs against the other;
animals against other content, known from WordNet ids in file names; and whether the classes of the encoder are unsure.
Then erases the placebos (`PlaceboErasure`, fitted on train and select photographs), asks again, and measures what that
costs on unseen generators. Writes panel.csv, heads.csv, summary.csv, costs.csv, rival.csv, native_size.csv,
placebos.png and verdict.txt; stores and splits that are finished are kept.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import pandas as pd
import tyro

from interp import Arm, FeatureStore, ImageSet, Protocol, evaluate_transfer, extract, load_encoder
from interp.evaluation.arms import default_arms, head_removal_arm
from interp.evaluation.native_size import native_size_leak
from interp.evaluation.placebo_arms import placebo_erasure_arm
from interp.evaluation.placebo_kinds import (
    ALTERATIONS,
    altered_photographs,
    by_score,
    class_entropy,
    divided,
    rival,
)
from interp.evaluation.placebos import Placebo, head_placebos, placebo_marks, placebo_panel
from interp.evaluation.transfer import Transfer
from interp.report.figures import save_figure
from interp.report.placebo_figure import draw_placebos

WORDNET = re.compile(r"n(\d{8})_")
FIRST_THING = 2666196
"""ImageNet's first class that is no animal (abacus); animals have smaller WordNet ids."""


@dataclass(frozen=True)
class Settings:
    """What to look at, with whom, and how often."""

    images: Annotated[Path, tyro.conf.Positional]
    """A folder of images or a manifest, with labels, generators and the column source_repo."""
    encoder: str
    """A hub id or a folder; "embedded" is the small CLIP inside the package."""
    out: Path
    """Folder of stores, splits and results."""
    store: Path | None = None
    """A finished store of the images, to use instead of extracting them."""
    equalize: str = "256:75"
    """What all images are brought through first."""
    where: Annotated[tuple[str, ...], tyro.conf.UseAppendAction] = ()
    """Conditions on the manifest, such as role=test; may be given several times."""
    seeds: int = 2
    """Dealings of photographs and groups into three parts."""
    splits: int | None = None
    """Splits at most, for a small try."""
    resamples: int = 1000
    """Joint resamples of photographs and groups."""
    workers: int | None = None
    """Decoding processes. By default one for each core."""
    jobs: int | None = None
    """Processes. By default one for each core."""


def main(settings: Settings) -> None:
    """Extract, ask, erase, ask again, write, and print the verdict."""
    images = ImageSet.open(settings.images, where=settings.where)
    encoder, out = load_encoder(settings.encoder), settings.out
    workers = settings.workers
    if settings.store:
        store = FeatureStore(settings.store)
    else:
        store = extract(images, encoder, out / "store", equalize=settings.equalize, workers=workers)
    placebos = []
    for name, spec in ALTERATIONS.items():
        folder = out / "altered" / spec.replace(":", "-")
        placebos.append(altered_photographs(images, encoder, store, folder, name, spec, workers=workers))
    entropy = own_entropy(store, settings.encoder)
    placebos += [*divisions(store), by_score("classes unsure", store, entropy)]
    protocol = Protocol.pairs(store.rows, min_train=200, seeds=settings.seeds, usable=store.usable)
    if settings.splits:
        protocol = Protocol(store.rows, protocol.splits[: settings.splits], kind="pairs")
    arms = default_arms(store, n_nulls=0)[:4]
    arms += [head_removal_arm(store, n_nulls=0)]
    arms += [placebo_erasure_arm(store, placebos), placebo_erasure_arm(store, placebos, "heads")]
    arms += controls(store, placebos)
    measure(settings, store, protocol, arms, placebos, entropy)


def own_entropy(store: FeatureStore, location: str) -> pd.Series:
    """Of an encoder's own classes: its classifier's, or reliable names of things at CLIP's scale."""
    from transformers import AutoConfig, AutoModelForImageClassification

    from interp.explain.phrase_reliability import reliable_only
    from interp.explain.text_encoder import load_text_encoder

    if location != "embedded" and "ForImageClassification" in str(
        AutoConfig.from_pretrained(location).architectures
    ):
        linear = AutoModelForImageClassification.from_pretrained(location).classifier
        return class_entropy(store, linear.weight.detach().numpy(), linear.bias.detach().numpy())
    text = load_text_encoder(location)
    if text.reliability is None:
        raise SystemExit(f"{location} has neither a classifier nor words known to be reliable")
    things = text.reliability[text.reliability["n_with"] <= 10]["phrase"].tolist()
    kept = [one for one, good in zip(things, reliable_only(things, text.reliability), strict=True) if good]
    return class_entropy(store, 100 * text(kept), unit=True)


def divisions(store: FeatureStore) -> list[Placebo]:
    """One source of photographs against the others, and animals against other content."""
    real = store.rows[(store.rows["label"] == "real") & store.usable]
    smallest = real["source_repo"].value_counts().index[-1]
    numbers = pd.Series(real.index.str.extract(WORDNET, expand=False), index=real.index).dropna().astype(int)
    animals = Placebo("animals", side=(numbers < FIRST_THING).astype("boolean"))
    return [divided(store, f"source {smallest.split('/')[-1]}", f"source_repo={smallest}"), animals]


def controls(store: FeatureStore, placebos: list[Placebo]) -> list[Arm]:
    """Heads without the first placebo alone, without the others alone, and without as many random divisions."""
    keys = store.rows.index[(store.rows["label"] == "real") & store.usable]
    rng = np.random.default_rng(0)
    drawn = [
        Placebo(f"random {number}", side=pd.Series(rng.random(len(keys)) < 0.5, index=keys, dtype="boolean"))
        for number in range(len(placebos))
    ]
    sets = {"first": placebos[:1], "others": placebos[1:], "random": drawn}
    return [
        placebo_erasure_arm(store, chosen, "heads", name=f"erased_{name}_heads")
        for name, chosen in sets.items()
    ]


def measure(
    settings: Settings,
    store: FeatureStore,
    protocol: Protocol,
    arms: list[Arm],
    placebos: list[Placebo],
    entropy: pd.Series,
) -> None:
    """The panel of arms and heads, transfer and what erasure costs, and the rival; as tables, a figure and words."""
    out, resamples, jobs = settings.out, settings.resamples, settings.jobs
    native_size_leak(store).to_csv(out / "native_size.csv", index=False)
    found = rival(store, protocol, entropy, n_resamples=resamples)
    found.rename_axis("class entropy alone").to_csv(out / "rival.csv")
    heads = head_placebos(store, protocol, placebos, n_resamples=resamples)
    heads.to_csv(out / "heads.csv", index=False)
    panel = placebo_panel(store, protocol, arms, placebos, n_resamples=resamples, n_jobs=jobs)
    panel.to_csv(out / "panel.csv", index=False)
    save_figure(draw_placebos(panel), out / "placebos.png")
    kept = out / "splits"
    transfer = evaluate_transfer(store, protocol, arms, folder=kept, n_resamples=resamples, n_jobs=jobs)
    transfer.summary.to_csv(out / "summary.csv")
    cost = costs(transfer)
    cost.to_csv(out / "costs.csv", index=False)
    reached = transfer.summary[["mean_ood_auc", "low", "high"]]
    asked = panel.pivot(index="arm", columns="placebo", values="auc").loc[list(transfer.cells.arms)]
    lines = [f"{store}; {protocol}", "", reached.to_string(float_format="%.3f")]
    lines += ["", asked.to_string(float_format="%.3f")]
    lines += ["", cost.to_string(index=False, float_format="%+.3f"), ""]
    lines += [f"{arm}: {mark or 'no placebo explains it'}" for arm, mark in placebo_marks(panel).items()]
    lines += [f"class entropy alone: AUC {found['auc']:.3f} [{found['low']:.3f}, {found['high']:.3f}]"]
    (out / "verdict.txt").write_text("\n".join(lines) + "\n")
    print("\n".join(lines))


def costs(transfer: Transfer) -> pd.DataFrame:
    """What each cleaned arm gains or loses on unseen generators against the arm that it cleans."""
    cells, rows = transfer.cells, []
    cleans = {"placebo_erasure": "embedding", "placebo_erasure_heads": "all_heads"}
    cleans |= {f"erased_{name}_heads": "all_heads" for name in ("first", "others", "random")}
    cleans |= {"coordinate_removal": "embedding", "head_removal": "embedding", "selected_heads": "all_heads"}
    for cleaned, plain in cleans.items():
        a, b = cells.arms.index(cleaned), cells.arms.index(plain)
        delta, low, high = (float(one[a]) for one in cells.gain(cells.unseen, b))
        rows.append({"arm": cleaned, "against": plain, "delta": delta, "low": low, "high": high})
    return pd.DataFrame(rows)


if __name__ == "__main__":
    main(tyro.cli(Settings))
