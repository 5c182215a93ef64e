"""One writer for one folder: a second process is refused, with the name of the first."""

from __future__ import annotations

import errno
import fcntl
import os
import socket
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from interp.errors import InputError

LOCK = ".writer"
"""Hidden file in the folder; empty while nobody writes, else it names who does."""

_held: set[str] = set()
_guard = threading.Lock()
_TAKEN = {errno.EACCES, errno.EAGAIN}
_NO_LOCKS = {errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP}


@contextmanager
def only_writer(folder: str | Path) -> Iterator[None]:
    """Be the only process that writes into a folder, which is made if it is missing.

    The lock is a POSIX record lock (`fcntl.lockf`): the system frees it when its process ends in whatever way, so
    that a kill leaves no stale lock, and decoding processes that outlive it for a moment do not hold it.
    Readers need no lock. On a file system without locks there is a warning, and no protection.

    Raises:
        InputError: another process, or this one, writes there already; or the folder cannot be written.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder, only_writer(folder), only_writer(folder):
    ...     pass
    Traceback (most recent call last):
    interp.errors.InputError: ... is being written by process ...; wait until it ends, or name another folder
    """
    folder = Path(folder)
    name = os.path.realpath(folder)
    with _guard:
        if name in _held:  # record locks do not hold against one's own process
            raise _taken(folder, _own_name())
        _held.add(name)
    try:
        file = _locked(folder)
        try:
            yield
        finally:
            os.ftruncate(file, 0)
            os.close(file)
    finally:
        with _guard:
            _held.discard(name)


def refuse_unwritable(folder: str | Path) -> None:
    """Raise now what `only_writer` would raise later: before an encoder is loaded, say.

    Raises:
        InputError: as `only_writer`.
    """
    with only_writer(folder):
        pass


def _locked(folder: Path) -> int:
    """Descriptor of the lock file; it is locked until it is closed."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        file = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT, 0o666)
    except OSError as error:
        raise _unwritable(folder, error) from error
    try:
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.ftruncate(file, 0)
        os.write(file, _own_name().encode())
    except OSError as error:
        if error.errno in _NO_LOCKS:
            warnings.warn(
                f"the file system of {folder} keeps no locks; see to it that one process writes there",
                stacklevel=4,
            )
            return file
        owner = os.read(file, 999).decode(errors="replace")
        os.close(file)
        if error.errno in _TAKEN:
            raise _taken(folder, owner) from None
        raise _unwritable(folder, error) from error
    return file


def _own_name() -> str:
    return f"process {os.getpid()} on {socket.gethostname()}"


def _taken(folder: Path, owner: str) -> InputError:
    return InputError(
        f"{folder} is being written by {owner or 'another process'}; wait until it ends, or name another folder"
    )


def _unwritable(folder: Path, error: OSError) -> InputError:
    return InputError(
        f"cannot write into {folder}: {error.strerror or error}; make it writable, or name another folder"
    )
