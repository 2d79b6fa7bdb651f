"""What a user sees of a run: only what changed is executed again, progress, previews, and text under the nodes."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest
from golden_cases import ROOT
from PIL import Image

from .adaptation import adapt
from .client import Client, Result
from .server import Server
from .small_graph import NUM_FRAMES, PADDING, SIZE, node, prompt_for, small_graph, tensor
from .videos import read_facts

STEPS = 4
PREVIEW, TEXT = 1, 3  # ComfyUI's kinds of binary messages
JPEG = 1


@pytest.fixture
def strange_client(strange_server: Server) -> Client:
    return Client(strange_server.url)


def watch(client: Client, prompt: dict[str, Any]) -> tuple[Result, list[Any]]:
    """Run a prompt; gives its end and every message until then."""
    messages = []
    with client.events(120) as events:
        prompt_id = client.queue(prompt)
        for message in events:
            messages.append(message)
            if isinstance(message, dict) and message["type"] in ("execution_success", "execution_error"):
                break
    return client.wait(prompt_id), messages


def executed(messages: list[Any]) -> list[str]:
    """Ids of the nodes that ran, in their order; cached ones are not among them."""
    started = [m["data"]["node"] for m in messages if isinstance(m, dict) and m["type"] == "executing"]
    return [name for name in started if name is not None]


def texts(messages: list[Any]) -> list[tuple[int, str, str]]:
    """Place among the messages, node and text of each line under a node."""
    found = []
    for place, message in enumerate(messages):
        if isinstance(message, bytes) and int.from_bytes(message[:4], "big") == TEXT:
            end = 8 + int.from_bytes(message[4:8], "big")
            found.append((place, message[8:end].decode(), message[end:].decode()))
    return found


def run(client: Client, target: str, graph: dict[str, Any]) -> set[str]:
    """Run the small graph up to a node; gives the ids of what was executed."""
    result, messages = watch(client, prompt_for(target, graph))
    assert result.status == "success", result.error
    return set(executed(messages))


def test_only_what_changed_is_executed_again(strange_client: Client) -> None:
    graph = small_graph()
    graph["sampler"]["inputs"]["seed"] = 1001
    run(strange_client, "pasted", graph)
    assert run(strange_client, "pasted", graph) == set()

    graph["sampler"]["inputs"]["seed"] = 1002
    assert run(strange_client, "pasted", graph) == {"sampler", "decoded", "pasted", "shown"}

    # One motion, another portrait.
    graph["portrait"] = tensor(1, SIZE, SIZE, 3, fill="0.4")
    again = run(strange_client, "pasted", graph)
    assert {"portrait_face", "appearance", "sampler"} <= again
    assert not {"motion", "driver_face", "loaders", "pose_detector"} & again

    graph["pasted"]["inputs"]["feather"] = 0.2
    assert run(strange_client, "pasted", graph) == {"pasted", "shown"}


def test_another_speed_samples_again_and_the_guider_refuses_what_it_cannot(strange_client: Client) -> None:
    graph = small_graph()
    run(strange_client, "decoded", graph)
    graph["speed"]["inputs"] = {"preset": "turbo", "steps": 3, "sampler": "unipc"}
    assert run(strange_client, "decoded", graph) == {"speed", "sampler", "decoded", "shown"}

    result, _ = watch(strange_client, prompt_for("any_sampler", graph))
    assert result.status == "error"
    assert "HunyuanPortrait Guider cannot apply steps, padding, schedule, sampler" in str(result.error)


def test_a_motion_is_encoded_once_for_two_portraits(strange_client: Client) -> None:
    graph = small_graph()
    graph["driver"] = tensor(NUM_FRAMES + 1, SIZE, SIZE, 3)
    graph["other_portrait"] = tensor(1, SIZE, SIZE, 3, fill="0.6")
    for name in ("portrait_face", "appearance", "sampler", "decoded"):
        graph[f"other_{name}"] = json.loads(json.dumps(graph[name]))
    graph["other_portrait_face"]["inputs"]["frames"] = ["other_portrait", 0]
    graph["other_appearance"]["inputs"] |= {"portrait": ["other_portrait", 0], "track": ["other_portrait_face", 0]}
    graph["other_sampler"]["inputs"]["appearance"] = ["other_appearance", 0]
    graph["other_decoded"]["inputs"]["samples"] = ["other_sampler", 0]
    prompt = prompt_for("decoded", graph) | {"also_shown": node("PreviewAny", source=["other_decoded", 0])}

    result, messages = watch(strange_client, prompt)
    assert result.status == "success", result.error
    ran = executed(messages)
    assert ran.count("motion") == ran.count("driver_face") == 1
    assert {"sampler", "other_sampler"} <= set(ran)


def test_a_shipped_workflow_runs_again_for_nothing(server: Server, client: Client, portrait: Any, clip: Any) -> None:
    """In ComfyUI's own way of caching, with the loaders and files of a user."""
    facts = read_facts(clip)
    with Image.open(portrait) as image:
        size = image.size
    prompt = json.loads((ROOT / "workflows" / "api" / "one_motion_many_portraits.json").read_text())
    prompt = adapt(prompt, size, (facts.width, facts.height)).apply(prompt)
    result, messages = watch(client, prompt)
    assert result.status == "success", result.error
    kinds = [prompt[name]["class_type"] for name in executed(messages)]
    assert kinds.count("HunyuanPortraitEncodeMotion") <= 1

    again, messages = watch(client, prompt)
    assert again.status == "success"
    assert executed(messages) == []

    samplers = [name for name, made in prompt.items() if made["class_type"] == "HunyuanPortraitSampler"]
    prompt[samplers[0]]["inputs"]["seed"] += 1
    _, messages = watch(client, prompt)
    assert set(executed(messages)) == after(prompt, samplers[0])


