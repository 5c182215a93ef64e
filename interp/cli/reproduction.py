"""The command that repeats a result: `interp reproduce`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg


def reproduce(
    name: Annotated[str | None, Positional, arg(help="a result; left out, all of them are listed")] = None,
    data: Annotated[Path | None, arg(help="folder or manifest of the images it needs")] = None,
    out: Annotated[Path | None, arg(help="folder of the results; the same command goes on there")] = None,
    encoder: Annotated[str | None, arg(help="hub id or folder, if not the entry's own")] = None,
    head: Annotated[Path | None, arg(help="checkpoint of a released head")] = None,
    tables_from: Annotated[Path | None, arg(help="compare the tables of a finished run instead")] = None,
    device: str | None = None,
    workers: int | None = None,
    jobs: int | None = None,
) -> int:
    """Run a published result, or one of ours, again, and compare it number by number."""
    from interp.reproduction import list_entries, reproduce

    if name is None:
        print(list_entries().to_string(max_colwidth=60))
        return 0
    options = {"encoder": encoder, "head": head, "tables_from": tables_from}
    options |= {"device": device, "workers": workers, "jobs": jobs}
    verdict = reproduce(name, data, out=out, **options)
    print(verdict.words)
    return verdict.exit_code
