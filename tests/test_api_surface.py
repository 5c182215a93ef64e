"""Guards the public names: one that disappears or is called differently fails here.

`python tests/test_api_surface.py --update` accepts a change that is meant: it writes the snapshot of
signatures beside this file, and the stub `interp/__init__.pyi` that editors read.
"""

from __future__ import annotations

import importlib
import inspect
import json
import re
import sys
from functools import cached_property
from pathlib import Path
from types import FunctionType

import pytest

import interp

SNAPSHOT = Path(__file__).with_name("api_surface.json")
STUB = Path(__file__).parent.parent / "interp" / "__init__.pyi"
KNOWN: dict[str, str] = json.loads(SNAPSHOT.read_text()) if SNAPSHOT.exists() else {}


def signature(thing: object) -> str:
    """How a thing is called, without the memory addresses that some defaults print."""
    if isinstance(thing, type) and issubclass(thing, Exception):
        return f"exception({', '.join(base.__name__ for base in thing.__bases__)})"
    return re.sub(r" at 0x[0-9a-f]+", "", str(inspect.signature(thing)))  # type: ignore[arg-type]


def surface(name: str) -> dict[str, str]:
    """A public name, and for a class its own public methods and properties, each with how it is called."""
    thing = getattr(interp, name)
    if isinstance(thing, str):
        return {name: "text"}
    found = {name: signature(thing)}
    for member, value in vars(thing).items() if isinstance(thing, type) else ():
        if member.startswith("_"):
            continue
        if isinstance(value, (property, cached_property)):
            found[f"{name}.{member}"] = "property"
        elif isinstance(value, (FunctionType, classmethod, staticmethod)):
            found[f"{name}.{member}"] = signature(getattr(thing, member))
    return found


def stub() -> str:
    """The stub's text: every public name imported from its home, in order."""
    imports = sorted(f"from {home} import {name} as {name}" for name, home in interp._HOME.items())
    names = [f'    "{name}",' for name in interp.__all__]
    known = ["__version__: str", "_HOME: dict[str, str]", "", "__all__ = [", *names, "]"]
    return "\n".join([*imports, "", *known, ""])


@pytest.mark.parametrize("name", interp.__all__)
def test_public_name_is_called_as_before(name: str) -> None:
    known = {key: value for key, value in KNOWN.items() if key.split(".")[0] == name}
    assert surface(name) == known, "if the change is meant: python tests/test_api_surface.py --update"


def test_no_public_name_disappeared() -> None:
    assert {key.split(".")[0] for key in KNOWN} == set(interp.__all__)


def test_editors_see_the_same_names() -> None:
    assert STUB.read_text() == stub(), "run: python tests/test_api_surface.py --update"


def test_each_name_comes_from_its_own_home() -> None:
    for name, home in interp._HOME.items():
        thing = getattr(interp, name)
        assert thing is getattr(importlib.import_module(home), name)
        assert thing.__module__ == home, f"{name} is defined in {thing.__module__}, not in {home}"


def test_each_public_name_says_what_it_is_for() -> None:
    assert [name for name in interp._HOME if not (getattr(interp, name).__doc__ or "").strip()] == []


def test_a_wrong_name_is_told_the_nearest() -> None:
    with pytest.raises(AttributeError, match="did you mean 'HeadLayout'"):
        _ = interp.HeadLayuot  # type: ignore[attr-defined]
    with pytest.raises(AttributeError, match="Public names: .*HeadLayout"):
        _ = interp.zzzz  # type: ignore[attr-defined]
    assert not hasattr(interp, "torch")


def test_dir_lists_every_public_name() -> None:
    assert set(interp.__all__) <= set(dir(interp))


if __name__ == "__main__":
    if sys.argv[1:] != ["--update"]:
        sys.exit("usage: python tests/test_api_surface.py --update")
    STUB.write_text(stub())
    found = {key: value for name in interp.__all__ for key, value in sorted(surface(name).items())}
    SNAPSHOT.write_text(json.dumps(found, indent=2) + "\n")
    print(f"{len(interp.__all__)} public names written to {STUB} and {SNAPSHOT}")
