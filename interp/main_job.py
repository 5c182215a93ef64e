"""The main job from end to end: images and an encoder in; rankings, detectors, an honest table and figures out."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from interp.errors import InputError, unknown_name

if TYPE_CHECKING:
    from interp.analysis.ranking import HeadRanking
    from interp.encoders.encoder import Encoder
    from interp.evaluation.placebos import Placebo
    from interp.features.store import FeatureStore
    from interp.images.image_set import ImageSet
    from interp.protocol.splits import Protocol
    from interp.report.results import RunResult


def run(
    images: ImageSet | str | Path,
    encoder: Encoder | str | Path,
    out: str | Path,
    *,
    equalize: str | None = None,
    views: int | None = None,
    pool: str = "mean",
    protocol: str = "pairs",
    train: Sequence[str] = (),
    select: Sequence[str] = (),
    test: Sequence[str] = (),
    min_train: int = 200,
    released: Sequence[str] = (),
    seeds: int = 5,
    aggregates: Sequence[str] = ("concat",),
    head_removal: bool = False,
    shortcut_removal: bool = False,
    generator_erasure: bool = False,
    audit: bool = True,
    placebos: bool = True,
    nulls: int = 50,
    resamples: int = 1000,
    jobs: int | None = None,
    random_state: int = 0,
    progress: bool = True,
    **extraction: Any,
) -> RunResult:
    """Extract, rank, select, remove, retrain, and measure transfer against nulls, all into one folder.

    Args:
        images: an `ImageSet`, a folder or a manifest.
        encoder: an `Encoder`, a hub id or a folder.
        out: folder of the results; an unfinished run with the same settings goes on.
        equalize: bring every image through one path first, such as `common:128:75`.
        views: look at this many crops of each image at native resolution; see `interp.images.views.Views`.
        pool: "mean" or "max" of the views' scores is the image's.
        protocol: "pairs", "leave-one-out", or "by-hand" with `train`, `select` and `test` generators; "chronological",
            older generators against newer ones; for images with twins "twins" or "twins-to-generators".
        min_train: images that a generator must have to train or select.
        released: for "chronological", when each generator was released, such as `glide=2021-12-20`; by default the
            manifest's column `released` says it.
        seeds: dealings of photographs and groups into three parts.
        aggregates: one arm of selected heads for each of concat, sum, vote.
        head_removal: add an arm that removes heads greedily from the embedding; it adds a fifth to the time.
        shortcut_removal: measure the pixels of every image, look for properties that only the train rows' fakes have,
            name them, and add an arm that erases them.
        generator_erasure: add an arm whose embedding does not say which generator made a fake; needs three generators
            that train and select, as with "leave-one-out".
        audit: ask first whether the files alone, without their pixels, tell the label; the report begins with it.
        placebos: ask every detector about photographs alone, as they are and altered, and mark what that explains; it
            looks at every photograph twice more. Not asked of views.
        nulls: draws of each null.
        resamples: joint resamples for the intervals over images.
        jobs: processes; by default one for each core.
        random_state: seed of every random draw.
        progress: show bars.
        extraction: further arguments of `extract`: batch_size, shard_size, workers, store_dtype.

    Raises:
        InputError: an argument that cannot be used; the message says what to do.
    """
    from interp.encoders.loading import load_encoder
    from interp.evaluation.audit import container_alarm
    from interp.features.extract import extract, refuse_folder
    from interp.features.statistics import measure_statistics
    from interp.images.image_set import ImageSet

    refuse_folder(Path(out) / "store")
    opened = images if isinstance(images, ImageSet) else ImageSet.open(images)
    location = str(encoder) if isinstance(encoder, str | Path) else ""
    looking = load_encoder(encoder) if isinstance(encoder, str | Path) else encoder
    options = {"equalize": equalize, "views": views, "progress": progress}
    store = extract(opened, looking, Path(out) / "store", **options, **extraction)
    if shortcut_removal:
        measure_statistics(opened, store, workers=extraction.get("workers"), progress=progress)
    alarm = container_alarm(opened, store.key["equalize"], n_jobs=jobs, progress=progress) if audit else ""
    asked = placebos_of(opened, looking, store, out, progress=progress, **extraction) if placebos else []
    parts = {"train": train, "select": select, "test": test, "min_train": min_train, "seeds": seeds}
    parts |= {"released": released}
    chosen = make_protocol(store, protocol, random_state=random_state, **parts)
    return evaluate_store(
        store,
        chosen,
        out,
        aggregates=aggregates,
        nulls=nulls,
        resamples=resamples,
        jobs=jobs,
        random_state=random_state,
        pool=pool,
        head_removal=head_removal,
        shortcut_removal=shortcut_removal,
        generator_erasure=generator_erasure,
        encoder_location=location,
        container=alarm,
        placebos=asked,
        progress=progress,
    )


def placebos_of(
    images: ImageSet, encoder: Encoder, store: FeatureStore, out: str | Path, **extraction: Any
) -> list[Placebo]:
    """The placebos that `run` asks: photographs of a store, altered, in stores below `out`; none for views.

    Args:
        images: the store's.
        encoder: who made the store.
        store: of the run.
        out: folder of the run.
        extraction: further arguments of `extract`.
    """
    from interp.evaluation.placebo_kinds import usual_placebos

    options = {name: value for name, value in extraction.items() if name not in ("launder", "random_state")}
    return [] if store.views > 1 else usual_placebos(images, encoder, store, Path(out) / "altered", **options)


def make_protocol(
    store: FeatureStore,
    protocol: str = "pairs",
    *,
    train: Sequence[str] = (),
    select: Sequence[str] = (),
    test: Sequence[str] = (),
    min_train: int = 200,
    released: Sequence[str] = (),
    seeds: int = 5,
    random_state: int = 0,
) -> Protocol:
    """The protocol that the arguments ask for, over the readable rows of a store; see `run`."""
    from interp.protocol.chronology import chronological_protocol, release_days
    from interp.protocol.splits import Protocol

    options = {"seeds": seeds, "random_state": random_state, "usable": store.usable}
    if protocol != "by-hand":  # a generator's images count, not their views
        min_train *= store.views
    by_hand = {"train": train, "select": select, "test": test}
    if protocol == "by-hand" or (protocol == "pairs" and any(by_hand.values())):
        if missing := [name for name, given in by_hand.items() if not given]:
            raise InputError(
                f"a protocol by hand needs generators for all three parts; give --{' and --'.join(missing)}"
            )
        return Protocol.by_hand(store.rows, **{k: list(v) for k, v in by_hand.items()}, **options)
    if protocol == "pairs":
        return Protocol.pairs(store.rows, min_train=min_train, **options)
    if protocol == "leave-one-out":
        return Protocol.leave_one_out(store.rows, min_train=min_train, **options)
    if protocol == "chronological":
        days = release_days(store.rows, released)
        return chronological_protocol(store.rows, days, min_train=min_train, **options)
    twins = {"twins": "leave_one_out", "twins-to-generators": "generators"}
    if protocol in twins:
        return Protocol.twins(store.rows, twins[protocol], **options)
    raise unknown_name("protocol", protocol, ["pairs", "leave-one-out", "by-hand", "chronological", *twins])


def rank_store(
    store: FeatureStore, protocol: Protocol, *, probe: str = "logistic", progress: bool = True
) -> HeadRanking:
    """Rank every head of a store alone, on train and select rows only.

    Args:
        store: what `extract` made.
        protocol: who trains and selects.
        probe: "logistic" for numbers to report; "ridge", several times quicker, for looking around and for stores with
            many generators or seeds. Both rank alike: on photographs and ten generators Spearman 0.99.
        progress: show a bar.
    """
    from interp.analysis.ranking import rank_heads

    y = (store.rows["label"] != "real").to_numpy().astype(int)
    generator = store.rows["generator"].to_numpy().astype(str)
    X = store.head_features()
    return rank_heads(X, y, store.layout, protocol, generator=generator, probe=probe, progress=progress)


def evaluate_store(
    store: FeatureStore,
    protocol: Protocol,
    out: str | Path,
    *,
    aggregates: Sequence[str] = ("concat",),
    head_removal: bool = False,
    shortcut_removal: bool = False,
    generator_erasure: bool = False,
    nulls: int = 50,
    resamples: int = 1000,
    jobs: int | None = None,
    random_state: int = 0,
    pool: str = "mean",
    encoder_location: str = "",
    container: str = "",
    placebos: Sequence[Placebo] = (),
    progress: bool = True,
) -> RunResult:
    """Rank heads, fit every arm and its nulls on a store, and write tables, figures, detectors and words.

    Args:
        store: what `extract` made.
        protocol: who trains, selects and tests.
        out: folder of the results.
        aggregates, head_removal, generator_erasure, nulls, resamples, jobs, random_state, pool: as in `run`.
        shortcut_removal: as in `run`; the store's images have been measured by `measure_statistics`.
        encoder_location: where the encoder was loaded from, so that `interp score` finds it again.
        placebos: what to ask every detector and head about photographs alone.
        container: what `interp.evaluation.audit.container_alarm` said of the images' files.
        progress: show bars.
    """
    from interp.evaluation import arms as make
    from interp.evaluation.harm import harm_by_split
    from interp.evaluation.placebos import head_placebos, placebo_panel
    from interp.evaluation.shortcuts import shortcuts_by_split
    from interp.evaluation.transfer import evaluate_transfer
    from interp.report.results import RunResult, write_results

    arms = make.default_arms(store, n_nulls=nulls, aggregates=aggregates)
    arms += [make.head_removal_arm(store, n_nulls=nulls)] if head_removal else []
    arms += [make.shortcut_removal_arm(store, n_nulls=nulls)] if shortcut_removal else []
    arms += [make.generator_erasure_arm(protocol, n_nulls=nulls)] if generator_erasure else []
    ranking = rank_store(store, protocol, progress=progress)
    transfer = evaluate_transfer(
        store,
        protocol,
        arms,
        n_resamples=resamples,
        n_jobs=jobs,
        random_state=random_state,
        pool=pool,
        folder=Path(out) / "splits",
        progress=progress,
    )
    options = {"n_jobs": jobs, "random_state": random_state, "progress": progress}
    harm = harm_by_split(store, protocol, **options)
    shortcuts = shortcuts_by_split(store, protocol, **options) if shortcut_removal else None
    panel = of_heads = None
    if placebos:
        drawn = {"n_resamples": resamples, "random_state": random_state, "progress": progress}
        panel = placebo_panel(store, protocol, arms, placebos, n_jobs=jobs, **drawn)
        of_heads = head_placebos(store, protocol, placebos, **drawn)
    result = RunResult(store, protocol, ranking, transfer, harm, shortcuts, container, panel, of_heads)
    write_results(result, arms, Path(out), encoder_location=encoder_location)
    return result


def describe(path: str | Path) -> str:
    """What a store, run, detector, folder of images or manifest holds, in a few lines."""
    from interp.detectors.detector import DESCRIPTION, load_detector
    from interp.features.shards import KEY
    from interp.features.store import FeatureStore
    from interp.images.image_set import ImageSet

    path = Path(path)
    if (path / "summary.json").exists():
        saved = json.loads((path / "summary.json").read_text())["detectors"]
        summary = pd.DataFrame.from_dict(saved, orient="index")
        return f"run in {path}\n" + summary.to_string(float_format="%.3f")
    if (path / DESCRIPTION).exists():
        found = load_detector(path)
        notes = "\n".join(f"  {name}: {value}" for name, value in found.notes.items())
        return f"detector {found.name} on {found.features} of {found.key['encoder']['name']}\n{notes}"
    if (path / KEY).exists():
        store = FeatureStore(path)
        shards, shared = store.size()
        each = f"{shards / max(len(store), 1) / 1e3:.1f} KB an image"
        size = f"{shards / 1e6:.1f} MB ({each}), weights {shared / 1e6:.1f} MB"
        return f"{store}\n{size}\n{json.dumps(store.key, indent=1)}"
    images = ImageSet.open(path)
    return f"{len(images)} images\n{images.summary().to_string()}"
