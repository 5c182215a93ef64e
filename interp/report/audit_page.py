"""The audit of a set as one page for people: the alarm first, every feature, and images that look the same."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from interp.evaluation.audit import LEAST, LEVEL, Audit

PAIRS = 50
"""Pairs of near duplicates on the page; near_duplicates.csv has all."""

_TITLES = {
    "container": "What the containers tell, no pixel looked at",
    "content": "What content statistics tell, all images brought through one path first",
    "words": "What words tell that the text tower can be trusted with",
}
_FOLDER = Path(__file__).parent


def write_audit_page(audit: Audit, folder: str | Path) -> Path:
    """Write `audit.html` into a folder; it needs no other file.

    Args:
        audit: what `audit_images` found.
        folder: where; made if it is not there.

    Returns:
        The page.
    """
    loader = FileSystemLoader(_FOLDER)
    jinja = Environment(loader=loader, undefined=StrictUndefined, autoescape=True, trim_blocks=True)
    pairs = audit.near_duplicates
    parts = [
        (_TITLES[str(kind)], _rows(part.sort_values("auc", ascending=False)))
        for kind, part in audit.table.groupby("kind", sort=False)
    ]
    text = jinja.get_template("audit.html.j2").render(
        n=len(audit.files),
        sentence=audit.sentence,
        noun=audit.noun,
        parts=parts,
        level=LEVEL,
        least=LEAST,
        skipped=", ".join(audit.skipped),
        n_pairs=len(pairs),
        crossing=_rows(pairs[pairs["across"] != ""]),
        pairs=PAIRS,
    )
    page = Path(folder) / "audit.html"
    page.parent.mkdir(parents=True, exist_ok=True)
    page.write_text(text, encoding="utf-8")
    return page


def _rows(table: pd.DataFrame) -> list[dict]:
    return table.to_dict("records")
