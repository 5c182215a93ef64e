"""Commands on laundered images: `interp launder | robustness`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from tyro.conf import OmitArgPrefixes, Positional, UseAppendAction, arg

from interp.cli.options import Looking, Parts, report_unreadable


def launder(
    images: Annotated[Path, Positional, arg(help="folder, or CSV/Parquet manifest")],
    out: Annotated[Path, arg(help="folder of the stores; the same command goes on where it was cut off")],
    looking: OmitArgPrefixes[Looking] = Looking(),
    grid: Annotated[
        str | None, arg(help="wang2020, ufd, cozzolino, rine, sidbench or default; see docs/laundering.md")
    ] = None,
    spec: Annotated[
        UseAppendAction[tuple[str, ...]], arg(help="a laundering such as resize:0.5+jpeg:75")
    ] = (),
    as_published: Annotated[str, arg(help="a grid as its code or as its paper has it")] = "code",
    copies: Annotated[
        str | None, arg(help="a drawn laundering to train on, such as blur:0-3@0.5+jpeg:30-100@0.5")
    ] = None,
    n_copies: Annotated[int, arg(help="how many draws of it for each image")] = 4,
    random_state: Annotated[int, arg(help="seed of all that launderings draw")] = 0,
) -> int:
    """Record images as they are and under every laundering, each file decoded once; for `interp robustness`."""
    from interp.encoders.loading import load_encoder
    from interp.errors import InputError
    from interp.features.laundered import launder_stores, named_specs
    from interp.images.image_set import ImageSet
    from interp.images.launder_presets import preset

    if looking.launder != "none" or looking.engine != "local":
        raise InputError(
            "`interp launder` takes --spec or --grid instead of --launder, and works with --engine local"
        )
    cells = preset(grid, as_published=as_published).cells if grid else {}
    specs = {name: cell.laundering for name, cell in cells.items()} | {text: text for text in spec}
    if not specs:
        raise InputError("nothing to launder with; give --grid default, or --spec such as jpeg:75")
    named_specs(specs, copies, n_copies, random_state)  # a wrong one is told before an encoder is loaded
    where = {"layout": looking.layout, "where": looking.where, "allow_outside": looking.allow_outside}
    encoder = load_encoder(looking.encoder, device=looking.device, dtype=looking.dtype, fast=looking.fast)
    stores = launder_stores(
        ImageSet.open(images, **where),
        encoder,
        out,
        specs,
        copies=copies,
        n_copies=n_copies,
        equalize=looking.equalize,
        views=looking.views,
        random_state=random_state,
        batch_size=looking.batch_size,
        workers=looking.workers,
        store_dtype=looking.store_dtype,
    )
    print(f"{len(stores)} stores in {out}; next: interp robustness {out} --out DIR")
    return max(report_unreadable(store) for store in stores.values())


def robustness(
    stores: Annotated[Path, Positional, arg(help="folder that `interp launder` wrote")],
    out: Annotated[Path, arg(help="folder of the results")],
    parts: OmitArgPrefixes[Parts] = Parts(),
    head_removal: Annotated[
        bool, arg(help="add the embedding without the heads that serve it worst")
    ] = False,
    resamples: Annotated[int, arg(help="joint resamples of photographs and groups for the intervals")] = 1000,
    nulls: Annotated[int, arg(help="random choices of as many heads or coordinates beside each choice")] = 5,
    pool: Annotated[str, arg(help="mean or max over the views of an image")] = "mean",
    jobs: Annotated[int | None, arg(help="processes; by default one for each core")] = None,
) -> int:
    """Measure detectors trained on clean images, and on laundered copies, under every laundering."""
    from interp.evaluation.arms import default_arms, head_removal_arm
    from interp.evaluation.head_robustness import head_robustness
    from interp.evaluation.robustness import robustness_curves
    from interp.features.laundered import open_launder_stores
    from interp.main_job import make_protocol
    from interp.report.robustness_tables import write_robustness

    clean, laundered, copies = open_launder_stores(stores)
    protocol = make_protocol(clean, **vars(parts))
    arms = [arm for arm in default_arms(clean, n_nulls=nulls) if "layer" not in arm.name]
    arms += [head_removal_arm(clean, n_nulls=nulls)] if head_removal else []
    options = {"copies": copies, "n_resamples": resamples, "n_jobs": jobs, "pool": pool}
    found = robustness_curves(clean, laundered, protocol, arms, random_state=parts.random_state, **options)
    write_robustness(found, out, head_robustness(clean, laundered, protocol))
    print(f"{found.words}\nall tables and figures: {out}")
    return report_unreadable(clean)
