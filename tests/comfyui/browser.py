"""ComfyUI's page in a headless Chromium, driven through ``driver.js``."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from .client import Client
from .install import BUILD

FOLDER = BUILD / "browser"
SCREENSHOTS = BUILD / "screenshots"
PLAYWRIGHT = "playwright-core@1.65.1"  # brings no browser of its own
DRIVER = Path(__file__).with_name("driver.js")


def prepare_browser() -> str:
    """Install what is missing: Debian's Chromium where that is allowed, and what drives it.

    Returns:
        Why there can be no browser, or nothing.
    """
    if not (shutil.which("node") and shutil.which("npm")):
        return "no Node.js: install node and npm to try the pages in a browser"
    if not _find_chromium():
        if not shutil.which("apt-get") or os.geteuid():
            return "no Chromium, and only root on Debian can have it installed here: install chromium"
        for command in (("update",), ("install", "--yes", "--no-install-recommends", "chromium")):
            if failure := _run("apt-get", "-qq", *command, DEBIAN_FRONTEND="noninteractive"):
                return f"apt-get cannot install chromium: {failure}"
    if not (FOLDER / "node_modules" / "playwright-core" / "package.json").is_file():
        FOLDER.mkdir(parents=True, exist_ok=True)
        if failure := _run("npm", "install", "--no-package-lock", "--no-save", "--prefix", str(FOLDER), PLAYWRIGHT):
            return f"npm cannot install {PLAYWRIGHT}: {failure}"
    return ""


class Browser:
    """One page with a running ComfyUI in it, from ``with`` to the end of its block; closed dialogs, empty profile."""

    def __init__(self, url: str) -> None:
        self.url = url

    def __enter__(self) -> Browser:
        """Raises RuntimeError if there can be no browser, or the page does not come up."""
        if missing := prepare_browser():
            raise RuntimeError(missing)
        # Text is drawn however small, so that a screenshot of a whole graph can be read.
        settings = {"Comfy.TutorialCompleted": True, "LiteGraph.Canvas.MinFontSizeForLOD": 0}
        Client(self.url).post("/settings", settings)
        self._process = subprocess.Popen(  # noqa: S603 - nothing from outside
            [_which("node"), str(DRIVER)],
            env=os.environ | {"NODE_PATH": str(FOLDER / "node_modules")},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        try:
            self._do("open", executable=_find_chromium(), url=self.url)
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        try:
            self._do("close")
        finally:
            self._process.communicate(timeout=30)

    def evaluate(self, code: str) -> Any:
        """Give the value of a JavaScript expression in the page; a promise is awaited."""
        return self._do("evaluate", code=code)

    def drop(self, workflow: Path) -> None:
        """Drop a UI-format file on the canvas and wait until it is open."""
        self._do("drop", name=workflow.name, text=workflow.read_text(encoding="utf-8"))

    def problems(self) -> list[str]:
        """List what is wrong: "no node <type>", "missing model <file>", other errors, what the page threw."""
        return self._do("problems")

    def prompt(self) -> dict[str, Any]:
        """Export the graph on the canvas: "workflow" in the UI format, "output" in the API format.

        Core's Load Video has a widget more once its video is loaded, which ComfyUI does not know of; it is left out.
        """
        prompt = self._do("prompt")
        for node in prompt["output"].values():
            node["inputs"].pop("video-preview", None)
        return prompt

    def change(self, values: Mapping[str, Mapping[str, Any]], cut: Sequence[tuple[str, str]]) -> None:
        """Set widgets, by node id and name, and disconnect inputs."""
        self._do("change", values=values, cut=cut)

    def run(self, timeout: float = 120) -> dict[str, Any]:
        """Press Run and wait for the end.

        Returns:
            "event" — an end as ComfyUI names it ("execution_success") or "rejected" — and "detail".
        """
        return self._do("run", timeout=timeout)

    def show(self) -> int:
        """Bring the whole graph into view, its videos loaded; gives how many of these there are."""
        return self._do("show")

    def templates(self, pack: str) -> dict[str, int]:
        """Open Templates at a pack; gives the width (pixels, 0 without one) of each template's thumbnail, by name."""
        return self._do("templates", pack=pack)

    def choose(self, template: str) -> None:
        """Click a template, with Templates open, and wait until it is on the canvas."""
        self._do("choose", template=template)

    def help(self, node_type: str) -> str:
        """Open the help page of a node that is on the canvas; gives its text."""
        return self._do("help", type=node_type)

    def screenshot(self, name: str) -> Path:
        """Save what is seen as ``build/comfyui/screenshots/<name>.png``."""
        SCREENSHOTS.mkdir(parents=True, exist_ok=True)
        path = SCREENSHOTS / f"{name}.png"
        self._do("screenshot", path=str(path))
        return path

    def _do(self, command: str, /, **options: Any) -> Any:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps({"do": command, **options}) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"driver.js ended with {self._process.wait()} while it should {command}.")
        answer = json.loads(line)
        if "error" in answer:
            raise RuntimeError(f"The browser could not {command}: {answer['error']}")
        return answer["value"]


def _find_chromium() -> str | None:
    return shutil.which("chromium") or shutil.which("chromium-browser")


def _which(program: str) -> str:
    found = shutil.which(program)
    assert found
    return found


def _run(program: str, *arguments: str, **environment: str) -> str:
    """Run a program to its end; gives the end of what it printed if it failed."""
    command = [_which(program), *arguments]
    done = subprocess.run(  # noqa: S603 - nothing from outside
        command,
        env=os.environ | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    return done.stdout[-1000:] or f"exit status {done.returncode}" if done.returncode else ""
