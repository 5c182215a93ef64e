"""The findings of a check as lines for a terminal: what is wrong first, what the classes look like last."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

if TYPE_CHECKING:
    from interp.images.check import Check

_REMEDIES = {
    "label": "one of the labels is wrong, or the copies must go",
    "generator": "keep one, or the generators are not apart",
    "split": "keep one, or train and test are not apart",
    "role": "keep one, or the roles are not apart",
}


def check_text(check: Check, most: int) -> str:
    """All findings, with at most `most` examples of each."""
    parts = [_head(check), *_unreadable(check, most), *_copies(check, most), *_giveaways(check, most)]
    classes = _classes(check)
    return "\n".join([*parts, *([] if classes.empty else ["", classes.to_string(index=False)])])


def _head(check: Check) -> str:
    counts = check.files["label"].replace("", "unlabelled").value_counts()
    parts = ", ".join(f"{count:,} {label}" for label, count in counts.items())
    return f"{len(check.files):,} files, {check.files['bytes'].sum() / 1e6:,.0f} MB ({parts})"


def _unreadable(check: Check, most: int) -> list[str]:
    bad = check.unreadable
    shown = [f"  {key}: {reason}" for key, reason in bad["error"].head(most).items()]
    return [f"{len(bad):,} unreadable", *shown, *_more(len(bad), most)]


def _copies(check: Check, most: int) -> list[str]:
    sets = check.duplicates.drop_duplicates("copies")["kind"].value_counts()
    lines = [
        f"{len(check.duplicates):,} files with a copy: {sets.get('file', 0):,} sets of the same file, "
        f"{sets.get('pixels', 0):,} sets of the same pixels in different files"
    ]
    for across, part in check.crossings.groupby("across", sort=False):
        lines.append(f"ERROR: {len(part):,} sets of copies across {across}s: {_REMEDIES[str(across)]}")
        lines += [
            f"  {row.values_}: {row.keys}"
            for row in part.rename(columns={"values": "values_"}).head(most).itertuples()
        ]
        lines += _more(len(part), most)
    return lines


def _giveaways(check: Check, most: int) -> list[str]:
    told = check.giveaways[check.giveaways["verdict"] != ""]
    lines = [f"WARNING: {verdict}" for verdict in told.loc[told["generator"] == "all", "verdict"]]
    single = told[
        (told["generator"] != "all") & ~told["feature"].isin(told.loc[told["generator"] == "all", "feature"])
    ]
    lines += [f"WARNING: for {row.generator}, {row.verdict}" for row in single.head(most).itertuples()]
    if lines:
        lines.append(
            "Bring all images through one path (equalize=common:128:75) before you believe a detector."
        )
    return lines + _more(len(single), most)


def _classes(check: Check) -> pd.DataFrame:
    """One row for each class and generator: what most of its files are."""
    good = check.files[check.files["error"] == ""]
    rows = []
    for (label, generator), part in good.groupby(["label", "generator"], sort=False):
        rows.append(
            {
                "label": label or "?",
                "generator": generator or "?",
                "files": len(part),
                "format": _shares(part["format"]),
                "mode": _shares(part["mode"]),
                "width": _spread(part["width"]),
                "height": _spread(part["height"]),
                "JPEG quality": _spread(part["jpeg_quality"].dropna()),
                "subsampling": _shares(part["subsampling"].replace("", "none")),
            }
        )
    return pd.DataFrame(rows)


def _shares(values: pd.Series) -> str:
    shares = values.value_counts(normalize=True).head(2)
    return ", ".join(str(name) if share == 1 else f"{name} {share:.0%}" for name, share in shares.items())


def _spread(values: pd.Series) -> str:
    if values.empty:
        return "-"
    low, middle, high = (f"{value:.0f}" for value in values.quantile([0.05, 0.5, 0.95]))
    return middle if low == high else f"{middle} ({low} to {high})"


def _more(number: int, most: int) -> list[str]:
    return [f"  … and {number - most:,} more"] if number > most else []
