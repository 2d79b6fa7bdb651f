"""One process at a time in one folder."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import sys
from pathlib import Path
from typing import IO, ClassVar

from .errors import ConfigurationError

LOCK_NAME = "lock"
NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)
"""What a file system answers that knows no locks."""
_TAKEN = (errno.EACCES, errno.EAGAIN, errno.EDEADLK)


class FolderLock:
    """A lock that the system gives back when its process ends, however it ends: a dead process holds nothing.

    It holds between machines where the file system passes locks on, as NFS does. A process may take a lock that it has;
    the first release gives it back.

    Args:
        folder: Exists. A file of the name ``lock`` is left there.

    Raises:
        ConfigurationError: If another process has it; names that process.
        OSError: If the file cannot be made, or with an errno of ``NO_LOCKS``.
    """

    _held: ClassVar[dict[Path, IO[str]]] = {}

    def __init__(self, folder: Path) -> None:
        self._path = folder.resolve() / LOCK_NAME
        if self._path in self._held:
            return
        # Not "w", which would wipe out the name of the process that has it.
        file = open(self._path, "a+", encoding="utf-8")  # noqa: SIM115 - open as long as the lock is held
        try:
            _take(file)
        except OSError as error:
            holder = _holder(file)
            file.close()
            if error.errno not in _TAKEN:
                raise
            raise ConfigurationError(
                f"The folder {folder} is in use by {holder}; wait for it or stop it, or choose another folder."
            ) from error
        file.truncate(0)
        file.write(f"process {os.getpid()} on {socket.gethostname()}")
        file.flush()
        self._held[self._path] = file

    def release(self) -> None:
        """Give the lock back."""
        if file := self._held.pop(self._path, None):
            file.close()


def _take(file: IO[str]) -> None:
    if sys.platform == "win32":
        import msvcrt

        msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
    else:
        import fcntl

        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


def _holder(file: IO[str]) -> str:
    name = ""
    with contextlib.suppress(OSError, ValueError):  # Windows lets nobody read what is locked
        file.seek(0)
        name = file.read(200)
    return name or "another process"
