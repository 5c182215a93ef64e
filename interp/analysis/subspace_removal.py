"""Project a subspace away: principal directions of fakes, or differences between the generators' means."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from sklearn.utils import ClassifierTags

from interp.analysis.erasure import PARTS, Erasure
from interp.analysis.generator_erasure import GeneratorErasure
from interp.analysis.leace_factors import NEGLIGIBLE, names_of
from interp.encoders.layout import HeadLayout
from interp.errors import InputError


class PcaRemoval(Erasure):
    """Remove the k principal directions of the pooled fakes, or of all rows.

    r(x) = x - U Uᵀ (x - mean): "all-but-the-top" of Mu and Viswanath 2018 (arXiv 1702.01417). It knows of no label
    and no concept, so it guarantees nothing about either: what varies most among fakes goes, whatever it is.

    Args:
        k: directions to remove, from each block.
        of: "fakes" or "all", the rows whose directions these are.
        layout: see `interp.analysis.leace.Leace`.
        parts: parts whose rows are fitted on, where `fit` gets part=; test rows never are.

    Attributes:
        rank_, moved_, mean_, left_, right_, n_rows_, layout_: see `Erasure`.

    >>> X = np.random.default_rng(0).normal(size=(200, 6)) * [5, 1, 1, 1, 1, 1]
    >>> removal = PcaRemoval(of="all").fit(X)
    >>> removal.transform(X).std(0).round(1).tolist()[0], removal.moved_.round(2).tolist()
    (0.0, [0.82])
    """

    def __init__(
        self,
        k: int = 1,
        of: str = "fakes",
        layout: HeadLayout | int | str | None = None,
        parts: Sequence[str] = PARTS,
    ):
        self.k, self.of, self.layout, self.parts = k, of, layout, parts

    def fit(
        self,
        X: ArrayLike,
        y: ArrayLike | None = None,
        *,
        part: ArrayLike | None = None,
        generator: ArrayLike | None = None,
    ) -> PcaRemoval:
        """Find the directions.

        Args:
            X: (n, p), an array or a frame.
            y: (n,) labels; which rows are fakes, where generator= does not say so.
            part: (n,), such as `split.part`; rows of other parts than `parts` are left out.
            generator: (n,) names, "real" for photographs.

        Raises:
            InputError: fewer than two rows left, a k that leaves nothing, or nothing says which rows are fakes.
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
    ) -> PcaRemoval:
        """Add a batch; all batches together give what `fit` gives on all rows."""
        self._stream(X, y, part=part, generator=generator, first=not hasattr(self, "_moments"))
        return self

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        if self.of == "fakes":
            tags.target_tags.required = True
            tags.classifier_tags = ClassifierTags(multi_class=False)
        return tags

    def _columns(
        self, n: int, y: Any, concept: ArrayLike | None, generator: ArrayLike | None
    ) -> tuple[dict[Hashable, np.ndarray], np.ndarray]:
        if not 1 <= self.k < self.layout_.width:
            raise InputError(
                f"k must be at least 1 and less than the {self.layout_.width} columns of a block; given {self.k} "
                f"with n_features = {self.n_features_in_}"
            )
        return {}, np.ones(n, bool)

    def _factors(self) -> tuple[np.ndarray, np.ndarray]:
        values, vectors = np.linalg.eigh(self._moments.features())
        counts = values[:, ::-1][:, : self.k] > NEGLIGIBLE * values[:, -1:]
        first = vectors[:, :, ::-1][:, :, : self.k] * counts[:, None]
        return first, first.transpose(0, 2, 1)


class MeanDifferenceRemoval(GeneratorErasure):
    """Remove the directions in which generators' means differ most, the photographs left out.

    r(x) = x - U Uᵀ (x - mean), with U the first k left singular vectors of the differences of the generators' means
    from the mean of these means, each generator counting the same. With all of them it is
    `GeneratorErasure(method="orth")`, which moves more than LEACE does; with fewer it does not erase identity.

    Args:
        k: directions to remove from each block; by default all, one fewer than there are generators.
        layout: see `interp.analysis.leace.Leace`.
        parts: parts whose rows are fitted on, where `fit` gets part=; test rows never are.

    Attributes:
        generators_: names of the generators seen.
        rank_, moved_, mean_, left_, right_, n_rows_, layout_: see `Erasure`.

    >>> generator = np.array(["real", "glide", "dalle2", "attngan"])[np.arange(400) % 4]
    >>> X = np.random.default_rng(0).normal(size=(400, 8)) + 3 * (generator == "glide")[:, None]
    >>> removal = MeanDifferenceRemoval(k=1).fit(X, generator=generator)
    >>> removal.rank_.tolist(), removal.transform(X).shape
    ([1], (400, 8))
    """

    def __init__(
        self,
        k: int | None = None,
        layout: HeadLayout | int | str | None = None,
        parts: Sequence[str] = PARTS,
    ):
        super().__init__(method="orth", layout=layout, parts=parts)
        self.k = k

    def _factors(self) -> tuple[np.ndarray, np.ndarray]:
        if self.k is not None and self.k < 1:
            raise InputError(f"k must be at least 1, or None for all directions; given {self.k}")
        names = names_of(self._moments, "concept")
        differences = self._moments.across(names) / self._moments.means(names)
        differences -= differences.mean(2, keepdims=True)
        left, size, _ = np.linalg.svd(differences, full_matrices=False)
        counts = size > NEGLIGIBLE * size[:, :1]
        left = (left * counts[:, None])[:, :, : self.k]
        return left, left.transpose(0, 2, 1)
