"""Encoding: rates, times, audio, colours, tags, and no half file whatever happens."""

from __future__ import annotations

import errno
import os
import re
import resource
import shutil
import subprocess
import sys
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from clips import NTSC, audio_packets, make_clip, make_sound, moving_frames

from hunyuan_core.errors import ConfigurationError, MediaError, ShapeError
from hunyuan_core.video import check_writable, open_video, write_image, write_video
from hunyuan_core.video.files import write_error


def video_times(path: Path) -> tuple[list[Fraction], Fraction]:
    """Presentation times of the video packets as stored, in order, and the duration of the stream; seconds."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        assert stream.time_base is not None
        assert stream.duration is not None
        times = sorted(packet.pts * stream.time_base for packet in container.demux(stream) if packet.pts is not None)
        return times, stream.duration * stream.time_base


@pytest.mark.parametrize("rate", [NTSC, Fraction(24000, 1001), Fraction(25), Fraction(30), Fraction(25, 2)], ids=str)
def test_frames_rate_and_audio_pass_through(tmp_path: Path, rate: Fraction) -> None:
    clip = make_clip(tmp_path / "in.mp4", num_frames=60, rate=rate, audio_codec="aac", audio_seconds=2.5)
    source = open_video(clip)
    out = tmp_path / "out.mp4"
    assert source.has_audio
    assert write_video(out, source, source.frame_rate, timestamps=source.timestamps, audio_from=clip) == 60
    times, duration = video_times(out)
    assert times == [i / rate for i in range(60)]
    assert duration == 60 / rate
    with av.open(str(out)) as container:
        assert container.streams.video[0].average_rate == rate
    assert len(audio_packets(clip)) > 100
    assert audio_packets(out) == audio_packets(clip)
    result = open_video(out)
    assert (result.num_frames, result.frame_rate, result.timestamps) == (60, rate, None)


@pytest.mark.parametrize(
    ("name", "video_codec", "audio_codec", "suffix"),
    [
        ("in.mp4", "libx264", "libmp3lame", ".mp4"),
        ("in.webm", "libvpx", "libopus", ".mp4"),
        ("in.mkv", "libx264", "flac", ".mp4"),
        ("in.mkv", "libx264", "ac3", ".mov"),
        ("in.mov", "libx264", "pcm_s16le", ".mov"),
        ("in.mov", "libx264", "alac", ".mp4"),
    ],
)
def test_audio_of_other_codecs_is_copied(
    tmp_path: Path, name: str, video_codec: str, audio_codec: str, suffix: str
) -> None:
    clip = make_clip(tmp_path / name, codec=video_codec, audio_codec=audio_codec)
    out = tmp_path / f"out{suffix}"
    check_writable(out, audio_from=clip)
    write_video(out, moving_frames(24), Fraction(25), audio_from=clip)
    before, after = audio_packets(clip), audio_packets(out)
    assert [data for _, _, data in after] == [data for _, _, data in before]
    assert [time for time, _, _ in after] == [time for time, _, _ in before]


def test_audio_longer_than_the_frames_stays_whole(tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "in.mp4", num_frames=50, audio_codec="aac", audio_seconds=2)
    write_video(tmp_path / "out.mp4", moving_frames(5), Fraction(25), audio_from=clip)
    assert audio_packets(tmp_path / "out.mp4") == audio_packets(clip)


def test_sound_of_a_file_without_pictures(tmp_path: Path) -> None:
    sound = make_sound(tmp_path / "sound.m4a")
    write_video(tmp_path / "out.mp4", moving_frames(25), Fraction(25), audio_from=sound)
    assert audio_packets(tmp_path / "out.mp4") == audio_packets(sound)


def test_broadcast_piece_begins_at_zero_and_stays_in_step(tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "in.ts", rate=25, audio_codec="mp2")
    with av.open(str(clip)) as container:
        video, audio = container.streams.video[0], container.streams.audio[0]
        starts = video.start_time * video.time_base, audio.start_time * audio.time_base
    assert min(starts) > 0
    source = open_video(clip)
    write_video(tmp_path / "out.mp4", source, source.frame_rate, timestamps=source.timestamps, audio_from=clip)
    video_start, audio_start = video_times(tmp_path / "out.mp4")[0][0], audio_packets(tmp_path / "out.mp4")[0][0]
    assert min(video_start, audio_start) == 0
    assert abs((video_start - audio_start) - (starts[0] - starts[1])) < Fraction(1, 1000)


@pytest.mark.parametrize("suffix", [".mp4", ".mov"])
def test_audio_that_the_container_cannot_hold(tmp_path: Path, suffix: str) -> None:
    codec, name = {".mp4": ("pcm_s16le", "in.avi"), ".mov": ("flac", "in.mkv")}[suffix]
    clip = make_clip(tmp_path / name, audio_codec=codec)
    for write in (
        lambda path: check_writable(path, audio_from=clip),
        lambda path: write_video(path, moving_frames(3), Fraction(25), audio_from=clip),
    ):
        with pytest.raises(MediaError, match=f"cannot hold the {codec} audio .* to AAC") as error:
            write(tmp_path / f"out{suffix}")
        assert "\n" not in str(error.value)
    assert os.listdir(tmp_path) == [name]


def test_variable_times_are_written_exactly(tmp_path: Path) -> None:
    pts = [0, 20, 40, 100, 101, 160, 400]
    clip = make_clip(
        tmp_path / "in.mp4", num_frames=7, pts=pts, time_base=Fraction(1, 600), audio_codec="aac", audio_seconds=0.7
    )
    source = open_video(clip)
    out = tmp_path / "out.mp4"
    assert write_video(out, source, source.frame_rate, timestamps=source.timestamps, audio_from=clip) == 7
    assert video_times(out)[0] == [Fraction(value, 600) for value in pts]
    assert open_video(out).timestamps == source.timestamps
    assert audio_packets(out) == audio_packets(clip)


def test_last_frame_lasts_until_the_last_timestamp(tmp_path: Path) -> None:
    times = [Fraction(0), Fraction(1, 10), Fraction(3, 10), Fraction(2)]
    write_video(tmp_path / "out.mp4", moving_frames(3), Fraction(3, 2), timestamps=times)
    assert video_times(tmp_path / "out.mp4") == (times[:3], 2)


@pytest.mark.parametrize("timestamps", [[], [Fraction(0)], [Fraction(0)] * 3, [Fraction(-1), Fraction(0), Fraction(1)]])
def test_unusable_timestamps(tmp_path: Path, timestamps: list[Fraction]) -> None:
    with pytest.raises(ConfigurationError, match="timestamps must be"):
        write_video(tmp_path / "out.mp4", moving_frames(2), Fraction(25), timestamps=timestamps)
    assert not os.listdir(tmp_path)


def test_more_frames_than_timestamps(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="3 entries, enough for 2 frames"):
        write_video(tmp_path / "out.mp4", moving_frames(4), Fraction(25), timestamps=[Fraction(i) for i in range(3)])
    assert not os.listdir(tmp_path)


UNUSABLE_RATES = [
    *(Fraction(0), Fraction(-25), Fraction(29.97), Fraction(2**28 + 1, 2**28), 1 / 3),
    *(float("nan"), float("inf"), -1.0, 0, 1e-9, 99_999_999_999, 1001),
    *("abc", "", ".", "-25", "1/0", "1e999999999", "25\n25", "9" * 5000),
]


@pytest.mark.parametrize("rate", UNUSABLE_RATES, ids=lambda rate: repr(rate)[:20])
def test_unusable_rate(tmp_path: Path, rate: float | Fraction | str) -> None:
    frames = tmp_path / "frames"
    frames.mkdir()
    write_image(frames / "1.png", moving_frames(1)[0])
    for use in (
        lambda: write_video(tmp_path / "out.mp4", moving_frames(2), rate),
        lambda: check_writable(tmp_path / "out.mp4", frame_rate=rate),
        lambda: open_video(frames, frame_rate=rate),
        lambda: open_video(frames).held(25, rate),
    ):
        with pytest.raises(ConfigurationError, match=r"frame_rate must be .*; got .*\. Give e\.g\. ") as error:
            use()
        assert "\n" not in str(error.value)
        assert len(str(error.value)) < 300
    assert os.listdir(tmp_path) == ["frames"]


@pytest.mark.parametrize("rate", [29.97, np.float64(29.97), "29.97", "2997/100", Fraction(2997, 100)], ids=repr)
def test_rate_is_read_as_it_is_written(tmp_path: Path, rate: float | Fraction | str) -> None:
    (tmp_path / "frames").mkdir()
    write_image(tmp_path / "frames/1.png", moving_frames(1)[0])
    assert open_video(tmp_path / "frames", frame_rate=rate).frame_rate == Fraction(2997, 100)
    check_writable(tmp_path / "out.mp4", frame_rate=rate)
    write_video(tmp_path / "out.mp4", moving_frames(50), rate)
    assert open_video(tmp_path / "out.mp4").frame_rate == Fraction(2997, 100)


@pytest.mark.parametrize("rate", [Fraction(1, 1000), 1000, Fraction(2**28, 2**28 - 1)], ids=str)
@pytest.mark.parametrize("num_frames", [1, 2, 3, 60])
def test_extreme_rates_are_read_back(tmp_path: Path, rate: Fraction, num_frames: int) -> None:
    write_video(tmp_path / "out.mp4", moving_frames(num_frames), rate)
    source = open_video(tmp_path / "out.mp4")
    assert (source.num_frames, source.frame_rate) == (num_frames, rate)


def test_mean_of_a_variable_rate_may_be_any_ratio(tmp_path: Path) -> None:
    timestamps = [Fraction(i, 10) for i in (0, 1, 3, 4)]
    rate = Fraction(2**40 + 1, 2**36)
    check_writable(tmp_path / "out.mp4", frame_rate=rate, timestamps=timestamps)
    write_video(tmp_path / "out.mp4", moving_frames(3), rate, timestamps=timestamps)
    assert open_video(tmp_path / "out.mp4").timestamps == tuple(timestamps)


@pytest.mark.parametrize("crf", [-1, 52, float("nan")])
def test_quality_out_of_range(tmp_path: Path, crf: int) -> None:
    for use in (
        lambda: write_video(tmp_path / "out.mp4", moving_frames(2), 25, crf=crf),
        lambda: check_writable(tmp_path / "out.mp4", crf=crf),
    ):
        with pytest.raises(ConfigurationError, match=r"crf must be 0 \(lossless\) to 51 \(worst\); got "):
            use()
    assert not os.listdir(tmp_path)


def test_best_and_worst_quality(tmp_path: Path) -> None:
    for crf in (0, 51):
        check_writable(tmp_path / "out.mp4", crf=crf)
        assert write_video(tmp_path / "out.mp4", moving_frames(2), 25, crf=crf) == 2


@pytest.mark.parametrize("times", [(1, 0), (-1, 0, 1), (0, 1, 1), (0, 1, 1002)], ids=str)
def test_check_refuses_unusable_timestamps(tmp_path: Path, times: tuple[int, ...]) -> None:
    with pytest.raises(ConfigurationError, match="timestamps m"):
        check_writable(tmp_path / "out.mp4", timestamps=[Fraction(time) for time in times])


def test_longest_frame_is_written(tmp_path: Path) -> None:
    timestamps = [Fraction(0), Fraction(1, 10**6), 1000 + Fraction(1, 10**6), Fraction(1001)]
    write_video(tmp_path / "out.mp4", moving_frames(3), 25, timestamps=timestamps)
    assert open_video(tmp_path / "out.mp4").timestamps == tuple(timestamps)


@pytest.mark.parametrize(
    ("size", "error", "message"),
    [
        ((100, 17_000), ShapeError, "H.264 holds at most 16384 pixels a side, but the frames are 17000x100"),
        ((10**9, 10**9), ShapeError, "H.264 holds at most 16384"),
        ((0, 64), ShapeError, "at least one pixel, but they are 64x0"),
        ((16_384, 16_384), MediaError, "encoder cannot take frames of 16384x16384 pixels at 25 per second .*; scale"),
    ],
    ids=["wide", "impossible", "empty", "area"],
)
def test_check_refuses_frames_that_h264_cannot_hold(
    tmp_path: Path, size: tuple[int, int], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message) as raised:
        check_writable(tmp_path / "out.mp4", size=size)
    assert "folder" not in str(raised.value)
    assert "\n" not in str(raised.value)
    assert not os.listdir(tmp_path)


def test_check_of_odd_sizes_leaves_no_trace(tmp_path: Path) -> None:
    check_writable(tmp_path / "out.mp4", size=(65, 16_383), frame_rate=NTSC, timestamps=[Fraction(0), Fraction(1)])
    assert not os.listdir(tmp_path)


@pytest.mark.parametrize(
    ("code", "remedy"),
    [
        (errno.EACCES, "choose an output folder that exists"),
        (errno.ENOSPC, "free some space"),
        (errno.ENAMETOOLONG, "choose a shorter name"),
        (errno.EIO, "check the disk"),
    ],
)
def test_remedy_fits_the_systems_error(code: int, remedy: str) -> None:
    message = str(write_error(Path("out.mp4"), code, os.strerror(code)))
    assert remedy in message
    assert ("folder that exists" in message) == (code == errno.EACCES)


def test_name_that_is_too_long(tmp_path: Path) -> None:
    for write in (check_writable, lambda path: write_video(path, moving_frames(1), 25)):
        with pytest.raises(MediaError, match="choose a shorter name"):
            write(tmp_path / f"{'x' * 300}.mp4")


def test_names_with_a_colon_are_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    make_clip(tmp_path / "a:b.mp4", audio_codec="aac")
    source = open_video("a:b.mp4")
    assert source.num_frames == 24
    check_writable("c:d.mp4", audio_from="a:b.mp4")
    write_video("c:d.mp4", source, source.frame_rate, audio_from="a:b.mp4")
    assert audio_packets(tmp_path / "c:d.mp4") == audio_packets(tmp_path / "a:b.mp4")


def test_metadata_is_read_back(tmp_path: Path) -> None:
    tags = {
        "comment": "synthetic: made by a model",
        "title": "Über uns",
        "hunyuan_portrait": '{"seed": 72580, "s": "a;b=c"}',
    }
    for suffix in (".mp4", ".mov"):
        write_video(tmp_path / f"out{suffix}", moving_frames(2), Fraction(25), metadata=tags)
        with av.open(str(tmp_path / f"out{suffix}")) as container:
            assert {key: container.metadata[key] for key in tags} == tags


def test_index_comes_first(tmp_path: Path) -> None:
    write_video(tmp_path / "out.mp4", moving_frames(2), Fraction(25))
    data = (tmp_path / "out.mp4").read_bytes()
    assert data.index(b"moov") < data.index(b"mdat")


def test_colours_are_tagged_and_survive(tmp_path: Path) -> None:
    frame = moving_frames(1, 120, 160)[0]
    write_video(tmp_path / "out.mp4", [frame] * 3, Fraction(25), crf=5)
    with av.open(str(tmp_path / "out.mp4")) as container:
        stream = container.streams.video[0]
        context = stream.codec_context
        assert (context.pix_fmt, context.color_range) == ("yuv420p", 1)
        assert context.colorspace == context.color_primaries == context.color_trc == 1
        decoded = next(container.decode(stream)).to_ndarray()
    # By the formulas of BT.709, not by the library that converted.
    luma, chroma = decoded[:120].astype(float), decoded[120:].reshape(2, 60, 80).astype(float)
    y, (cb, cr) = (luma - 16) / 219, (chroma.repeat(2, axis=1).repeat(2, axis=2) - 128) / 224
    rgb = 255 * np.stack([y + 1.5748 * cr, y - 0.187324 * cb - 0.468124 * cr, y + 1.8556 * cb], axis=-1)
    assert np.abs(rgb - frame).max() < 6
    assert np.abs((rgb - frame).mean(axis=(0, 1))).max() < 0.5
    read = next(iter(open_video(tmp_path / "out.mp4"))).astype(int)
    assert np.abs(read - frame).max() < 8


def test_odd_sides_repeat_the_last_row_and_column(tmp_path: Path) -> None:
    frame = moving_frames(1, 65, 67)[0]
    write_video(tmp_path / "out.mp4", [frame], Fraction(25), crf=1)
    read = next(iter(open_video(tmp_path / "out.mp4")))
    assert read.shape == (66, 68, 3)
    assert np.abs(read[:65, :67].astype(int) - frame).max() < 8


class Interrupted(BaseException):
    """As KeyboardInterrupt, but pytest does not stop for it when it gets away."""


def frames_then(error: BaseException) -> Iterator[np.ndarray]:
    yield from moving_frames(60)
    raise error


@pytest.mark.parametrize("error", [KeyboardInterrupt(), Interrupted(), GeneratorExit(), RuntimeError("no memory")])
def test_failure_leaves_the_old_file_and_nothing_else(tmp_path: Path, error: BaseException) -> None:
    out = tmp_path / "out.mp4"
    out.write_bytes(b"the old video")
    with pytest.raises(type(error)) as raised:
        write_video(out, frames_then(error), Fraction(25))
    assert raised.value is error
    assert out.read_bytes() == b"the old video"
    assert os.listdir(tmp_path) == ["out.mp4"]


def test_old_file_is_replaced_through_a_link(tmp_path: Path) -> None:
    (tmp_path / "real.mp4").write_bytes(b"the old video")
    (tmp_path / "link.mp4").symlink_to("real.mp4")
    write_video(tmp_path / "link.mp4", moving_frames(2), Fraction(25))
    assert (tmp_path / "link.mp4").is_symlink()
    assert open_video(tmp_path / "real.mp4").num_frames == 2


def test_nothing_is_visible_under_the_name_until_the_end(tmp_path: Path) -> None:
    seen = []

    def watched() -> Iterator[np.ndarray]:
        for frame in moving_frames(3):
            seen.append((tmp_path / "out.mp4").exists())
            yield frame

    write_video(tmp_path / "out.mp4", watched(), Fraction(25))
    assert seen == [False] * 3
    assert os.listdir(tmp_path) == ["out.mp4"]


def test_no_frames(tmp_path: Path) -> None:
    with pytest.raises(MediaError, match="there are no frames"):
        write_video(tmp_path / "out.mp4", [], Fraction(25))
    assert not os.listdir(tmp_path)


@pytest.mark.parametrize(
    "frames",
    [
        [np.zeros((64, 64), np.uint8)],
        [np.zeros((64, 64, 3), np.float32)],
        [np.zeros((64, 64, 3), np.uint8), np.zeros((64, 66, 3), np.uint8)],
        [np.zeros((2, 16386, 3), np.uint8)],
    ],
    ids=["grey", "float", "two sizes", "too wide"],
)
def test_frames_of_the_wrong_shape(tmp_path: Path, frames: list[np.ndarray]) -> None:
    with pytest.raises(ShapeError, match="frame"):
        write_video(tmp_path / "out.mp4", frames, Fraction(25))
    assert not os.listdir(tmp_path)


@pytest.mark.parametrize("name", ["out.mkv", "out.gif", "out", "out.png"])
def test_suffix_that_is_not_written(tmp_path: Path, name: str) -> None:
    for write in (check_writable, lambda path: write_video(path, moving_frames(1), Fraction(25))):
        with pytest.raises(MediaError, match=r"\.mp4, \.mov"):
            write(tmp_path / name)


def unwritable(tmp_path: Path) -> list[Path]:
    (tmp_path / "file").touch()
    (tmp_path / "folder.mp4").mkdir()
    paths = [tmp_path / "missing/out.mp4", tmp_path / "file/out.mp4", tmp_path / "folder.mp4"]
    if sys.platform == "linux":
        paths.append(Path("/proc/out.mp4"))  # read-only even for root
    if os.geteuid() != 0:
        (tmp_path / "locked").mkdir(mode=0o555)
        paths.append(tmp_path / "locked/out.mp4")
    return paths


def test_folder_that_cannot_be_written_to(tmp_path: Path) -> None:
    def never() -> Iterator[np.ndarray]:
        raise AssertionError("frames must not be asked for when they cannot be written")
        yield

    for path in unwritable(tmp_path):
        for write in (check_writable, lambda path: write_video(path, never(), Fraction(25))):
            with pytest.raises(MediaError, match=f"Cannot write {re.escape(str(path))}") as error:
                write(path)
            assert "\n" not in str(error.value)


def test_check_leaves_no_trace(tmp_path: Path) -> None:
    check_writable(tmp_path / "out.mp4")
    assert not os.listdir(tmp_path)
    (tmp_path / "out.mp4").write_bytes(b"old")
    check_writable(tmp_path / "out.mp4")
    assert (tmp_path / "out.mp4").read_bytes() == b"old"


WRITE_TO = """
import sys
from fractions import Fraction
from pathlib import Path
import numpy as np
from hunyuan_core.errors import MediaError
from hunyuan_core.video import write_image, write_video
noise = np.random.default_rng(0).integers(0, 256, (20, 256, 256, 3), dtype=np.uint8)
try:
    if sys.argv[1].endswith(".png"):
        write_image(Path(sys.argv[1]), noise[0])
    else:
        write_video(Path(sys.argv[1]), noise, Fraction(25))
