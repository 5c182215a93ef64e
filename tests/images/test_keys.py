"""Row keys: one spelling for each file, and no way out of the folder."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interp.errors import InputError
from interp.images.keys import row_keys

NAMES = st.text("ab.é ", min_size=1, max_size=4).filter(lambda name: name.strip(".") == name)


@given(st.lists(st.lists(NAMES, min_size=1, max_size=4).map("/".join), unique=True, max_size=8))
def test_plain_paths_are_their_own_keys(paths: list[str]) -> None:
    assert row_keys(paths, Path("/no/such/folder")) == paths


@given(st.lists(NAMES, min_size=1, max_size=3), st.data())
def test_every_spelling_of_a_path_has_one_key(parts: list[str], data: st.DataObject) -> None:
    root = Path("/no/such/folder")
    detours = data.draw(
        st.lists(st.sampled_from(["", ".", "x/.."]), min_size=len(parts), max_size=len(parts))
    )
    spelt = "/".join(
        f"{detour}/{part}" if detour else part for detour, part in zip(detours, parts, strict=True)
    )
    assert row_keys([spelt], root) == ["/".join(parts)]
    assert row_keys([f"{root}/{spelt}"], root) == ["/".join(parts)]
    with pytest.raises(InputError, match="given twice"):
        row_keys([spelt, "/".join(parts)], root)


@given(st.integers(1, 5), st.lists(st.sampled_from(["a", "b", ".."]), max_size=6))
def test_dots_never_lead_out(depth: int, middle: list[str]) -> None:
    root = Path("/no/such/folder")
    path = "/".join([*middle, *[".."] * depth, "x.png"])
    inside = os.path.normpath(root / path).startswith(f"{root}/")
    if inside:
        assert row_keys([path], root) == [os.path.relpath(os.path.normpath(root / path), root)]
    else:
        with pytest.raises(InputError, match="leave the folder"):
            row_keys([path], root)


def links(tmp_path: Path) -> Path:
    """A set with links: to a folder and a file outside, to a folder and a file inside, and to nothing."""
    root, away = tmp_path / "set", tmp_path / "set-away"
    (root / "inside").mkdir(parents=True)
    away.mkdir()
    for folder in (root / "inside", away):
        (folder / "a.png").write_bytes(b"x")
    (root / "out").symlink_to(away)
    (root / "out.png").symlink_to(away / "a.png")
    (root / "in").symlink_to(root / "inside")
    (root / "in.png").symlink_to(root / "inside/a.png")
    (root / "lost.png").symlink_to(root / "nothing.png")
    return root


@pytest.mark.parametrize(
    "path",
    [
        "out/a.png",
        "out/missing.png",
        "out.png",
        "out/../set-away/a.png",
        "in/../../set-away/a.png",
        "/etc/passwd",
    ],
)
def test_what_leads_out_is_refused_unless_allowed(path: str, tmp_path: Path) -> None:
    root = links(tmp_path)
    with pytest.raises(InputError, match="allow_outside=True"):
        row_keys(["inside/a.png", path], root)
    inside, outside = row_keys(["inside/a.png", path], root, allow_outside=True)
    assert inside == "inside/a.png"
    assert os.path.realpath(root / outside) == os.path.realpath(root / path)


def test_links_that_stay_inside_are_kept(tmp_path: Path) -> None:
    root = links(tmp_path)
    paths = ["in/a.png", "in.png", "inside/a.png", "lost.png", "inside/missing.png"]
    assert row_keys(paths, root) == paths


def test_the_root_may_be_a_link_itself(tmp_path: Path) -> None:
    root = links(tmp_path)
    (tmp_path / "alias").symlink_to(root)
    assert row_keys(["inside/a.png", "inside/../in.png"], tmp_path / "alias") == ["inside/a.png", "in.png"]
