"""Videos to shards: where clips begin and end, what is left out, and bad ends."""

from __future__ import annotations

import dataclasses
import json
from fractions import Fraction
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from clips import make_clip
from drawn_faces import face
from full_disk import full_disk
from toy_videos import faces_of, make_video

from hunyuan_core.cli import main
from hunyuan_core.data import Face
from hunyuan_core.errors import ConfigurationError, WeightsError
from hunyuan_core.faces.given import GivenFaces
from hunyuan_core.faces.manual import ManualDetector
from hunyuan_core.training.clip_cutting import CutRules, Scan, cut_clips, scan
from hunyuan_core.training.preparation import Settings, Tools, prepare_folder, prepare_video
from hunyuan_core.training.shards import VideoRecord, read_index
from hunyuan_core.video import open_video, write_video

RULES = CutRules(min_frames=10, max_frames=60, min_face=20)
SETTINGS = Settings(size=64, motion_size=32, rules=RULES)
BOX = ManualDetector(box=[120, 36, 172, 106])
"""About where the head of ``make_video`` is."""
TOOLS = partial(Tools, BOX)


def faces(num_frames: int, x: float = 100, size: float = 40, step: float = 0.0) -> list[list[Face]]:
    return [[face(x + i * step, 60, x + i * step + size, 60 + size)] for i in range(num_frames)]


def cuts_of(found: list[list[Face]], cuts: tuple[int, ...] = (), rules: CutRules = RULES) -> list[tuple[int, int, str]]:
    return [(c.start, c.num_frames, c.reason) for c in cut_clips(Scan(found, list(cuts), 200, 400), rules)]


# --- where clips begin and end


def test_clips_end_at_cuts_gaps_and_jumps() -> None:
    nothing: list[list[Face]] = [[]]
    assert cuts_of(faces(30)) == [(0, 30, "")]
    assert cuts_of(faces(30), cuts=(12,)) == [(0, 12, ""), (12, 18, "")]
    assert cuts_of(faces(12) + nothing * 6 + faces(14)) == [(0, 12, ""), (18, 14, "")]
    assert cuts_of(faces(24) + nothing * 2 + faces(24)) == [(0, 50, "")]
    assert cuts_of(faces(12, x=100) + faces(14, x=150)) == [(0, 12, ""), (12, 14, "")]
    # The square is three faces wide: 2 pixels a frame leave it after 30.
    assert [start for start, *_ in cuts_of(faces(60, step=2))] == [0, 31]


def test_long_clips_are_divided_into_parts_of_one_length() -> None:
    assert cuts_of(faces(130)) == [(0, 44, ""), (44, 44, ""), (88, 42, "")]


def test_frames_without_a_face_at_the_ends_belong_to_no_clip() -> None:
    assert cuts_of([[], [], *faces(20), []]) == [(2, 20, "")]


@pytest.mark.parametrize(
    ("found", "reason"),
    [
        (faces(9), "shorter than 10 frames"),
        (faces(20, size=15), "the face has 15 pixels, fewer than 20"),
        (faces(4) + [[]] * 4 + faces(4), "33 % of the frames without a face"),
        ([[]] * 20, "no face"),
    ],
)
def test_what_is_left_out_has_a_reason(found: list[list[Face]], reason: str) -> None:
    assert cuts_of(found) == [(0, len(found), reason)]


def test_a_gap_is_filled_as_in_a_driving_video(tmp_path: Path) -> None:
    track = make_video(tmp_path / "a.mp4", 30)
    (clip,) = cut_clips(Scan(faces_of(track, without=range(10, 12)), [], 136, 320), RULES)

    assert clip.track is not None
    assert clip.track.filled_frames == [10, 11]
    third = track.boxes[9] + (track.boxes[12] - track.boxes[9]) / 3
    assert clip.track.boxes[10] == pytest.approx(third)


def test_a_shot_ends_where_another_picture_begins(tmp_path: Path) -> None:
    for name, seed in (("a", 1), ("b", 2)):
        make_video(tmp_path / f"{name}.mp4", 20, seed)
    one, two = (list(open_video(tmp_path / f"{name}.mp4")) for name in "ab")
    write_video(tmp_path / "both.mp4", [*one, *(frame[:, ::-1] for frame in two)], Fraction(25))

    assert scan(open_video(tmp_path / "a.mp4"), BOX).cuts == []
    assert scan(open_video(tmp_path / "both.mp4"), BOX).cuts == [20]


@pytest.mark.parametrize(
    ("wrong", "word"),
    [
        ({"max_frames": 5}, "max_frames must be at least 10"),
        ({"max_missing": 1.0}, "max_missing"),
        ({"max_gap": -1}, "max_gap"),
    ],
)
def test_rules_out_of_range_are_refused(wrong: dict[str, float], word: str) -> None:
    with pytest.raises(ConfigurationError, match=word):
        dataclasses.replace(RULES, **wrong)


