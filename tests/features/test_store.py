"""A store's features as a table: row keys, column names, and the layout that these give back."""

from __future__ import annotations

import numpy as np
import pytest

from interp.encoders.layout import HeadLayout
from interp.errors import InputError


@pytest.mark.parametrize("kind", ["heads", "embedding", "layers", "next_to_last", "embedding_and_heads"])
def test_a_frame_holds_the_features_under_their_names(kind, small_run):
    store = small_run.result.store
    frame = store.frame(kind)
    np.testing.assert_array_equal(frame.to_numpy(), store.features(kind))
    assert frame.index.equals(store.rows.index)
    assert frame.columns.is_unique and list(frame.columns) == store.columns(kind)


def test_the_names_of_head_columns_give_the_layout(small_run):
    store = small_run.result.store
    frame = store.frame("heads")
    assert HeadLayout.from_columns(frame.columns) == store.layout
    head = [name for name in frame.columns if name.startswith("L2.H1.")]
    np.testing.assert_array_equal(frame[head], store.features("heads")[:, store.layout.slice("L2.H1")])
    with pytest.raises(InputError, match="did you mean 'heads'"):
        store.columns("head")
