"""What the transformers that choose on select rows have in common: how they learn which rows these are."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from sklearn.utils import ClassifierTags

from interp.protocol.select_rows import parts_of, rows_of_parts, two_classes


class ChoosesOnSelectRows:
    """Mixin for a transformer with the parameters `select_generators`, `select_share` and `random_state`.

    Stands before `TransformerMixin` and `BaseEstimator`. Its `fit` needs labels of two classes, which scikit-learn
    knows from the tag `classifier_tags.multi_class`.
    """

    select_generators: Any
    select_share: float | None
    random_state: int

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()  # type: ignore[misc]
        tags.target_tags.required = True
        tags.classifier_tags = ClassifierTags(multi_class=False)
        return tags

    def _rows(
        self, y: ArrayLike, part: ArrayLike | None, generator: ArrayLike | None, groups: ArrayLike | None
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Labels (n,), 1 fake, and positions of the train and of the select rows."""
        who = type(self).__name__
        _, fake = two_classes(who, y, generator)
        parts = parts_of(
            who,
            fake,
            part=part,
            generator=generator,
            groups=groups,
            select_generators=self.select_generators,
            select_share=self.select_share,
            random_state=self.random_state,
        )
        return fake, *rows_of_parts(parts, who, fake)
