"""Memory beyond what a video is made of does not grow with its length."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from live_bytes import LiveBytes

from hunyuan_core.config import SamplingConfig
from hunyuan_core.data import Appearance, FaceTrack, Motion, VideoLatents
from hunyuan_core.pipeline import Pipeline
from hunyuan_core.pose.sequence import Skeletons
from hunyuan_core.pose_features import PoseWindows, encode_pose_images, pose_windows

SIZE = 16
# Without padding, a smaller share of the longer video; with one branch, which is quicker and holds no less per frame.
CONFIG = SamplingConfig(
    num_inference_steps=1,
    image_guidance_scale=(1.0, 1.0),
    motion_guidance_scale=(1.0, 1.0),
    context_window=50,
    context_overlap=1,
    num_padding_frames=0,
)
LATENTS = 4 * (SIZE // 8) ** 2 * 4
"""Bytes of a frame's latents."""


@pytest.fixture(scope="module")
def pipeline() -> Pipeline:
    return Pipeline.untrained_tiny(device="cpu")


def peak(call: Callable[[], object]) -> int:
    with torch.inference_mode(), LiveBytes() as count:
        call()
    return count.peak


def motion_of(pipeline: Pipeline, num_frames: int) -> Motion:
    tokens = torch.randn(num_frames, 64, pipeline.unet.config.cross_attention_dim)
    return Motion(tokens, (0,), (0,), torch.zeros(num_frames, 3), torch.zeros(num_frames, 3))


def poses_of(num_frames: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (num_frames, SIZE, SIZE, 3), dtype=np.uint8)


def tokens_bytes(pipeline: Pipeline) -> int:
    """Bytes of a frame's tokens."""
    return 64 * pipeline.unet.config.cross_attention_dim * 4


@pytest.mark.parametrize(("short", "has_poses"), [(100, True), (300, True), (300, False)])
def test_sampling(short: int, has_poses: bool, pipeline: Pipeline) -> None:
    tokens = torch.randn(64, pipeline.unet.config.cross_attention_dim)
    appearance = Appearance(tokens, torch.randn(4, SIZE // 8, SIZE // 8), torch.zeros(512))

    def of(num_frames: int) -> int:
        motion, poses = motion_of(pipeline, num_frames), poses_of(num_frames) if has_poses else None
        return peak(lambda: pipeline.sample(appearance, motion, CONFIG, pose_images=poses))

    # Once more the tokens, with their padding; the latents, the noise or the sum of the windows, and a step's result.
    allowed = tokens_bytes(pipeline) + 3 * LATENTS
    assert of(1000) - of(short) <= allowed * (1000 - short)


def test_decoding(pipeline: Pipeline) -> None:
    def of(num_frames: int) -> int:
        latents = VideoLatents(torch.randn(num_frames, 4, 1, 1), 0)
        return peak(lambda: [None for _ in pipeline.decode(latents, 8)])

    assert of(1000) <= of(104)


def test_encoding_of_motion(pipeline: Pipeline) -> None:
    frame = np.random.default_rng(0).integers(0, 256, (80, 96, 3), dtype=np.uint8)
    box, landmarks = np.array([30.0, 20, 60, 55]), np.array([[37.0, 30], [53, 30], [45, 38], [39, 46], [51, 46]])

    def of(num_frames: int) -> int:
        boxes, points = np.tile(box, (num_frames, 1)), np.tile(landmarks, (num_frames, 1, 1))
        track = FaceTrack(boxes, points, np.ones(num_frames, bool))
        return peak(lambda: pipeline.encode_motion((frame for _ in range(num_frames)), track))

    # The result: tokens, rotation and translation.
    assert of(125) - of(50) <= (tokens_bytes(pipeline) + 6 * 4) * 75


def skeletons_of(num_frames: int) -> Skeletons:
    generator = np.random.default_rng(0)
    return Skeletons(generator.uniform(0, SIZE, (num_frames, 133, 2)), np.ones((num_frames, 133)), SIZE, SIZE)


FORMS: dict[str, Callable[[int], np.ndarray | torch.Tensor | Skeletons]] = {
    "array": poses_of,
    "tensor": lambda num_frames: torch.from_numpy(poses_of(num_frames)) / 255,
    "skeletons": skeletons_of,
}


@pytest.mark.parametrize("form", FORMS)
def test_pose_features_of_a_long_video_are_the_same(form: str, pipeline: Pipeline) -> None:
    given = FORMS[form](7)
    with torch.inference_mode():
        whole = encode_pose_images(pipeline.pose_guider, given, SIZE, SIZE, 7, 2)
        windows = pose_windows(pipeline.pose_guider, given, SIZE, SIZE, 7, 2, max_cached_frames=10)
        assert isinstance(windows, PoseWindows)
        for frames in ([0, 1, 2, 3], [2, 3, 4, 5], [8, 9, 10, 0], [5, 5]):
            assert torch.equal(windows(frames), whole[frames])


def test_frames_that_windows_share_are_encoded_once(pipeline: Pipeline) -> None:
    windows = PoseWindows(pipeline.pose_guider, poses_of(20), 2)
    num_encoded = 0

    def count(*_: object) -> None:
        nonlocal num_encoded
        num_encoded += 1

    hook = pipeline.pose_guider.register_forward_hook(count)
    with torch.inference_mode():
        for first in (0, 6, 12):
            windows([*range(first, first + 8)])
    hook.remove()
    # Frames 0 to 2 have one image, the two of padding and the first.
    assert num_encoded == 20 - 2


def test_drawn_poses_give_what_their_pictures_give(pipeline: Pipeline) -> None:
    poses = skeletons_of(300)
    appearance = Appearance(
        torch.randn(64, pipeline.unet.config.cross_attention_dim), torch.randn(4, 2, 2), torch.zeros(512)
    )
    motion = motion_of(pipeline, 300)
    drawn, pictures = (
        pipeline.sample(appearance, motion, CONFIG, pose_images=given).samples for given in (poses, np.stack([*poses]))
    )
    assert torch.equal(drawn, pictures)
