"""Least-squares concept erasure: the smallest change after which no linear model reads a concept."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from interp.analysis.concept_columns import concept_columns
from interp.analysis.erasure import PARTS, Erasure
from interp.analysis.leace_factors import METHODS, concept_scale, leace_factors, names_of
from interp.encoders.layout import HeadLayout
from interp.errors import InputError, unknown_name


class Leace(Erasure):
    """Erase a concept from features, so that no linear model trained on the fitting rows reads it any more.

    Belrose et al. 2023 (arXiv 2306.03819), theorem 4.3, affine: r(x) = x - W⁺ U Uᵀ W (x - E[x]), with W the inverse
    square root of Cov(x) and U the left singular vectors of W Cov(x, z). Afterwards Cov(r(x), z) = 0 on the rows
    fitted on, which is the same as this: under any convex loss no linear model does better there than a constant. Of
    all affine maps with that property r has the least E‖r(x) - x‖², under every inner product at once. On fresh rows
    the guarantee holds but for the error of the estimated covariances, and a model trained on fresh erased rows
    regains something: `interp.analysis.regained.regained_auc` measures how much.

    A concept that goes with real and fake in the rows takes part of the detection signal with it. There are two
    ways out. Fit on fakes alone (`of="fakes"`), where the concept has no such say. Or `keep="label"`: covariances are
    taken within photographs and within fakes (partial covariances, given the label), so that what goes is how
    features follow the concept among images of the same label. The concept can then be read only in so far as the
    label tells it: Cov(r(x), z | label) = 0, pooled over both labels. If features are a·label + B·concept + noise,
    the plain eraser removes a mixture of a and B, and `keep="label"` removes B alone. What of a lies in the span
    of B goes with it in both.

    Args:
        erase: "concept", what `fit` gets as concept=; or "label", real and fake themselves: a control.
        keep: None, or "label".
        method: "leace", or "orth": the orthogonal projection that erases as much but moves more (W = 1).
        shrinkage: shrink correlations of features towards 0 before W is taken from them, by the share of Bodnar et
            al. 2014 (arXiv 1308.2608), for few rows. Erases the same directions, moves somewhat more on the fitting
            rows and less noise on fresh ones.
        of: "all" or "fakes", the rows to fit on.
        layout: None for all columns as one representation; blocks that are erased each on its own: a `HeadLayout`,
            "heads" to read it from the column names of a frame, or a number, the width of a block.
        parts: parts whose rows are fitted on, where `fit` gets part=; test rows never are.

    Attributes:
        concept_: the classes of the concept, or ("value", number of the column).
        rank_, moved_, mean_, left_, right_, n_rows_, layout_: see `Erasure`.

    >>> rng = np.random.default_rng(0)
    >>> content = np.array(["cat", "dog", "car"])[np.arange(300) % 3]
    >>> X = rng.normal(size=(300, 8)) + (content == "dog")[:, None]
    >>> erased = Leace().fit(X, concept=content).transform(X)
    >>> bool(np.ptp([erased[content == one].mean(0) for one in ("cat", "dog", "car")], axis=0).max() < 1e-12)
    True
    """

    def __init__(
        self,
        erase: str = "concept",
        keep: str | None = None,
        method: str = "leace",
        shrinkage: bool = False,
        of: str = "all",
        layout: HeadLayout | int | str | None = None,
        parts: Sequence[str] = PARTS,
    ):
        self.erase, self.keep, self.method, self.shrinkage = erase, keep, method, shrinkage
        self.of, self.layout, self.parts = of, layout, parts

    def fit(
        self,
        X: ArrayLike,
        y: ArrayLike | None = None,
        *,
        concept: ArrayLike | None = None,
        part: ArrayLike | None = None,
        generator: ArrayLike | None = None,
    ) -> Leace:
        """Find what to erase.

        Args:
            X: (n, p), an array or a frame.
            y: (n,) labels, real and fake; needed with keep="label", erase="label", or of="fakes" without generator=.
            concept: (n,) names of classes, (n,) floats, or (n, k) numbers; rows where it is None, NaN or "" are left
                out (`interp.analysis.concept_columns`). In a `Pipeline` by metadata routing:
                `.set_fit_request(concept=True, part=True)`.
            part: (n,), such as `split.part`; rows of other parts than `parts` are left out.
            generator: (n,) names, "real" for photographs; says with of="fakes" which rows are fakes.

        Raises:
            InputError: no concept, none that varies among the rows left, an unknown option, or X unlike the layout.
        """
        self._stream(X, y, concept=concept, part=part, generator=generator, first=True)
        self._refuse_if_unfit()
        return self

    def partial_fit(
        self,
        X: ArrayLike,
        y: ArrayLike | None = None,
        *,
        concept: ArrayLike | None = None,
        part: ArrayLike | None = None,
        generator: ArrayLike | None = None,
    ) -> Leace:
        """Add a batch; all batches together give what `fit` gives on all rows. Classes may appear later."""
        first = not hasattr(self, "_moments")
        self._stream(X, y, concept=concept, part=part, generator=generator, first=first)
        return self

    @property
    def concept_(self) -> list[Hashable]:
        """The classes of the concept seen so far, or ("value", number of the column)."""
        return [name for _, name in names_of(self._moments, "concept")]  # type: ignore[misc]

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.required = self.erase == "label" or self.keep == "label"
        return tags

    def _columns(
        self, n: int, y: Any, concept: ArrayLike | None, generator: ArrayLike | None
    ) -> tuple[dict[Hashable, np.ndarray], np.ndarray]:
        for kind, given, names in (
            ("erase", self.erase, ("concept", "label")),
            ("keep", self.keep, (None, "label")),
            ("method", self.method, METHODS),
        ):
            if given not in names:
                raise unknown_name(kind, given, names)
        if self.erase == self.keep:
            raise InputError("erase and keep are both 'label'; what is kept cannot be erased")
        if "label" in (self.erase, self.keep) and y is None:
            raise InputError(
                f"Leace(erase={self.erase!r}, keep={self.keep!r}) requires y to be passed, but the target y is None"
            )
        if self.erase == "concept" and concept is None:
            raise InputError(
                "Leace needs concept=, what to erase, for each row: pass it to fit, in a Pipeline by metadata routing "
                "(.set_fit_request(concept=True))"
            )
        found, known = concept_columns(y if self.erase == "label" else concept, n)  # type: ignore[arg-type]
        seen = {name for name in self.concept_ if isinstance(name, tuple)}
        values = any(isinstance(name, tuple) for name in found)
        if self.concept_ and found and (values != bool(seen) or seen - set(found)):
            raise InputError(
                f"this batch's concept has {list(found)[:5]}, earlier ones had {self.concept_[:5]}; give classes in "
                "all batches, or as many columns of values in each"
            )
        columns: dict[Hashable, np.ndarray] = {("concept", name): column for name, column in found.items()}
        if self.keep:
            columns |= {("label", name): column for name, column in concept_columns(y, n)[0].items()}
        return columns, known

    def _lacks(self) -> str | None:
        lacks = super()._lacks()
        if lacks is None and not len(concept_scale(self._moments, bool(self.keep))[0].T):
            beyond = " beyond what the label tells, which keep='label' keeps" if self.keep else ""
            lacks = (
                f"{type(self).__name__}: the concept does not vary{beyond} among the {self.n_rows_} rows fitted on; "
                f"it has the classes or columns {self.concept_[:5]}. Give rows of at least two classes"
            )
        return lacks

    def _factors(self) -> tuple[np.ndarray, np.ndarray]:
        return leace_factors(self._moments, self.method, self.shrinkage, bool(self.keep))
