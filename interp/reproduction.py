"""Reproduce a result: run what it says on the user's own images, and compare number by number."""

from __future__ import annotations

import json
import platform
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from interp.errors import InputError
from interp.published.entries import Entry, find_entry, list_entries

if TYPE_CHECKING:
    from interp.detectors.released import ReleasedHead
    from interp.encoders.encoder import Encoder
    from interp.images.image_set import ImageSet

__all__ = ["Verdict", "compare", "list_entries", "reproduce"]

YES, NO, MISSING = "yes", "no", "missing"
ROUNDING = 1e-9
"""Slack at the ends of a range, for numbers that were written in decimals."""


@dataclass(frozen=True)
class Verdict:
    """How a run compares with what was published.

    Attributes:
        entry: what was to be reproduced.
        table: a row for each number: table, row, metric, expected, low, high, found, difference, within ("yes",
            "no", "missing"), and what is missing.
        folder: where the tables that were compared lie.
        unreadable: images that could not be read, as they are counted in the folder's store; None without one.
    """

    entry: Entry
    table: pd.DataFrame
    folder: Path
    unreadable: int | None = None

    @property
    def exit_code(self) -> int:
        """0: all within; 1: some outside; 2: some missing, so that there is no verdict."""
        if (self.table["within"] == MISSING).any():
            return 2
        return int((self.table["within"] == NO).any())

    @property
    def words(self) -> str:
        """The verdict as text: the table, one sentence, and the entry's cautions."""
        counts = self.table["within"].value_counts()
        shown = self.table.drop(columns=["table"]).to_string(index=False, float_format="%.4f", na_rep="")
        said = {0: "reproduced", 1: "not reproduced", 2: "no verdict, numbers are missing"}[self.exit_code]
        total = ", ".join(f"{counts.get(key, 0)} {key}" for key in (YES, NO, MISSING))
        lines = [f"{self.entry.title}", shown, "", f"{self.entry.name}: {said} (within: {total})"]
        if self.unreadable:
            lines.append(f"- {self.unreadable} images could not be read and are in no number")
        return "\n".join([*lines, *(f"- {caution}" for caution in self.entry.cautions)])

    def __repr__(self) -> str:
        return self.words

    def write(self, out: Path) -> None:
        """Write verdict.csv, and verdict.json with the entry, the counts and all library versions."""
        from interp.report.results import LIBRARIES

        out.mkdir(parents=True, exist_ok=True)
        self.table.to_csv(out / "verdict.csv", index=False)
        record = {
            "entry": {key: value for key, value in asdict(self.entry).items() if key != "numbers"},
            "exit_code": self.exit_code,
            "within": {str(key): int(count) for key, count in self.table["within"].value_counts().items()},
            "numbers": json.loads(self.table.to_json(orient="records")),
            "tables": str(self.folder),
            "unreadable": self.unreadable,
            "python": platform.python_version(),
            "machine": platform.platform(),
            "libraries": {name: version(name) for name in ("interp", *LIBRARIES)},
        }
        (out / "verdict.json").write_text(json.dumps(record, indent=1) + "\n")


def reproduce(
    name: str,
    data: str | Path | None = None,
    *,
    out: str | Path | None = None,
    encoder: Encoder | str | Path | None = None,
    head: str | Path | None = None,
    tables_from: str | Path | None = None,
    device: str | None = None,
    workers: int | None = None,
    jobs: int | None = None,
    progress: bool = True,
) -> Verdict:
    """Run an entry on images that the user has, compare with what was published, and write the verdict.

    Args:
        name: of the entry; `list_entries()` shows all.
        data: folder or manifest of the images; not needed where they are drawn.
        out: folder of the results; a run that was cut off goes on there.
        encoder: where the encoder lies, if not on the hub under the entry's own name.
        head: file of the released head, for entries that score with one.
        tables_from: compare the tables of a run that exists already, and run nothing; without `out` the verdict is
            written there.
        device: cpu, cuda or mps; by default the best there is.
        workers: decoding processes; jobs: fitting processes; by default one for each core.
        progress: show bars.

    Raises:
        InputError: no such entry, something that it needs is not given, or a step refuses what it is given.
    """
    entry = find_entry(name)
    if tables_from is not None:
        verdict = compare(entry, tables_from)
        verdict.write(Path(out) if out is not None else Path(tables_from))
        return verdict
    if out is None:
        raise InputError(f"{name} writes its results into a folder; name one with out= (--out DIR)")
    if entry.needs_data and data is None:
        raise InputError(
            f"{name} needs {entry.data.needs} ({entry.data.get}); give the folder with data= (--data DIR)"
        )
    folder = Path(out)
    released = _head(entry, head) if entry.command == "score" else None
    looking = _encoder(entry, encoder, device)
    options = {"workers": workers, "progress": progress}
    if released is not None:
        looking = released.prepare(looking)
        _score(entry, _images(entry, data, folder), looking, released, folder, options)
    else:
        from interp.main_job import run

        settings = {k: v for k, v in entry.steps.items() if k not in ("encoder", "draw")}
        images = _images(entry, data, folder)
        run(images, looking, folder, **settings, jobs=jobs, random_state=entry.seed, **options)
    verdict = compare(entry, folder)
    verdict.write(folder)
    return verdict


