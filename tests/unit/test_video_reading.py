"""Sources of driving frames: files, animated images, folders, stills, and what is wrong with them."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from clips import NTSC, make_clip, make_sound, moving_frames, turn
from PIL import Image

from hunyuan_core.errors import ConfigurationError, MediaError
from hunyuan_core.video import open_video


def one_line(error: pytest.ExceptionInfo[MediaError]) -> str:
    message = str(error.value)
    assert "\n" not in message
    return message


def write_gif(path: Path, durations: list[int], size: tuple[int, int] = (64, 48)) -> Path:
    frames = [Image.new("RGB", size, (20 * i, 100, 50)) for i in range(len(durations))]
    frames[0].save(path, save_all=True, append_images=frames[1:], duration=durations, loop=0)
    return path


@pytest.mark.parametrize(
    ("name", "codec", "pix_fmt"),
    [
        ("clip.mp4", "libx264", "yuv420p"),
        ("clip.mov", "prores_ks", "yuv422p10le"),
        ("clip.mkv", "ffv1", "yuv444p"),
        ("clip.webm", "libvpx", "yuv420p"),
        ("clip.ts", "libx264", "yuv420p"),
        ("clip.avi", "libx264", "yuv420p"),
        ("clip.h264", "libx264", "yuv420p"),
    ],
)
def test_every_frame_of_usual_files_is_read_twice_the_same(tmp_path: Path, name: str, codec: str, pix_fmt: str) -> None:
    rate = 25 if name.endswith("h264") else NTSC  # a bare stream has no times: 25 is assumed
    source = open_video(make_clip(tmp_path / name, codec=codec, pix_fmt=pix_fmt, rate=rate))
    first, second = list(source), list(source)
    assert (source.num_frames, source.frame_rate, source.timestamps) == (24, rate, None)
    assert (source.height, source.width) == first[0].shape[:2] == (96, 128)
    assert not source.has_audio
    assert not source.is_still
    assert len(first) == 24
    for frame, again, expected in zip(first, second, moving_frames(24), strict=True):
        assert frame.dtype == np.uint8
        np.testing.assert_array_equal(frame, again)
        assert np.abs(frame.astype(int) - expected).mean() < 4


def test_odd_sides_are_kept(tmp_path: Path) -> None:
    source = open_video(make_clip(tmp_path / "odd.mkv", codec="ffv1", pix_fmt="yuv444p", size=(65, 67)))
    assert next(iter(source)).shape == (65, 67, 3) == (source.height, source.width, 3)


def test_times_of_a_variable_rate_are_kept(tmp_path: Path) -> None:
    pts = [0, 20, 40, 100, 101, 160, 400]
    clip = make_clip(tmp_path / "v.mp4", num_frames=7, pts=pts, time_base=Fraction(1, 600))
    source = open_video(clip)
    assert source.timestamps is not None
    assert source.timestamps[:-1] == tuple(Fraction(value, 600) for value in pts)
    assert source.timestamps[-1] > source.timestamps[-2]
    assert source.num_frames == 7 == len(list(source))


def test_pictures_that_begin_after_the_sound_keep_their_delay(tmp_path: Path) -> None:
    pts = [60 + 24 * i for i in range(24)]
    clip = make_clip(tmp_path / "late.mp4", pts=pts, time_base=Fraction(1, 600), audio_codec="aac")
    timestamps = open_video(clip).timestamps
    assert timestamps is not None
    assert timestamps[0] == Fraction(1, 10)
    alone = make_clip(tmp_path / "alone.mp4", pts=pts, time_base=Fraction(1, 600))
    assert open_video(alone).timestamps is None
    assert open_video(alone).frame_rate == 25


@pytest.mark.parametrize(
    ("matrix", "turned"),
    [
        ((1, 0, 0, 1), lambda frame: frame),
        ((0, 1, -1, 0), lambda frame: np.rot90(frame, -1)),  # a phone held upright: clockwise
        ((-1, 0, 0, -1), lambda frame: np.rot90(frame, 2)),
        ((0, -1, 1, 0), np.rot90),
        ((-1, 0, 0, 1), np.fliplr),
        ((1, 0, 0, -1), np.flipud),
        ((0, 1, 1, 0), lambda frame: frame.transpose(1, 0, 2)),
    ],
)
def test_display_matrix_is_applied(tmp_path: Path, matrix: tuple[int, int, int, int], turned) -> None:
    clip = make_clip(tmp_path / "clip.mp4", num_frames=3)
    upright = list(open_video(clip))
    source = open_video(turn(clip, matrix, 128, 96))
    for frame, original in zip(source, upright, strict=True):
        assert frame.flags.c_contiguous
        assert frame.shape[:2] == (source.height, source.width)
        np.testing.assert_array_equal(frame, turned(original))


def test_pixels_that_are_not_square_are_stretched(tmp_path: Path) -> None:
    path = tmp_path / "wide.mp4"
    with av.open(str(path), "w") as output:
        stream = output.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 90, 64, "yuv420p"
        stream.codec_context.sample_aspect_ratio = Fraction(4, 3)
        for pixels in moving_frames(2, 64, 90):
            output.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        output.mux(stream.encode(None))
    source = open_video(path)
    assert (source.width, source.height) == (120, 64)
    assert next(iter(source)).shape == (64, 120, 3)


# Of ITU-R BT.601 and BT.709: the weights of red and blue in luma.
LUMA = {1: (0.2126, 0.0722), 5: (0.299, 0.114), 6: (0.299, 0.114), 2: (0.299, 0.114)}


@pytest.mark.parametrize("colorspace", [1, 5, 6, 2], ids=["bt709", "bt470bg", "smpte170m", "unspecified"])
@pytest.mark.parametrize("is_full", [False, True], ids=["limited", "full"])
@pytest.mark.parametrize("pix_fmt", ["yuv420p", "yuv444p", "yuv420p10le"])
def test_colours_follow_the_tags_of_the_file(tmp_path: Path, colorspace: int, is_full: bool, pix_fmt: str) -> None:
    colour = np.array([200, 90, 40])
    path = tmp_path / "colour.mkv"
    write_flat(path, to_yuv(colour / 255, *LUMA[colorspace], is_full), colorspace, is_full, pix_fmt)
    frame = next(iter(open_video(path)))
    assert np.abs(frame.astype(int) - colour).max() <= 3  # the library trades exactness for speed


def test_untagged_high_definition_is_bt709(tmp_path: Path) -> None:
    colour = np.array([200, 90, 40])
    path = tmp_path / "hd.mkv"
    write_flat(path, to_yuv(colour / 255, *LUMA[1], is_full=False), 2, False, "yuv420p", height=720)
    assert (
        np.abs(next(iter(open_video(path))).astype(int) - colour).max() <= 3
    )  # the library trades exactness for speed


def to_yuv(rgb: np.ndarray, red: float, blue: float, is_full: bool) -> np.ndarray:
    """Y, Cb, Cr as 8-bit values before rounding."""
    luma = red * rgb[0] + (1 - red - blue) * rgb[1] + blue * rgb[2]
    chroma = np.array([(rgb[2] - luma) / (2 * (1 - blue)), (rgb[0] - luma) / (2 * (1 - red))])
    if is_full:
        return np.array([255 * luma, *(255 * chroma + 128)])
    return np.array([219 * luma + 16, *(224 * chroma + 128)])


def write_flat(path: Path, yuv: np.ndarray, colorspace: int, is_full: bool, pix_fmt: str, height: int = 64) -> None:
    """Write one colour without loss, as the samples that it is."""
    scale, dtype = (4, "<u2") if pix_fmt.endswith("10le") else (1, "u1")
    frame = av.VideoFrame(64, height, pix_fmt)
    for plane, value in zip(frame.planes, np.rint(yuv * scale), strict=True):
        plane.update(np.full(plane.buffer_size // np.dtype(dtype).itemsize, value, dtype).tobytes())
    frame.colorspace, frame.color_range = colorspace, 2 if is_full else 1
    with av.open(str(path), "w") as output:
        stream = output.add_stream("ffv1", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, height, pix_fmt
        stream.codec_context.colorspace, stream.codec_context.color_range = frame.colorspace, frame.color_range
        output.mux(stream.encode(frame))
        output.mux(stream.encode(None))


def test_transparent_video_lies_over_white(tmp_path: Path) -> None:
    path = tmp_path / "alpha.mov"
    with av.open(str(path), "w") as output:
        stream = output.add_stream("png", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 64, "rgba"
        pixels = np.zeros((64, 64, 4), np.uint8)
        pixels[:32] = (200, 100, 0, 128)
        output.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgba")))
        output.mux(stream.encode(None))
    frame = next(iter(open_video(path)))
    np.testing.assert_allclose(frame[0, 0], [227, 177, 127], atol=1)
    assert (frame[32:] == 255).all()


def test_gif_keeps_its_durations(tmp_path: Path) -> None:
    source = open_video(write_gif(tmp_path / "clip.gif", [100, 200, 50]))
    assert source.num_frames == 3 == len(list(source))
    assert source.timestamps == (0, Fraction(1, 10), Fraction(3, 10), Fraction(35, 100))
    assert [frame[0, 0, 0] for frame in source] == [0, 20, 40]
    assert (source.width, source.height) == (64, 48)


@pytest.mark.parametrize("suffix", [".gif", ".png", ".webp"])
def test_animated_image_of_constant_rate(tmp_path: Path, suffix: str) -> None:
    source = open_video(write_gif(tmp_path / f"clip{suffix}", [40] * 5))
    assert (source.num_frames, source.frame_rate, source.timestamps) == (5, 25, None)


def test_gif_without_delay_runs_as_browsers_run_it(tmp_path: Path) -> None:
    assert open_video(write_gif(tmp_path / "clip.gif", [0, 0, 0])).frame_rate == 10


def test_folder_is_read_in_natural_order(tmp_path: Path) -> None:
    for i in (1, 2, 10):
        Image.new("RGB", (16, 24), (i, 0, 0)).save(tmp_path / f"Frame_{i}.png")
    (tmp_path / "notes.txt").write_text("not a frame")
    (tmp_path / "._Frame_1.png").write_bytes(b"left by a Mac")
    source = open_video(tmp_path)
    assert [frame[0, 0, 0] for frame in source] == [1, 2, 10]
    assert (source.num_frames, source.frame_rate, source.width, source.height) == (3, 25, 16, 24)
    assert open_video(tmp_path, frame_rate=NTSC).frame_rate == NTSC


def test_folder_with_two_sizes_names_the_image(tmp_path: Path) -> None:
    Image.new("RGB", (16, 24)).save(tmp_path / "1.png")
    Image.new("RGB", (16, 25)).save(tmp_path / "2.png")
    with pytest.raises(MediaError, match=r"2\.png is 16x25 pixels but 1\.png is 16x24") as error:
        list(open_video(tmp_path))
    one_line(error)


def test_still_image_and_one_frame_video_can_be_held(tmp_path: Path) -> None:
    Image.new("RGB", (32, 16), (9, 8, 7)).save(tmp_path / "still.png")
    clip = make_clip(tmp_path / "one.mp4", num_frames=1)
    for source in (open_video(tmp_path / "still.png"), open_video(clip)):
        assert source.is_still
        assert source.num_frames == 1 == len(list(source))
        held = source.held()
        assert not held.is_still
        assert (held.num_frames, held.frame_rate, held.timestamps) == (25, 25, None)
        frames = list(held)
        assert len(frames) == 25
        np.testing.assert_array_equal(frames[24], next(iter(source)))
        with pytest.raises(ConfigurationError, match="at least one frame"):
            source.held(0)


def test_rate_is_refused_for_what_has_its_own(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="folder of images only"):
        open_video(make_clip(tmp_path / "clip.mp4"), frame_rate=Fraction(25))


@pytest.mark.parametrize("has_index_first", [False, True])
def test_truncated_mp4_names_the_frame_or_the_missing_header(tmp_path: Path, has_index_first: bool) -> None:
    clip = make_clip(tmp_path / "clip.mp4", num_frames=60, **({"movflags": "faststart"} if has_index_first else {}))
    data = clip.read_bytes()
    cut = tmp_path / "cut.mp4"
    cut.write_bytes(data[: len(data) * 8 // 10])
    if not has_index_first:  # its index comes last and is gone
        with pytest.raises(MediaError, match="cannot be read as a video") as error:
            open_video(cut)
        assert "copy or download" in one_line(error)
        return
    source = open_video(cut)
    read = []
    with pytest.raises(MediaError, match="breaks off at frame") as error:
        read.extend(source)
    assert f"breaks off at frame {len(read)} (" in one_line(error)
    assert 0 < len(read) < 60
    with pytest.raises(MediaError, match=f"breaks off at frame {len(read)} "):
        _ = source.num_frames


@pytest.mark.parametrize(("name", "codec"), [("clip.mkv", "libx264"), ("clip.webm", "libvpx"), ("clip.mp4", "libx264")])
def test_file_cut_between_packets_is_noticed(tmp_path: Path, name: str, codec: str) -> None:
    clip = make_clip(
        tmp_path / name, num_frames=60, codec=codec, **({"movflags": "faststart"} if "mp4" in name else {})
    )
    with av.open(str(clip)) as container:
        position = [packet.pos for packet in container.demux(video=0) if packet.pos is not None][40]
    data = clip.read_bytes()
    clip.write_bytes(data[:position])
    with pytest.raises(MediaError, match="breaks off at frame"):
        list(open_video(clip))


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(MediaError, match=r"nowhere\.mp4 does not exist; check the path") as error:
        open_video(tmp_path / "nowhere.mp4")
    one_line(error)


@pytest.mark.parametrize("name", ["notes.mp4", "notes.txt", "notes.png", "notes.gif"])
def test_not_a_video(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("a text of some length that is neither a video nor an image\n" * 20)
    with pytest.raises(MediaError, match=name) as error:
        open_video(tmp_path / name)
    one_line(error)


def test_empty_file(tmp_path: Path) -> None:
    (tmp_path / "empty.mp4").touch()
    with pytest.raises(MediaError, match=r"is empty \(0 bytes\)") as error:
        open_video(tmp_path / "empty.mp4")
    one_line(error)


def test_video_of_zero_length(tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "zero.mkv", num_frames=0, audio_codec="aac", codec="ffv1", pix_fmt="yuv444p")
    with pytest.raises(MediaError, match="not one whole frame") as error:
        open_video(clip)
    one_line(error)


def test_sound_alone(tmp_path: Path) -> None:
    with pytest.raises(MediaError, match="no moving pictures, only audio") as error:
        open_video(make_sound(tmp_path / "sound.m4a"))
    one_line(error)


def test_folder_without_images(tmp_path: Path) -> None:
    with pytest.raises(MediaError, match=r"holds no images; put frames there as \.png, .* or \.tiff\.") as error:
        open_video(tmp_path)
    one_line(error)
