"""What a detector tells fakes from photographs by, over a whole store: mean real-fake difference of each part."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from interp.detectors.detector import Detector
from interp.encoders.layout import HeadLayout
from interp.errors import unknown_name
from interp.explain.parts import head_differences
from interp.features.store import FeatureStore
from interp.report.explanation import picture
from interp.report.verdict_figure import draw_heads

EVERY = "all"
WHOLE = "logit"


@dataclass(frozen=True)
class SetExplanation:
    """How much more each part adds to the logit of fakes than to that of photographs.

    Attributes:
        table: what `head_differences` gave: generator, part, layer, head, difference with low and high, n_fake, n_real.
        layout: of the heads.
    """

    table: pd.DataFrame
    layout: HeadLayout

    @property
    def generators(self) -> list[str]:
        """ "all" and the names of the generators."""
        return list(self.table["generator"].unique())

    def parts(self, generator: str = EVERY) -> pd.DataFrame:
        """The parts of one generator's difference, indexed by name; they sum to `logit`.

        Raises:
            InputError: a generator that the store does not hold.
        """
        if generator not in self.generators:
            raise unknown_name("generator", generator, self.generators)
        return self.table[self.table["generator"] == generator].drop(columns="generator").set_index("part")

    def heads(self, generator: str = EVERY) -> np.ndarray:
        """(l, h) float64: mean difference of each head, log-odds."""
        return (
            self.parts(generator)
            .loc[list(self.layout.names), "difference"]
            .to_numpy()
            .reshape(self.layout.layers, self.layout.heads)
        )

    def figure(self, generator: str = EVERY) -> Figure:
        """The largest differences with their intervals, and the grid of heads."""
        parts = self.parts(generator)
        whole, parts = parts.loc[WHOLE], parts.drop(index=WHOLE)
        table = parts.rename(columns={"difference": "contribution"}).reset_index()
        of = f"mean of {len(self.generators) - 1} generators" if generator == EVERY else generator
        title = (
            f"Fakes ({of}) - photographs: logit {whole.difference:+.2f} [{whole.low:+.2f}, {whole.high:+.2f}]\n"
            f"{whole.n_fake:.0f} and {whole.n_real:.0f} images; lines and brackets 95 %"
        )
        unit = "mean difference of the contribution (log-odds)"
        return draw_heads(table, self.heads(generator), title, unit=unit)

    def save(self, folder: str | Path) -> Path:
        """Write differences.csv and differences.png."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        self.table.to_csv(folder / "differences.csv", index=False)
        self.figure().savefig(folder / "differences.png", dpi=150)
        return folder

    def __repr__(self) -> str:
        parts = self.parts()
        whole, parts = parts.loc[WHOLE], parts.drop(index=WHOLE)
        largest = parts.loc[parts["difference"].abs().sort_values(ascending=False).index[:3]]
        top = ", ".join(
            f"{p.Index} {p.difference:+.2f} [{p.low:+.2f}, {p.high:+.2f}]" for p in largest.itertuples()
        )
        shown = f"{whole.difference:+.2f} [{whole.low:+.2f}, {whole.high:+.2f}]"
        return (
            f"SetExplanation(logit of fakes - photographs {shown}; "
            f"largest parts {top}; {len(self.generators) - 1} generators)"
        )

    def _repr_html_(self) -> str:
        return picture(self.figure(), repr(self))


def explain_set(store: FeatureStore, detector: Detector, **options: Any) -> SetExplanation:
    """Say what a linear detector tells a store's fakes from its photographs by, part by part.

    Args:
        store: of the encoder, preprocessing and equalisation that the detector was fitted on.
        detector: linear in the embedding, the heads, or both.
        options: of `head_differences`: rows, n_resamples, level, random_state.

    Raises:
        InputError: another encoder or settings, a detector that is not linear, views, or rows of one class.
    """
    detector.refuse_other_store(store)
    return SetExplanation(head_differences(store, detector, **options), store.layout)
