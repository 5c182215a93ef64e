"""The words of a run's page: what each detector and each null is, and what may be said of a gain."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from interp.evaluation.claims import LEVEL, may_be_claimed
from interp.images.equalize import Equalize

ARMS = {
    "embedding": (
        "plain embedding",
        "a linear detector on the encoder's image embedding; gains are counted from it",
    ),
    "all_heads": ("all heads", "a linear detector on what every attention head writes, side by side"),
    "selected_heads": (
        "selected heads",
        "the same on some heads only: those that serve the select generator best",
    ),
    "selected_heads_sum": ("selected heads, summed", "selected heads, what they add to the embedding summed"),
    "selected_heads_vote": (
        "selected heads, voting",
        "selected heads, each with a probe of its own, the probes' mean",
    ),
    "coordinate_removal": (
        "coordinate removal",
        "the embedding without those of its numbers whose removal helped on the select generator",
    ),
    "head_removal": (
        "head removal",
        "the embedding without what some heads add to it: those whose removal helped on the select generator",
    ),
    "shortcut_removal": (
        "shortcut removal",
        "the embedding without properties of the pixels, such as a colour cast, that tell the train generator's "
        "images from photographs and the select generator's not",
    ),
    "generator_erasure": (
        "generators erased",
        "the embedding without what says which of the generators that train and select made an image",
    ),
    "best_layer": (
        "best layer",
        "the class token behind one block: the one that serves the select generator best",
    ),
    "all_layers": ("all layers", "the class token behind every block, side by side"),
}
"""Of each arm its name in words and what it reads."""
NULLS = {
    "random heads": "random heads of the same number",
    "random coordinates": "as many random coordinates removed",
    "permuted labels": "the same search on shuffled labels",
    "rotated heads": "the same search in a randomly rotated space",
    "rotated space": "the same search in a randomly rotated space",
    "random directions": "as many random directions erased",
    "shuffled concept": "as much erased, of shuffled names of generators",
    "shuffled statistics": "as many properties erased, named by shuffled statistics",
}
PROTOCOLS = {
    "pairs": "Each detector trains on one generator, makes its choices on a second, and is tested on all others.",
    "leave_one_out": "Each generator in turn is tested by detectors trained on the others, one of which makes choices.",
    "by_hand": "The generators that train, select and test were named by hand.",
    "chronological": "Detectors train on older generators, make choices on a newer one, and are tested on still newer "
    "ones.",
    "twins": "Photographs against their twins: each mechanism in turn is tested by detectors trained on the others.",
    "twins_to_generators": "Detectors trained on photographs and their twins are tested on generators.",
    "from_parts": "The data themselves say which rows train, select and test.",
}


@dataclass(frozen=True)
class Claim:
    """What may be said of one arm.

    Attributes:
        arm: its name in tables. name, meaning: in words.
        stands: a gain that may be claimed.
        found: the gain with its interval, and the strongest null.
        verdict, reason: what may be claimed, and why; one sentence.
        mark: placebos that explain what it answers; empty for none.
    """

    arm: str
    name: str
    meaning: str
    stands: bool
    found: str
    verdict: str
    reason: str
    mark: str = ""


def arm_name(arm: str) -> str:
    """An arm in words; one that was made by hand keeps its own name.

    >>> arm_name("selected_heads"), arm_name("mine")
    ('selected heads', 'mine')
    """
    return ARMS.get(arm, (arm,))[0]


def null_name(arm: str, null: str) -> str:
    """A null in words.

    >>> null_name("selected_heads", "random heads"), null_name("head_removal", "random heads")
    ('random heads of the same number', 'as many random heads removed')
    """
    removed = arm.startswith("head_removal") and null == "random heads"
    return "as many random heads removed" if removed else NULLS.get(null, null)


def number(value: float, sign: bool = False) -> str:
    """Three decimals, a true minus, and a dash for what is not there.

    >>> number(0.8), number(-0.0123, sign=True), number(float("nan"))
    ('0.800', '−0.012', '–')
    """
    if not np.isfinite(value):
        return "–"
    return f"{value:{'+' if sign else ''}.3f}".replace("-", "−")


def interval(low: float, high: float, sign: bool = False) -> str:
    """An interval in brackets, or a dash.

    >>> interval(-0.002, 0.027, sign=True)
    '[−0.002, +0.027]'
    """
    if not (np.isfinite(low) and np.isfinite(high)):
        return "–"
    return f"[{number(low, sign)}, {number(high, sign)}]"


def claim(
    arm: str, row: pd.Series, nulls: pd.DataFrame, *, warned: bool = False, doubt: str = "", mark: str = ""
) -> Claim:
    """Put the gain of one arm in words; what may be claimed is decided by `may_be_claimed` alone.

    Args:
        arm: its name.
        row: of it in the summary.
        nulls: rows of its nulls: null, draws, high.
        warned: files or resampling history could explain the result.
        doubt: placebos that could explain the gain.
        mark: placebos that explain what the arm answers, whatever its gain.
    """
    gain = float(row["delta_to_embedding"])
    what = "a gain" if gain >= 0 else "a loss"
    spread = interval(row["delta_low"], row["delta_high"], sign=True)
    found = f"{what}, {number(gain, sign=True)} AUC {spread} against the plain embedding"
    if len(nulls):
        strongest = nulls.loc[nulls["high"].idxmax()]
        null = null_name(arm, str(strongest["null"]))
        high = number(strongest["high"], sign=True)
        found += f"; its strongest null, {null}, reaches up to {high} ({strongest['draws']} draws)"
    stands = may_be_claimed(row, nulls, warned=warned, doubt=doubt)
    verdict, reason = _scope(row) if stands else _against(arm, row, nulls, warned, doubt)
    name, meaning = ARMS.get(arm, (arm, "a detector of this run's own"))
    return Claim(arm, name, meaning, stands, found, verdict, reason, mark)


def equalisation(text: str) -> str:
    """What was done to every image first, from the store's own word for it.

    >>> equalisation("common:128:75")
    'every image: centre square, scaled to 128 px, then to 256 px, JPEG of quality 75'
    """
    spec = Equalize.parse(text)
    if spec is None:
        return "none: the files went in as they are"
    first = "" if spec.common is None else f"scaled to {spec.common} px, then "
    return (
        f"every image: centre square, {first or 'scaled '}to {spec.side} px, JPEG of quality {spec.quality}"
    )


def _against(arm: str, row: pd.Series, nulls: pd.DataFrame, warned: bool, doubt: str) -> tuple[str, str]:
    """Why a gain may not be claimed, or that it is a loss for sure: a verdict, and the rest of its sentence."""
    p = f"Holm p {row['p_holm']:.2f}"
    if row["delta_high"] < 0 and row["p_holm"] < LEVEL:
        return "Worse", f" than the plain embedding on these generators ({p})"
    reasons = []
    if row["delta_low"] <= 0 <= row["delta_high"]:
        reasons.append("its interval holds zero")
    elif row["p_holm"] >= LEVEL:
        reasons.append(f"among so many detectors one differs as much by chance ({p})")
    as_good = nulls[nulls["high"] >= row["delta_to_embedding"]]
    if len(as_good) and row["delta_to_embedding"] > 0:
        names = dict.fromkeys(null_name(arm, str(null)) for null in as_good["null"])
        reasons.append(f"chance gains as much ({', '.join(names)})")
    if warned and row["delta_to_embedding"] > 0:
        reasons.append("the warning above could explain it")
    if doubt and row["delta_to_embedding"] > 0:
        reasons.append(f"a placebo could explain it: {doubt}")
    return "Nothing may be claimed", f": {', and '.join(reasons)}"


def _scope(row: pd.Series) -> tuple[str, str]:
    """How far a gain that stands may be claimed: a verdict, and the rest of its sentence."""
    low, high = row["delta_generators_low"], row["delta_generators_high"]
    alone = number(row["delta_without_it"], sign=True)
    without = f"; without {row['carried_by']} it is {alone}" if np.isfinite(row["delta_without_it"]) else ""
    if not np.isfinite(low):
        return "May be claimed", f" for these generators; too few families to speak of others{without}"
    scope = "generators like these too" if low > 0 else "these generators only"
    over = f" ({interval(low, high, sign=True)} over other generators)"
    return f"May be claimed for {scope}", f"{over}{without}"
