"""Downloads from a small server on loopback that speaks as Hugging Face does, breaks off, and guards a repository."""

from __future__ import annotations

import hashlib
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import huggingface_hub.constants
import pytest

from hunyuan_core.checkpoints import FILES, FileReport, ModelFile, download, licence_text
from hunyuan_core.errors import ConfigurationError

BY_NAME = {file.name: file for file in FILES}
RELEASE = tuple(file for file in FILES if file.source.repository == "tencent/HunyuanPortrait")
GATED = tuple(file for file in FILES if file.source.is_gated)
TOKEN = "hf_of_the_test"  # noqa: S105 (of the server below)


@dataclass
class Hub:
    """What the server has, and what it was asked."""

    contents: dict[str, bytes]
    """By path: /repository/resolve/revision/filename."""
    gated: str
    break_after: dict[str, list[int]] = field(default_factory=dict)
    """By path, for each coming GET: the number of bytes after which the connection is cut."""
    claimed_size: dict[str, int] = field(default_factory=dict)
    etags: dict[str, str] = field(default_factory=dict)
    is_plain_web_server: bool = False
    requests: list[tuple[str, str, str | None]] = field(default_factory=list)
    """Method, path, Range header."""
    endpoint: str = ""

    def gets(self, name: str) -> list[str | None]:
        return [span for method, path, span in self.requests if method == "GET" and path == path_of(BY_NAME[name])]


def path_of(file: ModelFile) -> str:
    return f"/{file.source.repository}/resolve/{file.source.revision}/{file.remote_filename}"


def content_of(name: str) -> bytes:
    return hashlib.sha512(name.encode()).digest() * 4096  # 256 KiB, no two alike


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    hub: Hub

    def do_HEAD(self) -> None:
        self.answer(send_body=False)

    def do_GET(self) -> None:
        self.answer(send_body=True)

    def answer(self, *, send_body: bool) -> None:
        hub, span = self.hub, self.headers.get("Range")
        hub.requests.append((self.command, self.path, span))
        if self.path.startswith(hub.gated) and self.headers.get("Authorization") != f"Bearer {TOKEN}":
            return self.refuse(401, "GatedRepo")
        if self.path not in hub.contents:
            return self.refuse(404, "EntryNotFound")
        body = hub.contents[self.path]
        start = int(span.removeprefix("bytes=").rstrip("-")) if span else 0
        self.send_response(206 if span else 200)
        self.send_header("Content-Length", str(len(body) - start))
        self.send_header("ETag", f'"{hub.etags.get(self.path, hashlib.sha256(body).hexdigest())}"')
        if span:
            self.send_header("Content-Range", f"bytes {start}-{len(body) - 1}/{len(body)}")
        if not hub.is_plain_web_server:
            self.send_header("X-Repo-Commit", "0" * 40)
            self.send_header("X-Linked-Size", str(hub.claimed_size.get(self.path, len(body))))
        self.end_headers()
        if send_body:
            cuts = hub.break_after.get(self.path)
            self.close_connection = bool(cuts)
            self.wfile.write(body[start : start + cuts.pop(0)] if cuts else body[start:])
        return None

    def refuse(self, status: int, code: str) -> None:
        self.send_response(status)
        self.send_header("X-Error-Code", code)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    contents = {path_of(file): content_of(file.name) for file in FILES}
    hub = Hub(contents, gated=f"/{GATED[0].source.repository}/")
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("HandlerOfThisHub", (Handler,), {"hub": hub}))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    hub.endpoint = f"http://127.0.0.1:{server.server_port}"
    monkeypatch.setenv("HF_ENDPOINT", hub.endpoint)
    monkeypatch.setenv("HF_TOKEN", "")
    for variable in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(variable, raising=False)
    # Otherwise huggingface_hub asks its own server how to describe this machine.
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_DISABLE_TELEMETRY", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    # It writes in pieces of this size and drops the begun one when a connection breaks: small, as the files are.
    monkeypatch.setattr(huggingface_hub.constants, "DOWNLOAD_CHUNK_SIZE", 16_384)
    yield hub
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture(autouse=True)
def only_loopback(monkeypatch: pytest.MonkeyPatch) -> None:
    """Any attempt to reach another host fails the test that makes it."""
    resolve = socket.getaddrinfo

    def guarded(host: str | bytes | None, *args, **kwargs):
        assert host in ("127.0.0.1", b"127.0.0.1", "localhost"), f"the test tried to reach {host!r}"
        return resolve(host, *args, **kwargs)

    monkeypatch.setattr(socket, "getaddrinfo", guarded)


def fetch(folder: Path, files: tuple[ModelFile, ...], **settings) -> dict[str, FileReport]:
    settings = {"token": False} | settings
    return {report.file.name: report for report in download(lambda _: True, folder, files=files, **settings)}


