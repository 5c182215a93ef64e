"""The command that writes a page about heads: `interp atlas`."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated, Any

from tyro.conf import Positional, arg

from interp.errors import InputError


def atlas(
    run: Annotated[Path, Positional, arg(help="folder of a run, or of a store")],
    other: Annotated[Path | None, Positional, arg(help="a second run, shown beside it")] = None,
    out: Annotated[Path | None, arg(help="HTML file; by default atlas.html in the run's folder")] = None,
    images: Annotated[
        Path | None, arg(help="folder or manifest of the images: small pictures of them go into the page")
    ] = None,
    layout: Annotated[
        str | None, arg(help="how that folder is laid out; by default it is recognised")
    ] = None,
    allow_outside: Annotated[bool, arg(help="allow images outside the manifest's folder")] = False,
    store: Annotated[Path | None, arg(help="the run's store, if it is not in its folder")] = None,
    encoder: Annotated[
        str | None, arg(help="where the encoder is, for words and attention; none to do without")
    ] = None,
    device: str | None = None,
    top: Annotated[int, arg(help="images for each end of a head")] = 4,
    nulls: Annotated[int, arg(help="rotations of the phrases that words are held against")] = 20,
) -> int:
    """Write one page to look through all heads: numbers, words, images, attention; two runs side by side."""
    from interp.images.image_set import ImageSet
    from interp.report.atlas import write_atlas
    from interp.report.atlas_heads import head_atlas

    opened = None if images is None else ImageSet.open(images, layout=layout, allow_outside=allow_outside)
    gathered = []
    for folder in [run] if other is None else [run, other]:
        looking = _towers(encoder or _location(folder), device, attention=opened is not None)
        options = {"store": store if folder == run else None, "images": opened, "top": top, "nulls": nulls}
        gathered.append(head_atlas(folder, **options, **looking))
    page = write_atlas(gathered[0], out or run, other=gathered[1] if other else None)
    print(f"{page} ({page.stat().st_size / 1e6:.1f} MB)")
    return 0


def _location(run: Path) -> str:
    """Where a run's encoder was loaded from; a store's key has its name."""
    if (run / "run.json").exists():
        record = json.loads((run / "run.json").read_text())
        return record["encoder_location"] or record["store"]["encoder"]["name"]
    return "none"


def _towers(location: str, device: str | None, *, attention: bool) -> dict[str, Any]:
    """Encoder and text tower; without one of them the page has no attention or no words, and it is said why."""
    from interp.encoders.loading import load_encoder
    from interp.explain.text_encoder import load_text_encoder

    found: dict[str, Any] = {}
    loaders = {"encoder": load_encoder, "texts": load_text_encoder}
    for name, load in loaders.items():
        if location == "none" or (name == "encoder" and not attention):
            continue
        try:
            found[name] = load(location, device=device)
        except InputError as error:
            print(f"no {'attention' if name == 'encoder' else 'words'}: {error}", file=sys.stderr)
    return found
