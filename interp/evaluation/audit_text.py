"""An audit as lines for a terminal: alarms first, then every feature, then images that look the same."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from interp.evaluation.one_feature import ALL
from interp.images.equalize import Equalize

if TYPE_CHECKING:
    from interp.evaluation.audit import Audit

_SHOWN = ["feature", "auc", "low", "high", "p_holm", "alarm", "best_told", "best_auc"]
_KINDS = {
    "container": "What the containers tell, no pixel looked at",
    "content": "What content statistics tell, all images brought through one path first",
    "words": "What words tell that the text tower can be trusted with",
}


def audit_text(audit: Audit, most: int) -> str:
    """All findings, with at most `most` pairs of near duplicates."""
    return "\n".join([*_head(audit), *_features(audit), *_pairs(audit, most)])


def _head(audit: Audit) -> list[str]:
    counts = audit.files["label"].replace("", "unlabelled").value_counts()
    lines = [", ".join(f"{count:,} {label}" for label, count in counts.items())]
    bad = int((audit.files["error"] != "").sum())
    lines += [f"{bad:,} unreadable, left out"] if bad else []
    if audit.sentence:
        return [*lines, audit.sentence]
    return [*lines, f"No alarm: no feature of the containers tells {audit.noun} from photographs."]


def _features(audit: Audit) -> list[str]:
    lines = []
    for kind, part in audit.table.groupby("kind", sort=False):
        shown = part.sort_values("auc", ascending=False)[_SHOWN].copy()
        shown["alarm"] = shown["alarm"].map({True: "ALARM", False: ""})
        n_real, n_fake = part[["n_real", "n_fake"]].iloc[0]
        lines += ["", f"{_KINDS[str(kind)]} ({n_real:,} photographs, {n_fake:,} {audit.noun}):"]
        lines += [shown.to_string(index=False, float_format="%.3f", na_rep="")]
    lines += [
        "",
        "auc: cross-validated by groups; low, high: 95 %; alarm: p < 0.05 after Holm and AUC > 0.6.",
    ]
    if audit.skipped:
        lines.append(f"Not asked, the text tower cannot be trusted with: {', '.join(audit.skipped)}.")
    return lines


def _pairs(audit: Audit, most: int) -> list[str]:
    pairs = audit.near_duplicates
    crossing = pairs[pairs["across"] != ""]
    lines = [
        "",
        f"{len(pairs):,} pairs of images look the same, {len(crossing):,} of them on two sides of a line:",
    ]
    counts = pd.Series(" ".join(crossing["across"]).split(), dtype=str).value_counts()
    lines += [f"  across {name}: {count:,}" for name, count in counts.items()]
    for row in crossing.head(most).itertuples():
        lines.append(f"  {row.key} ~ {row.other} ({row.distance} bits; {row.across})")
    if len(crossing) > most:
        lines.append(f"  … and {len(crossing) - most:,} more")
    if len(crossing):
        lines.append("Deal them as one: use `Audit.groups` (groups.csv) as the manifest's column group.")
    return lines


def container_sentence(
    table: pd.DataFrame, equalize: Equalize | None, applied: str = "none", noun: str = "fakes"
) -> str:
    """What the top of a report says where the containers tell the label; empty where they do not.

    Args:
        table: `Audit.table`.
        equalize: what would make the containers alike.
        applied: what the run brought its images through.
        noun: what photographs were held against.

    >>> table = pd.DataFrame({"kind": ["container"], "feature": ["EXIF"], "auc": [0.98], "alarm": [True]})
    >>> container_sentence(table, Equalize(256, 75))
    'ALARM: the files alone tell fakes from photographs, no pixel looked at (EXIF AUC 0.98), and images were not ...'
    """
    found = table[(table["kind"] == "container") & table["alarm"] & (table["feature"] != ALL)]
    if found.empty:
        found = table[(table["kind"] == "container") & table["alarm"]]
    if found.empty:
        return ""
    strongest = found.sort_values("auc", ascending=False).head(4)
    shown = ", ".join(f"{row.feature} AUC {row.auc:.2f}" for row in strongest.itertuples())
    told = f"ALARM: the files alone tell {noun} from photographs, no pixel looked at ({shown})"
    if applied == "none":
        return (
            f"{told}, and images were not brought through one path: what is below may rest on that alone. "
            f"Use --equalize {equalize}"
        )
    other = f" ({equalize} is advised)" if equalize is not None and str(equalize) != applied else ""
    return (
        f"{told}; all images were brought through {applied} first{other}, which leaves what compression and "
        "size did to the pixels before"
    )
