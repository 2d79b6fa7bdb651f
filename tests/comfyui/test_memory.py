"""A full memory, the cancel button and memory that is given back, over the HTTP API."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from .client import Client, Result
from .server import Server
from .small_graph import NUM_FRAMES, PADDING, PREFIX, SIZE, node, prompt_for, small_graph, tensor, thing
from .videos import read_facts

TIP = "This error means you ran out of memory on your GPU."
WORKING = {"VideoPredictor", "Denoiser"}
SECONDS_OF_A_CALL = 0.3


@pytest.fixture
def client(strange_server: Server) -> Client:
    return Client(strange_server.url)


def memory(client: Client, graph: dict[str, Any]) -> dict[str, list[str]]:
    """What lives in the server: objects that a sampler works with, and models that ComfyUI holds.

    Args:
        graph: Whose results ComfyUI is to keep; nothing of it is executed.
    """
    kept = prompt_for("decoded", graph)
    del kept["shown"]
    result = client.run(kept | {"memory": node("StrangerMemory")})
    return json.loads(result.text("memory"))


def graph_with_model(failures: int = 0, seconds: float = 0, **sampler: Any) -> dict[str, Any]:
    """The small graph with a model that fails at first, or is slow."""
    graph = small_graph()
    graph["strange_model"] = node("StrangerModel", model=["loaders", 0], failures=failures, seconds=seconds)
    for name in ("sampler", "guider"):
        graph[name]["inputs"]["model"] = ["strange_model", 0]
    graph["sampler"]["inputs"] |= sampler
    return graph


def graph_with_vae(most_frames: int = 99, seconds: float = 0) -> dict[str, Any]:
    """The small graph with a VAE that decodes few frames at a time, or slowly."""
    graph = small_graph()
    graph["strange_vae"] = node("StrangerVAE", vae=["vae", 0], most_frames=most_frames, seconds=seconds)
    for name in ("decoded", "saved_video"):
        graph[name]["inputs"]["vae"] = ["strange_vae", 0]
    return graph


@pytest.mark.parametrize("failures", [1, 2])
def test_a_full_memory_is_met_with_less_and_said(client: Client, failures: int) -> None:
    result = client.run(prompt_for("sampler", graph_with_model(failures, seed=10 + failures), output=1))
    assert result.status == "success", result.error
    said = re.findall(r"Out of memory; going on with (.*) \(same result, slower\)", result.text("shown"))
    assert said == ["one branch at a time", "one branch at a time and chunked feed-forward"][:failures]


def test_a_full_memory_through_the_guider(client: Client) -> None:
    result = client.run(prompt_for("any_sampler", graph_with_model(failures=2, seconds=0.001)))
    assert result.status == "success", result.error


@pytest.mark.parametrize(
    ("target", "kind"), [("sampler", f"{PREFIX}Sampler"), ("any_sampler", "SamplerCustomAdvanced")]
)
def test_a_memory_that_stays_full(client: Client, target: str, kind: str) -> None:
    graph = graph_with_model(failures=1000)
    assert client.run(prompt_for("appearance", graph)).status == "success"
    assert memory(client, graph)["loaded"]
    result = client.run(prompt_for(target, graph))
    assert result.status == "error"
    assert result.error is not None
    assert result.error.node_type == kind
    assert result.error.exception_type.endswith("OutOfMemoryError")
    message, _, tip = result.error.message.partition("\n")
    assert re.match(r"Out of memory with 4 frames .* lower context_window, or size .* fp8 weight_dtype", message)
    assert tip.startswith(TIP)
    # Core unloads all models then, and nothing of the run is left.
    left = memory(client, graph)
    assert left["loaded"] == []
    assert not WORKING & set(left["sampling"])
    assert client.run(prompt_for(target)).status == "success"


@pytest.mark.parametrize("target", ["decoded", "saved_video"])
def test_decoding_goes_on_with_fewer_frames(client: Client, strange_server: Server, target: str) -> None:
    with client.events(60) as events:
        graph = graph_with_vae(most_frames=2)
        prompt = client.queue(prompt_for(target, graph))
        said = [
            message[8 + int.from_bytes(message[4:8], "big") :].decode()
            for message in until_end(events)
            if isinstance(message, bytes) and message[:4] == b"\0\0\0\3"
        ]
    result = client.wait(prompt)
    assert result.status == "success", result.error
    assert any(line.startswith("Out of memory: from frame 0 on, 2 frames are decoded together") for line in said), said
    if target == "saved_video":
        ((_, name),) = result.saved()
        assert read_facts(strange_server.output / name).num_frames == NUM_FRAMES


@pytest.mark.parametrize("target", ["decoded", "saved_video"])
def test_a_frame_that_does_not_fit(client: Client, strange_server: Server, target: str) -> None:
    before = files_in(strange_server.output)
    error = client.run(prompt_for(target, graph_with_vae(most_frames=0))).error
    assert error is not None
    assert error.node_type == f"{PREFIX}{'Decode' if target == 'decoded' else 'SaveVideo'}"
    message, _, tip = error.message.partition("\n")
    assert re.match("Out of memory with chunk_size 1, a single frame of 64×64 pixels: lower size .* vae", message)
    assert tip.startswith(TIP)
    assert files_in(strange_server.output) == before
    assert client.run(prompt_for("decoded")).status == "success"


def files_in(folder: Path) -> set[Path]:
    return {path for path in folder.rglob("*") if path.is_file()}


def until_end(events: Any) -> list[Any]:
    """Messages up to the end of the run."""
    messages = []
    for message in events:
        messages.append(message)
        ended = ("execution_success", "execution_error", "execution_interrupted")
        if isinstance(message, dict) and message["type"] in ended:
            return messages
    return messages


def cancel(client: Client, prompt: dict[str, Any], count: Callable[[], int]) -> tuple[Result, int, float]:
    """Start a run, cancel it in the middle of its fourth unit of work, and wait for its end.

    Of a sampler that is the first of the three windows of its second step: to wait for the step's end would show.

    Args:
        count: How many units of work have begun in the server.

    Returns:
        The result, units that began after the cancel, and the seconds that it took.
    """
    before = count()
    prompt_id = client.queue(prompt)
    deadline = time.monotonic() + 60
    while count() < before + 4:
        assert time.monotonic() < deadline, "the run did not get to its fourth unit of work"
        time.sleep(0.02)
    reached = count()
    client.interrupt()
    start = time.monotonic()
    result = client.wait(prompt_id, timeout=60)
    return result, count() - reached, time.monotonic() - start


def long_driver(graph: dict[str, Any], num_frames: int) -> None:
    graph["driver"] = tensor(num_frames, SIZE, SIZE, 3)


def sampling(target: str) -> tuple[dict[str, Any], str, str]:
    graph = graph_with_model(seconds=SECONDS_OF_A_CALL, steps=500)
    graph["sigmas"]["inputs"]["steps"] = 500
    return graph, target, "the UNet was called"


def detecting() -> tuple[dict[str, Any], str, str]:
    graph = small_graph()
    long_driver(graph, 400)
    graph["slow"] = thing("slowly finds nothing")
    graph["driver_face"]["inputs"] |= {"face_detector": ["slow", 0], "box_width": 0, "box_height": 0}
    return graph, "driver_face", "a picture was looked at"


def posing() -> tuple[dict[str, Any], str, str]:
    graph = small_graph()
    long_driver(graph, 400)
    graph["slow"] = thing("slowly finds somebody")
    graph["pose"]["inputs"]["pose_detector"] = ["slow", 0]
    return graph, "pose", "a picture was looked at"


def decoding(target: str) -> tuple[dict[str, Any], str, str]:
    graph = graph_with_vae(seconds=SECONDS_OF_A_CALL)
    graph["latents"] = node("StrangerLatent", shape="400 4 8 8", fill="ramp")
    graph[target]["inputs"] |= {"samples": ["latents", 0], "chunk_size": 1}
    for name in ("portrait", "square", "mask", "background"):
        graph[target]["inputs"].pop(name, None)
    return graph, target, "frames were decoded"


@pytest.mark.parametrize(
    ("graph", "target", "unit"),
    [
        pytest.param(*sampling("sampler"), id="sampler"),
        pytest.param(*sampling("any_sampler"), id="guider"),
        pytest.param(*detecting(), id="detect faces"),
        pytest.param(*posing(), id="align pose"),
        pytest.param(*decoding("decoded"), id="decode"),
        pytest.param(*decoding("saved_video"), id="save long video"),
    ],
)
def test_cancel_takes_effect_within_one_unit_of_work(
    client: Client,
    strange_server: Server,
    graph: dict[str, Any],
    target: str,
    unit: str,
    record_property: Callable[[str, object], None],
) -> None:
    files = files_in(strange_server.output)
    result, more, seconds = cancel(client, prompt_for(target, graph), lambda: strange_server.log.count(unit))
    assert result.status == "interrupted"
    # The one that had begun, and at most one that begins while the message is on its way.
    assert more <= 1
    record_property("seconds_to_cancel", seconds)
    print(f"cancelled after {seconds:.2f} s, where one unit of work takes {SECONDS_OF_A_CALL} s")
    assert files_in(strange_server.output) == files
    assert not WORKING & set(memory(client, graph)["sampling"])
    assert client.run(prompt_for("decoded")).status == "success"


def test_models_can_be_unloaded_and_come_back(client: Client) -> None:
    graph = small_graph()
    graph["sampler"]["inputs"]["seed"] = 77
    assert client.run(prompt_for("pasted", graph)).status == "success"
    assert "PortraitModel" in memory(client, graph)["loaded"]

    client.post("/free", {"unload_models": True, "free_memory": True})
    deadline = time.monotonic() + 30
    while left := memory(client, graph)["loaded"]:
        assert time.monotonic() < deadline, left
        time.sleep(0.1)
    assert memory(client, graph)["sampling"] == []

    again = client.run(prompt_for("pasted", graph))
    assert again.status == "success", again.error
    assert "sampler" not in again.cached
    assert "PortraitModel" in memory(client, graph)["loaded"]


def test_the_report_tells_the_frames(client: Client) -> None:
    result = client.run(prompt_for("sampler", output=1))
    assert result.text("shown").startswith(f"{NUM_FRAMES} frames and 2×{PADDING} of padding in ")