def leftovers(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.rglob("*.part"))


def test_files_arrive_where_they_are_looked_for(hub: Hub, tmp_path: Path):
    seen: list[tuple[str, int, int]] = []
    reports = fetch(tmp_path, RELEASE, on_progress=lambda *step: seen.append(step))
    assert {report.status for report in reports.values()} == {"downloaded"}
    for file in RELEASE:
        assert (tmp_path / file.filename).read_bytes() == content_of(file.name)
        size = len(content_of(file.name))
        assert [step for step in seen if step[0] == file.filename][-1] == (file.filename, size, size)
    assert not leftovers(tmp_path)
    # A pinned revision is asked for.
    fetch(tmp_path, (BY_NAME["arcface"],))
    assert hub.requests[-1][1] == ("/FoivosPar/Arc2Face/resolve/da2f1e9aa3954dad093213acfc9ae75a68da6ffd/arcface.onnx")


def test_files_that_are_there_are_neither_asked_for_nor_licensed_again(hub: Hub, tmp_path: Path):
    fetch(tmp_path, RELEASE)
    (tmp_path / "hyportrait/unet.pth").rename(tmp_path / "hyportrait/unet.safetensors")
    hub.requests.clear()
    reports = download(lambda text: pytest.fail(f"asked for {text}"), tmp_path, files=RELEASE)
    assert {report.status for report in reports} == {"present"}
    assert not hub.requests


def test_a_connection_that_breaks_off_is_continued(hub: Hub, tmp_path: Path):
    unet = BY_NAME["unet"]
    hub.break_after[path_of(unet)] = [100_000]
    assert fetch(tmp_path, (unet,))["unet"].status == "downloaded"
    assert (tmp_path / unet.filename).read_bytes() == content_of("unet")
    first, second = hub.gets("unet")
    assert first is None
    assert second is not None
    assert 0 < int(second.removeprefix("bytes=").rstrip("-")) <= 100_000


class Stop(BaseException):
    """Stands for Ctrl-C."""


def test_a_stopped_download_is_continued_by_the_next_call(hub: Hub, tmp_path: Path):
    unet = BY_NAME["unet"]
    hub.break_after[path_of(unet)] = [100_000]

    def stop(*_: object) -> None:
        raise Stop

    with pytest.raises(Stop):
        fetch(tmp_path, (unet,), on_progress=stop)
    assert not (tmp_path / unet.filename).exists()
    (part,) = (tmp_path / "hyportrait").iterdir()
    begun = part.read_bytes()
    assert 0 < len(begun) <= 100_000
    assert content_of("unet").startswith(begun)

    hub.break_after.clear()
    hub.requests.clear()
    assert fetch(tmp_path, (unet,))["unet"].status == "downloaded"
    assert hub.gets("unet") == [f"bytes={len(begun)}-"]
    assert (tmp_path / unet.filename).read_bytes() == content_of("unet")
    assert not leftovers(tmp_path)


def test_a_file_that_changed_on_the_server_is_begun_anew(hub: Hub, tmp_path: Path):
    unet = BY_NAME["unet"]
    (tmp_path / "hyportrait").mkdir()
    (tmp_path / "hyportrait" / f"unet.pth.{'0' * 16}.part").write_bytes(b"of another version")
    assert fetch(tmp_path, (unet,))["unet"].status == "downloaded"
    assert hub.gets("unet") == [None]
    assert not leftovers(tmp_path)


def test_what_is_not_the_published_file_is_deleted(hub: Hub, tmp_path: Path):
    unet, yoloface = BY_NAME["unet"], BY_NAME["yoloface"]
    hub.etags[path_of(unet)] = "a" * 64
    reports = fetch(tmp_path, (unet, yoloface))
    assert reports["unet"].status == reports["yoloface"].status == "failed"
    assert f"{'a' * 64} is expected" in reports["unet"].message
    assert f"{yoloface.sha256} is expected" in reports["yoloface"].message
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_a_damaged_part_is_found_out_and_the_next_call_repairs_it(hub: Hub, tmp_path: Path):
    unet = BY_NAME["unet"]
    etag = hashlib.sha256(content_of("unet")).hexdigest()
    (tmp_path / "hyportrait").mkdir()
    (tmp_path / "hyportrait" / f"unet.pth.{etag[:16]}.part").write_bytes(b"damaged")
    assert fetch(tmp_path, (unet,))["unet"].status == "failed"
    assert fetch(tmp_path, (unet,))["unet"].status == "downloaded"


