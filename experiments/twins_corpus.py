"""Twins of the photographs of a corpus: what transfers from mechanism to mechanism, and from there to generators.

    python -m experiments.twins_corpus CORPUS --autoencoder AUTOENCODER \
        --encoder ENCODER --out runs/twins

Each photograph and its twins are dealt to one part. In turn each mechanism tests detectors that were trained on the
others but one, which makes the choices; then detectors trained on mechanisms are tested on the corpus' generators.
All of them, and every head, are asked the placebos of `experiments.placebos_corpus` about photographs alone. Writes
tables for every encoder below the folder, and `tables.md` with all of them. The same command goes on where it was cut
off.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import pandas as pd
import tyro

from experiments.placebos_corpus import divisions, own_entropy
from interp.analysis.mechanism_heads import heads_by_mechanism
from interp.analysis.ranking import rank_heads
from interp.encoders.loading import load_encoder
from interp.evaluation.arms import default_arms
from interp.evaluation.placebo_kinds import by_score, usual_placebos
from interp.evaluation.placebos import Placebo, head_placebos, placebo_panel
from interp.evaluation.transfer import Transfer, evaluate_transfer
from interp.evaluation.within_pairs import within_pairs
from interp.features.extract import extract
from interp.features.store import FeatureStore
from interp.images.image_set import ImageSet
from interp.images.twins import make_twins
from interp.protocol.splits import Protocol

ARMS = ("embedding", "all_heads", "selected_heads", "coordinate_removal")
MODES = {"leave_one_out": "Leave one mechanism out", "generators": "From mechanisms to generators"}


@dataclass(frozen=True)
class Settings:
    """What to make, and how to look at it."""

    corpus: Annotated[Path, tyro.conf.Positional]
    """Folder or manifest with photographs and generated images, and the column source_repo."""
    autoencoder: str
    """Of the mechanism vae: a folder or a hub id."""
    encoder: tuple[str, ...] = ("embedded",)
    """Encoders to look with."""
    out: Path = Path("runs/twins")
    """Folder of the twins, the stores and the tables."""
    where: tuple[str, ...] = ("role=test",)
    """Conditions on the corpus' rows."""
    upsamplers: tuple[str, ...] = ("nearest", "bilinear", "checkerboard")
    """Mechanisms beside the autoencoder."""
    photographs: int | None = None
    """How many photographs, drawn at random; all by default."""
    fakes: int = 100
    """Most images of each generator to test on."""
    side: int = 256
    """Edge of photographs and twins."""
    frequencies: Literal["none", "radial"] = "none"
    """How twins are aligned with their photographs."""
    mix: tuple[float, float] = (0.0, 0.0)
    """Lowest and highest share of the photograph mixed into its twin."""
    equalize: str = "256:75"
    """What every image goes through before the encoder."""
    seeds: int = 5
    """Dealings of photographs."""
    nulls: int = 20
    """Draws of each null."""
    resamples: int = 1000
    """Joint resamples of photographs with their twins."""
    jobs: int | None = None
    """Processes."""
    random_state: int = 0
    """Seed of all draws."""


def main(settings: Settings) -> None:
    """Make the twins, look at them with every encoder, and write the tables."""
    images = twins_and_fakes(settings)
    print(images)
    pages = [f"{len(images)} images; equalised to {settings.equalize}; {settings.seeds} seeds.", ""]
    for encoder in settings.encoder:
        name = Path(encoder).name
        folder = settings.out / name
        store, placebos = looked_at(images, encoder, folder, settings)
        pages += [f"## {name}", ""]
        for mode, title in MODES.items():
            transfer, panel = measured(store, mode, placebos, folder, settings)
            pages += [f"### {title}", "", _summary(transfer), "", _by_test(transfer), ""]
            pages += ["Placebos, on photographs alone:", "", _placebos(panel, "arm", list(ARMS)), ""]
            if mode == "leave_one_out":
                pairs = within_pairs(transfer.scores(), store.rows, n_resamples=settings.resamples)
                pairs.to_csv(folder / "pairs.csv", index=False)
                pages += ["Share of twins that score above their own photograph:", "", _pairs(pairs), ""]
        heads, panel = seen_by_heads(store, placebos, settings)
        heads.to_csv(folder / "heads.csv", index=False)
        panel.to_csv(folder / "placebos_of_heads.csv", index=False)
        named = heads.loc[heads.groupby("mechanism")["own_auc"].idxmax(), "head"].tolist()
        named = list(dict.fromkeys([*named, *heads.loc[heads["only"], "head"]]))
        pages += ["### Heads by mechanism", "", _heads(heads), "", _placebos(panel, "head", named), ""]
        (settings.out / "tables.md").write_text("\n".join(pages))
    print("\n".join(pages))


