"""Everything a run leaves behind: tables, figures, detectors, and words that say what may be claimed."""

from __future__ import annotations

import json
import platform
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from html import escape
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from interp.analysis.ranking import HeadRanking
from interp.evaluation.arms import Arm
from interp.evaluation.claims import claims, may_be_claimed
from interp.evaluation.effect_table import RELIABLE
from interp.evaluation.files import file_warnings
from interp.evaluation.final import final_detector
from interp.evaluation.gains import gains_by_generator
from interp.evaluation.harm import harm_sentence
from interp.evaluation.operating import probabilities
from interp.evaluation.placebos import placebo_doubts, placebo_marks
from interp.evaluation.shortcuts import shortcuts_sentence
from interp.evaluation.summary import BASELINE, null_table
from interp.evaluation.transfer import Transfer
from interp.features.store import FeatureStore
from interp.protocol.reliability import reliability_bins
from interp.protocol.splits import Protocol
from interp.report import figures
from interp.report.page import write_page
from interp.report.page_words import arm_name
from interp.report.placebo_figure import draw_placebos
from interp.report.reliability_figure import draw_reliability
from interp.report.tables import write_table

LIBRARIES = ("torch", "transformers", "scikit-learn", "numpy", "scipy", "pandas", "pillow")
TWINS = (
    "Detectors were trained to tell photographs from their twins, which are photographs that went through one "
    "mechanism; where a generator or a fake is spoken of here, a mechanism and its twins may be meant"
)
"""What a run on twins says first, for a page whose words are those of generators."""
LEVELS = ["mean_ood_auc", "low", "high", "generators_low", "generators_high", "mean_id_auc"]
LEVELS += ["worst_generator", "worst_auc"]
GAINS = ["delta_to_embedding", "delta_low", "delta_high", "delta_generators_low", "delta_generators_high"]
GAINS += ["p_holm", "null_delta", "null_p"]
LEGEND = """low, high: 95 % over images: one joint resample of photographs and groups, detectors fixed, seeds averaged.
generators_low, _high: 95 % over other generators: two-way clustered by train and test family, families merged.
null_delta: the strongest null's gain at its 95th percentile. null_p: the largest share of a null's draws that gain
as much. p_holm: bootstrap p of the gain, adjusted over detectors."""


