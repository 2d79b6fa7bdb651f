"""The main job on a real portrait and a real driving video with audio, through the command line."""

from __future__ import annotations

from fractions import Fraction

import av
import numpy as np
import pytest
from clips import audio_packets
from PIL import Image

from hunyuan_core.cli import main

BOXES = ["--portrait-box", "100,60,420,480", "--driving-box", "133,95,352,385"]


@pytest.mark.parametrize("has_background", [False, True], ids=["square", "full resolution"])
def test_frames_rate_and_audio_of_the_driving_video_are_kept(has_background, data_dir, tmp_path):
    driving, portrait, out = data_dir / "driving_video.mp4", data_dir / "source_image.png", tmp_path / "out.mp4"
    more, size = [], (512, 512)
    if has_background:
        picture = Image.new("RGB", (900, 700), (30, 90, 60))
        picture.paste(Image.open(portrait).convert("RGB"), (200, 100))
        portrait = tmp_path / "portrait.png"
        picture.save(portrait)
        more, size = (
            ["--full-resolution", "--portrait-box", "300,160,620,580", "--num-inference-steps", "2"],
            (700, 900),
        )

    arguments = ["animate", "--portrait", str(portrait), "--driving", str(driving), "--out", str(out)]
    assert main([*arguments, "--weights", "untrained-tiny", *BOXES, *more]) == 0

    with av.open(str(out)) as container:
        stream = container.streams.video[0]
        assert stream.average_rate == Fraction(30)
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    assert len(frames) == 120
    assert frames[0].shape == (*size, 3)
    assert audio_packets(out) == audio_packets(driving)
    if has_background:
        border = np.stack(frames)[:, :, :50].astype(int)
        assert np.abs(border - (30, 90, 60)).max() <= 3