def twins_and_fakes(settings: Settings) -> ImageSet:
    """Photographs and twins, and the corpus' generated images beside them, in one set."""
    corpus = ImageSet.open(settings.corpus, where=settings.where)
    photographs = corpus.where("label=real")
    drawn = photographs.table.sample(frac=1, random_state=settings.random_state).head(
        settings.photographs or len(photographs)
    )
    twins = make_twins(
        ImageSet(drawn, photographs.root),
        [*settings.upsamplers, f"vae:{settings.autoencoder}"],
        settings.out / "images",
        side=settings.side,
        frequencies=settings.frequencies,
        mix=settings.mix,
        random_state=settings.random_state,
        n_jobs=settings.jobs,
    )
    fakes = corpus.where("label=fake").table.sample(frac=1, random_state=settings.random_state)
    fakes = fakes.groupby("generator").head(settings.fakes).sort_index()
    sources = drawn.groupby("group")["source_repo"].first()
    made = twins.table.assign(source_repo=twins.table["group"].map(sources))
    roots = [twins.root.resolve(), corpus.root.resolve()]
    root = Path(os.path.commonpath(roots))
    tables = [
        table.rename(index=lambda key, at=at: (at / key).relative_to(root).as_posix())
        for table, at in zip((made, fakes), roots, strict=True)
    ]
    columns = ["label", "generator", "family", "group", "source_repo"]
    return ImageSet(pd.concat([table[columns] for table in tables]).rename_axis("key"), root)


def looked_at(
    images: ImageSet, name: str, folder: Path, settings: Settings
) -> tuple[FeatureStore, list[Placebo]]:
    """The features of all images, and the questions about photographs alone."""
    encoder, jobs = load_encoder(name), settings.jobs
    store = extract(images, encoder, folder / "store", equalize=settings.equalize, workers=jobs)
    altered = usual_placebos(images, encoder, store, folder / "altered", workers=jobs)
    return store, [*altered, *divisions(store), by_score("classes unsure", store, own_entropy(store, name))]


def measured(
    store: FeatureStore, mode: str, placebos: list[Placebo], folder: Path, settings: Settings
) -> tuple[Transfer, pd.DataFrame]:
    """Every arm under one mode of `Protocol.twins`, and what it answers to placebos, written to tables."""
    protocol = Protocol.twins(
        store.rows, mode, seeds=settings.seeds, random_state=settings.random_state, usable=store.usable
    )
    arms = [arm for arm in default_arms(store, n_nulls=settings.nulls) if arm.name in ARMS]
    transfer = evaluate_transfer(
        store,
        protocol,
        arms,
        n_resamples=settings.resamples,
        n_jobs=settings.jobs,
        random_state=settings.random_state,
        folder=folder / mode / "splits",
    )
    transfer.summary.to_csv(folder / mode / "summary.csv")
    transfer.cells.by(["test"]).to_csv(folder / mode / "test.csv", index=False)
    transfer.scores().to_parquet(folder / mode / "scores.parquet", index=False)
    (folder / mode / "protocol.txt").write_text(protocol.describe() + "\n")
    panel = placebo_panel(
        store, protocol, arms, placebos, n_resamples=settings.resamples, n_jobs=settings.jobs
    )
    panel.to_csv(folder / mode / "placebos.csv", index=False)
    return transfer, panel


