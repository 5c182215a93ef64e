"""Any detector's score of one image as a function of its head values alone; all that is no head stays as it is."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from interp.detectors.detector import Detector, responses
from interp.encoders.encoder import Encoder
from interp.encoders.recorder import HeadRecord
from interp.errors import InputError, unknown_name
from interp.explain.attribution import METHODS, HeadAttribution, Method, attribute
from interp.explain.curves import head_curves
from interp.explain.parts import FEATURES, linear_score
from interp.explain.verdict import features


@dataclass(frozen=True)
class HeadScore:
    """A detector as a model of one image's head features, for `attribute` and `head_curves`.

    The embedding is rest + head features · fold, so that a head that goes takes from the embedding what it wrote there
    directly; what later layers made of it stays.

    Attributes:
        detector: reads the embedding, the heads, or both; linear or not.
        fold: (l·h·d, P) float64, from head features to the embedding.
        rest: (P,) float64, what no head wrote.
        values: (1, l·h·d) float64, the image's own head features.
    """

    detector: Detector
    fold: np.ndarray
    rest: np.ndarray
    values: np.ndarray

    @classmethod
    def of(cls, detector: Detector, encoder: Encoder, record: HeadRecord) -> HeadScore:
        """Take one recorded image apart into heads and the rest.

        Raises:
            InputError: several images, or a detector of other features.
        """
        if detector.features not in FEATURES:
            raise InputError(
                f"{unknown_name('features', detector.features, FEATURES)}. A score is a function of heads where the "
                "detector reads the embedding, the heads, or both"
            )
        values = features(record, "heads").astype(np.float64)
        if len(values) != 1:
            raise InputError(f"a score is told of one image at a time; given {len(values)}")
        fold = encoder.readout.folded.double().cpu().numpy().reshape(values.shape[1], -1)
        rest = features(record, "embedding").astype(np.float64)[0] - values[0] @ fold
        return cls(detector, fold, rest, values)

    def decision_function(self, X: ArrayLike) -> np.ndarray:
        """Scores (m,) of head features (m, l·h·d) in the place of the image's own."""
        heads = np.asarray(X, dtype=np.float64)
        embedding = self.rest + heads @ self.fold
        both = {"embedding": [embedding], "heads": [heads], "embedding_and_heads": [embedding, heads]}
        read = np.concatenate(both[self.detector.features], axis=1)
        model = self.detector.model
        if hasattr(model, "feature_names_in_"):
            return np.asarray(responses(model, pd.DataFrame(read, columns=model.feature_names_in_)))
        return np.asarray(responses(model, read))

    @property
    def linear(self) -> bool:
        """Whether the detector is linear in what it reads, so that heads have exact parts."""
        try:
            linear_score(self.detector.model, self._columns)
        except InputError:
            return False
        return True

    @property
    def _columns(self) -> list[str]:
        given = getattr(self.detector.model, "feature_names_in_", None)
        if given is not None:
            return [str(name) for name in given]
        widths = {
            "embedding": self.fold.shape[1],
            "heads": len(self.fold),
            "embedding_and_heads": sum(self.fold.shape),
        }
        return [str(i) for i in range(widths[self.detector.features])]


def compare_methods(
    score: HeadScore,
    encoder: Encoder,
    methods: tuple[Method, ...] | None = None,
    *,
    baseline: np.ndarray | None = None,
    nulls: int = 20,
    random_state: int = 0,
) -> tuple[pd.DataFrame, dict[str, HeadAttribution]]:
    """Attribute one image's score to its heads in several ways, and say how well each adds up and orders the heads.

    Args:
        score: what `HeadScore.of` gave.
        encoder: whose heads.
        methods: by default all that the detector admits: exact parts and integrated gradients of linear ones alone.
        baseline: (l·h·d,) as in `attribute`.
        nulls: random orders beside insertion and deletion.
        random_state: seed of Shapley samples and random orders.

    Returns:
        A row for each method: method, completeness (distance of the sum from score - score at the baseline, as a share
        of that), correlation with the first method, insertion and deletion (mean score on the way, with insertion_p
        and deletion_p against random orders); and what each found.
    """
    if methods is None:
        methods = METHODS if score.linear else ("shapley", "occlusion")
    layout, found, rows = encoder.layout, {}, []
    for method in methods:
        one = attribute(
            score, score.values, layout, method=method, baseline=baseline, random_state=random_state
        )
        found[method] = one
        curves = head_curves(
            score, score.values, layout, one, baseline=baseline, nulls=nulls, random_state=random_state
        )
        summary = curves.summary.set_index("kind")
        first = found[methods[0]].heads
        row = {"method": method, "completeness": float(one.completeness[0])}
        row["correlation"] = _correlation(one.heads.ravel(), first.ravel())
        for kind in ("insertion", "deletion"):
            row |= {kind: summary["auc"][kind], f"{kind}_p": summary["p"][kind]}
        rows.append(row)
    return pd.DataFrame(rows), found


def _correlation(a: np.ndarray, b: np.ndarray) -> float:
    """NaN where either is constant, as occlusion is of a detector that misses no single head."""
    return float(np.corrcoef(a, b)[0, 1]) if np.ptp(a) > 0 and np.ptp(b) > 0 else float("nan")
