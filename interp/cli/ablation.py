"""The command that tries all combinations of choices: `interp ablate`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from tyro.conf import OmitArgPrefixes, Positional, arg

from interp.cli.options import Parts, report_unreadable


@dataclass(frozen=True)
class Choices:
    """What is combined."""

    heads: tuple[str, ...] = ("embedding", "all", "12", "24")
    """embedding (no selection), all, best (select rows choose how many), or how many heads to keep."""
    removal: tuple[Literal["none", "coordinates", "heads", "generators"], ...] = (
        "none",
        "coordinates",
        "heads",
    )
    """What is removed before the classifier; heads are removed from the plain embedding only, and
    generators (which one made a fake) need three that train or select."""
    C: tuple[str, ...] = ("select", "0.01", "1.0")
    """Inverse strength of the penalty: a number, or select for the best one on select rows."""
    aggregate: tuple[Literal["concat", "sum", "vote"], ...] = ("concat", "sum", "vote")
    """How heads are put together."""
    normalise: tuple[Literal["none", "standard", "l2"], ...] = ("none", "standard", "l2")
    """Columns before the classifier: one scale for all, each standardised by the train rows, or rows of length 1."""


def ablate(
    store: Annotated[Path, Positional, arg(help="folder of a store")],
    out: Annotated[Path, arg(help="folder of the results; the same command goes on where it was cut off")],
    parts: OmitArgPrefixes[Parts] = Parts(),
    choices: OmitArgPrefixes[Choices] = Choices(),
    jobs: Annotated[int | None, arg(help="processes; by default one for each core")] = None,
) -> int:
    """Measure every combination of choices on the way to a detector, and what choosing by test would flatter."""
    from interp.evaluation.ablation import ablate
    from interp.features.store import FeatureStore
    from interp.main_job import make_protocol
    from interp.report.ablation_figure import write_ablation

    opened = FeatureStore(store)
    protocol = make_protocol(opened, **vars(parts))
    options = {"folder": out / "splits", "n_jobs": jobs, "random_state": parts.random_state}
    found = ablate(opened, protocol, **vars(choices), **options)
    write_ablation(found, out)
    print(found.summary().head(10).to_string(index=False, float_format="%.3f", na_rep=""))
    print(f"\n{found.words}\nall tables and the figure: {out}")
    return report_unreadable(opened)