def seen_by_heads(
    store: FeatureStore, placebos: list[Placebo], settings: Settings
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Heads by mechanisms, from probes trained on one mechanism each, and what these answer to placebos."""
    rows = store.rows
    y = (rows["label"] != "real").to_numpy().astype(int)
    protocol = Protocol.twins(
        rows, "pairs", seeds=settings.seeds, random_state=settings.random_state, usable=store.usable
    )
    generator = rows["generator"].to_numpy().astype(str)
    ranking = rank_heads(store.head_features(), y, store.layout, protocol, generator=generator)
    panel = head_placebos(store, protocol, placebos, n_resamples=settings.resamples)
    return heads_by_mechanism(ranking, protocol, y), panel


def _cell(value: float, low: float, high: float) -> str:
    return f"{value:.3f} [{low:.3f}, {high:.3f}]"


def _summary(transfer: Transfer) -> str:
    table = transfer.summary
    shown = pd.DataFrame(index=table.index)
    shown["unseen"] = [_cell(*row) for row in table[["mean_ood_auc", "low", "high"]].to_numpy()]
    shown["in distribution"] = table["mean_id_auc"].map("{:.3f}".format)
    shown["gain"] = [
        "" if arm == "embedding" else _cell(*row)
        for arm, row in zip(
            table.index, table[["delta_to_embedding", "delta_low", "delta_high"]].to_numpy(), strict=True
        )
    ]
    shown["Holm p"] = table["p_holm"].map("{:.3f}".format)
    shown["strongest null"] = table["null_delta"].map("{:+.3f}".format)
    return _markdown(shown.reset_index())


def _by_test(transfer: Transfer) -> str:
    table = transfer.cells.by(["test"])
    table["auc"] = [_cell(*row) for row in table[["auc", "low", "high"]].to_numpy()]
    counts = table.groupby("test")[["n_real", "n_fake"]].mean().round().astype(int)
    return _markdown(
        counts.join(table.pivot(index="test", columns="arm", values="auc")[list(ARMS)]).reset_index()
    )


def _pairs(table: pd.DataFrame) -> str:
    table = table.assign(cell=[_cell(*row) for row in table[["share", "low", "high"]].to_numpy()])
    table["test"] = table["test"].mask(table["in_distribution"], table["test"] + " (trained on)")
    shown = table.pivot(index="test", columns="arm", values="cell")[list(ARMS)]
    return _markdown(table.groupby("test")[["photographs"]].first().join(shown).reset_index())


def _heads(table: pd.DataFrame) -> str:
    """For each mechanism: how many heads see it, the best, and those that see it and nothing else."""
    rows = []
    for mechanism, found in table.groupby("mechanism"):
        best = found.loc[found["own_auc"].idxmax()]
        only = found.loc[found["only"]].sort_values("own_auc", ascending=False)
        named = ", ".join(f"{row['head']} {row['own_auc']:.2f}" for _, row in only.head(5).iterrows())
        rows.append(
            {
                "mechanism": mechanism,
                "heads that see it": f"{found['sees'].sum()} of {len(found)}",
                "best head": f"{best['head']} {best['own_auc']:.3f}",
                "its probe elsewhere": f"{best['elsewhere_auc']:.3f}",
                "see it alone": f"{len(only)}: {named}" if len(only) else "0",
            }
        )
    return f"Chance stays below {table['chance'].iloc[0]:.3f}.\n\n" + _markdown(pd.DataFrame(rows))


def _placebos(panel: pd.DataFrame, who: str, names: list[str]) -> str:
    table = panel.assign(cell=[_cell(*row) for row in panel[["auc", "low", "high"]].to_numpy()])
    order = table["placebo"].drop_duplicates().tolist()
    return _markdown(table.pivot(index=who, columns="placebo", values="cell").loc[names, order].reset_index())


def _markdown(table: pd.DataFrame) -> str:
    lines = [[str(name) for name in table.columns], ["---"] * table.shape[1]]
    lines += [
        ["" if str(value) in ("nan", "+nan") else str(value) for value in row] for row in table.to_numpy()
    ]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


if __name__ == "__main__":
    main(tyro.cli(Settings, description=__doc__))