def compare(entry: Entry, folder: str | Path) -> Verdict:
    """Look up every number of an entry in the tables of a run.

    Args:
        entry: what is expected.
        folder: of a run (with `tables` in it), or the tables' own folder.

    Raises:
        InputError: there is no table in the folder.
    """
    given = Path(folder)
    where = given / "tables" if (given / "tables").is_dir() else given
    if not any(where.glob("*.csv")):
        raise InputError(f"{given} holds no tables of a run (no tables/*.csv)")
    tables: dict[str, pd.DataFrame | None] = {}
    rows = []
    for one in entry.numbers:
        if one.table not in tables:
            path = where / f"{one.table}.csv"
            tables[one.table] = pd.read_csv(path, index_col=0) if path.is_file() else None
        found, missing = _look_up(tables[one.table], one.table, one.row, one.column)
        inside = one.low - ROUNDING <= found <= one.high + ROUNDING
        row = {"table": one.table, "row": one.row, "metric": one.column, "expected": one.value}
        row |= {"low": one.low, "high": one.high, "found": found, "difference": found - one.value}
        rows.append({**row, "within": MISSING if missing else YES if inside else NO, "missing": missing})
    images = where.parent / "store" / "rows.parquet"
    unreadable = (
        int((pd.read_parquet(images, columns=["error"])["error"] != "").sum()) if images.is_file() else None
    )
    return Verdict(entry, pd.DataFrame(rows), where, unreadable)


def _look_up(table: pd.DataFrame | None, name: str, row: str, column: str) -> tuple[float, str]:
    """The number, or NaN and what is missing."""
    nan = float("nan")
    if table is None:
        return nan, f"table {name}.csv"
    if column not in table.columns:
        return nan, f"column {column} of {name}.csv"
    values = table.loc[table.index.astype(str) == row, column]
    if len(values) != 1:
        return nan, f"row {row} of {name}.csv" if not len(
            values
        ) else f"one row {row} of {name}.csv, not {len(values)}"
    found = float(pd.to_numeric(values, errors="coerce").iloc[0])
    return found, "" if np.isfinite(found) else f"a number in row {row}, column {column} of {name}.csv"


def _images(entry: Entry, data: str | Path | None, out: Path) -> ImageSet:
    from interp.images.image_set import ImageSet
    from interp.images.simulated import draw_simulated_set
    from interp.published.scoring import sample_sets

    if not entry.needs_data or data is None:
        return draw_simulated_set(out / "images", **entry.steps["draw"], random_state=entry.seed)
    images = ImageSet.open(data, layout=entry.data.layout, where=entry.data.where)
    if entry.command == "run":
        return images
    return sample_sets(images, entry.steps.get("sets", {}), entry.steps.get("per_class"), entry.seed)


def _encoder(entry: Entry, given: Encoder | str | Path | None, device: str | None) -> Encoder:
    from interp.encoders.loading import load_encoder

    if given is None or isinstance(given, str | Path):
        return load_encoder(given or entry.steps["encoder"], device=device)
    return given


def _score(
    entry: Entry,
    images: ImageSet,
    encoder: Encoder,
    head: ReleasedHead,
    out: Path,
    options: Mapping[str, Any],
) -> None:
    """Extract with the authors' preprocessing, score, and write scores.parquet and tables/sets.csv."""
    from interp.features.extract import extract
    from interp.published.scoring import score_sets

    precision = (
        "float32" if head.fitting.layers else "float16"
    )  # tokens of all blocks are sums of many values
    store = extract(images, encoder, out / "store", store_dtype=precision, **options)
    scores = head.score(store, encoder=encoder)
    (out / "tables").mkdir(exist_ok=True)
    scores.to_parquet(out / "scores.parquet")
    score_sets(scores, store.rows, entry.steps.get("sets", {})).to_csv(out / "tables" / "sets.csv")


def _head(entry: Entry, given: str | Path | None) -> ReleasedHead:
    from interp.detectors.released import load_released_head

    if given is None:
        raise InputError(
            f"{entry.name} scores with the head {entry.steps['kind']} ({entry.steps['head']}); give its file with "
            "head= (--head FILE)"
        )
    return load_released_head(given, entry.steps["kind"])
