"""Why this image got this verdict: the logit as a checked sum over parts, heads and patches."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from interp.detectors.detector import Detector, responses
from interp.encoders.encoder import LARGEST_DEVIATION
from interp.encoders.token_recorder import record_tokens
from interp.errors import InputError
from interp.explain.parts import LinearReading
from interp.features.provenance import differences
from interp.images.decode import read_image
from interp.images.equalize import Equalize

if TYPE_CHECKING:
    import torch
    from PIL import Image

    from interp.encoders.encoder import Encoder
    from interp.encoders.recorder import HeadRecord

LARGEST_ERROR = 1e-5
"""Largest distance of the sum of parts to the logit, as a share of what the parts add up to without their signs."""


@dataclass(frozen=True)
class Verdict:
    """One image's logit, taken apart; above 0 a part speaks for "fake". All numbers are log-odds.

    Attributes:
        logit: the detector's own score of this image.
        threshold: score above which it calls an image fake.
        parts: a row for each part: part (L0.H0, …, L0.MLP, …, first, bias, intercept), layer, head (-1 where there is
            none), contribution.
        sources: (l, h, t) float64: each head's contribution split over the source tokens that it read.
        grid: rows and columns of patches, the last of the t source tokens.
        seen: (height, width, 3) uint8: the image as the encoder saw it, which the patches tile.
        error: |sum of parts - logit| / |logit|; in log-odds where |logit| is below 1.
        patch_error: the same, with every head's contribution replaced by the sum over its source tokens.
    """

    logit: float
    threshold: float
    parts: pd.DataFrame
    sources: np.ndarray
    grid: tuple[int, int]
    seen: np.ndarray
    error: float
    patch_error: float

    @property
    def label(self) -> str:
        """ "fake" or "real", by the threshold."""
        return "fake" if self.logit > self.threshold else "real"

    @cached_property
    def heads(self) -> np.ndarray:
        """(l, h): what each head adds."""
        layers, heads, _ = self.sources.shape
        return self.parts["contribution"].to_numpy()[: layers * heads].reshape(layers, heads)

    @cached_property
    def patches(self) -> np.ndarray:
        """(rows, columns): what all heads together add by reading each patch."""
        return self.head_patches.sum((0, 1))

    @cached_property
    def head_patches(self) -> np.ndarray:
        """(l, h, rows, columns): what each head adds by reading each patch."""
        tokens = self.grid[0] * self.grid[1]
        return self.sources[..., -tokens:].reshape(*self.sources.shape[:2], *self.grid)

    @cached_property
    def prefix(self) -> np.ndarray:
        """(t - patches,): what all heads add by reading each token before the patches: class token, then registers."""
        return self.sources[..., : self.sources.shape[-1] - self.grid[0] * self.grid[1]].sum((0, 1))

    def largest(self, k: int = 12) -> pd.DataFrame:
        """The k parts that move the logit most, in either direction, the strongest first."""
        order = self.parts["contribution"].abs().sort_values(ascending=False, kind="stable").index
        return self.parts.loc[order[:k]].reset_index(drop=True)

    def __repr__(self) -> str:
        top = ", ".join(f"{p.part} {p.contribution:+.2f}" for p in self.largest(3).itertuples())
        return (
            f"Verdict({self.label}, logit {self.logit:+.3f} against {self.threshold:+.3f}; largest parts {top}; "
            f"{len(self.parts)} parts sum to it within {self.error:.0e})"
        )


def explain(encoder: Encoder, detector: Detector, image: Image.Image | str | Path) -> Verdict:
    """Split a linear detector's logit of one image over heads, MLPs and biases, and heads over the patches they read.

    One pass, without fp16 between encoder and detector as in a store, so that the logit may differ from a stored one
    in the fourth digit. The image first goes through the equalisation that the detector was fitted with. A family that
    pools by a mean or by attention is split as well: over the tokens that its averaged or its pooling heads read.

    Args:
        encoder: who looks; the one whose features the detector was fitted on.
        detector: linear in the embedding, the heads, or both.
        image: in mode RGB, or a path.

    Raises:
        InputError: another encoder than the detector's, a detector that is not linear, or one that reads views.

    >>> from PIL import Image
    >>> from interp.encoders.loading import load_encoder
    >>> from interp.detectors.detector import LinearScore
    >>> detector = Detector("demo", "embedding", LinearScore(np.ones(128), 0.5), threshold=0.0, key={})
    >>> verdict = explain(load_encoder("embedded"), detector, Image.new("RGB", (80, 64), "teal"))
    >>> verdict.heads.shape, verdict.patches.shape, verdict.error < 1e-5, verdict.patch_error < 1e-5
    ((6, 6), (8, 8), True, True)
    """
    picture = seen_by(detector, image)
    seen = encoder.preprocessing.apply(picture).transpose(1, 2, 0)
    return explain_pixels(encoder, detector, encoder.pixel_values([picture]), seen)


def explain_pixels(
    encoder: Encoder, detector: Detector, pixel_values: torch.Tensor, seen: np.ndarray | None = None
) -> Verdict:
    """`explain` for (1, 3, H, W) normalised pixel values.

    Raises:
        InputError: as `explain`, or several images at once.
    """
    if len(pixel_values) != 1:
        raise InputError(f"a verdict is told of one image at a time; given {len(pixel_values)}")
    refuse_other_encoder(encoder, detector)
    reading = LinearReading.of(detector, encoder.readout)
    record, tokens = record_tokens(encoder, pixel_values)
    logit = float(logits(detector, record)[0])
    contributions = reading.contributions(record)[0]
    weights, values = (t[0].double().cpu().numpy() for t in (tokens.weights, tokens.values))
    std = float(record.norm_std[0])
    sources = weights * np.einsum("lhtd,lhd->lht", values, reading.heads) / std
    others = contributions[sources.shape[0] * sources.shape[1] :]
    distance = {
        "parts": float(abs(contributions.sum() - logit)),
        "patches": float(abs(sources.sum() + others.sum() - logit)),
    }
    allowed = max(LARGEST_ERROR, LARGEST_DEVIATION.get(encoder.dtype, 0.0)) * np.abs(contributions).sum()
    for level, error in distance.items():
        if not error <= allowed:
            raise InputError(
                f"the {level} sum to {error:.1e} log-odds from the logit {logit:.4g} (allowed {allowed:.1e}); "
                f"{encoder!r} cannot be taken apart as described, check its Family"
            )
    if seen is None:
        seen = np.zeros((*pixel_values.shape[2:], 3), np.uint8)
    return Verdict(
        logit=logit,
        threshold=float(detector.threshold),
        parts=reading.part_table().assign(contribution=contributions),
        sources=sources,
        grid=tokens.grid,
        seen=seen,
        error=distance["parts"] / max(abs(logit), 1.0),
        patch_error=distance["patches"] / max(abs(logit), 1.0),
    )


def seen_by(detector: Detector, image: Image.Image | str | Path) -> Image.Image:
    """An image, or the one at a path, as it goes to a detector's encoder: through the detector's equalisation.

    Raises:
        InputError: the detector reads views of images.
    """
    if detector.key.get("views", "none") != "none":
        raise InputError(
            f"detector {detector.name!r} reads views of images; a verdict is told of a whole image"
        )
    picture = read_image(image).pixels if isinstance(image, str | Path) else image
    equalize = Equalize.parse(detector.key.get("equalize", "none"))
    return picture if equalize is None else equalize.apply(picture)


def features(record: HeadRecord, kind: str) -> np.ndarray:
    """What a detector reads of a record, (n, p) float32, as `FeatureStore.features` gives it."""
    z = record.head_values.float().flatten(1) / record.norm_std[:, None]
    both = {"embedding": [record.embedding], "heads": [z], "embedding_and_heads": [record.embedding, z]}
    return np.concatenate([part.float().cpu().numpy() for part in both[kind]], axis=1)


def logits(detector: Detector, record: HeadRecord) -> np.ndarray:
    """The detector's own scores (n,) of what was recorded."""
    X = features(record, detector.features)
    if hasattr(detector.model, "feature_names_in_"):
        return np.asarray(
            responses(detector.model, pd.DataFrame(X, columns=detector.model.feature_names_in_))
        )
    return np.asarray(responses(detector.model, X))


def refuse_other_encoder(encoder: Encoder, detector: Detector) -> None:
    """A detector that says what it was fitted on is given nothing else."""
    known = {name: detector.key[name] for name in ("encoder", "preprocessing") if name in detector.key}
    differing = differences(known, {name: encoder.provenance[name] for name in known})
    if differing:
        names = ", ".join(text.split(":")[0] for text in differing)
        raise InputError(
            f"detector {detector.name!r} was fitted on features of another encoder than {encoder.name!r}; they differ "
            f"in {names}. Load the encoder that its key names"
        )
