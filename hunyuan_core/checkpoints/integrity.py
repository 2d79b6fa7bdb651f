"""Whether a file is what its name says, judged from its bytes alone."""

from __future__ import annotations

import hashlib
import zipfile
from pathlib import Path

from ..errors import WeightsError

_BLOCK = 1 << 20  # bytes
_ZIP = b"PK\x03\x04"
_PICKLE = b"\x80"  # of protocol 2 and later
_MAX_HEADER = 100_000_000  # bytes, the safetensors format's own limit
_DOWNLOAD_AGAIN = "delete it and fetch it again with `hunyuan-portrait download`"


def damaged(path: Path, what: str) -> WeightsError:
    """Make the error of a file that must be fetched again; ``what`` reads after the path."""
    return WeightsError(f"{path} {what}; {_DOWNLOAD_AGAIN}.")


def check_is_weights(path: Path) -> None:
    """Refuse what is often saved in the place of weights.

    Raises:
        WeightsError: If the path holds no file, an empty file, a Git LFS pointer, or a web page.
    """
    if not path.is_file():
        raise WeightsError(f"There is no weight file at {path}; check the path or run `hunyuan-portrait download`.")
    try:
        with path.open("rb") as stream:
            start = stream.read(512)
    except OSError as error:
        raise WeightsError(f"{path} cannot be read ({error.strerror}); check its permissions.") from error
    if not start:
        raise damaged(path, "is empty")
    if start.startswith(b"version https://git-lfs"):
        raise damaged(path, "is a Git LFS pointer and not the weights themselves")
    if start.lstrip(b"\xef\xbb\xbf \t\r\n").lower().startswith((b"<!doctype", b"<html", b"<?xml")):
        raise damaged(path, "is a saved web page and not weights")


def sha256_of(path: Path) -> str:
    """SHA-256 of a file's bytes, as 64 hexadecimal digits."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while block := stream.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()


def check_sha256(path: Path, expected: str) -> None:
    """Compare a file with its known checksum.

    Raises:
        WeightsError: If they differ; names both.
    """
    actual = sha256_of(path)
    if actual != expected:
        raise damaged(path, f"has the SHA-256 {actual} where {expected} is expected")


def is_archive(path: Path) -> bool:
    """Whether a torch checkpoint is a zip archive (torch >= 1.6), told as torch tells it; else it is a bare pickle."""
    with path.open("rb") as stream:
        return stream.read(4) == _ZIP


def is_safetensors(path: Path) -> bool:
    """Whether a file is safetensors by its content; what is no torch checkpoint either goes by its name."""
    with path.open("rb") as stream:
        start = stream.read(9)
    # The header, a JSON object, comes after its length in eight bytes.
    if start[8:] == b"{" and int.from_bytes(start[:8], "little") <= _MAX_HEADER:
        return True
    return path.suffix == ".safetensors" and not start.startswith((_ZIP, _PICKLE))


def check_archive(path: Path) -> None:
    """Compare every record of a zip archive with the checksum that the archive holds for it.

    Raises:
        WeightsError: If a record is damaged.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            record = archive.testzip()
    except zipfile.BadZipFile as error:
        raise damaged(path, f"is damaged ({error})") from error
    if record is not None:
        raise damaged(path, f"is damaged in its record {record}")
