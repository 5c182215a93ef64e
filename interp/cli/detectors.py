"""Commands that find heads and detectors: `interp rank | evaluate | run | score | demo`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from tyro.conf import OmitArgPrefixes, Positional, arg

from interp.cli.options import (
    UNREADABLE,
    Judging,
    Looking,
    Parts,
    extract_store,
    looking_encoder,
    open_images,
    report_unreadable,
    speed_options,
)


def rank(
    store: Annotated[Path, Positional, arg(help="folder of a store")],
    parts: OmitArgPrefixes[Parts] = Parts(),
    probe: Annotated[Literal["logistic", "ridge"], arg(help="ridge is quicker and ranks alike")] = "logistic",
    top: Annotated[int, arg(help="heads to print")] = 20,
    out: Annotated[Path | None, arg(help="CSV to write the whole ranking to")] = None,
) -> int:
    """Rank every head alone by how well it transfers to the select generators; test rows are not looked at."""
    from interp.features.store import FeatureStore
    from interp.main_job import make_protocol, rank_store

    opened = FeatureStore(store)
    ranking = rank_store(opened, make_protocol(opened, **vars(parts)), probe=probe)
    if out:
        ranking.table.to_csv(out, index=False)
    print(ranking.table.head(top).to_string(index=False, float_format="%.3f"))
    print(f"reliability of the ranking over seeds (mean Spearman correlation): {ranking.reliability:.2f}")
    return report_unreadable(opened)


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
    return report_unreadable(opened)


def run(
    images: Annotated[Path, Positional, arg(help="folder, or CSV/Parquet manifest")],
    out: Annotated[Path, arg(help="folder of the results")],
    looking: OmitArgPrefixes[Looking] = Looking(),
    parts: OmitArgPrefixes[Parts] = Parts(),
    judging: OmitArgPrefixes[Judging] = Judging(),
    audit: Annotated[bool, arg(help="first ask whether the files alone tell the label")] = True,
    placebos: Annotated[
        bool, arg(help="ask every detector about photographs alone, and mark what that explains")
    ] = True,
) -> int:
    """The whole path in one folder: audit, extract, rank, select, remove, retrain, measure transfer, report."""
    from interp.evaluation.audit import container_alarm
    from interp.main_job import evaluate_store, make_protocol, placebos_of

    store = extract_store(images, out / "store", looking, statistics=judging.shortcut_removal)
    protocol = make_protocol(store, **vars(parts))
    opened = open_images(images, looking)
    alarm = container_alarm(opened, looking.equalize, n_jobs=judging.jobs) if audit else ""
    asked = []
    if placebos:
        options = {**speed_options(looking), "store_dtype": looking.store_dtype}
        asked = placebos_of(opened, looking_encoder(looking), store, out, **options)
    options = {**vars(judging), "random_state": parts.random_state, "encoder_location": looking.encoder}
    result = evaluate_store(store, protocol, out, container=alarm, placebos=asked, **options)
    print(result.words)
    return report_unreadable(store)


def score(
    paths: Annotated[tuple[Path, ...], Positional, arg(help="images or folders; no labels needed")],
    detector: Annotated[Path, arg(help="folder of a saved detector, or of a run")],
    encoder: Annotated[str | None, arg(help="where to load the encoder from, if it has moved")] = None,
    out: Annotated[Path | None, arg(help="CSV to write the scores to")] = None,
    device: str | None = None,
    workers: int | None = None,
) -> int:
    """Score images with a saved detector."""
    from interp.detectors.image_scores import is_image_detector, score_by_images
    from interp.detectors.scoring import score_images
    from interp.images.image_set import ImageSet

    if is_image_detector(detector):
        table = score_by_images(ImageSet.from_paths(paths), detector, device=device, workers=workers)
    else:
        table = score_images(paths, detector, encoder=encoder, device=device, workers=workers)
    if out:
        table.to_csv(out)
    print(table.to_string(float_format="%.3f", na_rep=""))
    return UNREADABLE if (table["error"] != "").any() else 0


def demo(out: Annotated[Path, arg(help="folder of the results")] = Path("demo")) -> int:
    """The whole path with the CLIP inside the package on drawn images, offline, in about three minutes."""
    from interp.demo import run_demo

    print(run_demo(out).words)
    return 0
