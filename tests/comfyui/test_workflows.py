"""Every shipped workflow, over the HTTP API, to a finished video."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from golden_cases import ROOT
from PIL import Image

from hunyuan_core.demo import Scene
from hunyuan_core.evaluation.pictures import psnr
from hunyuan_core.training.toyworld import face_mask
from hunyuan_core.video import open_video

from .adaptation import SIZE, adapt
from .client import Client
from .install import BUILD
from .server import Server
from .videos import read_facts

API = sorted((ROOT / "workflows" / "api").glob("*.json"))
TOY = ROOT / "workflows" / "api" / "toy_portrait.json"
VIDEOS = BUILD / "videos"


def test_there_are_workflows() -> None:
    assert len(API) >= 8


@pytest.mark.parametrize("path", [path for path in API if path != TOY], ids=lambda path: path.stem)
def test_workflow_runs_to_a_finished_video(
    path: Path, server: Server, client: Client, portrait: Path, clip: Path
) -> None:
    driver = read_facts(clip)
    with Image.open(portrait) as image:
        portrait_size = image.size
    prompt = json.loads(path.read_text())
    result = client.run(adapt(prompt, portrait_size, (driver.width, driver.height)).apply(prompt))

    assert result.status == "success", result.error
    videos = [server.output / name for _, name in result.saved() if name.endswith((".mp4", ".mov"))]
    wanted = [node for node in prompt.values() if "SaveVideo" in node["class_type"]]
    assert len(videos) == len(wanted) > 0
    is_pasted = any("PasteBack" in n["class_type"] or "square" in n["inputs"] for n in prompt.values())
    VIDEOS.mkdir(parents=True, exist_ok=True)
    for number, video in enumerate(videos):
        shutil.copy(video, VIDEOS / f"{path.stem}{number or ''}{video.suffix}")
        facts = read_facts(video)
        assert facts.num_frames == driver.num_frames
        assert facts.fps == driver.fps
        # A coder may pad the last packet.
        assert facts.audio_seconds == pytest.approx(driver.audio_seconds, abs=0.1)
        assert (facts.width, facts.height) == (portrait_size if is_pasted else (SIZE, SIZE))
        assert max(facts.brightness) > 8


def test_the_toy_workflow_runs_as_it_is_and_comes_near_the_truth(server: Server, client: Client) -> None:
    prompt = json.loads(TOY.read_text())
    result = client.run(prompt)

    assert result.status == "success", result.error
    (video,) = [server.output / name for _, name in result.saved() if name.endswith(".mp4")]
    VIDEOS.mkdir(parents=True, exist_ok=True)
    shutil.copy(video, VIDEOS / "toy_portrait.mp4")
    (drawn,) = [node["inputs"] for node in prompt.values() if node["class_type"] == "HunyuanPortraitDrawnExample"]
    scene = Scene.draw(drawn["seed"], drawn["num_frames"], drawn["size"])
    frames = list(open_video(video))
    assert (len(frames), frames[0].shape) == (drawn["num_frames"], (drawn["size"], 3 * drawn["size"], 3))
    psnrs = [[], []]
    for row, truth, frame in zip(scene.motion, scene.truth(), frames, strict=True):
        mask = face_mask(scene.person, row, scene.size)
        shown = frame[:, scene.size : 2 * scene.size]
        for values, picture in zip(psnrs, (shown, scene.portrait()), strict=True):
            values.append(psnr(truth, picture, mask))
    near, held_still = map(np.mean, psnrs)
    assert near > held_still + 3
