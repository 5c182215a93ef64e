"""Commands on images: `interp extract | info`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from tyro.conf import OmitArgPrefixes, Positional, arg

from interp.cli.options import Looking, extract_store, report_unreadable


def extract(
    images: Annotated[Path, Positional, arg(help="folder, or CSV/Parquet manifest")],
    out: Annotated[Path, arg(help="folder of the store")],
    looking: OmitArgPrefixes[Looking] = Looking(),
) -> int:
    """Record every head of every image into a feature store; the same command goes on where it was cut off."""
    return report_unreadable(extract_store(images, out, looking))


def info(
    path: Annotated[Path, Positional, arg(help="store, run, detector, folder of images, or manifest")],
) -> int:
    """Say what something is: its images, encoder, settings and size."""
    from interp.main_job import describe

    print(describe(path))
    return 0
