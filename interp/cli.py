"""The command line: `interp extract | info | rank | evaluate | run | score | demo`. Thin: it calls public names."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro
from tyro.conf import OmitArgPrefixes, Positional, UseAppendAction, arg

from interp.errors import InputError

if TYPE_CHECKING:
    from interp.features.store import FeatureStore

UNREADABLE = 3
"""Exit code of a run that ended well but met images it could not read."""

app = tyro.extras.SubcommandApp()


@dataclass(frozen=True)
class Looking:
    """How images are looked at."""

    encoder: str = "openai/clip-vit-large-patch14"
    """Hub id or folder of the encoder."""
    equalize: str = "none"
    """Bring every image through one path first: SIDE:QUALITY (256:75) or common:SIDE:QUALITY (common:128:75)."""
    where: UseAppendAction[tuple[str, ...]] = ()
    """Keep the rows that meet a condition such as role=test; may be given several times."""
    allow_outside: bool = False
    """Allow a manifest to name images outside its own folder."""
    device: str | None = None
    """cpu, cuda or mps; by default the best there is."""
    dtype: Literal["float32", "bfloat16", "float16"] = "float32"
    """Precision the encoder runs in."""
    store_dtype: Literal["float16", "float32"] = "float16"
    """Precision that head and MLP values are stored in."""
    batch_size: int = 32
    """Images in one pass."""
    workers: int | None = None
    """Decoding processes; by default one for each core."""


@dataclass(frozen=True)
class Parts:
    """Who trains, selects and tests."""

    protocol: Literal["pairs", "leave-one-out", "by-hand"] = "pairs"
    """All ordered pairs, each generator left out in turn, or the generators named below."""
    train: tuple[str, ...] = ()
    """Generators to train on (by hand)."""
    select: tuple[str, ...] = ()
    """Generators to choose heads, components and strengths on (by hand)."""
    test: tuple[str, ...] = ()
    """Generators to report on (by hand)."""
    min_train: int = 200
    """Images that a generator must have to train or select."""
    seeds: int = 5
    """Dealings of photographs and groups into three parts."""
    random_state: int = 0
    """Seed of every random draw."""


@dataclass(frozen=True)
class Judging:
    """What is compared, and how much is drawn to judge a gain."""

    aggregates: tuple[Literal["concat", "sum", "vote"], ...] = ("concat",)
    """How selected heads are put together; one detector for each."""
    nulls: int = 50
    """Draws of each null: random subsets, permuted select labels, rotated spaces."""
    resamples: int = 1000
    """Joint resamples of photographs and groups for the intervals."""
    jobs: int | None = None
    """Processes; by default one for each core."""


@app.command
def extract(
    images: Annotated[Path, Positional, arg(help="folder, or CSV/Parquet manifest")],
    out: Annotated[Path, arg(help="folder of the store")],
    looking: OmitArgPrefixes[Looking] = Looking(),
) -> int:
    """Record every head of every image into a feature store; the same command goes on where it was cut off."""
    return _report_unreadable(_extract(images, out, looking))


@app.command
def info(
    path: Annotated[Path, Positional, arg(help="store, run, detector, folder of images, or manifest")],
) -> int:
    """Say what something is: its images, encoder, settings and size."""
    from interp.main_job import describe

    print(describe(path))
    return 0


@app.command
def rank(
    store: Annotated[Path, Positional, arg(help="folder of a store")],
    parts: OmitArgPrefixes[Parts] = Parts(),
    top: Annotated[int, arg(help="heads to print")] = 20,
    out: Annotated[Path | None, arg(help="CSV to write the whole ranking to")] = None,
) -> int:
    """Rank every head alone by how well it transfers to the select generators; test rows are not looked at."""
    from interp.features.store import FeatureStore
    from interp.main_job import make_protocol, rank_store

    opened = FeatureStore(store)
    ranking = rank_store(opened, make_protocol(opened, **vars(parts)))
    print(ranking.table.head(top).to_string(index=False, float_format="%.3f"))
    print(f"reliability of the ranking over seeds (mean Spearman correlation): {ranking.reliability:.2f}")
    if out:
        ranking.table.to_csv(out, index=False)
    return _report_unreadable(opened)


@app.command
def evaluate(
    store: Annotated[Path, Positional, arg(help="folder of a store")],
    out: Annotated[Path, arg(help="folder of the results")],
    parts: OmitArgPrefixes[Parts] = Parts(),
    judging: OmitArgPrefixes[Judging] = Judging(),
) -> int:
    """Rank, select, remove, retrain and measure transfer on a store that exists, beside nulls."""
    from interp.features.store import FeatureStore
    from interp.main_job import evaluate_store, make_protocol

    opened = FeatureStore(store)
    protocol = make_protocol(opened, **vars(parts))
    result = evaluate_store(opened, protocol, out, **vars(judging), random_state=parts.random_state)
    print(result.words)
    return _report_unreadable(opened)


@app.command
def run(
    images: Annotated[Path, Positional, arg(help="folder, or CSV/Parquet manifest")],
    out: Annotated[Path, arg(help="folder of the results")],
    looking: OmitArgPrefixes[Looking] = Looking(),
    parts: OmitArgPrefixes[Parts] = Parts(),
    judging: OmitArgPrefixes[Judging] = Judging(),
) -> int:
    """The whole path in one folder: extract, rank, select, remove, retrain, measure transfer, report."""
    from interp.main_job import evaluate_store, make_protocol

    store = _extract(images, out / "store", looking)
    protocol = make_protocol(store, **vars(parts))
    options = {**vars(judging), "random_state": parts.random_state, "encoder_location": looking.encoder}
    result = evaluate_store(store, protocol, out, **options)
    print(result.words)
    return _report_unreadable(store)


@app.command
def score(
    paths: Annotated[tuple[Path, ...], Positional, arg(help="images or folders; no labels needed")],
    detector: Annotated[Path, arg(help="folder of a saved detector, or of a run")],
    encoder: Annotated[str | None, arg(help="where to load the encoder from, if it has moved")] = None,
    out: Annotated[Path | None, arg(help="CSV to write the scores to")] = None,
    device: str | None = None,
    workers: int | None = None,
) -> int:
    """Score images with a saved detector."""
    from interp.main_job import score_images

    table = score_images(paths, detector, encoder=encoder, device=device, workers=workers)
    print(table.to_string(float_format="%.3f", na_rep=""))
    if out:
        table.to_csv(out)
    return UNREADABLE if (table["error"] != "").any() else 0


@app.command
def demo(out: Annotated[Path, arg(help="folder of the results")] = Path("demo")) -> int:
    """The whole path on a tiny random model and drawn images, offline, in about a minute."""
    from interp.demo import run_demo

    print(run_demo(out).words)
    return 0


def _extract(images: Path, out: Path, looking: Looking) -> FeatureStore:
    from interp.encoders.loading import load_encoder
    from interp.features.extract import extract
    from interp.images.equalize import Equalize
    from interp.images.image_set import ImageSet

    chosen = ImageSet.open(images, where=looking.where, allow_outside=looking.allow_outside)
    equalize = Equalize.parse(looking.equalize)
    encoder = load_encoder(looking.encoder, device=looking.device, dtype=looking.dtype)
    options = {
        "batch_size": looking.batch_size,
        "workers": looking.workers,
        "store_dtype": looking.store_dtype,
    }
    return extract(chosen, encoder, out, equalize=equalize, **options)


def _report_unreadable(store: FeatureStore) -> int:
    bad = store.rows.loc[~store.usable, "error"]
    if len(bad):
        print(f"{len(bad)} of {len(store)} images could not be read:", file=sys.stderr)
        for key, reason in bad.head(10).items():
            print(f"  {key}: {reason}", file=sys.stderr)
    return UNREADABLE if len(bad) else 0


def main() -> None:
    """Entry point of the `interp` command."""
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # threads that wait do not take cores from decoding
    try:
        code = app.cli(prog="interp", description="Which heads of an encoder carry evidence that transfers.")
    except InputError as error:
        print(f"interp: {error}", file=sys.stderr)
        code = 2
    except KeyboardInterrupt:
        print("interp: stopped; the same command goes on where this one ended", file=sys.stderr)
        code = 130
    sys.exit(code)
