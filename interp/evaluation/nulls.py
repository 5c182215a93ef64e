"""The nulls of a fitted arm: what its selection or removal has to beat, scored on the same rows."""

from __future__ import annotations

import numpy as np

from interp.analysis.coordinate_removal import CoordinateRemoval
from interp.analysis.erasure_nulls import ErasureNulls
from interp.analysis.generator_erasure import GeneratorErasure
from interp.analysis.head_nulls import permuted_selection, random_subsets, rotated_heads
from interp.analysis.head_removal import HeadRemoval
from interp.analysis.head_removal_nulls import HeadRemovalNulls
from interp.analysis.head_search import HeadSearch
from interp.analysis.head_selection import HeadSelection
from interp.analysis.leace import Leace
from interp.analysis.removal_nulls import RemovalNulls
from interp.analysis.shortcut_nulls import ShortcutNulls
from interp.analysis.shortcut_removal import ShortcutRemoval
from interp.evaluation.arms import FittedArm
from interp.protocol.roles import Split

SEARCHES = 20
"""Draws at most of a null that runs a whole search; subsets cost less and are drawn `n_nulls` times."""


def null_scores(
    fitted: FittedArm,
    X: np.ndarray,
    y: np.ndarray,
    split: Split,
    generator: np.ndarray,
    rows: np.ndarray,
    seed: np.random.SeedSequence,
) -> dict[str, np.ndarray]:
    """Scores of each null's detectors on some rows.

    Args:
        fitted: the arm; one with `n_nulls` 0, or that neither selects nor removes, has no nulls.
        X, y, split, generator: as in `Arm.fit`.
        rows: positions to score.
        seed: of all draws.

    Returns:
        From the name of each null to (draws, rows) float64.
    """
    draws, transformer = fitted.arm.n_nulls, fitted.transformer
    if not draws:
        return {}
    few = min(draws, SEARCHES)
    seeds = seed.spawn(3)
    if isinstance(transformer, HeadSelection):
        fold = None if transformer.fold is None else np.asarray(transformer.fold)
        options = {"rows": rows, "generator": generator, "strengths": transformer.C}
        options |= {"aggregate": transformer.aggregate, "fold": fold}
        search = HeadSearch(X, y, transformer.layout_, split.train, split.select, **options)
        k = transformer.k
        return {
            "random heads": random_subsets(search, transformer.k_, draws, seeds[0]),
            "permuted labels": permuted_selection(search, few, seeds[1], k),
            "rotated heads": rotated_heads(
                X, y, transformer.layout_, split.train, split.select, few, seeds[2], numbers=k, **options
            ),
        }
    if isinstance(transformer, CoordinateRemoval):
        nulls = RemovalNulls.of(X, y, split.train, split.select, rows, generator, transformer.criterion)
        return {
            "random coordinates": nulls.random_coordinates(len(transformer.removed_), draws, seeds[0]),
            "permuted labels": nulls.permuted_removal(few, seeds[1]),
            "rotated space": nulls.rotated_removal(few, seeds[2]),
        }
    if isinstance(transformer, HeadRemoval):
        found = HeadRemovalNulls(transformer, X, y, split.train, split.select, rows, generator)
        return {
            "random heads": found.random_heads(draws, seeds[0]),
            "permuted labels": found.permuted_removal(few, seeds[1]),
        }
    if isinstance(transformer, ShortcutRemoval) and fitted.arm.statistics is not None:
        drawn = ShortcutNulls(
            transformer, X, y, split.train, split.select, rows, generator, fitted.arm.statistics
        )
        return {
            "random directions": drawn.random_directions(draws, seeds[0]),
            "shuffled statistics": drawn.shuffled_statistics(few, seeds[1]),
        }
    if isinstance(transformer, GeneratorErasure | Leace):
        concept = fitted.arm.concept
        shuffled = ErasureNulls(transformer, X, y, split.train, split.select, rows, generator, concept)
        return {"shuffled concept": shuffled.shuffled_concept(few, seeds[0])}
    return {}