# --- one video


def test_a_video_becomes_shards_of_bounded_size(tmp_path: Path) -> None:
    track = make_video(tmp_path / "a.mp4", 40)
    tools = Tools(GivenFaces(faces_of(track, without=range(13, 20))))
    record = prepare_video(
        tmp_path / "a.mp4", "a.mp4", tmp_path, tools, dataclasses.replace(SETTINGS, max_shard_bytes=1)
    )

    assert record.fps == "25"
    assert [[(c.start, c.num_frames) for c in shard.clips] for shard in record.shards] == [[(0, 13)], [(20, 20)]]
    assert [(tmp_path / shard.file).stat().st_size for shard in record.shards] == [s.num_bytes for s in record.shards]
    (together,) = prepare_video(
        tmp_path / "a.mp4", "a.mp4", tmp_path, Tools(GivenFaces(faces_of(track, without=range(13, 20)))), SETTINGS
    ).shards
    assert len(together.clips) == 2
    assert len(list(tmp_path.glob("*.safetensors"))) == 1  # of the shards before, none is left


# --- folders


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two good videos and four bad ones, in folders, and what is no video at all."""
    folder = tmp_path_factory.mktemp("videos")
    make_video(folder / "a.mp4", 25)
    make_video(folder / "deep" / "er" / "b.mov", 30, seed=1)
    make_clip(folder / "c_short.mp4", num_frames=4, size=(136, 320))
    make_clip(folder / "d_small.mp4", num_frames=12, size=(32, 64))
    (folder / "e_broken.mp4").write_bytes((folder / "a.mp4").read_bytes()[:-3000])
    (folder / "f_none.mp4").write_bytes(b"")
    (folder / "notes.txt").write_text("not a video")
    return folder


def brief(records: dict[str, VideoRecord]) -> dict[str, tuple[int, str]]:
    return {name: (record.num_clips, record.reason) for name, record in records.items()}


def test_bad_videos_are_reported_and_the_others_prepared(videos: Path, tmp_path: Path) -> None:
    index = prepare_folder(videos, tmp_path / "out", TOOLS, SETTINGS)

    results = brief(index.videos)
    assert list(results) == ["a.mp4", "c_short.mp4", "d_small.mp4", "deep/er/b.mov", "e_broken.mp4", "f_none.mp4"]
    assert results["a.mp4"] == results["deep/er/b.mov"] == (1, "")
    for name, words in {
        "c_short.mp4": "frames 0-3: shorter than 10 frames",
        "d_small.mp4": "leaves the image of 64×32 pixels",
        "e_broken.mp4": "breaks off at frame 20 (its data is cut off)",
        "f_none.mp4": "is empty (0 bytes)",
    }.items():
        assert results[name][0] == 0
        assert words in results[name][1]
    assert brief(read_index(tmp_path / "out").videos) == results
    kept = {"index.json", "lock"} | {s.file for v in index.videos.values() for s in v.shards}
    assert {path.name for path in (tmp_path / "out").iterdir()} == kept


def test_an_interrupted_run_goes_on_with_what_is_not_done(videos: Path, tmp_path: Path) -> None:
    out, done = tmp_path / "out", []

    def stop(record: VideoRecord, num_done: int, num_videos: int) -> None:
        assert (num_done, num_videos) == (1, 6)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        prepare_folder(videos, out, TOOLS, SETTINGS, on_video=stop)
    (first,) = out.glob("*.safetensors")
    time = first.stat().st_mtime_ns
    index = prepare_folder(videos, out, TOOLS, SETTINGS, on_video=lambda record, *_: done.append(record.name))

    assert len(done) == 5
    assert "a.mp4" not in done
    assert first.stat().st_mtime_ns == time
    assert index == prepare_folder(videos, tmp_path / "whole", TOOLS, SETTINGS)
    assert prepare_folder(videos, out, TOOLS, SETTINGS, on_video=lambda *_: pytest.fail("nothing is left")) == index


def test_changed_videos_and_missing_shards_are_made_anew(tmp_path: Path) -> None:
    videos, out, done = tmp_path / "videos", tmp_path / "out", []
    for name, seed in (("a", 0), ("b", 1), ("c", 2)):
        make_video(videos / f"{name}.mp4", 12, seed)
    before = prepare_folder(videos, out, TOOLS, SETTINGS)
    (out / before.videos["a.mp4"].shards[0].file).unlink()
    make_video(videos / "b.mp4", 14, 3)

    after = prepare_folder(videos, out, TOOLS, SETTINGS, on_video=lambda record, *_: done.append(record.name))

    assert done == ["a.mp4", "b.mp4"]
    assert after.videos["a.mp4"] == before.videos["a.mp4"]
    assert after.videos["b.mp4"].sha256 != before.videos["b.mp4"].sha256


def test_other_settings_need_another_folder(videos: Path, tmp_path: Path) -> None:
    prepare_folder(videos / "deep", tmp_path, TOOLS, SETTINGS)

    with pytest.raises(ConfigurationError, match=r"was prepared with size 64 in place of 128; use the same options"):
        prepare_folder(videos / "deep", tmp_path, TOOLS, dataclasses.replace(SETTINGS, size=128))


def test_several_processes_make_the_same(videos: Path, tmp_path: Path) -> None:
    one = prepare_folder(videos, tmp_path / "one", TOOLS, SETTINGS)
    two = prepare_folder(videos, tmp_path / "two", TOOLS, SETTINGS, num_workers=2)

    assert one == two
    for path in (tmp_path / "one").glob("*.safetensors"):
        assert path.read_bytes() == (tmp_path / "two" / path.name).read_bytes()


def test_a_full_disk_keeps_what_is_finished(tmp_path: Path) -> None:
    videos, out = tmp_path / "videos", tmp_path / "out"
    make_video(videos / "a.mp4", 10)
    make_video(videos / "b.mp4", 60)

    with full_disk(200_000), pytest.raises(WeightsError, match=r"cannot be written .* free space"):
        prepare_folder(videos, out, TOOLS, SETTINGS)

    assert brief(read_index(out).videos) == {"a.mp4": (1, "")}
    assert len(list(out.iterdir())) == 3  # the index, the lock and one shard
    assert brief(prepare_folder(videos, out, TOOLS, SETTINGS).videos) == {"a.mp4": (1, ""), "b.mp4": (1, "")}


# --- the command


def run(videos: Path, out: Path, *more: str) -> int:
    small = ["--size", "64", "--min-frames", "10", "--min-face", "20", "--models", str(out / "none")]
    return main(["prepare", str(videos), str(out), *small, "--driving-box", "120,36,172,106", *more])


def test_the_status_tells_how_many_videos_could_be_used(
    videos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(videos / "deep", tmp_path / "good") == 0
    assert run(videos, tmp_path / "mixed") == 1
    captured = capsys.readouterr()
    assert captured.out.split() == [str(tmp_path / "good"), str(tmp_path / "mixed")]
    assert "f_none.mp4 gives no clip: " in captured.err
    assert "2 of 6 videos prepared: 2 clips, 55 frames" in captured.err
    assert json.loads((tmp_path / "mixed" / "index.json").read_text())["settings"]["rules"]["min_frames"] == 10

    assert run(videos / "deep", tmp_path / "strict", "--min-face", "90") == 2
    assert "the face has 52 pixels, fewer than 90" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("more", "word"),
    [
        (["--size", "100"], "size must be a multiple of 8"),
        (["--workers", "0"], "--workers must be at least 1"),
        (["--frame-rate", "25"], "--frame-rate is for folders of images"),
        (["--max-frames", "3"], "max_frames must be at least 10"),
        (["--detector", "mediapipe"], "--detector has nothing to detect"),
        (["--dwpose", "nowhere"], "dw-ll_ucoco_384.onnx"),
    ],
)
def test_bad_options_are_one_line_and_nothing_is_written(
    more: list[str], word: str, videos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(videos, tmp_path / "out", *more) == 2
    (error,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert word in error
    assert not (tmp_path / "out").exists()


def test_a_folder_without_videos_is_an_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "empty").mkdir()
    assert run(tmp_path / "empty", tmp_path / "out") == 2
    assert "has no videos in it" in capsys.readouterr().err
    assert run(tmp_path / "nowhere", tmp_path / "out") == 2
    assert "is not a folder" in capsys.readouterr().err


def test_a_wide_frame_is_stored_no_larger_than_the_crops_need(tmp_path: Path) -> None:
    from hunyuan_core.training.stored_clips import Region

    track = make_video(tmp_path / "a.mp4", 12)
    large = dataclasses.replace(track, boxes=track.boxes * 8, landmarks=track.landmarks * 8)
    region = Region.around(large, 136 * 8, 320 * 8, size=64, motion_size=32)

    x1, y1, x2, y2 = region.square
    assert x2 - x1 == y2 - y1 >= 64
    assert min(x2 - x1 - 64, (region.motion_squares[:, 2] - region.motion_squares[:, 0]).min() - 32) <= 1
    corners = region.move(np.array([region.box[:2], region.box[2:]]))
    assert corners == pytest.approx(np.array([(0, 0), region.size]))
