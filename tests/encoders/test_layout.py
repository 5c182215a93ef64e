"""A layout is recovered from column names, and a column that does not fit is named."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interp.encoders.layout import HeadLayout
from interp.errors import InputError

sizes = st.integers(1, 12)
layouts = st.builds(HeadLayout, sizes, sizes, sizes)


@given(layouts)
def test_column_names_give_the_layout_back(layout):
    assert HeadLayout.from_columns(layout.columns) == layout
    assert all(layout.columns[layout.slice(name)][0] == f"{name}.0" for name in layout.names)


@given(layouts, st.data())
def test_any_change_of_order_is_refused(layout, data):
    order = data.draw(st.permutations(layout.columns))
    if order == layout.columns:
        assert HeadLayout.from_columns(order) == layout
    else:
        first = next(i for i, name in enumerate(order) if name != layout.columns[i])
        with pytest.raises(InputError, match=f"column {first}, '{order[first]}', does not fit"):
            HeadLayout.from_columns(order)


def test_the_first_column_that_does_not_fit_is_named():
    layout = HeadLayout(3, 4, 5)
    for wrong in ("L1.H22.3", "L1.H.2.3", "error"):
        names = layout.columns
        names[33] = wrong
        with pytest.raises(InputError, match=f"column 33, '{wrong}', does not fit: 'L1.H2.3' belongs there"):
            HeadLayout.from_columns(names)
    with pytest.raises(InputError, match=r"column 33, 'L1.H2.4', .* 'L1.H2.3' belongs there"):
        HeadLayout.from_columns(layout.columns[:33] + layout.columns[34:])
    with pytest.raises(InputError, match="column 59 is missing: 'L2.H3.4' belongs there"):
        HeadLayout.from_columns(layout.columns[:-1])
    with pytest.raises(InputError, match=r"column 60, 'L2.H3.4 ', .* no further column belongs there \(did"):
        HeadLayout.from_columns([*layout.columns, "L2.H3.4 "])
    with pytest.raises(InputError, match=r"must be named L0\.H0\.0.*given \['P.0'\]"):
        HeadLayout.from_columns(["P.0"])
