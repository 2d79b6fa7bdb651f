from __future__ import annotations

import re
from fractions import Fraction

import av
import pytest
from clips import make_clip
from golden_cases import ROOT
from PIL import Image

from hunyuan_core.cli import main
from hunyuan_core.demo import draw_portrait

README = (ROOT / "README.md").read_text()


def test_the_python_example_runs(tmp_path):
    example = re.search(r"```python\n(.*?)```", README, re.DOTALL)
    assert example is not None
    portrait, out = tmp_path / "portrait.png", tmp_path / "out.mp4"
    Image.fromarray(draw_portrait()).resize((128, 96)).save(portrait)
    driving = make_clip(tmp_path / "driving.mp4", num_frames=5, rate=Fraction(30000, 1001), audio_codec="aac")
    names = {"BOX": (20, 20, 80, 80), "PORTRAIT": portrait, "DRIVING": driving, "OUT": out, "SIZE": 64}

    exec(compile(example[1], "README.md", "exec"), names)  # noqa: S102

    with av.open(str(out)) as container:
        assert len(list(container.decode(video=0))) == 5


@pytest.mark.parametrize("option", sorted(set(re.findall(r"`(?:[\w .]*?)(--[a-z-]+)", README))))
def test_every_option_named_exists(option, capsys):
    texts = ""
    for command in ("animate", "batch", "download", "evaluate", "prepare"):
        with pytest.raises(SystemExit):
            main([command, "--help"])
        texts += capsys.readouterr().out

    assert option in texts