def after(prompt: dict[str, Any], name: str) -> set[str]:
    """A node, and all that depend on it."""
    found = {name}
    while more := {
        other
        for other, made in prompt.items()
        if other not in found and any(isinstance(v, list) and v[0] in found for v in made["inputs"].values())
    }:
        found |= more
    return found


def test_loaders_keep_what_they_loaded(strange_client: Client) -> None:
    names = ["unet", "vae", "image_encoder", "arcface", "motion_encoder", "pose_guider", "pose_detector", "loaders"]
    graph = small_graph()
    prompt = {name: graph[name] for name in names}
    prompt |= {f"{name}_shown": node("PreviewAny", source=[name, 0]) for name in names}
    result, _ = watch(strange_client, prompt)
    assert result.status == "success", result.error
    _, messages = watch(strange_client, prompt)
    assert executed(messages) == []


@pytest.fixture(scope="module")
def sampling(strange_server: Server) -> list[Any]:
    """The messages of a run of the sampler whose steps are longer than ComfyUI's pause between two messages."""
    graph = small_graph()
    graph["slow_model"] = node("StrangerModel", model=["loaders", 0], failures=0, seconds=0.1)
    graph["sampler"]["inputs"] |= {"model": ["slow_model", 0], "steps": STEPS, "seed": 2001}
    result, messages = watch(Client(strange_server.url), prompt_for("sampler", graph, output=1))
    assert result.status == "success", result.error
    return messages


def steps_done(message: Any) -> float:
    """Steps of the sampler that a message tells of; 0 if it tells of none."""
    if not isinstance(message, dict) or message["type"] != "progress_state":
        return 0
    return message["data"]["nodes"].get("sampler", {}).get("value", 0)


def test_progress_counts_the_steps(sampling: list[Any]) -> None:
    told = [m["data"] for m in sampling if isinstance(m, dict) and m["type"] == "progress"]
    of_sampler = [data for data in told if data["node"] == "sampler"]
    values = [data["value"] for data in of_sampler]
    assert values
    assert values == sorted(values)
    assert {data["max"] for data in of_sampler} == {STEPS}


def test_previews_arrive_while_it_samples(sampling: list[Any]) -> None:
    images = [m for m in sampling if isinstance(m, bytes) and int.from_bytes(m[:4], "big") == PREVIEW]
    assert images
    for message in images:
        assert int.from_bytes(message[4:8], "big") == JPEG
        with Image.open(io.BytesIO(message[8:])) as image:
            image.load()
            assert image.width == image.height
            assert image.mode == "RGB"


def test_memory_is_told_before_the_first_step_and_time_after_it(sampling: list[Any]) -> None:
    of_sampler = [(place, text) for place, name, text in texts(sampling) if name == "sampler"]
    (memory_at, memory_text), *rest = of_sampler
    assert f"{NUM_FRAMES} frames and 2×{PADDING} of padding in 3 windows; expected memory" in memory_text
    first_step = next(place for place, message in enumerate(sampling) if steps_done(message) >= 1)
    assert memory_at < first_step
    time_at, time_text = next((place, text) for place, text in rest if "s per step after the first" in text)
    assert first_step < time_at
    assert "left" in time_text


def test_nodes_tell_what_they_found(strange_client: Client) -> None:
    graph = small_graph()
    graph["driver"] = tensor(NUM_FRAMES, SIZE, SIZE, 3, fill="0.3")
    graph["portrait"] = tensor(1, SIZE, SIZE, 3, fill="0.7")
    _, messages = watch(strange_client, prompt_for("evaluated", graph))
    told = {name: text for _, name, text in texts(messages)}
    assert {"driver_face", "portrait_face", "appearance", "motion", "sampler", "evaluated"} <= set(told)
    assert told["driver_face"].startswith("frames: 5 of 64×64 pixels")
    assert "identity" in told["appearance"]
    assert "PSNR" in told["evaluated"]
