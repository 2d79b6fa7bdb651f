"""A part of a video file: its frames, times and audio."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from clips import NTSC, audio_packets, make_clip

from hunyuan_core.errors import ConfigurationError, MediaError
from hunyuan_core.video import decoding, open_video, write_video


@pytest.mark.parametrize("name", ["clip.mp4", "clip.mkv", "clip.ts", "clip.avi"])
@pytest.mark.parametrize(("part", "frames"), [((0, 0.4), (0, 10)), ((0.6, 0), (15, 60)), ((1.2, 0.52), (30, 43))])
def test_frames_of_a_part(tmp_path: Path, name: str, part: tuple[float, float], frames: tuple[int, int]) -> None:
    codec = "mpeg4" if name.endswith("avi") else "libx264"
    clip = make_clip(tmp_path / name, num_frames=60, codec=codec)
    with decoding.open_container(clip) as container:
        offset = float(decoding.clock_start(container))  # transport streams begin at 1.4 s
    whole = list(open_video(clip))

    source = open_video(clip, part=(part[0] + offset if part[0] else 0, part[1] + (0 if part[0] else offset)))

    expected = whole[slice(*frames)]
    assert source.num_frames == len(expected)
    assert source.frame_rate == 25
    assert source.timestamps is None
    for found in (list(source), list(source)):
        assert all(np.array_equal(a, b) for a, b in zip(found, expected, strict=True))


def test_decoding_begins_near_the_part(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clip = make_clip(tmp_path / "clip.mp4", num_frames=600, size=(32, 32))  # a key frame every 250 frames
    source = open_video(clip, part=(22.0, 0.4))
    seen = []
    decode = decoding.VideoDecoder._decode

    def counted(*args):
        for frame in decode(*args):
            seen.append(frame)
            yield frame

    monkeypatch.setattr(decoding.VideoDecoder, "_decode", counted)
    assert len(list(source)) == 10
    assert len(seen) <= 61


def test_times_of_a_variable_rate(tmp_path: Path) -> None:
    pts = [0, 4, 8, 16, 20, 28, 40]
    clip = make_clip(tmp_path / "clip.mkv", num_frames=7, pts=pts, time_base=Fraction(1, 100), bf="0")

    source = open_video(clip, part=(0.08, 0.2))

    assert source.num_frames == 3
    assert source.timestamps is not None
    assert source.timestamps[:3] == (0, Fraction(8, 100), Fraction(12, 100))


def test_audio_of_a_part_is_in_step(tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "clip.mp4", num_frames=90, rate=NTSC, audio_codec="aac", audio_seconds=3.0)
    source = open_video(clip, part=(1.0, 1.0))
    assert source.audio_start == Fraction(1001, 1000)
    assert source.num_frames == 30

    out = tmp_path / "out.mp4"
    length = source.num_frames / source.frame_rate
    write_video(out, source, source.frame_rate, audio_from=clip, audio_start=source.audio_start, audio_length=length)

    assert open_video(out).frame_rate == NTSC
    given = {data: time for time, _, data in audio_packets(clip)}
    written = audio_packets(out)
    assert len(written) == pytest.approx(float(length) * 48000 / 1024, abs=1)
    for time, _, data in written:
        assert 0 <= time < length
        # mp4 stores when a track begins in milliseconds.
        assert abs(given[data] - Fraction(1001, 1000) - time) <= Fraction(1, 1000)


def test_audio_can_end_with_the_frames(tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "clip.mp4", num_frames=25, audio_codec="aac", audio_seconds=3.0)
    whole = audio_packets(clip)

    write_video(tmp_path / "out.mp4", list(open_video(clip)), 25, audio_from=clip, audio_length=Fraction(1))

    assert audio_packets(tmp_path / "out.mp4") == [packet for packet in whole if packet[0] < 1]


def test_a_part_after_the_end(tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "clip.mp4")
    with pytest.raises(MediaError, match=r"clip\.mp4 shows no frame in the part from 5 s on; trim it less"):
        open_video(clip, part=(5.0, 0.0))


def test_a_part_of_a_folder(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="part is for a file only"):
        open_video(tmp_path, part=(1.0, 1.0))
