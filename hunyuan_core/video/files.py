"""Files that appear whole or not at all."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import stat
from collections.abc import Iterator
from pathlib import Path

from ..errors import MediaError

_NO_SPACE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_NO_ACCESS = (errno.ENOENT, errno.ENOTDIR, errno.EACCES, errno.EPERM, errno.EROFS)


def write_error(path: Path, code: int | None, reason: str | None) -> MediaError:
    """Turn a failure to write into a message with its remedy.

    Args:
        code: The system's errno.
        reason: What the system or the library says about it.
    """
    if code in _NO_SPACE:
        return MediaError(f"No room to write {path} ({reason}); free some space or choose another output folder.")
    if code in _NO_ACCESS:
        return MediaError(
            f"Cannot write {path} ({reason}); choose an output folder that exists and that you may write to."
        )
    if code == errno.ENAMETOOLONG:
        return MediaError(f"Cannot write {path} ({reason}); choose a shorter name.")
    return MediaError(f"Cannot write {path} ({reason}); check the disk, or choose an output folder on another one.")


@contextlib.contextmanager
def temporary_beside(path: Path) -> Iterator[Path]:
    """Give a path in the folder of ``path`` and with its suffix; what is written there is removed at the end.

    Raises:
        MediaError: If the folder does not exist, is not writable or full, or ``path`` is a folder itself.
    """
    if _is_folder(path):
        raise MediaError(f"Cannot write {path}: it is a folder; give the name of a file in it.")
    # The target's own name plus a suffix could be longer than a file system allows.
    temporary = path.with_name(f".{secrets.token_hex(8)}{path.suffix}")
    try:
        with open(temporary, "xb"):
            pass
    except OSError as error:
        raise write_error(path, error.errno, error.strerror) from error
    try:
        yield temporary
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a temporary path whose file takes the place of ``path`` if the block ends without an exception.

    Raises:
        MediaError: As in temporary_beside, or if the file cannot be renamed.
    """
    target = path.resolve()  # a link keeps pointing at the file that is replaced
    with temporary_beside(target) as temporary:
        yield temporary
        try:
            os.replace(temporary, target)
        except OSError as error:
            raise write_error(path, error.errno, error.strerror) from error


def _is_folder(path: Path) -> bool:
    try:
        return stat.S_ISDIR(os.stat(path).st_mode)
    except FileNotFoundError:
        return False
    except OSError as error:  # a name that is too long is found out here, and else at the very end
        raise write_error(path, error.errno, error.strerror) from error