@dataclass(frozen=True)
class RunResult:
    """What a run found.

    Attributes:
        store: the features it stands on.
        protocol: who trained, selected, tested.
        ranking: every head alone.
        transfer: cells, summary, nulls and per-image scores of all arms.
        harm: for every split, whether the embedding has harmful coordinates.
        container: what an audit says of the files, see `interp.evaluation.audit_text.container_sentence`.
        shortcuts: for every split, which properties of the pixels are shortcuts; None where nobody looked.
        placebos: what every detector says of photographs alone, see `interp.evaluation.placebos.placebo_panel`; None
            where none was asked.
        placebos_of_heads: the same for every head; see `interp.evaluation.placebos.head_placebos`.
    """

    store: FeatureStore
    protocol: Protocol
    ranking: HeadRanking
    transfer: Transfer
    harm: pd.DataFrame
    shortcuts: pd.DataFrame | None = None
    container: str = ""
    placebos: pd.DataFrame | None = None
    placebos_of_heads: pd.DataFrame | None = None

    @property
    def summary(self) -> pd.DataFrame:
        """A row for each detector; see `interp.evaluation.summary.summarise`."""
        return self.transfer.summary

    @cached_property
    def nulls(self) -> pd.DataFrame:
        """A row for each arm and null; see `interp.evaluation.summary.null_table`."""
        return null_table(self.transfer.nulls, self.summary["delta_to_embedding"])

    @cached_property
    def recommended(self) -> str:
        """The arm whose claim stands and that gains most; the plain embedding where none does."""
        stands = [
            arm
            for arm in self.summary.index
            if arm != BASELINE
            and may_be_claimed(
                self.summary.loc[arm],
                self.nulls.query("arm == @arm"),
                warned=bool(self.warnings),
                doubt=self.doubts.get(arm, ""),
            )
        ]
        return str(self.summary.loc[stands, "delta_to_embedding"].idxmax()) if stands else BASELINE

    @cached_property
    def warnings(self) -> list[str]:
        """What files or resampling history could explain; where there is one, nothing is claimed."""
        untouched = self.container and self.store.key["equalize"] == "none"
        return [*([self.container] if untouched else []), *file_warnings(self.store)]

    @cached_property
    def notes(self) -> list[str]:
        """What a reader must know of twins, and of files that were equalised; at the top, and claims are still made."""
        said = [TWINS] if self.protocol.kind.startswith("twins") else []
        return said if self.store.key["equalize"] == "none" or not self.container else [*said, self.container]

    @cached_property
    def marks(self) -> dict[str, str]:
        """For each arm the placebos that explain what it answers; empty for none, and no arm where none was asked."""
        return {} if self.placebos is None else placebo_marks(self.placebos)

    @cached_property
    def doubts(self) -> dict[str, str]:
        """For some arms, the placebos that could explain their gain."""
        return {} if self.placebos is None else placebo_doubts(self.placebos, BASELINE)

    @cached_property
    def claims(self) -> dict[str, str]:
        """For each arm but the plain embedding, what may be said of it."""
        return claims(self.summary, self.nulls, warned=bool(self.warnings), doubts=self.doubts)

    @cached_property
    def words(self) -> str:
        """The result as text: warnings first, the table, and for each arm what may be claimed."""
        lines = [
            *(f"WARNING: {warning}" for warning in self.warnings),
            *(f"NOTE: {note}" for note in self.notes),
        ]
        lines += [self.protocol.describe(), ""]
        for columns in (LEVELS, GAINS):
            shown = self.summary[columns].rename(columns=lambda name: name.replace("generators", "gen"))
            lines += [shown.to_string(float_format="%.3f", na_rep=""), ""]
        lines += [LEGEND.replace("generators_low, _high", "gen_low, gen_high"), ""]
        lines += [f"- {sentence}" for sentence in self.claims.values()]
        lines += [f"- placebos, {arm}: {mark or 'silent'}" for arm, mark in self.marks.items()]
        lines += [f"- {harm_sentence(self.harm)}."]
        lines += [f"- {shortcuts_sentence(self.shortcuts)}."] if self.shortcuts is not None else []
        reliability = self.ranking.reliability
        lines += [f"- ranking of heads: {_trust(reliability)}"]
        lines += [f"Detector recommended for use: {self.recommended}."]
        return "\n".join(lines)

    def __repr__(self) -> str:
        return self.words

    def _repr_html_(self) -> str:
        said = [f"WARNING: {warning}" for warning in self.warnings] + list(self.claims.values())
        columns = [name for name in (*LEVELS, *GAINS) if name in self.summary]
        table = self.summary[columns].to_html(float_format="%.3f", na_rep="")
        return f"{table}<ul>{''.join(f'<li>{escape(one)}</li>' for one in said)}</ul>"


def write_results(result: RunResult, arms: Sequence[Arm], out: Path, *, encoder_location: str = "") -> None:
    """Write tables, figures, scores, detectors, run.json, summary.json, report.md and index.html into a folder."""
    tables = out / "tables"
    tables.mkdir(parents=True, exist_ok=True)
    transfer, summary = result.transfer, result.summary
    transfer.scores().to_parquet(out / "scores.parquet", index=False)
    write_table(summary, tables / "summary", f"Every detector. {_caption(result)}")
    result.nulls.to_csv(tables / "nulls.csv", index=False)
    transfer.nulls.to_csv(tables / "null_draws.csv", index=False)
    for name, by in {
        "transfer": ["train", "test"],
        "generators": ["test"],
        "cells": ["train", "select", "test"],
    }.items():
        write_table(transfer.cells.by(by), tables / name, f"AUC by {' and '.join(by)}. {_caption(result)}")
    gains = gains_by_generator(transfer.cells)
    write_table(gains, tables / "gains", f"Gain over the plain embedding. {_caption(result)}")
    write_table(transfer.operating, tables / "operating", f"Decisions and probabilities. {_caption(result)}")
    transfer.choices.to_csv(tables / "choices.csv", index=False)
    write_table(result.ranking.table, tables / "ranking", f"Every head alone. {_caption(result)}")
    result.ranking.per_split.to_csv(tables / "ranking_per_split.csv", index=False)
    result.harm.to_csv(tables / "harm.csv", index=False)
    if result.shortcuts is not None:
        result.shortcuts.to_csv(tables / "shortcuts.csv", index=False)
    if result.placebos is not None:
        write_table(
            result.placebos, tables / "placebos", f"What detectors say of photographs. {_caption(result)}"
        )
    if result.placebos_of_heads is not None:
        result.placebos_of_heads.to_csv(tables / "placebos_of_heads.csv", index=False)
    if len(transfer.curves):
        transfer.curves.to_csv(tables / "removal_curves.csv", index=False)
    _write_figures(result, out / "figures")
    for arm in arms:
        options = {"encoder_location": encoder_location, "pool": transfer.settings["pool"]}
        detector = final_detector(arm, result.store, result.protocol, **options)
        detector.save(out / "detectors" / arm.name)
    detectors = {str(arm): _plain(row) for arm, row in summary.iterrows()}
    found = {
        "warnings": result.warnings,
        "notes": result.notes,
        "detectors": detectors,
        "claims": result.claims,
        "placebos": result.marks,
    }
    _write_json(out / "summary.json", {**found, "recommended": result.recommended})
    _write_json(out / "run.json", _record(result, arms, encoder_location))
    (out / "report.md").write_text(_markdown(result, out))
    write_page(result, out, title=f"Which heads of {result.store.key['encoder']['name']} transfer?")


