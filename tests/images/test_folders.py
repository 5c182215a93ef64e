"""What the layout of a folder says about the images in it."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interp.errors import InputError
from interp.images.folders import REAL_FOLDERS, images_below, labels_from_layout


def touch(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()


@given(st.lists(st.text("abc", min_size=1), max_size=3), st.data())
def test_a_real_folder_at_any_depth_means_photographs(folders: list[str], data: st.DataObject) -> None:
    ((label, generator),) = labels_from_layout(["/".join([*folders, "x.png"])]).to_numpy()
    assert (label, generator) == (("fake", folders[0]) if folders else ("", ""))
    name = data.draw(
        st.sampled_from(sorted(REAL_FOLDERS)).flatmap(lambda n: st.sampled_from([n, n.upper(), n.title()]))
    )
    place = data.draw(st.integers(0, len(folders)))
    key = "/".join([*folders[:place], name, *folders[place:], "x.png"])
    assert labels_from_layout([key]).to_numpy().tolist() == [["real", "real"]]


def test_images_are_found_by_their_ending_and_hidden_ones_are_not(tmp_path: Path) -> None:
    touch(
        tmp_path, "a/x.PNG", "a/b/y.jpeg", "z.avif", "a/notes.txt", "a/png", ".c/x.png", "a/._x.png", "a/.png"
    )
    assert images_below(tmp_path) == ["a/b/y.jpeg", "a/x.PNG", "z.avif"]


def test_links_to_folders_are_followed_and_circles_end(tmp_path: Path) -> None:
    touch(tmp_path, "set/a/x.png", "away/y.png")
    (tmp_path / "set/real").symlink_to(tmp_path / "away")
    (tmp_path / "set/a/back").symlink_to(tmp_path / "set")
    assert images_below(tmp_path / "set") == ["a/x.png", "real/y.png"]


def test_a_folder_without_images_says_what_was_expected(tmp_path: Path) -> None:
    touch(tmp_path, "notes.txt")
    with pytest.raises(InputError, match=r"1 other files.*webp"):
        images_below(tmp_path)
    with pytest.raises(InputError, match="there is no folder"):
        images_below(tmp_path / "missing")
