"""Views are pooled to images: for a linear score the mean over views is the score of the mean view."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from interp.errors import InputError
from interp.protocol.pooling import ViewPool


def rows_of_views(images: int, views: int, rng: np.random.Generator) -> pd.DataFrame:
    rows = pd.DataFrame(
        {"view_of": np.repeat(np.arange(images), views), "view": np.tile(range(views), images)}
    )
    return rows.iloc[rng.permutation(len(rows))].reset_index(drop=True)


@given(st.integers(1, 12), st.integers(1, 6), st.integers(0, 99))
def test_mean_pooling_of_a_linear_score_is_the_score_of_the_mean_view(images, views, seed):
    rng = np.random.default_rng(seed)
    rows = rows_of_views(images, views, rng)
    X, coef = rng.normal(size=(len(rows), 3)), rng.normal(size=3)
    pool = ViewPool(rows, "mean")
    everything = np.arange(len(rows))
    pooled = pool(everything, X @ coef)
    for score, first in zip(pooled, pool.images(everything), strict=True):
        own = rows["view_of"].to_numpy() == rows["view_of"][first]
        assert score == pytest.approx(X[own].mean(0) @ coef)


@given(st.integers(1, 12), st.integers(2, 6), st.integers(0, 99))
def test_max_pooling_takes_the_largest_view_of_every_column(images, views, seed):
    rng = np.random.default_rng(seed)
    rows = rows_of_views(images, views, rng)
    scores = rng.normal(size=(len(rows), 2))
    pool = ViewPool(rows, "max")
    keys = rows["view_of"].to_numpy()[pool.images(np.arange(len(rows)))]
    expected = pd.DataFrame(scores).groupby(rows["view_of"]).max().loc[keys].to_numpy()
    assert np.array_equal(pool(np.arange(len(rows)), scores), expected)


def test_rows_that_are_whole_images_pass_through():
    rows = pd.DataFrame({"label": ["real"] * 4})
    pool = ViewPool(rows)
    assert not pool.pools
    assert np.array_equal(pool(np.array([1, 3]), np.array([5.0, 6.0])), [5.0, 6.0])
    assert pool.images(np.array([1, 3])).tolist() == [1, 3]


def test_another_way_to_pool_is_refused():
    with pytest.raises(InputError, match="did you mean 'mean'"):
        ViewPool(pd.DataFrame(index=range(3)), "mena")