def _caption(result: RunResult) -> str:
    """How many images and splits a table stands on."""
    rows, splits = result.store.rows[result.store.usable], result.protocol.splits
    real = int((rows["label"] == "real").sum())
    return (
        f"{real:,} photographs and {len(rows) - real:,} other images of {rows['generator'].nunique() - 1} generators; "
        f"mean over {len(splits)} splits, random_state {result.transfer.settings['random_state']}; intervals are 95 % "
        f"over images ({result.transfer.settings['n_resamples']} joint resamples) where not named otherwise."
    )


def _write_figures(result: RunResult, folder: Path) -> None:
    transfer = result.transfer
    figures.save_figure(figures.head_map(result.ranking.table), folder / "head_map.png")
    figures.save_figure(figures.gains(result.summary, transfer.nulls), folder / "gains.png")
    table = transfer.cells.by(["train", "test"])
    table = table[table["test"].isin(set(transfer.cells.table["test"][transfer.cells.unseen]))]
    for arm in result.summary.index:
        figures.save_figure(figures.transfer_matrix(table, arm), folder / f"transfer_{arm}.png")
    said = reliability_bins(*probabilities(transfer, result.recommended))
    figures.save_figure(draw_reliability(said, arm_name(result.recommended)), folder / "reliability.png")
    if result.placebos is not None:
        figures.save_figure(draw_placebos(result.placebos), folder / "placebos.png")
    if len(transfer.curves):
        figures.save_figure(figures.removal_curve(transfer.curves), folder / "removal_curve.png")


def _markdown(result: RunResult, out: Path) -> str:
    pictures = "\n".join(f"![{p.stem}](figures/{p.name})" for p in sorted((out / "figures").glob("*.png")))
    return f"# Which heads transfer\n\n```\n{result.words}\n```\n\n{pictures}\n"


def _record(result: RunResult, arms: Sequence[Arm], encoder_location: str) -> dict[str, Any]:
    """All that is needed to repeat the run."""
    return {
        "command": sys.argv,
        "store": result.store.key,
        "images": len(result.store),
        "unreadable": int((~result.store.usable).sum()),
        "encoder_location": encoder_location,
        "protocol": result.protocol.describe(),
        "splits": [
            {"name": s.name, "seed": s.seed, "test": list(s.test_generators)} for s in result.protocol
        ],
        "arms": {arm.name: repr(arm) for arm in arms},
        "settings": result.transfer.settings,
        "python": platform.python_version(),
        "libraries": {name: version(name) for name in LIBRARIES},
    }


def _trust(reliability: float) -> str:
    if not np.isfinite(reliability):
        return "reliability unknown, it takes two seeds; no single head should be named"
    verdict = "heads may be named" if reliability >= RELIABLE else "too low to name single heads"
    return f"reliability over seeds {reliability:.2f} (mean Spearman correlation), {verdict}"


def _plain(row: pd.Series) -> dict[str, Any]:
    """A row as JSON has it: numbers, text, and null for what is not there."""
    values = {
        str(name): value.item() if isinstance(value, np.generic) else value for name, value in row.items()
    }
    return {name: None if isinstance(v, float) and not np.isfinite(v) else v for name, v in values.items()}


def _write_json(path: Path, content: dict[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=1, default=str) + "\n")
