"""The command that makes content-matched twins of photographs: `interp pairs`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Literal

from tyro.conf import Positional, UseAppendAction, arg

from interp.cli.options import UNREADABLE


def pairs(
    images: Annotated[
        Path, Positional, arg(help="folder, or CSV/Parquet manifest; generated images are left out")
    ],
    mechanisms: Annotated[
        tuple[str, ...],
        arg(
            help="nearest, bilinear, bicubic, lanczos, checkerboard (each :FACTOR), vae:MODEL, "
            "denoise:STRENGTH:MODEL, inpaint:SHARE:MODEL, inpaint:SHARE:MECHANISM"
        ),
    ],
    out: Annotated[Path, arg(help="folder of the twins; the same command goes on where it was cut off")],
    side: Annotated[
        int | None, arg(help="scale centre squares to this edge first; None keeps native size")
    ] = 256,
    frequencies: Annotated[
        Literal["none", "jpeg", "radial"], arg(help="align a twin's frequencies with its photograph's")
    ] = "none",
    mix: Annotated[
        tuple[float, float], arg(help="lowest and highest share of the photograph mixed into its twin")
    ] = (0.0, 0.0),
    layout: Annotated[str | None, arg(help="how the folder is laid out; by default it is recognised")] = None,
    where: Annotated[UseAppendAction[tuple[str, ...]], arg(help="condition such as role=test")] = (),
    allow_outside: Annotated[bool, arg(help="allow images outside the manifest's folder")] = False,
    random_state: Annotated[int, arg(help="seed of every draw")] = 0,
    jobs: Annotated[int | None, arg(help="processes; by default one for each core")] = None,
) -> int:
    """Make twins of photographs: the same content through one mechanism of a generator, for `--protocol twins`."""
    from interp.images.image_set import ImageSet
    from interp.images.twins import make_twins

    opened = ImageSet.open(images, layout=layout, where=where, allow_outside=allow_outside)
    options = {"side": side, "frequencies": frequencies, "mix": mix, "random_state": random_state}
    twins = make_twins(opened, mechanisms, out, n_jobs=jobs, **options)
    print(twins)
    wrong = twins.table["twin_error"].dropna()
    wrong = wrong[wrong != ""]
    if len(wrong):
        print(f"{len(wrong)} of {len(twins)} rows have no image:", file=sys.stderr)
        for key, reason in wrong.head(10).items():
            print(f"  {key}: {reason}", file=sys.stderr)
    return UNREADABLE if len(wrong) else 0
