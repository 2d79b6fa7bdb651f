"""The people of the demo, what is measured of them and shown."""

from __future__ import annotations

import re

import av
import numpy as np
import pytest
import torch
from PIL import Image

from hunyuan_core.cli import main
from hunyuan_core.demo import FACE_BOX, Scene, draw_follower, draw_portrait, measure, side_by_side, strip
from hunyuan_core.toy import TOY_SIZE
from hunyuan_core.training.toyworld import landmarks
from hunyuan_core.training.toyworld.reader import Reader, Reading


class KnowingReader(Reader):
    """Answers with known landmarks, one picture after the other."""

    def __init__(self, points: np.ndarray) -> None:
        super().__init__()
        self.points = iter(torch.from_numpy(points))

    def forward(self, pictures: torch.Tensor) -> Reading:
        return super().forward(pictures)._replace(landmarks=next(self.points)[None])


@pytest.fixture(scope="module")
def scene() -> Scene:
    return Scene.draw(3, 4)


def true_points(scene: Scene) -> np.ndarray:
    return np.stack([landmarks(scene.person, row, 1) for row in scene.motion])


def test_the_seed_alone_decides(scene):
    again, other = Scene.draw(3, 4), Scene.draw(4, 4)

    assert (again.person, again.performer) == (scene.person, scene.performer)
    assert np.array_equal(again.motion, scene.motion)
    assert other.person != scene.person
    assert scene.person != scene.performer


def test_the_truth_is_the_portraits_person_with_the_drivers_motion(scene):
    at_rest = Scene(scene.person, scene.pose, scene.performer, scene.pose[None], scene.size)

    assert np.array_equal(next(at_rest.truth()), scene.portrait())
    assert not np.array_equal(next(at_rest.driver()), scene.portrait())
    assert len(list(scene.driver())) == len(list(scene.truth())) == 4


def test_figures_of_the_truth_and_of_the_portrait_held_still(scene):
    best = measure(scene, list(scene.truth()), KnowingReader(true_points(scene)))
    held = measure(scene, [scene.portrait()] * 4, KnowingReader(np.stack([landmarks(scene.person, scene.pose, 1)] * 4)))

    assert best.psnr > 80
    assert best.lmd == pytest.approx(0, abs=1e-6)
    assert held.psnr == held.held_psnr < 25
    assert held.lmd == pytest.approx(held.held_lmd)
    assert held.held_lmd > 0.02
    assert f"{held.psnr:.1f} dB (portrait held still: {held.psnr:.1f} dB)" in str(held)


def test_the_video_shows_each_under_its_name(scene):
    videos = {"driver": list(scene.driver()), "truth": list(scene.truth())}

    frames = list(side_by_side(videos))

    assert [frame.shape for frame in frames] == [(2 * TOY_SIZE + 22, 4 * TOY_SIZE, 3)] * 4
    label, pictures = frames[0][:22], frames[0][22:]
    assert label.max() > 200
    shown = np.asarray(Image.fromarray(pictures[:, 2 * TOY_SIZE :]).resize((TOY_SIZE, TOY_SIZE)))
    assert np.abs(shown.astype(int) - videos["truth"][0]).mean() < 4


def test_the_strip_has_a_row_for_each(scene):
    videos = {"driver": list(scene.driver()), "truth": list(scene.truth())}

    picture = strip(videos, num_columns=3)

    assert picture.shape == (2 * TOY_SIZE, 88 + 3 * TOY_SIZE, 3)
    assert np.array_equal(picture[TOY_SIZE:, -TOY_SIZE:], videos["truth"][-1])
    assert strip(videos).shape[1] == 88 + 4 * TOY_SIZE


def test_the_example_is_one_of_these_scenes():
    x1, y1, x2, y2 = map(int, FACE_BOX)
    portrait = draw_portrait()

    assert portrait.shape == (512, 512, 3)
    assert 200 < x2 - x1 < 350
    assert 250 < y2 - y1 < 420
    assert next(draw_follower(2)).shape == portrait.shape


def test_the_demo_comes_nearer_to_the_truth_than_the_portrait_held_still(tmp_path, capsys):
    assert main(["demo", "--seed", "1", "--out", str(tmp_path)]) == 0

    figures, path = capsys.readouterr().out.splitlines()
    psnr, held_psnr, lmd, held_lmd = map(float, re.findall(r"(\d+\.\d) (?:dB|%)", figures))
    assert psnr > held_psnr + 3
    assert lmd < held_lmd / 2
    with av.open(path) as container:
        assert len(list(container.decode(video=0))) == 50
    assert (tmp_path / "demo.jpg").is_file()


def test_own_files_are_animated_by_the_toy_model(tmp_path, capsys):
    portrait = tmp_path / "me.png"
    Image.fromarray(Scene.draw(9, 1).portrait()).save(portrait)

    assert main(["demo", "--portrait", str(portrait), "--out", str(tmp_path)]) == 0

    captured = capsys.readouterr()
    assert "knows drawn faces only" in captured.err
    assert captured.out == f"{tmp_path / 'animated.mp4'}\n"
