"""Row keys: where an image lies below its set's folder, and whether it really lies there."""

from __future__ import annotations

import os
import posixpath
import re
from collections.abc import Sequence
from pathlib import Path

from interp.errors import InputError


def row_keys(paths: Sequence[str], root: Path, *, allow_outside: bool = False) -> list[str]:
    """One posix path relative to `root` for each path, the same for every spelling of it.

    Where a path really leads is compared after symbolic links are followed; an image need not exist.

    Raises:
        InputError: a path leaves `root` by `..`, as an absolute path or through a link, unless
            `allow_outside`; or two paths are the same.

    >>> row_keys(["a.png", "./b//c.png", "b/../d.png"], Path("."))
    ['a.png', 'b/c.png', 'd.png']
    """
    real_root = os.path.realpath(root)
    keys = [_key(path, root, real_root) for path in paths]
    if len(set(keys)) < len(keys):
        seen: set[str] = set()
        twice = [key for key in keys if key in seen or seen.add(key)]
        raise InputError(f"{len(twice)} paths are given twice: {_some(twice)}; keep one row for each image")
    if not allow_outside:
        away = _leaving(keys, root, real_root)
        if away:
            raise InputError(
                f"{len(away)} paths leave the folder {real_root}: {_some(away)}; "
                "put the manifest above its images, or pass allow_outside=True if you trust where they lead"
            )
    return keys


def as_text(name: str) -> str:
    r"""A file name as text: bytes that are not UTF-8 are written as `\xe9`, so that tables can hold them.

    >>> as_text(os.fsdecode(b"caf\xe9.png"))
    'caf\\xe9.png'
    """
    return os.fsencode(name).decode("utf-8", "backslashreplace")


def as_name(text: str) -> str:
    r"""The file name that `as_text` wrote as this text, if its `\xe9` stand for bytes.

    >>> os.fsencode(as_name("caf\\xe9.png"))
    b'caf\xe9.png'
    """
    return os.fsdecode(
        re.sub(rb"\\x([89a-f][0-9a-f])", lambda m: bytes.fromhex(m[1].decode()), text.encode())
    )


def _key(path: str, root: Path, real_root: str) -> str:
    if not posixpath.isabs(path) and ".." not in path:
        return posixpath.normpath(path)
    folder, name = os.path.split(os.path.join(root, path))
    return Path(os.path.relpath(os.path.join(os.path.realpath(folder), name), real_root)).as_posix()


def _leaving(keys: list[str], root: Path, real_root: str) -> list[str]:
    """Keys whose file is elsewhere. Each folder is resolved once, and a file only if it is a link itself."""
    inside = real_root.rstrip(os.sep) + os.sep

    def leaves(path: str) -> bool:
        return not (os.path.realpath(path) + os.sep).startswith(inside)

    base = str(root)
    folders = {
        folder: leaves(os.path.join(base, folder)) for folder in {posixpath.dirname(key) for key in keys}
    }
    away = []
    for key in keys:
        path = os.path.join(base, key)
        if folders[posixpath.dirname(key)] or (os.path.islink(path) and leaves(path)):
            away.append(key)
    return away


def _some(names: list[str]) -> str:
    return ", ".join(map(repr, names[:5])) + (", …" if len(names) > 5 else "")
