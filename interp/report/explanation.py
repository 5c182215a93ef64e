"""Why a detector called an image fake or real, in one call: a table of parts that sum to its score, and a figure."""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass
from functools import cached_property
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from interp.detectors.detector import Detector
from interp.encoders.layout import HeadLayout
from interp.errors import unknown_name
from interp.explain.attribution import HeadAttribution, attribute
from interp.explain.head_score import HeadScore, compare_methods
from interp.explain.verdict import Verdict, explain, refuse_other_encoder, seen_by
from interp.report.verdict_figure import draw_heads, draw_verdict

if TYPE_CHECKING:
    from PIL import Image

    from interp.encoders.encoder import Encoder

Way = Literal["auto", "exact", "integrated_gradients", "shapley", "occlusion"]
WAYS = ("auto", "exact", "integrated_gradients", "shapley", "occlusion")


@dataclass(frozen=True)
class Explanation:
    """One image's score, taken apart; a part above 0 speaks for "fake".

    Attributes:
        parts: a row for each part: part (L0.H0, …, and what is no head), layer, head (-1 where there is none),
            contribution. They sum to the score but for `error`.
        score: the detector's own, in its own unit: log-odds of a linear one.
        threshold: score above which it calls an image fake.
        error: |sum of parts - score| / max(|score|, 1).
        method: "exact", or how captum estimated the parts of a detector that is not linear.
        verdict: the exact one with its patches; None where parts are estimates.
        heads_score: the detector as a function of the image's heads, for `compare`.
        baseline: (l·h·d,) head features that estimates are set against; None for zero.
        encoder: whose heads.
    """

    parts: pd.DataFrame
    score: float
    threshold: float
    error: float
    method: str
    verdict: Verdict | None
    heads_score: HeadScore
    encoder: Encoder
    baseline: np.ndarray | None = None

    @property
    def label(self) -> str:
        """ "fake" or "real", by the threshold."""
        return "fake" if self.score > self.threshold else "real"

    @cached_property
    def heads(self) -> np.ndarray:
        """(l, h) float64: what each head adds to the score."""
        layout = self.encoder.layout
        return self.parts["contribution"].to_numpy()[: layout.n_heads].reshape(layout.layers, layout.heads)

    @property
    def patches(self) -> np.ndarray | None:
        """(rows, columns) float64: what all heads together add by reading each patch; None of estimates."""
        return None if self.verdict is None else self.verdict.patches

    def largest(self, k: int = 12) -> pd.DataFrame:
        """The k parts that move the score most, in either direction, the strongest first."""
        order = self.parts["contribution"].abs().sort_values(ascending=False, kind="stable").index
        return self.parts.loc[order[:k]].reset_index(drop=True)

    def compare(self, *, nulls: int = 20, random_state: int = 0) -> pd.DataFrame:
        """Every method that the detector admits, how it adds up and orders the heads: `compare_methods`."""
        options = {"baseline": self.baseline, "nulls": nulls, "random_state": random_state}
        return compare_methods(self.heads_score, self.encoder, **options)[0]

    def figure(self) -> Figure:
        """The largest parts and the grid of heads; of an exact verdict also the patches over the image."""
        if self.verdict is not None:
            return draw_verdict(self.verdict)
        title = f"Called {self.label}: score {self.score:+.3g}, threshold {self.threshold:+.3g}; heads by {self.method}"
        return draw_heads(self.parts, self.heads, title)

    def save(self, folder: str | Path) -> Path:
        """Write parts.csv, explanation.png and, of an exact verdict, patches.csv (row, column, contribution)."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        self.parts.to_csv(folder / "parts.csv", index=False)
        self.figure().savefig(folder / "explanation.png", dpi=150)
        if self.patches is not None:
            rows, columns = np.indices(self.patches.shape)
            table = {"row": rows.ravel(), "column": columns.ravel(), "contribution": self.patches.ravel()}
            pd.DataFrame(table).to_csv(folder / "patches.csv", index=False)
        return folder

    def __repr__(self) -> str:
        top = ", ".join(f"{p.part} {p.contribution:+.2f}" for p in self.largest(3).itertuples())
        return (
            f"Explanation({self.label}, score {self.score:+.3f} against {self.threshold:+.3f}; largest parts {top}; "
            f"{len(self.parts)} parts, {self.method}, sum to it within {self.error:.0e})"
        )

    def _repr_html_(self) -> str:
        table = self.largest()[["part", "contribution"]].to_html(index=False, float_format="%+.3f")
        return f"{picture(self.figure(), repr(self))}{table}"


def explain_image(
    image: Image.Image | str | Path,
    encoder: Encoder,
    detector: Detector,
    *,
    method: Way = "auto",
    baseline: np.ndarray | None = None,
) -> Explanation:
    """Say why a detector called an image fake or real.

    A detector that is linear in the embedding, the heads, or both has exact parts: heads, MLPs, first residual and
    biases, and heads again over the patches that they read (`interp.explain.verdict`). Of any other one, captum
    estimates what each head adds to the score of the same image without what any head wrote.

    Args:
        image: in mode RGB, or a path; it goes through the equalisation that the detector was fitted with.
        encoder: the one whose features the detector was fitted on.
        detector: reads the embedding, the heads, or both.
        method: "auto" is "exact" of a linear detector and "shapley" of any other; "integrated_gradients" needs a
            gradient, "occlusion" does not add up where heads act together.
        baseline: (l·h·d,) head features that estimates are set against; by default zero, heads that write nothing. The
            mean of some photographs, `store.head_features()[rows].mean(0)`, stays nearer to what the detector knows.
            An exact verdict needs none.

    Raises:
        InputError: another method, encoder or kind of features; "exact" of a detector that is not linear; a detector
            that reads views.

    >>> from PIL import Image
    >>> from interp.encoders.loading import load_encoder
    >>> from interp.detectors.detector import LinearScore
    >>> detector = Detector("demo", "embedding", LinearScore(np.ones(128), 0.5), threshold=0.0, key={})
    >>> why = explain_image(Image.new("RGB", (80, 64), "teal"), load_encoder("embedded"), detector)
    >>> why.heads.shape, why.method, why.error < 1e-5, bool(np.isclose(why.parts["contribution"].sum(), why.score))
    ((6, 6), 'exact', True, True)
    """
    if method not in WAYS:
        raise unknown_name("method", method, WAYS)
    refuse_other_encoder(encoder, detector)
    record = encoder.record(encoder.pixel_values([seen_by(detector, image)]))
    score = HeadScore.of(detector, encoder, record)
    if method == "exact" or (method == "auto" and score.linear):
        verdict = explain(encoder, detector, image)
        return Explanation(
            verdict.parts, verdict.logit, verdict.threshold, verdict.error, "exact", verdict, score, encoder
        )
    way = "shapley" if method == "auto" else method
    found = attribute(score, score.values, encoder.layout, method=way, baseline=baseline)
    parts = _estimated_parts(found, encoder.layout)
    whole = float(found.score[0])
    error = abs(parts["contribution"].sum() - whole) / max(abs(whole), 1.0)
    return Explanation(
        parts, whole, float(detector.threshold), error, found.method, None, score, encoder, baseline
    )


def picture(figure: Figure, words: str) -> str:
    """A figure as an HTML image that needs no file, with words for those who do not see it."""
    written = io.BytesIO()
    figure.savefig(written, format="png", dpi=100)
    data = base64.b64encode(written.getvalue()).decode()
    return f'<img src="data:image/png;base64,{data}" alt="{escape(words)}" style="max-width:100%">'


def _estimated_parts(found: HeadAttribution, layout: HeadLayout) -> pd.DataFrame:
    rows = [(name, *divmod(i, layout.heads)) for i, name in enumerate(layout.names)]
    parts = pd.DataFrame(
        [*rows, ("heads at the baseline", -1, -1)], columns=pd.Index(["part", "layer", "head"])
    )
    return parts.assign(contribution=[*found.heads[0], found.baseline_score])
