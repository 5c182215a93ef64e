"""An audit as lines for a terminal: alarms first, then every feature, then images that look the same."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

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
    return [*lines, "No alarm: no feature of the containers tells fakes from photographs."]


def _features(audit: Audit) -> list[str]:
    lines = []
    for kind, part in audit.table.groupby("kind", sort=False):
        shown = part.sort_values("auc", ascending=False)[_SHOWN].copy()
        shown["alarm"] = shown["alarm"].map({True: "ALARM", False: ""})
        lines += [
            "",
            f"{_KINDS[str(kind)]} ({part['n_real'].iloc[0]:,} real, {part['n_fake'].iloc[0]:,} fake):",
        ]
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
