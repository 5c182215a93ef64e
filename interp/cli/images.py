"""Commands on images: `interp check | extract | info`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from tyro.conf import OmitArgPrefixes, Positional, UseAppendAction, arg

from interp.cli.options import Looking, extract_store, report_unreadable


def check(
    images: Annotated[Path, Positional, arg(help="folder, or CSV/Parquet manifest")],
    out: Annotated[Path | None, arg(help="folder for the findings as CSV files")] = None,
    layout: Annotated[str | None, arg(help="how the folder is laid out; by default it is recognised")] = None,
    where: Annotated[UseAppendAction[tuple[str, ...]], arg(help="condition such as role=test")] = (),
    allow_outside: Annotated[bool, arg(help="allow images outside the manifest's folder")] = False,
    cache: Annotated[Path | None, arg(help="Parquet file that makes a repeated check quick")] = None,
    jobs: Annotated[int | None, arg(help="processes; by default one for each core")] = None,
    timeout: Annotated[float, arg(help="seconds for one file")] = 60.0,
) -> int:
    """Decode every image; say what is unreadable, there twice, or tells the label without a look at the picture."""
    from interp.images.check import check_images
    from interp.images.image_set import ImageSet

    opened = ImageSet.open(images, layout=layout, where=where, allow_outside=allow_outside)
    found = check_images(opened, n_jobs=jobs, cache=cache, timeout=timeout)
    if out:
        found.write(out)
    print(opened, found.text(), sep="\n")
    return found.exit_code


def extract(
    images: Annotated[Path, Positional, arg(help="folder, or CSV/Parquet manifest")],
    out: Annotated[Path, arg(help="folder of the store")],
    looking: OmitArgPrefixes[Looking] = Looking(),
    statistics: Annotated[
        bool, arg(help="measure pixels too, for `interp evaluate --shortcut-removal`")
    ] = False,
) -> int:
    """Record every head of every image into a feature store; the same command goes on where it was cut off."""
    return report_unreadable(extract_store(images, out, looking, statistics=statistics))


def info(
    path: Annotated[Path, Positional, arg(help="store, run, detector, folder of images, or manifest")],
) -> int:
    """Say what something is: its images, encoder, settings and size."""
    from interp.main_job import describe

    print(describe(path))
    return 0
