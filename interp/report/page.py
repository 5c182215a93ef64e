"""One HTML page of a run, in plain words: what was asked, what was found, how to read it, how to repeat it."""

from __future__ import annotations

import base64
import io
import json
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import numpy as np
import pandas as pd
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from PIL import Image

from interp import __version__
from interp.analysis.shortcut_evidence import Evidence
from interp.errors import InputError, UnreadableImage
from interp.evaluation.cells import IN_DISTRIBUTION
from interp.evaluation.effect_table import RELIABLE
from interp.evaluation.harm import harm_sentence
from interp.evaluation.operating import SMALL_SETS, UNSEEN
from interp.evaluation.shortcuts import shortcuts_sentence
from interp.evaluation.summary import BASELINE
from interp.images.decode import read_image
from interp.images.image_set import ImageSet
from interp.images.views import VIEW_OF
from interp.report import page_words as words

if TYPE_CHECKING:
    from interp.report.results import RunResult

TEMPLATE = "page.html.j2"
SIMULATED = "simulated-"
"""How the name of a generator begins whose images are drawn."""
LISTED = 60
"""Generators shown in a table of the page; the others stand in the CSV beside it."""
SAMPLES, SAMPLE_SIDE = 6, 96
FIGURES = ("gains", "head_map", "removal_curve", "reliability", "placebos")
TABLES = {
    "summary.csv": "a row for each detector: all numbers of the table above",
    "nulls.csv": "each detector's nulls",
    "null_draws.csv": "every draw of every null",
    "generators.csv": "each detector on each test generator",
    "gains.csv": "gain of each detector on each test generator, with p adjusted over all of them",
    "transfer.csv": "each detector, train generator and test generator",
    "operating.csv": "decisions and probabilities of each detector on each test generator",
    "cells.csv": "the same for each select generator too",
    "choices.csv": "what was chosen on each split: strength, heads, coordinates",
    "ranking.csv": "every head alone",
    "ranking_per_split.csv": "every head alone, split by split",
    "harm.csv": "the search for harmful components, split by split",
    "placebos.csv": "what every detector says of photographs alone",
    "placebos_of_heads.csv": "the same for every head",
    "shortcuts.csv": "the search for shortcuts among properties of the pixels, split by split",
    "removal_curves.csv": "AUC along the removal of coordinates",
}


def write_page(
    result: RunResult, out: Path, *, title: str, notice: str = "", samples: ImageSet | None = None
) -> Path:
    """Write `index.html` into the folder of a run: one file without scripts that loads nothing.

    Args:
        result: what the run found.
        out: its folder, as `write_results` left it; figures and `run.json` are read there.
        title: heading of the page.
        notice: what a reader must know first.
        samples: images to show a few of, for sets that may be shown, such as drawn ones. By default none is shown.

    Returns:
        Where the page is.

    Raises:
        InputError: the folder has no run.json.
    """
    if not (out / "run.json").exists():
        raise InputError(
            f"{out} holds no finished run (no run.json); write_results makes one, and a page with it"
        )
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(number=words.number, arm_name=words.arm_name)
    environment.globals.update(interval=words.interval)
    rows = _whole_images(result.store.rows)
    simulated = [str(name) for name in rows["generator"].unique() if str(name).startswith(SIMULATED)]
    only = bool(simulated) and set(rows.loc[rows["label"] == "fake", "generator"]) == set(simulated)
    page = environment.get_template(TEMPLATE).render(
        title=title,
        notice=notice,
        simulated=simulated,
        photographs="simulated photographs" if only else "photographs",
        asked=_asked(result, rows, samples),
        found=_found(result),
        pictures={name: _picture(out / "figures" / f"{name}.png") for name in FIGURES},
        repeat=_repeat(result, out),
    )
    path = out / "index.html"
    path.write_text(page, encoding="utf-8", errors="replace")
    return path


def _whole_images(rows: pd.DataFrame) -> pd.DataFrame:
    """A row for each image, where a store has one for each view."""
    return rows.drop_duplicates(VIEW_OF).set_index(VIEW_OF) if VIEW_OF in rows else rows


def _asked(result: RunResult, rows: pd.DataFrame, samples: ImageSet | None) -> dict[str, Any]:
    """Data, encoder and protocol."""
    store, splits = result.store, result.protocol.splits
    parts = {
        part: {name for split in splits for name in split.generators_of(part)}
        for part in ("train", "select", "test")
    }
    generators = []
    for name, group in rows.groupby("generator", sort=False):
        label = str(group["label"].iloc[0])
        every = label == "real" or not any(name in names for names in parts.values())
        generators.append(
            {
                "name": str(name),
                "label": label,
                "family": str(group["family"].iloc[0]),
                "images": len(group),
                "unreadable": int((group["error"] != "").sum()),
                "parts": "" if every else ", ".join(part for part, names in parts.items() if name in names),
                "samples": _samples(samples, group) if samples is not None else [],
            }
        )
    generators.sort(key=lambda one: (one["label"] != "real", -one["images"]))
    layout = store.layout
    return {
        "generators": generators[:LISTED],
        "more": max(0, len(generators) - LISTED),
        "images": len(rows),
        "unreadable": int((rows["error"] != "").sum()),
        "encoder": store.key["encoder"]["name"],
        "layers": layout.layers,
        "heads": layout.heads,
        "width": layout.width,
        "embedding": store.readout.projection.shape[1],
        "equalisation": words.equalisation(store.key["equalize"]),
        "views": store.views,
        "protocol": words.PROTOCOLS.get(result.protocol.kind, "Splits of this run's own."),
        "splits": len(splits),
        "seeds": len({split.seed for split in splits}),
        "details": result.protocol.describe().splitlines(),
    }


