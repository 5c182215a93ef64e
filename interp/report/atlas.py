"""The head atlas: one HTML page to look through the heads of a run, or of two side by side; it loads nothing."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from interp.errors import InputError
from interp.report.atlas_heads import HeadAtlas, head_atlas

TEMPLATE, SCRIPT, STYLE = "atlas.html.j2", "atlas.js", "atlas.css"
LISTED = 12
"""Heads in the table that the page shows without a script, and in print."""


def write_atlas(
    run: HeadAtlas | str | Path,
    out: str | Path,
    *,
    other: HeadAtlas | str | Path | None = None,
    title: str = "Head atlas",
    **options: Any,
) -> Path:
    """Write the atlas of one run, or of two side by side, as one HTML file.

    The page holds its own script, which the browser runs because the page names its hash, and no other: a file name or
    a caption is shown as text, whatever is written in it. It loads nothing and can be sent to anybody, and so can the
    small pictures in it, which are there only where `images` were given.

    Args:
        run: what `head_atlas` gathered, or the folder that it shall gather from.
        out: the HTML file, or a folder, which then holds `atlas.html`.
        other: a second run; its heads may be others.
        title: heading of the page.
        options: arguments of `head_atlas` for runs that are given as folders.

    Returns:
        Where the page is.

    Raises:
        InputError: see `head_atlas`; or options where nothing is left to gather.

    >>> import tempfile
    >>> from interp.encoders.loading import load_encoder
    >>> from interp.features.extract import extract
    >>> from interp.images.simulated import draw_simulated_set
    >>> folder = Path(tempfile.mkdtemp())
    >>> images = draw_simulated_set(folder / "images", n_per_class=4, generators=["simulated-nearest"], progress=False)
    >>> store = extract(images, load_encoder("embedded"), folder / "store", workers=0, progress=False)
    parts sum to the embedding ...
    >>> write_atlas(store.folder, folder, images=images, progress=False).name
    'atlas.html'
    """
    given = [run] if other is None else [run, other]
    if options and all(isinstance(one, HeadAtlas) for one in given):
        raise InputError(f"{', '.join(options)} are for head_atlas, which has been called already")
    atlases = [one if isinstance(one, HeadAtlas) else head_atlas(one, **options) for one in given]
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    script = (Path(__file__).parent / SCRIPT).read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    page = environment.get_template(TEMPLATE).render(
        title=title,
        runs=atlases,
        best=[_best(one) for one in atlases],
        data=_data(atlases),
        script=script,
        script_hash=digest,
        style=(Path(__file__).parent / STYLE).read_text(encoding="utf-8"),
    )
    out = Path(out)
    path = out if out.suffix in (".html", ".htm") else out / "atlas.html"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(page, encoding="utf-8", errors="replace")
    return path


def _best(atlas: HeadAtlas) -> list[dict[str, Any]]:
    """The heads that the first measure puts first, for readers without a script and for paper."""
    first = atlas.measures[0]
    order = atlas.table[first.name].sort_values(ascending=not first.higher_is_better, kind="stable")
    rows = []
    for head in order.index[:LISTED]:
        values = [_number(atlas.table.at[head, one.name]) for one in atlas.measures]
        words = atlas.words[atlas.words["head"] == head]["phrase"].head(3) if len(atlas.words) else ()
        rows.append({"head": head, "values": values, "words": ", ".join(words)})
    return rows


def _data(atlases: list[HeadAtlas]) -> dict[str, Any]:
    """All that the script shows; pictures and rows are held once, whichever heads and runs show them."""
    rows, pictures = _Once(), _Once()
    pictures.number("")
    return {
        "runs": [_run(one, rows, pictures) for one in atlases],
        "rows": rows.held,
        "pictures": pictures.held,
    }


class _Once:
    """A list without repeats, and where in it each thing stands."""

    def __init__(self) -> None:
        self.held: list[Any] = []
        self._at: dict[Any, int] = {}

    def number(self, thing: Any) -> int:
        if thing not in self._at:
            self._at[thing] = len(self.held)
            self.held.append(thing)
        return self._at[thing]


def _run(atlas: HeadAtlas, rows: _Once, pictures: _Once) -> dict[str, Any]:
    measures = []
    for one in atlas.measures:
        column = atlas.table[one.name]
        ranks = column.rank(ascending=not one.higher_is_better, method="min")
        ends = [f"{one.name}_{end}" for end in ("low", "high")]
        interval = [_numbers(atlas.table[end]) for end in ends if end in atlas.table]
        measures.append(
            {**one._asdict(), "values": _numbers(column), "ranks": _numbers(ranks), "interval": interval}
        )
    images, words = _by_head(atlas.extremes), _by_head(atlas.words)
    heads = []
    for head in atlas.layout.names:
        ends = {"+": [], "-": []}
        for row in images.get(head, ()):
            picture = pictures.number(atlas.pictures.get(row["key"], ""))
            place = rows.number((str(row["key"]), str(row["label"]), str(row["generator"]), picture))
            ends[row["end"]].append([place, _number(row["score"])])
        heads.append(
            {
                "name": head,
                "words": [_word(row) for row in words.get(head, ())],
                "images": [ends["+"], ends["-"]],
                "attention": _attention(atlas, head, pictures),
                "transfer": _numbers(atlas.transfer.loc[head]) if atlas.transfer.shape[1] else [],
            }
        )
    return {
        "name": atlas.name,
        "encoder": atlas.encoder,
        "layers": atlas.layout.layers,
        "width": atlas.layout.heads,
        "measures": measures,
        "generators": [str(name) for name in atlas.transfer.columns],
        "scored_by": atlas.scored_by,
        "heads": heads,
        "curve": [[_number(value) for value in row] for row in atlas.curve.itertuples(index=False)],
    }


def _word(row: dict[str, Any]) -> list[Any]:
    """Phrase, share explained, and why it is greyed out, if it is."""
    why = ""
    if "reliable" in row and pd.notna(row["reliable"]) and not row["reliable"]:
        why = "this text tower cannot be trusted with this phrase"
    elif np.isfinite(row["null_so_far"]) and row["so_far"] <= row["null_so_far"]:
        why = "phrases without meaning explain as much"
    return [str(row["phrase"]), _number(row["explained"]), why]


def _attention(atlas: HeadAtlas, head: str, pictures: _Once) -> dict[str, Any] | None:
    if (found := atlas.attention.get(head)) is None:
        return None
    largest = float(found.weights.max()) or 1.0
    levels = np.round(found.weights / largest * 255).astype(np.uint8)
    return {
        "picture": pictures.number(found.picture),
        "columns": found.weights.shape[1],
        "levels": base64.b64encode(levels.tobytes()).decode(),
        "largest": _number(largest),
        "elsewhere": _number(found.elsewhere),
    }


def _by_head(table: pd.DataFrame) -> dict[str, list[dict[str, Any]]]:
    if not len(table):
        return {}
    return {str(head): part.to_dict("records") for head, part in table.groupby("head", sort=False)}


def _number(value: Any, digits: int = 4) -> float | int | None:
    """A number as JSON has it, with as many significant digits as a page shows; None where there is none."""
    value = float(value)
    if not np.isfinite(value):
        return None
    return int(value) if value == int(value) else float(f"{value:.{digits}g}")


def _numbers(values: Iterable[Any]) -> list[float | int | None]:
    return [_number(value) for value in values]
