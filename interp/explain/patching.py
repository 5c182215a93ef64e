"""Activation patching between matched images: what a verdict becomes when one head sees another image.

For a photograph and its generated twin, a head's values at every token in the pass of one are replaced by those in the
pass of the other, and all later layers see it. The change of the logit is the head's causal effect on the verdict
(Heimersheim & Nanda 2024, arXiv 2404.15255, tell which questions that answers). Beside it stands the direct effect: the
same exchange in the stored contributions, which later layers do not see.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import torch
from tqdm import tqdm

from interp.detectors.detector import Detector
from interp.encoders.pruning import pruned
from interp.encoders.token_recorder import every_token
from interp.errors import InputError
from interp.explain.parts import LinearReading
from interp.explain.verdict import logits, refuse_other_encoder, seen_by
from interp.protocol.intervals import check_level, percentile_interval

if TYPE_CHECKING:
    from PIL import Image

    from interp.encoders.encoder import Encoder
    from interp.encoders.recorder import HeadRecord

    Picture = Image.Image | str | Path


def patch_pairs(
    encoder: Encoder,
    detector: Detector,
    pairs: Sequence[tuple[Picture, Picture]],
    *,
    heads: Sequence[str | Sequence[str]] | None = None,
    progress: bool = True,
) -> pd.DataFrame:
    """Exchange each head between the images of each pair, both ways, and see what the verdict becomes.

    One pass for each pair, direction and head. With every head patched and a class token, the verdict is the other
    image's, because all that the class token reads has been exchanged.

    Args:
        encoder: who looks.
        detector: linear in the embedding, the heads, or both.
        pairs: (photograph, twin), as images in mode RGB or paths.
        heads: what to patch: a head such as `L3.H5`, or a set of heads that are patched together; by default every
            head of the encoder, one at a time.
        progress: show a bar, in passes.

    Returns:
        A row for each pair, direction and patching: pair (its position), into ("photograph" or "twin": whose pass is
        patched), head (a set's heads joined by "+"), total (change of the logit towards the other image's verdict:
        positive where patching a photograph makes it look more fake, or patching a twin makes it look more real),
        direct (the same from the stored contributions), gap (what the whole exchange would be: logit of the twin -
        logit of the photograph). All log-odds.

    Raises:
        InputError: no pair, an unknown head, or a detector that is not linear.
    """
    sets = [[head] if isinstance(head, str) else list(head) for head in heads or encoder.layout.names]
    flat = [[encoder.layout.index(head) for head in each] for each in sets]
    if not len(pairs):
        raise InputError("there is no pair to patch; give (photograph, twin) tuples")
    refuse_other_encoder(encoder, detector)
    reading = LinearReading.of(detector, encoder.readout)
    rows = []
    bar = tqdm(total=2 * len(pairs) * len(sets), unit="pass", desc="patch", disable=not progress)
    with bar:
        for number, pair in enumerate(pairs):
            pixels = torch.cat([encoder.pixel_values([seen_by(detector, picture)]) for picture in pair])
            record = encoder.record(pixels)
            plain = logits(detector, record)
            z = every_token(encoder, pixels)
            written, std = record.head_values.double().cpu().numpy(), record.norm_std.double().cpu().numpy()
            for into, sign in ((0, 1), (1, -1)):
                moved = np.einsum("lhd,lhd->lh", written[1 - into] - written[into], reading.heads) / std[into]
                for names, numbers in zip(sets, flat, strict=True):
                    put = z[1 - into].flatten(0, 1)[numbers]
                    with pruned(encoder, names, values=put):
                        patched = _exchanged(encoder, encoder.record(pixels[into : into + 1]), numbers, put)
                    change = float(logits(detector, patched)[0] - plain[into])
                    rows.append(
                        {
                            "pair": number,
                            "into": ("photograph", "twin")[into],
                            "head": "+".join(names),
                            "total": sign * change,
                            "direct": sign * moved.ravel()[numbers].sum(),
                            "gap": plain[1] - plain[0],
                        }
                    )
                    bar.update()
    return pd.DataFrame(rows)


def patching_effects(
    table: pd.DataFrame,
    *,
    groups: Sequence[object] | np.ndarray | None = None,
    n_resamples: int = 2000,
    level: float = 0.95,
    random_state: int = 0,
) -> pd.DataFrame:
    """Mean effect of each patching over pairs, causal beside direct, with intervals.

    Args:
        table: what `patch_pairs` gave.
        groups: of each pair; pairs of one group (twins of one photograph, one prompt) are drawn together. By default
            every pair is its own.
        n_resamples, level, random_state: bootstrap of whole groups, percentile interval.

    Returns:
        A row for each head and direction: head, into ("photograph", "twin", or "both", the mean of the two), total,
        total_low, total_high, direct, direct_low, direct_high (log-odds, positive towards the other image's verdict),
        share (total ÷ mean gap), pairs. Sorted by the size of total in both directions.

    Raises:
        InputError: groups of another number than pairs.

    >>> table = pd.DataFrame({"pair": [0, 0], "into": ["photograph", "twin"], "head": "L0.H0"})
    >>> table = table.assign(total=[1.0, 2.0], direct=[1.0, 1.0], gap=4.0)
    >>> patching_effects(table).query("into == 'both'")[["total", "share", "pairs"]].values.tolist()
    [[1.5, 0.375, 1.0]]
    """
    check_level(level)
    pairs = int(table["pair"].max()) + 1
    given = np.arange(pairs) if groups is None else np.asarray(groups)
    if given.shape != (pairs,):
        raise InputError(f"groups must name one group for each of {pairs} pairs; given {given.shape}")
    group = pd.factorize(given)[0]
    size = int(group.max()) + 1
    drawn = np.random.default_rng(random_state).multinomial(size, np.full(size, 1 / size), size=n_resamples)
    weights = np.concatenate([np.ones((1, pairs)), drawn[:, group]])  # the first row is what was seen
    weights = weights / weights.sum(1, keepdims=True)
    columns = ["total", "direct", "gap"]
    both = table.groupby(["pair", "head"], sort=False, as_index=False)[columns].mean().assign(into="both")
    found = []
    for (into, head), rows in pd.concat([table, both]).groupby(["into", "head"], sort=False):
        means = weights @ rows.sort_values("pair")[columns].to_numpy()
        low, high = percentile_interval(means[1:], level)
        effect = {"head": head, "into": into}
        for i, kind in enumerate(columns[:2]):
            effect |= {kind: means[0, i], f"{kind}_low": low[i], f"{kind}_high": high[i]}
        found.append({**effect, "share": means[0, 0] / means[0, 2], "pairs": pairs})
    effects = pd.DataFrame(found)
    size_of = effects[effects["into"] == "both"].set_index("head")["total"].abs()
    order = effects["head"].map(size_of).sort_values(ascending=False, kind="stable").index
    return effects.loc[order].reset_index(drop=True)


def _exchanged(encoder: Encoder, record: HeadRecord, numbers: Sequence[int], put: torch.Tensor) -> HeadRecord:
    """A patched pass as recorded; a MultiheadAttention's hook sees its own values, so that the new ones are put in."""
    if not isinstance(encoder.recorder.parts.attentions[0], torch.nn.MultiheadAttention):
        return record
    z = record.head_values.clone()
    z.view(len(z), -1, z.shape[-1])[:, list(numbers)] = put[:, 0]
    return replace(record, head_values=z)
