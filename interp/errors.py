"""What a wrong argument gets: what was given, what was expected, what to do next, the nearest valid name."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class InputError(ValueError):
    """A request that cannot be carried out as given; the message says what to do instead."""


class UnreadableImage(Exception):
    """An image that could not be decoded; the message is the reason that goes into its row."""


def unknown_name(kind: str, given: object, known: Iterable[object]) -> InputError:
    """Build the error for a name that does not exist, with the nearest one that does.

    >>> str(unknown_name("generator", "midjorney", ["dalle2", "midjourney"]))
    "unknown generator 'midjorney'; did you mean 'midjourney'? Known: dalle2, midjourney"
    """
    names = sorted(str(name) for name in known)
    near = difflib.get_close_matches(str(given), names, n=1)
    hint = f"; did you mean {near[0]!r}?" if near else "."
    shown = ", ".join(names[:20]) + (f", … ({len(names)} in all)" if len(names) > 20 else "")
    return InputError(f"unknown {kind} {str(given)!r}{hint} Known: {shown or '(none)'}")