def test_the_gated_repository_is_explained_and_the_others_fetched(hub: Hub, tmp_path: Path):
    reports = fetch(tmp_path, (*GATED, BY_NAME["pose_guider"]))
    assert reports["pose_guider"].status == "downloaded"
    assert reports["vae"].status == "failed"
    message = reports["vae"].message
    assert f"{hub.endpoint}/stabilityai/stable-video-diffusion-img2vid-xt is gated" in message
    assert "accept the licence on that page" in message
    assert "`hf auth login`" in message
    assert "HF_TOKEN" in message
    assert "\n" not in message
    assert not (tmp_path / BY_NAME["vae"].filename).exists()


def test_a_token_opens_the_gated_repository(hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    assert fetch(tmp_path, GATED, token=TOKEN)["vae"].status == "downloaded"
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    assert fetch(tmp_path / "other", GATED, token=None)["vae"].status == "downloaded"


def test_the_licence_comes_first(hub: Hub, tmp_path: Path):
    shown: list[str] = []

    def refuse(text: str) -> bool:
        assert not hub.requests
        shown.append(text)
        return False

    with pytest.raises(ConfigurationError, match="not accepted"):
        download(refuse, tmp_path / "models")
    assert shown == [licence_text()]
    assert not hub.requests
    assert not (tmp_path / "models").exists()


def test_the_licence_names_each_publisher_and_the_terms():
    text = licence_text()
    for file in FILES:
        assert f"https://huggingface.co/{file.source.repository}" in text
        assert file.source.licence in text
    assert text.count("Gated") == 1
    assert "stabilityai" not in licence_text(RELEASE)


def test_a_file_that_the_server_lacks(hub: Hub, tmp_path: Path):
    del hub.contents[path_of(BY_NAME["unet"])]
    report = fetch(tmp_path, (BY_NAME["unet"],))["unet"]
    assert report.status == "failed"
    assert "has no hyportrait/unet.pth at revision main" in report.message


def test_a_server_that_is_not_there(tmp_path: Path, hub: Hub):
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        endpoint = f"http://127.0.0.1:{listener.getsockname()[1]}"
    report = fetch(tmp_path, (BY_NAME["unet"],), endpoint=endpoint)["unet"]
    assert report.status == "failed"
    assert f"could not be fetched from {endpoint}" in report.message
    assert "check the network" in report.message
    assert "\n" not in report.message


def test_a_web_server_that_is_no_hub(hub: Hub, tmp_path: Path):
    hub.is_plain_web_server = True
    report = fetch(tmp_path, (BY_NAME["unet"],))["unet"]
    assert report.status == "failed"
    assert "does not answer" in report.message
    assert not (tmp_path / "hyportrait").exists()


def test_too_little_room_is_said_before_anything_is_fetched(hub: Hub, tmp_path: Path):
    hub.claimed_size[path_of(BY_NAME["unet"])] = 10**18
    report = fetch(tmp_path, (BY_NAME["unet"],))["unet"]
    assert report.status == "failed"
    assert "needs 1,000,000,000,000 MB and the disk has" in report.message
    assert not hub.gets("unet")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_disk_that_fills_up(hub: Hub, tmp_path: Path):
    etag = hashlib.sha256(content_of("unet")).hexdigest()
    (tmp_path / "hyportrait").mkdir()
    (tmp_path / "hyportrait" / f"unet.pth.{etag[:16]}.part").symlink_to("/dev/full")
    report = fetch(tmp_path, (BY_NAME["unet"],))["unet"]
    assert report.status == "failed"
    assert "The disk is full while writing" in report.message
    assert not (tmp_path / "hyportrait" / "unet.pth").exists()


def test_a_folder_that_cannot_be_made(hub: Hub, tmp_path: Path):
    (tmp_path / "file").write_bytes(b"")
    report = fetch(tmp_path / "file/models", (BY_NAME["unet"],))["unet"]
    assert report.status == "failed"
    assert "cannot be written" in report.message


def test_a_table_with_the_wrong_checksum_is_believed_over_the_server(hub: Hub, tmp_path: Path):
    good = replace(BY_NAME["unet"], sha256=hashlib.sha256(content_of("unet")).hexdigest())
    hub.etags[path_of(good)] = "W/not-a-checksum"
    assert fetch(tmp_path, (good,))["unet"].status == "downloaded"
    bad = replace(BY_NAME["vision"], sha256="0" * 64)
    assert fetch(tmp_path, (bad,))["vision"].status == "failed"


def test_nothing_is_printed(hub: Hub, tmp_path: Path, capfd: pytest.CaptureFixture[str]):
    fetch(tmp_path, RELEASE)
    assert capfd.readouterr() == ("", "")


def test_a_report_is_one_line(hub: Hub, tmp_path: Path):
    lines = [str(report) for report in fetch(tmp_path, FILES).values()]
    assert all("\n" not in line for line in lines)
    assert sum(line.startswith("failed") for line in lines) == 3  # yoloface's checksum, the gated VAE and its config