except MediaError as error:
    print(error)
    sys.exit(2)
"""


def write_in_subprocess(path: Path, max_bytes: int | None = None) -> subprocess.CompletedProcess[str]:
    def limit() -> None:
        if max_bytes is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (max_bytes, max_bytes))

    root = Path(__file__).parents[2]
    command = [sys.executable, "-c", WRITE_TO, str(path)]
    return subprocess.run(command, capture_output=True, text=True, check=False, preexec_fn=limit, cwd=root)  # noqa: S603


@pytest.mark.parametrize("name", ["out.mp4", "out.png"])
@pytest.mark.parametrize("max_bytes", [0, 10_000, 100_000])
def test_file_that_may_not_grow(tmp_path: Path, name: str, max_bytes: int) -> None:
    done = write_in_subprocess(tmp_path / name, max_bytes)
    assert done.returncode == 2, done.stderr
    assert re.fullmatch(r"No room to write .*; free some space or choose another output folder\.\n", done.stdout)
    assert not os.listdir(tmp_path)


@pytest.mark.parametrize("name", ["out.mp4", "out.png"])
def test_full_disk(tmp_path: Path, name: str) -> None:
    mount, unmount = shutil.which("mount"), shutil.which("umount")
    if mount is None or unmount is None or os.geteuid() != 0:
        pytest.skip("only root can mount a small file system")
    mounting = [mount, "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(tmp_path)]
    if subprocess.run(mounting, check=False, capture_output=True).returncode:  # noqa: S603
        pytest.skip("no leave to mount a small file system")
    try:
        done = write_in_subprocess(tmp_path / name)
        assert done.returncode == 2, done.stderr
        assert re.fullmatch(r"No room to write .*No space left.*; free some space .*\n", done.stdout)
        assert not os.listdir(tmp_path)
    finally:
        subprocess.run([unmount, str(tmp_path)], check=True)  # noqa: S603


def test_image_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    frame = moving_frames(1)[0]
    write_image(tmp_path / "out.png", frame)
    assert os.listdir(tmp_path) == ["out.png"]
    with pytest.raises(MediaError, match="suffix must be"):
        write_image(tmp_path / "out.xyz", frame)
    with pytest.raises(MediaError, match="Cannot write"):
        write_image(tmp_path / "missing/out.png", frame)


def test_the_same_frames_give_the_same_file(tmp_path):
    # x264 reads uninitialised memory unless told otherwise; glibc fills it as this variable says.
    script = (
        "import sys; from fractions import Fraction; from hunyuan_core.video import write_video; import numpy as np\n"
        "noise = np.random.default_rng(0).integers(0, 255, (7, 8, 8, 3)).repeat(8, 1).repeat(8, 2).astype(np.uint8)\n"
        "write_video(sys.argv[1], noise, Fraction(25))\n"
    )
    files = []
    for fill in ("1", "85", "170"):
        path = tmp_path / f"{fill}.mp4"
        environment = {**os.environ, "MALLOC_PERTURB_": fill}
        subprocess.run([sys.executable, "-c", script, str(path)], env=environment, check=True)  # noqa: S603
        files.append(path.read_bytes())

    assert files[0] == files[1] == files[2]
