"""A linear detector's logit as an exact sum over heads, MLPs, first residual and biases; for one image or for a store.

With a detector w · embedding + b, head l.h adds z_lh W_O[lh] · centring · γ · projection · w ÷ std to the logit
(Gandelsman, Efros & Steinhardt 2024, section 3, with w in the place of a text). A detector that reads head values
themselves is linear in them too, and one that reads both adds up both ways.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from interp.detectors.detector import Detector, LinearScore, responses
from interp.encoders.layout import HeadLayout
from interp.encoders.readout import Readout
from interp.encoders.recorder import HeadRecord
from interp.errors import InputError, unknown_name
from interp.features.store import FeatureStore
from interp.images.manifest import held_against
from interp.protocol.intervals import percentile_interval
from interp.protocol.resampling import JointResample

FEATURES = ("embedding", "heads", "embedding_and_heads")
"""What a detector may read for its logit to split over heads."""
_AT_ONCE = 512
_AFFINE = 1e-6


@dataclass(frozen=True)
class LinearReading:
    """What a linear detector reads, in the units of what was recorded; all float64.

    Attributes:
        heads: (l, h, d): weight on head values ÷ norm_std, in log-odds.
        residual: (D,): weight on any term of the residual stream ÷ norm_std; zeros where the embedding is not read.
        bias: weight of the attention biases ÷ norm_std, and what the final norm's and the projection's biases add.
        intercept: the detector's own.
    """

    heads: np.ndarray
    residual: np.ndarray
    bias: tuple[float, float]
    intercept: float

    @classmethod
    def of(cls, detector: Detector, readout: Readout) -> LinearReading:
        """Carry a detector's weights back to head values and residual stream.

        Raises:
            InputError: it reads other features, or is not linear in them.
        """
        if detector.features not in FEATURES:
            raise InputError(
                f"{unknown_name('features', detector.features, FEATURES)}. A logit splits over heads where the "
                "detector reads the embedding, the heads, or both"
            )
        layout, P = readout.layout, readout.projection.shape[1]
        joint = [f"P.{i}" for i in range(P)] if detector.features != "heads" else []
        columns = joint + (layout.columns if detector.features != "embedding" else [])
        score = linear_score(detector.model, columns)
        on_embedding = score.coef[:P] if joint else np.zeros(P)
        on_heads = score.coef[len(joint) :] if detector.features != "embedding" else np.zeros(layout.size)
        projected = _double(readout.projection) @ on_embedding
        outward = _double(readout.norm_weight) * projected
        if readout.centred:
            outward = outward - outward.mean()
        constant = _double(readout.norm_bias) @ projected + _double(readout.projection_bias) @ on_embedding
        return cls(
            heads=_double(readout.output_weight) @ outward
            + on_heads.reshape(layout.layers, layout.heads, layout.width),
            residual=outward,
            bias=(float(_double(readout.output_bias).sum(0) @ outward), float(constant)),
            intercept=score.intercept,
        )

    @property
    def reads_embedding(self) -> bool:
        """Whether MLPs, first residual and biases have a part in the logit."""
        return bool(self.residual.any())

    def contributions(self, record: HeadRecord) -> np.ndarray:
        """What each part adds to the logit of each image, (n, parts) float64, log-odds; parts as in `part_table`."""
        std = _double(record.norm_std)
        heads = np.einsum("nlhd,lhd->nlh", _double(record.head_values), self.heads) / std[:, None, None]
        columns = [heads.reshape(len(std), -1)]
        if self.reads_embedding:
            columns += [_double(record.mlp_values) @ self.residual / std[:, None]]
            columns += [(_double(record.first) @ self.residual / std)[:, None]]
            columns += [(self.bias[0] / std + self.bias[1])[:, None]]
        return np.concatenate([*columns, np.full((len(std), 1), self.intercept)], axis=1)

    def part_table(self) -> pd.DataFrame:
        """Names of the parts, in the order of `contributions`: part, layer, head; -1 where there is none.

        Parts are L0.H0, …, then, where the embedding is read, L0.MLP, …, first and bias, then intercept.
        """
        layers, heads = self.heads.shape[:2]
        names = list(HeadLayout(layers, heads, 1).names)
        rows = [(name, *divmod(i, heads)) for i, name in enumerate(names)]
        if self.reads_embedding:
            rows += [(f"L{layer}.MLP", layer, -1) for layer in range(layers)]
            rows += [("first", -1, -1), ("bias", -1, -1)]
        return pd.DataFrame([*rows, ("intercept", -1, -1)], columns=["part", "layer", "head"])


def linear_score(model: Any, columns: Sequence[str]) -> LinearScore:
    """Weights and intercept of any fitted model whose score is linear in its columns, a pipeline too.

    They are read off its scores of the unit rows and of zero, and tried on random rows.

    Args:
        model: a `LinearScore`, or any fitted scikit-learn classifier or pipeline.
        columns: names of the p columns it reads.

    Raises:
        InputError: another number of columns, or the score is not linear in them.

    >>> from sklearn.linear_model import LogisticRegression
    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn.preprocessing import StandardScaler
    >>> X, y = np.array([[0.0, 1], [1, 3], [2, 2], [3, 5]]), [0, 0, 1, 1]
    >>> model = make_pipeline(StandardScaler(), LogisticRegression()).fit(X, y)
    >>> score = linear_score(model, ["a", "b"])
    >>> np.allclose(score.decision_function(X), model.decision_function(X))
    True
    """
    p = len(columns)
    if isinstance(model, LinearScore):
        if model.coef.shape != (p,):
            raise InputError(
                f"the detector has {model.coef.shape} weights, and what it reads has {p} columns"
            )
        return LinearScore(np.asarray(model.coef, dtype=np.float64), float(model.intercept))

    def scores(X: np.ndarray) -> np.ndarray:
        named = hasattr(model, "feature_names_in_")
        return np.asarray(responses(model, pd.DataFrame(X, columns=list(columns)) if named else X), float)

    expected = getattr(model, "n_features_in_", p)
    if expected != p:
        raise InputError(f"the detector reads {expected} columns, and these features have {p}")
    intercept = float(scores(np.zeros((1, p)))[0])
    coef = np.empty(p)
    for start in range(0, p, _AT_ONCE):
        stop = min(start + _AT_ONCE, p)
        coef[start:stop] = scores(np.eye(stop - start, p, start)) - intercept
    tried = np.random.default_rng(0).normal(size=(16, p)) * np.array([1, 100])[np.arange(16) % 2, None]
    expected_scores = tried @ coef + intercept
    scale = np.abs(tried) @ np.abs(coef) + abs(intercept)
    if not (np.abs(scores(tried) - expected_scores) <= _AFFINE * scale).all():
        raise InputError(
            f"the score of {type(model).__name__} is not linear in its columns, so that it has no exact parts; use "
            "interp.explain.attribution.attribute, which estimates them for any model"
        )
    return LinearScore(coef, intercept)


def head_differences(
    store: FeatureStore,
    detector: Detector,
    *,
    rows: Sequence[int] | np.ndarray | None = None,
    n_resamples: int = 1000,
    level: float = 0.95,
    random_state: int = 0,
) -> pd.DataFrame:
    """How much more each part adds to the logit of fakes than to that of photographs, from a store alone.

    Args:
        store: what was recorded; the parts of its images' logits are as exact as its head values are stored.
        detector: linear in embedding, heads, or both.
        rows: positions of the images to compare; by default all that could be read. Fakes are compared with
            photographs, or twins where there are no fakes; a twin is never either.
        n_resamples: resamples of whole groups of rows, the same for all parts (`JointResample`).
        level: coverage of the percentile intervals.
        random_state: seed of the resamples.

    Returns:
        A row for each generator and part: generator ("all": the mean over generators, each with the same weight), part,
        layer, head (-1 where there is none), difference (mean over fakes - mean over photographs, log-odds), low,
        high, n_fake, n_real. The part "logit" is the whole score, and the other parts' differences sum to it.

    Raises:
        InputError: views in place of images, or rows without both classes.
    """
    if store.views > 1:
        raise InputError(f"{store.folder} holds views of images; parts are told of whole images")
    at = np.flatnonzero(store.usable) if rows is None else np.asarray(rows, dtype=np.int64)
    labels = store.rows["label"].iloc[at]
    other = held_against(labels)
    at = at[labels.isin(["real", other]).to_numpy()]
    table = store.rows.iloc[at]
    fake = (table["label"] == other).to_numpy()
    if fake.all() or not fake.any():
        raise InputError(
            f"rows must hold photographs and fakes, or twins; given {int(fake.sum())} {other}s of {len(fake)}"
        )
    reading = LinearReading.of(detector, store.readout)
    parts = reading.contributions(store.record())[at]
    parts = np.concatenate([parts, parts.sum(1, keepdims=True)], axis=1)
    counts = JointResample(table, n_resamples, random_state).counts(np.arange(len(at)))
    weights = np.concatenate([np.ones((1, len(at)), np.float32), counts])  # the first row is what was seen

    def means(where: np.ndarray) -> np.ndarray:
        total = weights[:, where].sum(1, keepdims=True).astype(np.float64)
        return weights[:, where].astype(np.float64) @ parts[where] / np.where(total == 0, np.nan, total)

    real, generator = means(~fake), table["generator"].to_numpy().astype(str)
    found = {name: means(fake & (generator == name)) - real for name in np.unique(generator[fake])}
    found = {"all": np.mean(list(found.values()), axis=0), **found}
    names = pd.concat(
        [reading.part_table(), pd.DataFrame([("logit", -1, -1)], columns=["part", "layer", "head"])]
    )
    frames = []
    for name, difference in found.items():
        low, high = percentile_interval(difference[1:], level)
        of_name = fake if name == "all" else fake & (generator == name)
        numbers = {"difference": difference[0], "low": low, "high": high}
        numbers |= {"n_fake": int(of_name.sum()), "n_real": int((~fake).sum())}
        frames.append(names.assign(**numbers, generator=name))
    order = ["generator", *names.columns, "difference", "low", "high", "n_fake", "n_real"]
    return pd.concat(frames, ignore_index=True)[order]


def _double(tensor: Any) -> np.ndarray:
    return tensor.detach().cpu().double().numpy()
