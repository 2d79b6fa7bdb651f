"""Fetching the weight files from Hugging Face, or from the mirror that ``HF_ENDPOINT`` names."""

from __future__ import annotations

import errno
import io
import os
import re
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ..errors import ConfigurationError, WeightsError
from .files import FILES, ModelFile, Source, locate, models_folder
from .integrity import sha256_of
from .reports import FileReport, Progress

_SHA256 = re.compile(r"[0-9a-f]{64}")


def licence_text(files: Sequence[ModelFile] = FILES) -> str:
    """Whose files these are and what they may be used for, in several lines, to be shown before the download."""
    lines = ["These files belong to others, who publish them under their own terms:"]
    for source in dict.fromkeys(file.source for file in files):
        size = sum(file.size for file in files if file.source == source)
        lines.append(f"  {_page(source, None)} ({size / 1e6:,.0f} MB): {source.licence}")
        if source.is_gated:
            lines.append("    Gated: accept its licence on that page and log in (`hf auth login`, or HF_TOKEN) first.")
    lines.append("Read the terms on these pages. By downloading you accept them.")
    return "\n".join(lines)


def download(
    accept_licence: Callable[[str], bool],
    folder: str | Path | None = None,
    *,
    files: Sequence[ModelFile] = FILES,
    token: str | bool | None = None,
    endpoint: str | None = None,
    on_progress: Progress | None = None,
) -> list[FileReport]:
    """Fetch the files that a models folder lacks.

    A file gets its name only when it is whole: as long as the server says, and of the SHA-256 that the server or the
    table of files knows. Until then it is a ``.part`` file, from whose end the next call goes on.

    Args:
        accept_licence: Shows its argument, ``licence_text`` of the files to fetch, and tells whether the user accepts.
        folder: As for ``find_models``; made if it is not there.
        token: Hugging Face token; if not given, the one of ``HF_TOKEN`` or of ``hf auth login``; False for none.
        endpoint: Base address of the server; if not given, ``HF_ENDPOINT`` or Hugging Face itself.
        on_progress: Called with a file's name, its bytes so far and in all.

    Returns:
        One report for each file. Failures are reported, and the other files fetched.

    Raises:
        ConfigurationError: If the licence is not accepted; nothing was fetched.
        WeightsError: If the folder is a file.
    """
    folder = models_folder(folder)
    found = {file: locate(folder, file) for file in files}
    wanted = [file for file in files if found[file] is None]
    if wanted and not accept_licence(licence_text(wanted)):
        raise ConfigurationError("The licences of the weights were not accepted, so nothing was downloaded.")
    hub = _Hub(endpoint or os.environ.get("HF_ENDPOINT") or "https://huggingface.co", token)
    reports = []
    for file in files:
        path = found[file]
        if path is not None:
            reports.append(FileReport(file, path, "present"))
            continue
        try:
            path = _fetch(hub, folder, file, on_progress)
        except WeightsError as error:
            reports.append(FileReport(file, folder / file.filename, "failed", str(error)))
        else:
            reports.append(FileReport(file, path, "downloaded"))
    return reports


@dataclass(frozen=True)
class _Remote:
    """What the server tells of a file."""

    url: str
    size: int
    etag: str


def _fetch(hub: _Hub, folder: Path, file: ModelFile, on_progress: Progress | None) -> Path:
    path = folder / file.filename
    remote = hub.describe(file)
    # The name holds the content's tag, so that a file which changed on the server is not continued.
    part = path.with_name(f"{path.name}.{re.sub('[^0-9A-Za-z]', '', remote.etag)[:16]}.part")
    with _local_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        part.touch()
        done = part.stat().st_size
    if done > remote.size:
        part.unlink()
        part.touch()
        done = 0
    free = shutil.disk_usage(path.parent).free
    if free < remote.size - done:
        raise WeightsError(
            f"{path} needs {(remote.size - done) / 1e6:,.0f} MB and the disk has {free / 1e6:,.0f} MB left; make room, "
            f"or choose another folder."
        )
    if done < remote.size:
        with _local_errors(path):
            _append(hub, file, remote, part, on_progress)
    _check_whole(part, file, remote)
    with _local_errors(path):
        os.replace(part, path)
        for stale in path.parent.glob(f"{path.name}.*.part"):
            stale.unlink()
    return path


class _BrokenOffError(WeightsError):
    """The connection failed; another attempt may go on."""


def _append(hub: _Hub, file: ModelFile, remote: _Remote, part: Path, on_progress: Progress | None) -> None:
    """Fetch the rest of a file; a connection that breaks off is taken up again as long as each one brings something."""
    while True:
        before = part.stat().st_size
        try:
            with _CountingFile(part, file.filename, remote.size, on_progress) as stream:
                return hub.stream(file, remote, stream)
        except _BrokenOffError:
            if part.stat().st_size <= before:
                raise


def _check_whole(part: Path, file: ModelFile, remote: _Remote) -> None:
    size = part.stat().st_size
    if size < remote.size:
        raise WeightsError(
            f"The connection broke off after {size} of {remote.size} bytes of {file.filename}; start the download "
            "again to go on from there."
        )
    # The tag of a file in Git LFS is its SHA-256; other tags say nothing about the content.
    expected = file.sha256 or (remote.etag if _SHA256.fullmatch(remote.etag) else None)
    actual = sha256_of(part) if expected else None
    if size > remote.size or actual != expected:
        part.unlink()
        raise WeightsError(
            f"What was received as {file.filename} is not the published file (SHA-256 {actual} where {expected} is "
            "expected), so it was deleted; download it again, and check HF_ENDPOINT and proxies if that repeats."
        )


