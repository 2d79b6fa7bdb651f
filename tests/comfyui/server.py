"""A running ComfyUI with folders of its own."""

from __future__ import annotations

import os
import socket
import subprocess
import time
import urllib.error
from pathlib import Path

from .client import Client
from .install import Installation, prepare_base


class Server:
    """ComfyUI as a process, from ``with`` to the end of its block.

    Attributes:
        base: Its ``--base-directory``: input, output, temp, user, models and custom_nodes.
        url: Set once it runs.
        client: Set once it runs.
    """

    def __init__(
        self,
        installation: Installation,
        base: Path,
        *,
        arguments: tuple[str, ...] = (),
        environment: dict[str, str] | None = None,
        with_pack: bool = True,
    ) -> None:
        """Make the folders that are missing.

        Args:
            arguments: More of them for ``main.py``.
            environment: Variables over those of this process.
            with_pack: Whether this checkout is linked into ``custom_nodes``.
        """
        self.installation = installation
        self.base = prepare_base(base.resolve(), with_pack=with_pack)
        self.arguments = arguments
        self.environment = environment or {}
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def output(self) -> Path:
        return self.base / "output"

    @property
    def input(self) -> Path:
        return self.base / "input"

    @property
    def models(self) -> Path:
        return self.base / "models"

    @property
    def log(self) -> str:
        """Everything that the process printed since its start."""
        return (self.base / "comfyui.log").read_text(errors="replace")

    def __enter__(self) -> Server:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        self.url = f"http://127.0.0.1:{port}"
        self.client = Client(self.url)
        command = [
            *(str(self.installation.python), str(self.installation.folder / "main.py")),
            *("--port", str(port), "--base-directory", str(self.base), "--cpu", "--disable-api-nodes"),
            # Its default lies beside main.py, in a checkout that is perhaps not ours.
            *("--database-url", f"sqlite:///{self.base}/user/comfyui.db"),
            *self.arguments,
        ]
        with (self.base / "comfyui.log").open("wb") as log:
            self._process = subprocess.Popen(  # noqa: S603 - nothing from outside
                command,
                cwd=self.installation.folder,
                env=os.environ | self.environment,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        try:
            self._wait_until_ready(180)
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = None

    def _wait_until_ready(self, seconds: float) -> None:
        assert self._process is not None
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if (status := self._process.poll()) is not None:
                raise RuntimeError(f"ComfyUI ended with status {status} while it started:\n{self.log[-5000:]}")
            try:
                self.client.get("/system_stats")
            except (urllib.error.URLError, OSError):
                time.sleep(0.2)
            else:
                return
        raise TimeoutError(f"ComfyUI did not answer within {seconds:g} s:\n{self.log[-5000:]}")