def _samples(images: ImageSet, group: pd.DataFrame) -> list[str]:
    """A few images of one generator as PNGs in text, scaled down where they are large."""
    found = []
    for key in group.index[group["error"] == ""][:SAMPLES]:
        try:
            pixels = read_image(images.path(str(key))).pixels
        except UnreadableImage:
            continue
        pixels.thumbnail((SAMPLE_SIDE, SAMPLE_SIDE), Image.Resampling.LANCZOS)
        kept = io.BytesIO()
        pixels.save(kept, "PNG", optimize=True)
        found.append(_as_text(kept.getvalue()))
    return found


def _found(result: RunResult) -> dict[str, Any]:
    """Warnings, claims, the rows of both tables, and what is said of heads and components."""
    summary, warned = result.summary, bool(result.warnings)
    nulls = {arm: result.nulls[result.nulls["arm"] == arm] for arm in summary.index}
    claims = [
        words.claim(
            str(arm),
            row,
            nulls[arm],
            warned=warned,
            doubt=result.doubts.get(str(arm), ""),
            mark=result.marks.get(str(arm), ""),
        )
        for arm, row in summary.iterrows()
        if arm != BASELINE
    ]
    arms = []
    for arm, row in summary.iterrows():
        strongest = nulls[arm].loc[nulls[arm]["high"].idxmax(), "null"] if len(nulls[arm]) else ""
        null = words.null_name(str(arm), str(strongest))
        meaning = words.ARMS.get(str(arm), ("", ""))[1]
        arms.append({"arm": str(arm), "meaning": meaning, "null": null, **row.to_dict()})
    tested = result.transfer.cells.by(["test"])
    by_generator = tested.pivot(index="test", columns="arm", values=["auc", "low", "high"])
    inside = by_generator.loc[by_generator.index == IN_DISTRIBUTION]
    unseen = by_generator.drop(index=IN_DISTRIBUTION, errors="ignore").sort_values(("auc", BASELINE))
    shown = pd.concat([unseen.head(LISTED), inside])
    sizes = tested.drop_duplicates("test").set_index("test")["n_fake"]
    reliability = result.ranking.reliability
    return {
        "warnings": result.warnings,
        "notes": result.notes,
        "claims": claims,
        "standing": [one for one in claims if one.stands],
        "baseline": summary.loc[BASELINE].to_dict(),
        "baseline_mark": result.marks.get(BASELINE, ""),
        "recommended": words.arm_name(result.recommended),
        "arms": arms,
        "decisions": _decisions(result.transfer.operating, summary),
        "generators": [
            {
                "name": str(name) if name != IN_DISTRIBUTION else "",
                "fakes": round(sizes[name]),
                "cells": [
                    {column: row[column, arm] for column in ("auc", "low", "high")} for arm in summary.index
                ],
            }
            for name, row in shown.iterrows()
        ],
        "more": max(0, len(unseen) - LISTED),
        "reliability": reliability if np.isfinite(reliability) else None,
        "reliable": reliability >= RELIABLE,
        "bound": RELIABLE,
        "best_heads": result.ranking.table.head(3).to_dict("records"),
        "harm": harm_sentence(result.harm),
        "shortcuts": _shortcuts(result.shortcuts),
    }


def _decisions(operating: pd.DataFrame, summary: pd.DataFrame) -> list[dict[str, Any]]:
    """How each arm decides on generators it has not seen; small ones only where there are no others."""
    kind = UNSEEN if (operating["test"] == UNSEEN).any() else SMALL_SETS
    rows = operating[operating["test"] == kind].to_dict("records")
    return [{**row, **summary.loc[row["arm"], ["next_low", "next_high"]].to_dict()} for row in rows]


def _shortcuts(table: pd.DataFrame | None) -> dict[str, Any] | None:
    """What was found, and the evidence of the first split where each property was; None where nobody looked."""
    if table is None:
        return None
    removed = table[table["removed"].astype(bool)].drop_duplicates("candidate").head(3)
    evidence = [Evidence(*(row[name] for name in Evidence._fields)) for _, row in removed.iterrows()]
    said = [one.sentence(str(name)) for one, name in zip(evidence, removed["candidate"], strict=True)]
    return {"sentence": shortcuts_sentence(table), "examples": said}


def _repeat(result: RunResult, out: Path) -> dict[str, Any]:
    """The command, versions and seed of the run, and what lies beside the page."""
    record = json.loads((out / "run.json").read_text())
    settings = {name: value for name, value in record["settings"].items() if np.isscalar(value)}
    return {
        "command": _command(record["command"]),
        "versions": {"interp": __version__, "python": record["python"], **record["libraries"]},
        "seed": settings.pop("random_state"),
        "resamples": settings.pop("n_resamples"),
        "weights": result.store.key["encoder"]["weights"],
        "key": json.dumps(result.store.key, indent=1),
        "tables": {name: said for name, said in TABLES.items() if (out / "tables" / name).exists()},
        "matrices": [
            (words.arm_name(str(arm)), quote(f"figures/transfer_{arm}.png"))
            for arm in result.summary.index
            if (out / "figures" / f"transfer_{arm}.png").exists()
        ],
    }


def _command(arguments: list[str]) -> str:
    """The command line of a run as it can be typed; empty where it was started from within Python.

    >>> _command(["/home/me/.venv/bin/interp", "run", "my images", "--out", "first"])
    "interp run 'my images' --out first"
    """
    program, *rest = arguments
    if Path(program).name == "interp":
        return shlex.join(["interp", *rest])
    return shlex.join(["python", program, *rest]) if program.endswith(".py") else ""


def _picture(path: Path) -> str:
    return _as_text(path.read_bytes()) if path.exists() else ""


def _as_text(png: bytes) -> str:
    return f"data:image/png;base64,{base64.b64encode(png).decode()}"
