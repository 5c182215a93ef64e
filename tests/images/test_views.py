"""Views are cut at native resolution: every pixel of a crop is a pixel of the image."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from interp.errors import InputError
from interp.images.image_set import ImageSet
from interp.images.manifest import standardise
from interp.images.views import Views, with_views

NUMBERS = st.sampled_from([1, 4, 5, 9, 16])


def numbered(width: int, height: int) -> Image.Image:
    """An image in which every pixel has a colour of its own."""
    at = np.arange(width * height).reshape(height, width)
    return Image.fromarray(np.stack([at % 256, at // 256 % 256, at // 65536], -1).astype(np.uint8))


@given(NUMBERS, st.integers(16, 90), st.integers(16, 90))
def test_crops_of_a_large_image_are_pieces_of_it_that_reach_every_border(number, width, height):
    image, edge = numbered(width, height), 16
    pixels = np.asarray(image)
    views = Views(number)
    for view, (left, top) in enumerate(views.corners(width, height, edge)):
        assert np.array_equal(
            views.crop(image, view, (edge, edge)).transpose(1, 2, 0),
            pixels[top : top + edge, left : left + edge],
        )
    if number > 1:
        corners = views.corners(width, height, edge)
        assert {(0, 0), (width - edge, height - edge)} <= set(corners)


@given(NUMBERS, st.integers(1, 15), st.integers(1, 40))
def test_a_small_image_is_continued_by_its_own_pixels(number, width, height):
    image = numbered(width, height)
    own = {tuple(colour) for colour in np.asarray(image).reshape(-1, 3)}
    for view in range(number):
        crop = Views(number).crop(image, view, (16, 16))
        assert crop.shape == (3, 16, 16)
        assert {tuple(colour) for colour in crop.reshape(3, -1).T} <= own


def test_an_image_of_the_crops_own_size_is_the_same_in_every_view():
    image = numbered(16, 16)
    for view in range(5):
        assert np.array_equal(Views(5).crop(image, view, (16, 16)).transpose(1, 2, 0), np.asarray(image))


@pytest.mark.parametrize("number", [0, -1, 2, 3, 6, 10])
def test_numbers_without_a_layout_are_refused(number):
    with pytest.raises(InputError, match="views cannot be laid out"):
        Views(number)


@given(NUMBERS)
def test_the_text_form_reads_back(number):
    assert Views.parse(str(Views(number))) == Views(number)


def test_a_set_of_views_keeps_what_is_known_of_each_image():
    table = pd.DataFrame({"label": ["0", "1"], "generator": ["", "glide"], "group": ["p", "q"], "size": [3, 4]})
    images = ImageSet(standardise(table, ["a#1.png", "b/c.png"]), Path("photos"))
    crops = with_views(images, Views(5))
    assert len(crops) == 10 and crops.table["view"].tolist() == [0, 1, 2, 3, 4] * 2
    for key, row in crops.table.iterrows():
        whole = images.table.loc[row["view_of"]]
        assert (row[whole.index] == whole).all()
        assert crops.path(str(key)) == images.path(row["view_of"])