class _CountingFile(io.BufferedWriter):
    """A file that is appended to, and reports how long it is."""

    def __init__(self, path: Path, name: str, total: int, on_progress: Progress | None) -> None:
        super().__init__(io.FileIO(path, "r+"))
        self._progress = (name, total, on_progress)
        self.seek(0, io.SEEK_END)

    def write(self, data: bytes, /) -> int:  # pyright: ignore[reportIncompatibleMethodOverride]
        written = super().write(data)
        name, total, on_progress = self._progress
        if on_progress:
            on_progress(name, self.tell(), total)
        return written


class _Hub:
    """A Hugging Face server.

    Files are read over plain HTTP and not through Xet, which cannot go on with a file that an earlier process began.
    """

    def __init__(self, endpoint: str, token: str | bool | None) -> None:
        self._endpoint = endpoint.rstrip("/")
        self._token = token

    def describe(self, file: ModelFile) -> _Remote:
        """Ask for a file's size and tag.

        Raises:
            WeightsError: If the server cannot be reached, refuses, or does not answer as Hugging Face does.
        """
        from huggingface_hub import get_hf_file_metadata, hf_hub_url

        source = file.source
        url = hf_hub_url(source.repository, file.remote_filename, revision=source.revision, endpoint=self._endpoint)
        with self._remote_errors(file):
            metadata = get_hf_file_metadata(url, token=self._token)
        if metadata.size is None or metadata.etag is None or metadata.commit_hash is None:
            raise WeightsError(
                f"{self._endpoint} does not answer for {file.remote_filename} as a Hugging Face server does (size, tag "
                "and commit of the file); check HF_ENDPOINT and proxies."
            )
        return _Remote(url, metadata.size, metadata.etag)

    def stream(self, file: ModelFile, remote: _Remote, stream: _CountingFile) -> None:
        """Append what is missing of a file.

        Raises:
            WeightsError: If the server cannot be reached, refuses, or breaks off.
        """
        from huggingface_hub.file_download import http_get
        from huggingface_hub.utils import build_hf_headers

        # Uncompressed, because a range counts the bytes that are sent.
        headers = build_hf_headers(token=self._token, headers={"Accept-Encoding": "identity"})
        with self._remote_errors(file), _no_progress_bars():
            http_get(remote.url, stream, resume_size=stream.tell(), headers=headers, expected_size=remote.size)

    @contextmanager
    def _remote_errors(self, file: ModelFile) -> Iterator[None]:
        from huggingface_hub.utils import HfHubHTTPError

        # Base of the HTTP library's errors; huggingface_hub 0.x (where all of them are OSErrors), 1.x and 2.x each use
        # another library.
        transport_error: type[Exception] = HfHubHTTPError.__bases__[0]
        try:
            yield
        except HfHubHTTPError as error:
            raise WeightsError(self._refusal(file, error.response.status_code)) from error
        except transport_error as error:
            raise _BrokenOffError(self._broken(file, error)) from error
        except OSError as error:
            if error.errno is not None and not isinstance(error, ConnectionError):
                raise  # The disk's, not the network's.
            raise _BrokenOffError(self._broken(file, error)) from error

    def _refusal(self, file: ModelFile, status: int) -> str:
        page = _page(file.source, self._endpoint)
        if status in (401, 403) and file.source.is_gated:
            return (
                f"{page} is gated and refused {file.remote_filename} (HTTP {status}): accept the licence on that page, "
                "then log in with `hf auth login` or set HF_TOKEN, and start the download again."
            )
        if status in (401, 403):
            return f"{page} refused {file.remote_filename} (HTTP {status}): check the token in HF_TOKEN or `hf auth`."
        if status == 404:
            return f"{page} has no {file.remote_filename} at revision {file.source.revision}: check HF_ENDPOINT."
        return f"{page} answered HTTP {status} for {file.remote_filename}: try again later."

    def _broken(self, file: ModelFile, error: Exception) -> str:
        cause = (str(error) or type(error).__name__).splitlines()[0]
        return (
            f"{file.filename} could not be fetched from {self._endpoint} ({cause}): check the network, proxies and "
            "HF_ENDPOINT, then start the download again; it goes on where it stopped."
        )


@contextmanager
def _local_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            message = f"The disk is full while writing {path}; make room and start the download again."
        else:
            message = f"{path} cannot be written ({error.strerror or error}); check the folder and its permissions."
        raise WeightsError(message) from error


@contextmanager
def _no_progress_bars() -> Iterator[None]:
    from huggingface_hub.utils import are_progress_bars_disabled, disable_progress_bars, enable_progress_bars

    if are_progress_bars_disabled():
        yield
        return
    disable_progress_bars()
    try:
        yield
    finally:
        enable_progress_bars()


def _page(source: Source, endpoint: str | None) -> str:
    return f"{endpoint or 'https://huggingface.co'}/{source.repository}"
