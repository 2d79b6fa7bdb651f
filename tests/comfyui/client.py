"""ComfyUI's HTTP and websocket interface, as the tests use it."""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

# A proxy of the environment is not asked for a server on this machine.
_open = urllib.request.build_opener(urllib.request.ProxyHandler({})).open


@dataclass(frozen=True)
class NodeError:
    """Why a node stopped a run.

    Attributes:
        message: As the user reads it.
        exception_type: With its module, except for builtins.
    """

    node_id: str
    node_type: str
    message: str
    exception_type: str
    traceback: str = field(repr=False)


@dataclass(frozen=True)
class Result:
    """How a run ended.

    Attributes:
        error: Set where the status is "error".
        outputs: What each output node shows, by node id, as in ComfyUI's history.
        cached: Ids of the nodes that were not executed again.
        seconds: From its start to its end, without the time in the queue.
    """

    prompt_id: str
    status: Literal["success", "error", "interrupted"]
    error: NodeError | None
    outputs: dict[str, dict[str, Any]]
    cached: frozenset[str]
    seconds: float

    def saved(self) -> list[tuple[str, str]]:
        """List what the run wrote into the output folder: node id, and path below that folder."""
        return [
            (node, f"{item['subfolder']}/{item['filename']}".lstrip("/"))
            for node, output in self.outputs.items()
            for items in output.values()
            if isinstance(items, list)
            for item in items
            if isinstance(item, dict) and item.get("type") == "output"
        ]

    def text(self, node_id: str) -> str:
        """Join the text that a node shows."""
        return "\n".join(self.outputs[node_id]["text"])


@dataclass(frozen=True)
class InputError:
    """One complaint of the check that comes before a run.

    Attributes:
        input_name: Empty where the complaint is not about one input.
        kind: ComfyUI's name of it, e.g. ``"return_type_mismatch"``.
    """

    node_id: str
    node_type: str
    input_name: str
    kind: str
    message: str
    details: str


class RejectedError(Exception):
    """ComfyUI did not queue a prompt.

    Attributes:
        kind: ComfyUI's name of the reason, e.g. ``"prompt_outputs_failed_validation"``.
        errors: One entry for each complaint about a node.
    """

    def __init__(self, answer: Mapping[str, Any]) -> None:
        error = answer["error"]
        super().__init__(f"{error['message']}: {error['details']}")
        self.kind: str = error["type"]
        self.errors = [
            InputError(
                node_id,
                node["class_type"],
                (item.get("extra_info") or {}).get("input_name", ""),
                item["type"],
                item["message"],
                item["details"],
            )
            for node_id, node in (answer.get("node_errors") or {}).items()
            for item in node["errors"]
        ]


class Client:
    """One user of a running ComfyUI."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.id = uuid.uuid4().hex

    def get(self, path: str) -> Any:
        """Fetch JSON, e.g. of ``"/system_stats"``."""
        return json.loads(self.fetch(path))

    def fetch(self, path: str) -> bytes:
        with _open(self.url + path, timeout=60) as response:
            return response.read()

    def post(self, path: str, body: Mapping[str, Any]) -> Any:
        """Send JSON; gives the answer's JSON, or None where it is empty."""
        data = json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, data, {"Content-Type": "application/json"})  # noqa: S310 - ours
        with _open(request, timeout=60) as response:
            answer = response.read()
        return json.loads(answer) if answer else None

    def object_info(self) -> dict[str, dict[str, Any]]:
        """Fetch what each registered node takes and gives, by node id."""
        return self.get("/object_info")

    def upload(self, path: Path, name: str | None = None) -> str:
        """Put a file into the input folder, over one of that name; gives the value for a Load node."""
        mark = uuid.uuid4().hex
        head = (
            f'--{mark}\r\nContent-Disposition: form-data; name="overwrite"\r\n\r\ntrue\r\n'
            f'--{mark}\r\nContent-Disposition: form-data; name="image"; filename="{name or path.name}"\r\n'
            "Content-Type: application/octet-stream\r\n\r\n"
        )
        body = head.encode() + path.read_bytes() + f"\r\n--{mark}--\r\n".encode()
        headers = {"Content-Type": f"multipart/form-data; boundary={mark}"}
        with _open(urllib.request.Request(f"{self.url}/upload/image", body, headers), timeout=60) as response:  # noqa: S310
            return json.load(response)["name"]

    def queue(self, prompt: Mapping[str, Any], **extra_data: Any) -> str:
        """Ask for a run of an API-format prompt.

        Returns:
            The prompt's id.

        Raises:
            RejectedError: If ComfyUI's own check refuses it.
        """
        body = {"prompt": prompt, "client_id": self.id, "extra_data": extra_data}
        try:
            return self.post("/prompt", body)["prompt_id"]
        except urllib.error.HTTPError as error:
            if error.code != 400:
                raise
            raise RejectedError(json.load(error)) from None

    def wait(self, prompt_id: str, timeout: float = 300) -> Result:
        """Wait for the end of a run, whatever it is.

        Raises:
            TimeoutError: If it does not end in time.
        """
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            if entry := self.get(f"/history/{prompt_id}").get(prompt_id):
                return _result(prompt_id, entry)
            time.sleep(0.1)
        raise TimeoutError(f"The prompt {prompt_id} did not end within {timeout:g} s.")

    def run(self, prompt: Mapping[str, Any], timeout: float = 300) -> Result:
        """Queue a prompt and wait for its end."""
        return self.wait(self.queue(prompt), timeout)

    def interrupt(self) -> None:
        """Cancel what runs now."""
        self.post("/interrupt", {})

    @contextmanager
    def events(self, timeout: float = 300) -> Iterator[Iterator[dict[str, Any] | bytes]]:
        """Listen to what the server tells this client; open it before ``queue``.

        Yields:
            Messages as they come: JSON ones as dicts with "type" and "data", binary ones (previews) as bytes. It raises
            TimeoutError where none comes for that many seconds.
        """
        from websockets.sync.client import connect

        address = self.url.replace("http", "ws", 1) + f"/ws?clientId={self.id}"
        with connect(address, proxy=None, max_size=None) as socket:

            def messages() -> Iterator[dict[str, Any] | bytes]:
                while True:
                    message = socket.recv(timeout)
                    yield json.loads(message) if isinstance(message, str) else message

            yield messages()


def _result(prompt_id: str, entry: Mapping[str, Any]) -> Result:
    messages: dict[str, dict[str, Any]] = dict(entry["status"]["messages"])
    error, status = None, "success"
    if told := messages.get("execution_error"):
        status = "error"
        error = NodeError(
            str(told["node_id"]),
            told["node_type"],
            told["exception_message"].strip(),
            told["exception_type"],
            "".join(told["traceback"]),
        )
    elif "execution_interrupted" in messages:
        status = "interrupted"
    elif "execution_success" not in messages:
        raise RuntimeError(f"The prompt {prompt_id} ended with none of the known messages: {list(messages)}.")
    times = [message["timestamp"] for message in messages.values()]
    cached = messages.get("execution_cached", {}).get("nodes", [])
    return Result(prompt_id, status, error, entry["outputs"], frozenset(cached), (max(times) - min(times)) / 1000)
