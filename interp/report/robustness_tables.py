"""What robustness curves leave behind: tables as CSV and Markdown, figures as PNG, words."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from interp.evaluation.head_robustness import head_means
from interp.evaluation.robustness import Robustness
from interp.evaluation.robustness_curves import ALL_LAUNDERINGS, ALL_SETS, main_set, strongest_nulls
from interp.report.figures import save_figure
from interp.report.robustness_figure import head_robustness_figure, robustness_figure
from interp.report.tables import write_table

LINES = ("balanced_accuracy", "accuracy_photographs", "accuracy_fakes", "flip_rate", "tpr_at_5pct_fpr")


def write_robustness(found: Robustness, out: str | Path, heads: pd.DataFrame | None = None) -> None:
    """Write curves.csv, choices.csv, nulls.csv, robustness.md and .png, and auc as a tidy table in four formats; with
    `heads`, heads.csv and heads.png.

    Args:
        found: what `robustness_curves` measured.
        out: folder.
        heads: what `head_robustness` measured.
    """
    out = Path(out)
    out.mkdir(parents=True, exist_ok=True)
    found.curves.to_csv(out / "curves.csv", index=False)
    found.choices.to_csv(out / "choices.csv", index=False)
    found.nulls.to_csv(out / "nulls.csv", index=False)
    save_figure(robustness_figure(found.curves), out / "robustness.png")
    main = found.curves[(found.curves["test"] == main_set(found.curves)) & (found.curves["metric"] == "auc")]
    where = f"AUC under laundering, {main['test'].iloc[0].strip('()')}"
    write_table(
        main.drop(columns=["operation", "metric", "test"]), out / "auc", f"{where}. {_caption(found)}"
    )
    text = robustness_markdown(found)
    if heads is not None:
        means = head_means(heads)
        heads.to_csv(out / "heads.csv", index=False)
        save_figure(head_robustness_figure(means), out / "heads.png")
        text += "\n" + _heads_markdown(means)
    (out / "robustness.md").write_text(text)


def robustness_markdown(found: Robustness) -> str:
    """Tables in Markdown, n and the resamples in each caption."""
    curves = found.curves[found.curves["test"] == main_set(found.curves)]
    caption = _caption(found)
    parts = ["# Robustness", "", *[f"- {line}" for line in found.words.splitlines()]]
    auc = curves[curves["metric"] == "auc"]
    plain = auc[auc["fitted"] == "clean"].assign(shown=_said)
    where = "unseen generators" if (curves["test"] == ALL_SETS).any() else str(curves["test"].iloc[0])
    parts += ["", f"AUC on {where}, detectors fitted on clean images. {caption}", ""]
    parts.append(_table(plain, "laundering", "arm", "shown"))
    changes = plain.assign(shown=lambda t: _said(t, "change_"))
    parts += [
        "",
        f"Change of AUC to clean images, paired. {caption}",
        "",
        _table(changes, "laundering", "arm", "shown"),
    ]
    parts += [
        "",
        f"What each detector gains over the first, fitted on clean images. {caption}",
        "",
        _gains(auc, strongest_nulls(found.nulls, main_set(found.curves))),
    ]
    refitted = auc[auc["fitted"] != "clean"]
    if len(refitted):
        parts += ["", f"Gain of each detector over itself, fitted on clean images alone. {caption}", ""]
        parts.append(_refits(refitted))
    first = curves[(curves["arm"] == auc["arm"].iloc[0]) & (curves["fitted"] == "clean")]
    lines = first[first["metric"].isin(LINES)].assign(shown=_said)
    about = f"`{auc['arm'].iloc[0]}` at the threshold of clean select rows."
    parts += ["", f"{about} {caption} A dash: refused, too few photographs.", ""]
    parts.append(_table(lines, "laundering", "metric", "shown"))
    return "\n".join([*parts, ""])


def _caption(found: Robustness) -> str:
    curves = found.curves[found.curves["test"] == main_set(found.curves)]
    n_real, n_fake = curves[["n_real", "n_fake"]].mean().round().astype(int)
    splits = len(found.choices.drop_duplicates(["train", "select", "seed"]))
    return (
        f"{splits} splits, {n_real} photographs and {n_fake} fakes a test set on average; brackets are 95 % over "
        f"images ({found.settings['n_resamples']} joint resamples of photographs and groups, detectors fixed)."
    )


def _gains(auc: pd.DataFrame, strongest: pd.DataFrame) -> str:
    rows, null = [], strongest["gain"].map("{:+.3f}".format)
    for (arm, fitted), group in auc.groupby(["arm", "fitted"], sort=False):
        by = group.assign(auc=_said(group), gain=_said(group, "gain_")).set_index("laundering")
        clean, all_of = by.loc["clean"], by.loc[ALL_LAUNDERINGS]
        random = [null.get((arm, fitted, cell), "") for cell in ("clean", ALL_LAUNDERINGS)]
        row = [arm, fitted, clean["auc"], clean["gain"], random[0], all_of["auc"], all_of["gain"], random[1]]
        rows.append(row)
    names = ["arm", "fitted", "clean", "gain, clean", "random choices, at most"]
    names += ["all launderings", "gain, all launderings", "random choices there, at most"]
    return _markdown(pd.DataFrame(rows, columns=names))


def _refits(auc: pd.DataFrame) -> str:
    """What copies change for each arm: on clean images, over all launderings, and under the three that cost most."""
    cost = (
        auc[~auc["laundering"].isin(["clean", ALL_LAUNDERINGS])]
        .groupby("laundering", sort=False)["change"]
        .mean()
    )
    kept = ["clean", ALL_LAUNDERINGS, *cost.sort_values(kind="stable").index[:3]]
    shown = auc.assign(who=auc["arm"] + ", " + auc["fitted"], refit=_said(auc, "refit_"))
    return _table(shown, "who", "laundering", "refit", kept)


def _heads_markdown(means: pd.DataFrame) -> str:
    reliability = means.attrs["reliability"]
    shown = means.assign(**{c: means[c].map("{:.3f}".format) for c in ("transfer_auc", "laundered_auc")})
    shown["change"] = means["change"].map("{:+.3f}".format)
    caption = f"Heads alone, on select rows; reliability over seeds {reliability:.2f}"
    caption += "." if reliability >= 0.7 else " (below 0.7: no single head should be named)."
    columns = ["head", "transfer_auc", "laundered_auc", "change", "worst"]
    ends = pd.concat([shown.head(8), shown.tail(8)]).drop_duplicates("head")
    return "\n".join([caption, "", _markdown(ends[columns]), ""])


def _said(table: pd.DataFrame, prefix: str = "") -> pd.Series:
    """Numbers with their intervals as text."""
    sign = "+" if prefix else ""
    columns = [prefix.removesuffix("_") or "value", f"{prefix}low", f"{prefix}high"]
    texts = [
        f"{value:{sign}.3f} [{low:{sign}.3f}, {high:{sign}.3f}]" if np.isfinite(value) else "–"
        for value, low, high in table[columns].itertuples(index=False)
    ]
    return pd.Series(texts, index=table.index)


def _table(
    table: pd.DataFrame, index: str, columns: str, values: str, kept: Sequence[str] | None = None
) -> str:
    wide = table.pivot(index=index, columns=columns, values=values)
    wide = wide.loc[list(dict.fromkeys(table[index])), list(kept or dict.fromkeys(table[columns]))]
    return _markdown(wide.rename_axis(columns=None).reset_index())


def _markdown(table: pd.DataFrame) -> str:
    rows = [list(map(str, table.columns)), ["---"] * table.shape[1], *table.astype(str).to_numpy().tolist()]
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)
