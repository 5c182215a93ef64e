"""Erase which generator made a fake, fitted on fakes alone: a scikit-learn transformer."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from interp.analysis.erasure import PARTS, Erasure
from interp.analysis.leace_factors import METHODS, leace_factors, names_of
from interp.encoders.layout import HeadLayout
from interp.errors import InputError, unknown_name
from interp.protocol.leaks import REAL

FEWEST = 3
"""Generators that must be told apart: the one difference between two is as much of either as of what they share."""


class GeneratorErasure(Erasure):
    """Erase which generator made a fake, fitted on fakes alone, so that real against fake is not what is erased.

    `Leace` with the generators' names as the concept. What goes are the differences between the generators' means;
    a generator that was not there differs in its own way, see
    `interp.analysis.generator_left_out`.

    Args:
        method: "leace", or "orth"; see `Leace`.
        shrinkage: see `Leace`.
        layout: see `Leace`.
        parts: parts whose rows are fitted on, where `fit` gets part=; test rows never are.

    Attributes:
        generators_: names of the generators seen.
        rank_, moved_, mean_, left_, right_, n_rows_, layout_: see `Erasure`.

    >>> rng = np.random.default_rng(0)
    >>> generator = np.array(["real", "glide", "dalle2", "attngan"])[np.arange(400) % 4]
    >>> X = rng.normal(size=(400, 8)) + (generator == "glide")[:, None]
    >>> erasure = GeneratorErasure().fit(X, generator=generator)
    >>> erasure.n_rows_, erasure.rank_.tolist(), erasure.generators_
    (300, [2], ['glide', 'dalle2', 'attngan'])
    """

    _of = "fakes"

    def __init__(
        self,
        method: str = "leace",
        shrinkage: bool = False,
        layout: HeadLayout | int | str | None = None,
        parts: Sequence[str] = PARTS,
    ):
        self.method, self.shrinkage, self.layout, self.parts = method, shrinkage, layout, parts

    def fit(
        self,
        X: ArrayLike,
        y: ArrayLike | None = None,
        *,
        part: ArrayLike | None = None,
        generator: ArrayLike | None = None,
    ) -> GeneratorErasure:
        """Find what to erase.

        Args:
            X: (n, p), an array or a frame.
            y: not used.
            part: (n,), such as `split.part`; rows of other parts than `parts` are left out.
            generator: (n,) names, "real" for photographs, which are left out.

        Raises:
            InputError: no generator=, or fewer than 3 generators of fakes among the rows left.
        """
        self._stream(X, y, part=part, generator=generator, first=True)
        self._refuse_if_unfit()
        return self

    def partial_fit(
        self,
        X: ArrayLike,
        y: ArrayLike | None = None,
        *,
        part: ArrayLike | None = None,
        generator: ArrayLike | None = None,
    ) -> GeneratorErasure:
        """Add a batch; all batches together give what `fit` gives on all rows. Generators may appear later."""
        self._stream(X, y, part=part, generator=generator, first=not hasattr(self, "_moments"))
        return self

    @property
    def generators_(self) -> list[str]:
        """Names of the generators seen so far."""
        return [str(name) for _, name in names_of(self._moments, "concept")]  # type: ignore[misc]

    def _columns(
        self, n: int, y: Any, concept: ArrayLike | None, generator: ArrayLike | None
    ) -> tuple[dict[Hashable, np.ndarray], np.ndarray]:
        if self.method not in METHODS:
            raise unknown_name("method", self.method, METHODS)
        if generator is None:
            raise InputError(
                f"{type(self).__name__} needs generator=, the name of each row's generator: pass it to fit, in a "
                "Pipeline by metadata routing (.set_fit_request(generator=True))"
            )
        names = np.asarray(generator).astype(str)
        columns: dict[Hashable, np.ndarray] = {
            ("concept", str(one)): (names == one) * 1.0 for one in pd.unique(names) if one != REAL
        }
        return columns, names != REAL

    def _lacks(self) -> str | None:
        found = self.generators_
        if len(found) < FEWEST:
            return (
                f"{type(self).__name__} needs {FEWEST} generators of fakes at least among the rows fitted on: of two, "
                f"the one difference is as much of either as of what they share. Given {len(found)} "
                f"({', '.join(found) or 'none'}) in n_samples = {self.n_rows_} fakes; train or select on more "
                "generators, or erase another concept with Leace"
            )
        return super()._lacks()

    def _factors(self) -> tuple[np.ndarray, np.ndarray]:
        return leace_factors(self._moments, self.method, self.shrinkage)
