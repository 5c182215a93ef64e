"""Seeds that any process can derive again from names and numbers."""

from __future__ import annotations

import hashlib

import numpy as np

from interp.errors import InputError


def derive_seed(*parts: str | int | np.integer) -> int:
    """A seed that depends on `parts` alone: the same in every process and on every machine.

    63 bits of the SHA-256 of the parts; their order, borders and types count.

    Raises:
        InputError: a part that is neither a string nor a whole number.

    >>> derive_seed("imagenet/n01440764.jpg", "jpeg", 50)
    4322008759838660133
    """
    digest = hashlib.sha256()
    for part in parts:
        if isinstance(part, bool) or not isinstance(part, (str, int, np.integer)):
            raise InputError(
                f"a seed is derived from strings and whole numbers; given {part!r}. Pass str(...) of it"
            )
        text = (part if isinstance(part, str) else str(int(part))).encode()
        digest.update(b"%s%d:%s" % (b"s" if isinstance(part, str) else b"i", len(text), text))
    return int.from_bytes(digest.digest()[:8], "big") >> 1
