"""Real video: what the release decoded, and a way in and out that loses nothing but what H.264 loses."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from clips import audio_packets
from golden_cases import case_files, load_case

from hunyuan_core.video import check_writable, open_video, write_video


@pytest.mark.parametrize("path", case_files("face_crops"))
def test_frames_are_those_that_the_release_decoded(data_dir: Path, path: Path) -> None:
    expected = load_case(path).tensors
    frames = list(open_video(data_dir / "driving_video.mp4"))
    np.testing.assert_array_equal(frames[0], expected["frame0"])
    np.testing.assert_array_equal(frames[60], expected["frame60"])


def test_driving_video_in_and_out(data_dir: Path, tmp_path: Path) -> None:
    source = open_video(data_dir / "driving_video.mp4")
    out = tmp_path / "out.mp4"
    check_writable(out, audio_from=source.path)
    written = write_video(out, source, source.frame_rate, timestamps=source.timestamps, audio_from=source.path)
    result = open_video(out)
    assert written == source.num_frames == result.num_frames == 120
    assert source.frame_rate == result.frame_rate == 30
    assert result.timestamps is None
    assert audio_packets(out) == audio_packets(source.path)
    assert len(audio_packets(out)) == 175
    error = [np.abs(a.astype(int) - b).mean() for a, b in zip(source, result, strict=True)]
    assert max(error) < 3
