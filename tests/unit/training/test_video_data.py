"""Clips of prepared videos: the crops of inference, what is drawn at random, bad shards, and training on them."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny_training import MODEL, training_config
from toy_videos import faces_of, make_video

from hunyuan_core.appearance import cut_reference
from hunyuan_core.data import Face, FaceTrack
from hunyuan_core.errors import ConfigurationError, MediaError
from hunyuan_core.faces.crops import arcface_crop, head_pose_crop, motion_crop, motion_square, square_box
from hunyuan_core.faces.given import GivenFaces
from hunyuan_core.faces.identity import ArcFace
from hunyuan_core.faces.intensity import motion_intensity
from hunyuan_core.pose.drawing import draw_pose
from hunyuan_core.pose.keypoints import NUM_POINTS, WholeBody
from hunyuan_core.training.clip_cutting import CutRules
from hunyuan_core.training.config import DataConfig
from hunyuan_core.training.identity_network import IdentityNetwork, export_identity
from hunyuan_core.training.loop import open_dataset, train
from hunyuan_core.training.preparation import Settings, Tools, prepare_folder
from hunyuan_core.training.shards import read_index
from hunyuan_core.training.toy_data import Clip
from hunyuan_core.training.video_data import VideoClips, VideoFrames
from hunyuan_core.video import open_video

SIZE = 64
NUM_FRAMES = 40
MOTION_SIZE, POSE_SIZE = MODEL.expression.image_size, MODEL.head_pose.image_size
SETTINGS = Settings(
    size=SIZE,
    motion_size=MOTION_SIZE,
    image_format="png",
    rules=CutRules(min_frames=10, min_face=20),
    networks={"arcface": "ArcFace", "pose": "DWPose"},
)
WHOLE = dataclasses.replace(SETTINGS, size=512, motion_size=512)
"""Nothing is made smaller."""


class Skeleton:
    """Answers with points that depend on the size of the picture alone."""

    def detect(self, image: np.ndarray) -> list[WholeBody]:
        """Spread the points over the middle of the picture."""
        grid = np.stack([np.arange(NUM_POINTS) % 12, np.arange(NUM_POINTS) // 12], axis=1) / 24 + 0.25
        return [WholeBody(grid * (image.shape[1], image.shape[0]), np.ones(NUM_POINTS))]


@pytest.fixture(scope="module")
def arcface(tmp_path_factory: pytest.TempPathFactory) -> ArcFace:
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("arcface") / "arcface.onnx"
    export_identity(IdentityNetwork(), path)
    return ArcFace(path)


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, FaceTrack]:
    """A folder with one video, and the face in it."""
    folder = tmp_path_factory.mktemp("videos")
    return folder, make_video(folder / "a.mp4", NUM_FRAMES)


def prepare(source: tuple[Path, FaceTrack], out: Path, settings: Settings, arcface: ArcFace | None = None) -> Path:
    folder, track = source
    tools = Tools(GivenFaces(faces_of(track)), arcface, Skeleton())
    assert prepare_folder(folder, out, lambda: tools, settings).videos["a.mp4"].num_clips == 1
    return out


@pytest.fixture(scope="module")
def shards(source: tuple[Path, FaceTrack], arcface: ArcFace, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return prepare(source, tmp_path_factory.mktemp("shards"), WHOLE, arcface)


def data_of(folder: Path, **changes: object) -> DataConfig:
    data = DataConfig(videos=str(folder), image_size=SIZE, num_frames=3, colour_jitter=0.0, num_workers=0)
    return dataclasses.replace(data, **changes)  # pyright: ignore[reportArgumentType]


def clips(folder: Path, **changes: object) -> VideoClips:
    return seeded(0, folder, **changes)


def seeded(seed: int, folder: Path, **changes: object) -> VideoClips:
    return VideoClips(MODEL, data_of(folder, **changes), seed, 8)


def picture(tensor: torch.Tensor) -> np.ndarray:
    return tensor.permute(1, 2, 0).numpy()


class Inference:
    """What inference cuts out of the video, where it drives and where its first frame is the portrait."""

    def __init__(self, folder: Path, track: FaceTrack) -> None:
        self.track = track
        self.frames = list(open_video(folder / "a.mp4"))
        self.square = square_box(track.boxes[0], *self.frames[0].shape[:2])

    def reference(self, number: int) -> np.ndarray:
        """As of a portrait whose face has the box of the first frame: one square, so that the camera stands still."""
        face = Face(self.track.boxes[0], self.track.landmarks[number])
        return cut_reference(self.frames[number], face, SIZE).image

    def arcface(self, number: int) -> np.ndarray:
        face = Face(self.track.boxes[0], self.track.landmarks[number])
        reference = cut_reference(self.frames[number], face, SIZE)
        return arcface_crop(reference.image, reference.landmarks)

    def motion(self, number: int) -> np.ndarray:
        return motion_crop(self.frames[number], self.track.landmarks[number], self.track.boxes[0], MOTION_SIZE)

    def head_pose(self, number: int) -> np.ndarray:
        return head_pose_crop(self.frames[number], self.square, POSE_SIZE, 2 * POSE_SIZE)

    def nearest(self, image: np.ndarray) -> int:
        """Number of the frame that a target shows."""
        errors = [np.abs(image.astype(float) - self.reference(i)).mean() for i in range(len(self.frames))]
        return int(np.argmin(errors))

    def rows(self, clip: Clip) -> list[int]:
        return [self.nearest(picture(frame)) for frame in clip.target]


@pytest.fixture(scope="module")
def inference(source: tuple[Path, FaceTrack]) -> Inference:
    return Inference(*source)


# --- crops


@pytest.mark.parametrize("index", range(4))
def test_crops_are_those_of_inference_bit_for_bit(shards: Path, inference: Inference, index: int) -> None:
    clip = clips(shards)[index]

    rows = inference.rows(clip)
    assert len(set(np.diff(rows))) == 1
    for i, row in enumerate(rows):
        np.testing.assert_array_equal(picture(clip.target[i]), inference.reference(row))
        np.testing.assert_array_equal(picture(clip.motion_crops[i]), inference.motion(row))
        np.testing.assert_array_equal(picture(clip.head_pose_crops[i]), inference.head_pose(row))
    portrait = inference.nearest(picture(clip.reference))
    np.testing.assert_array_equal(picture(clip.reference), inference.reference(portrait))
    differences = [np.abs(clip.identity_crop.numpy() - inference.arcface(i)).max() for i in range(NUM_FRAMES)]
    assert min(differences) < 1e-6


def largest_errors(clip: Clip, inference: Inference) -> list[float]:
    """Root mean square differences from inference, in levels, of target, motion and head-pose crops; the worst."""
    errors = []
    for i, row in enumerate(inference.rows(clip)):
        pairs = [
            (clip.target, inference.reference(row)),
            (clip.motion_crops, inference.motion(row)),
            (clip.head_pose_crops, inference.head_pose(row)),
        ]
        errors.append([np.sqrt(np.square(picture(a[i]).astype(float) - b).mean()) for a, b in pairs])
    return np.max(errors, axis=0).tolist()


def test_jpeg_changes_crops_by_a_level(
    source: tuple[Path, FaceTrack], shards: Path, inference: Inference, tmp_path: Path
) -> None:
    folder = prepare(source, tmp_path, dataclasses.replace(WHOLE, image_format="jpeg"))

    assert 0 < max(largest_errors(clips(folder)[0], inference)) < 1.5
    sizes = [sum(path.stat().st_size for path in where.glob("*.safetensors")) for where in (folder, shards)]
    assert sizes[0] < sizes[1]


def test_smaller_frames_change_crops_little(tmp_path: Path) -> None:
    videos = tmp_path / "videos"
    large = videos, make_video(videos / "a.mp4", 12, scale=3)
    inference = Inference(*large)
    folder = prepare(large, tmp_path / "out", dataclasses.replace(SETTINGS, size=192, motion_size=96))

    tensors = load_file(next(folder.glob("*.safetensors")))
    x1, y1, x2, y2 = tensors["0.square"].tolist()
    scale = (x2 - x1) / (inference.square[2] - inference.square[0])
    assert 192 <= x2 - x1 == y2 - y1
    assert scale < 1
    target, motion, head_pose = largest_errors(clips(folder)[0], inference)
    assert max(target, head_pose) < 1
    # Whole pixels, as in inference, but those that are stored.
    assert motion < 12
    track = inference.track
    squares = np.array([motion_square(points, track.boxes[0]) for points in track.landmarks])
    expected = (x1, y1, x1, y1) + (squares - np.tile(inference.square[:2], 2)) * scale
    assert np.abs(tensors["0.motion_squares"].numpy() - expected).max() <= 1


# --- chance


def same(a: object, b: object) -> bool:
    names = [field.name for field in dataclasses.fields(a)]  # pyright: ignore[reportArgumentType]
    return all(torch.equal(getattr(a, name), getattr(b, name)) for name in names)


def test_a_clip_is_a_function_of_seed_and_index(shards: Path) -> None:
    assert same(clips(shards)[3], clips(shards)[3])
    for other in (clips(shards)[4], seeded(1, shards)[3]):
        assert not same(clips(shards)[3], other)
    frames = VideoFrames(data_of(shards), 0, 8)
    assert frames[1].frames.shape == (3, 3, SIZE, SIZE)
    assert same(frames[1], frames[1])
    assert not same(frames[1], frames[2])
    assert VideoFrames(data_of(shards, crop_size=32), 0, 8)[1].frames.shape == (3, 3, 32, 32)


def test_portrait_and_identity_are_of_any_frame(shards: Path, inference: Inference) -> None:
    found = [seeded(seed, shards)[0] for seed in range(6)]
    portraits = [inference.nearest(picture(clip.reference)) for clip in found]
    rows = [inference.rows(clip) for clip in found]

    assert len(set(portraits)) > 3
    assert any(portrait not in own for portrait, own in zip(portraits, rows, strict=True))
    assert len({clip.identity_crop.numpy().tobytes() for clip in found}) > 1


def test_the_intensity_is_of_25_frames_around_the_rows(shards: Path, inference: Inference) -> None:
    clip = clips(shards)[1]
    rows, landmarks = inference.rows(clip), inference.track.landmarks
    possible = [
        motion_intensity(landmarks[first : first + 25], levels=MODEL.refiner.num_intensity_levels)
        for first in range(max(rows[-1] - 24, 0), min(rows[0], NUM_FRAMES - 25) + 1)
    ]
    assert tuple(clip.intensity.tolist()) in possible


def test_colours_are_changed_in_motion_crops_alone(shards: Path) -> None:
    plain, changed = clips(shards)[2], clips(shards, colour_jitter=0.3)[2]

    assert torch.equal(plain.target, changed.target)
    assert torch.equal(plain.head_pose_crops, changed.head_pose_crops)
    assert not torch.equal(plain.motion_crops, changed.motion_crops)


def test_a_style_redraws_all_pictures_of_a_clip(shards: Path, tmp_path: Path) -> None:
    from onnx import TensorProto, helper, save

    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 3, "h", "w"]) for name in ("x", "y")]
    graph = helper.make_graph([helper.make_node("Neg", ["x"], ["y"])], "negative", ends[:1], ends[1:])
    opset = helper.make_opsetid("", 17)
    save(helper.make_model(graph, opset_imports=[opset], ir_version=9), str(tmp_path / "negative.onnx"))
    style = {"style_model": str(tmp_path / "negative.onnx"), "style_share": 1.0}
    plain, styled = clips(shards)[2], clips(shards, **style)[2]

    for name in ("target", "reference", "head_pose_crops"):
        total = getattr(plain, name).int() + getattr(styled, name).int()
        assert (total - 255).abs().max() <= 1  # of rounding
    assert styled.identity_crop.mean() == pytest.approx(1 - float(plain.identity_crop.mean()), abs=0.01)


# --- identity and pose


def test_stored_identities_are_those_of_the_crop(shards: Path, arcface: ArcFace) -> None:
    clip = clips(shards, image_size=512)[0]

    assert clip.id_embedding.norm() == pytest.approx(1)
    assert torch.from_numpy(arcface.embed(clip.identity_crop.numpy())) @ clip.id_embedding > 0.9999


def test_skeletons_are_drawn_in_the_square_and_lose_edges(shards: Path, inference: Inference) -> None:
    (whole, *others), dropped = (
        clips(shards, pose_images="skeleton", dropped_edges=share)[0].pose_images for share in (0.0, 1.0)
    )
    tensors = load_file(next(shards.glob("*.safetensors")))
    x1, y1, x2, _ = tensors["0.square"].tolist()
    points = (tensors["0.keypoints"][0, :, :2].double().numpy() - (x1, y1)) * SIZE / (x2 - x1)

    np.testing.assert_array_equal(picture(whole), draw_pose(WholeBody(points, np.ones(NUM_POINTS)), SIZE, SIZE))
    assert len(others) == 2
    assert (dropped > 0).sum() < 3 * (whole > 0).sum()  # joints are drawn without their edges
    assert clips(shards)[0].pose_images.shape == (1, 3, SIZE, SIZE)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"pose_images": "skeleton"}, "data.pose_images is skeleton, but .* has no poses"),
        ({"identity": "stored"}, "data.identity is stored, but .* has no identities"),
        ({"num_frames": 41}, r"has no clip of data.num_frames \(41\) frames"),
    ],
)
def test_what_the_shards_lack_is_named(
    changes: dict[str, object], words: str, source: tuple[Path, FaceTrack], tmp_path: Path
) -> None:
    folder = prepare(source, tmp_path, dataclasses.replace(SETTINGS, networks={}))
    with pytest.raises(ConfigurationError, match=words):
        clips(folder, **changes)


# --- bad shards


@pytest.fixture
def damaged(shards: Path, tmp_path: Path) -> Path:
    """A copy of the shards, to be damaged."""
    return Path(shutil.copytree(shards, tmp_path / "copy"))


def test_a_missing_shard_is_named(damaged: Path) -> None:
    (shard,) = damaged.glob("*.safetensors")
    shard.unlink()
    with pytest.raises(
        MediaError, match=rf"The shard .*{shard.name} is missing .*run `hunyuan-portrait prepare` again"
    ):
        clips(damaged)


def test_a_shard_that_is_cut_is_named(damaged: Path) -> None:
    (shard,) = damaged.glob("*.safetensors")
    shard.write_bytes(shard.read_bytes()[:-10])
    with pytest.raises(MediaError, match=rf"{shard.name} has \d+ bytes in place of \d+; remove what is left"):
        clips(damaged)


def test_a_shard_that_vanishes_or_changes_later_is_named(damaged: Path) -> None:
    (shard,) = damaged.glob("*.safetensors")
    dataset, whole = clips(damaged), shard.read_bytes()
    tensors = load_file(shard)
    tensors["0.frames"] ^= 1
    save_file(tensors, shard)
    with pytest.raises(MediaError, match=rf"{shard.name} is damaged \(frame \d+ of clip 0 has another checksum\)"):
        dataset[0]
    shard.write_bytes(b"\xff" * len(whole))
    with pytest.raises(MediaError, match=rf"{shard.name} is damaged"):
        dataset[0]
    shard.unlink()
    with pytest.raises(MediaError, match=rf"{shard.name} is missing"):
        dataset[0]


def test_a_folder_that_was_not_prepared_is_named(damaged: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"holds no prepared videos .*hunyuan-portrait prepare"):
        clips(tmp_path / "nowhere")
    index = damaged / "index.json"
    index.write_text(index.read_text().replace('"version": 1', '"version": 2'))
    with pytest.raises(ConfigurationError, match=r"is of version 2 and this program reads 1"):
        read_index(damaged)
    index.write_text('{"version": 1}')
    with pytest.raises(ConfigurationError, match=r"index\.json is damaged"):
        read_index(damaged)


# --- training


@pytest.mark.parametrize("identity", ["network", "stored"])
def test_training_runs_on_them(identity: str, shards: Path, tmp_path: Path) -> None:
    data = {"videos": str(shards), "identity": identity, "pose_images": "skeleton"}
    losses = []
    config = training_config(tmp_path, data=data, loss={"auxiliary_weight": 0.0})
    result = train(config, lambda _, values: losses.append(dict(values)))

    assert len(losses) == 2
    assert set(losses[0]) == {"total", "diffusion", "gradient"}
    assert all(np.isfinite(list(values.values())).all() for values in losses)
    assert (result.weights / "arcface.onnx").exists() == (identity == "network")
    again = train(dataclasses.replace(config), is_resumed=True)
    assert again.losses == {}  # nothing was left to do


def test_the_vae_trains_on_them(shards: Path, tmp_path: Path) -> None:
    config = training_config(
        tmp_path, stage="vae", trainable=("vae",), data={"videos": str(shards)}, loss={"auxiliary_weight": 0.0}
    )
    assert np.isfinite(train(config).losses["total"])
    assert isinstance(open_dataset(config, 1)[0], VideoFrames)


@pytest.mark.parametrize(
    ("parts", "words"),
    [
        ({"loss": {"auxiliary_weight": 0.1}}, r"loss\.face_weight above 0, learn .* leave out data\.videos"),
        ({"loss": {"feature_weight": 0.1}}, r"loss\.auxiliary_weight, loss\.feature_weight or .* above 0, learn "),
        ({"loss": {"face_weight": 0.1}}, r"loss\.auxiliary_weight, loss\.feature_weight or .* above 0, learn "),
        (
            {"stage": "motion", "loss": {"auxiliary_weight": 0.0}},
            r"Stages motion and reader, .* leave out data\.videos",
        ),
        ({"data": {"identity": "stored"}}, r"data\.identity = \"stored\" is for data\.videos"),
    ],
)
def test_what_only_the_drawn_world_knows_is_refused(parts: dict[str, object], words: str, tmp_path: Path) -> None:
    if "data" not in parts:
        parts = {**parts, "data": {"videos": "somewhere"}}
    with pytest.raises(ConfigurationError, match=words):
        training_config(tmp_path, **parts)
