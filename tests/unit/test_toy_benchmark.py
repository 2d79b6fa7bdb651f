"""The carried model's evaluation: its pairs, baselines, figures and gates, and the command."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_training import training_config

from hunyuan_core.checkpoints.writing import write_safetensors
from hunyuan_core.cli import main
from hunyuan_core.evaluation.pictures import psnr
from hunyuan_core.toy import TOY_SAMPLING
from hunyuan_core.toy_benchmark import (
    BASELINES,
    GATES,
    NUM_FRAMES,
    VIDEOS,
    Model,
    Outcome,
    check_gates,
    held_out_pair,
    load_model,
    measure_pair,
    summarise,
)
from hunyuan_core.toy_benchmark.measuring import Measured, recolour
from hunyuan_core.toy_benchmark.pairs import _STREAM
from hunyuan_core.toy_benchmark.running import Source, _beside
from hunyuan_core.toy_benchmark.summary import rounded
from hunyuan_core.training.loop import build_stage
from hunyuan_core.training.toyworld import (
    MOTION_PARAMETERS,
    MOTION_RANGES,
    Painter,
    face_mask,
    landmarks,
    random_motion,
    standard_motion,
)
from hunyuan_core.training.toyworld.reader import Reader
from hunyuan_core.training.weights import export

GAZE, BLINK = MOTION_PARAMETERS.index("gaze_x"), MOTION_PARAMETERS.index("blink")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An untrained model of the toy model's kind, with an untrained reader."""
    folder = tmp_path_factory.mktemp("toy") / "weights"
    config = training_config(folder)
    export(build_stage(config), config, folder)
    torch.manual_seed(0)
    write_safetensors(Reader().state_dict(), folder / "reader.safetensors", {})
    return folder


@pytest.fixture(scope="module")
def model(folder: Path) -> Model:
    return load_model(folder, device="cpu", sampling=replace(TOY_SAMPLING, num_inference_steps=1))


# --- pairs


def test_pairs_are_drawn_from_more_words_than_training_ever_has() -> None:
    # Training: its seed and the number of the example, each below 2**62 and so two words of 32 bits at most.
    longest = np.random.SeedSequence([2**62 - 1, 2**62 - 1])
    assert np.array_equal(
        longest.generate_state(8),
        np.random.SeedSequence([2**32 - 1, 2**30 - 1, 2**32 - 1, 2**30 - 1]).generate_state(8),
    )
    ours = np.random.SeedSequence([5, 7], spawn_key=(_STREAM,))
    assert np.array_equal(ours.generate_state(8), np.random.SeedSequence([5, 7, 0, 0, _STREAM]).generate_state(8))
    assert not np.array_equal(ours.generate_state(8), np.random.SeedSequence([5, 7]).generate_state(8))


def test_a_pair_is_a_function_of_seed_and_number() -> None:
    pair, again = held_out_pair(3, 4), held_out_pair(3, 4)
    assert pair.portrait == again.portrait
    assert np.array_equal(pair.motion, again.motion)
    assert pair.motion.shape == (NUM_FRAMES, 11)
    people = [
        person.head_width
        for seed, number in ((3, 4), (4, 3), (3, 5), (2**70, 4))
        for person in (held_out_pair(seed, number).portrait, held_out_pair(seed, number).driver)
    ]
    assert len(set(people)) == 8


# --- baselines


def test_recolouring_moves_each_channel_by_the_difference_of_the_means() -> None:
    portrait = np.zeros((2, 2, 3), np.uint8)
    portrait[..., 0], portrait[0, 0, 1], portrait[..., 2] = 90, 40, 200  # means 90, 10, 200
    frames = [np.full((2, 2, 3), (50, 30, 240), np.uint8), np.full((2, 2, 3), (70, 10, 160), np.uint8)]

    first, second = recolour(frames, portrait)  # means 60, 20, 200

    assert (first == (80, 20, 240)).all()
    assert (second == (100, 0, 160)).all()


def test_recolouring_stops_at_black_and_white() -> None:
    white, black = np.full((2, 2, 3), 255, np.uint8), np.zeros((2, 2, 3), np.uint8)
    (half,) = recolour([np.stack([white[0], black[0]])], white)  # mean 127.5, moved up by 127.5
    assert half[0].tolist() == white[0].tolist()
    assert set(half[1].ravel().tolist()) == {128}


# --- measuring


def test_a_pair_is_compared_with_what_should_come_out(model: Model) -> None:
    pair = held_out_pair(0, 0)
    outcome = measure_pair(pair, model)
    painter, driver = Painter(pair.portrait, 128), Painter(pair.driver, 128)
    portrait = painter.draw(pair.pose)
    rows = list(pair.motion)
    masks = [face_mask(pair.portrait, row, 128) for row in rows]

    assert tuple(outcome.videos) == VIDEOS
    assert outcome.motion == pytest.approx(standard_motion(pair.motion))
    assert outcome.landmarks[2] == pytest.approx(landmarks(pair.portrait, pair.motion[2], 128))
    expected = {
        "held_still": [psnr(painter.draw(row), portrait, mask) for row, mask in zip(rows, masks, strict=True)],
        "driver": [psnr(painter.draw(row), driver.draw(row), mask) for row, mask in zip(rows, masks, strict=True)],
    }
    for name, values in expected.items():
        assert outcome.videos[name].psnr == pytest.approx(np.mean(values))
    assert outcome.videos["truth"].psnr == math.inf
    assert outcome.videos["truth_through_vae"].psnr < 30  # an untrained one
    # The portrait held still shows the same in each frame.
    assert np.ptp(outcome.videos["held_still"].motion, axis=0).max() < 1e-5
    assert np.ptp(outcome.videos["truth"].motion, axis=0).max() > 1e-4
    for measured in outcome.videos.values():
        assert measured.landmarks.shape == outcome.landmarks.shape
        assert 0 < measured.landmarks.min() < measured.landmarks.max() < 128


def test_ranges_are_mapped_to_one() -> None:
    low, high = np.array(list(MOTION_RANGES.values()), np.float32).T
    assert standard_motion(np.stack([low, (low + high) / 2, high])) == pytest.approx(
        np.outer([-1, 0, 1], np.ones(11)), abs=1e-6
    )


# --- figures and gates


def outcomes(result: str = "perfect") -> list[Outcome]:
    """Pairs whose reader reads the truth; the result is perfect or one of the baselines."""
    found = []
    for i in range(12):
        rng = np.random.default_rng(i)
        motion, pose = (standard_motion(random_motion(rng, n, 6.25)) for n in (NUM_FRAMES, 1))
        looks, driver_looks = rng.normal(size=(2, 29))
        points, held = rng.uniform(30, 90, (NUM_FRAMES, 34, 2)), rng.uniform(30, 90, (34, 2))
        still = np.repeat(pose, NUM_FRAMES, axis=0), np.tile(looks, (NUM_FRAMES, 1)), np.tile(held, (NUM_FRAMES, 1, 1))
        perfect = Measured(math.inf, motion, np.tile(looks, (NUM_FRAMES, 1)), points)
        driver = Measured(12.0, motion, np.tile(driver_looks, (NUM_FRAMES, 1)), points + 4)
        videos = {
            "perfect": perfect,
            "held_still": Measured(20.0, *still),
            "driver": driver,
            "recoloured": replace(driver, psnr=14.0),
            "truth": perfect,
            "truth_through_vae": replace(perfect, psnr=32.0),
        }
        videos["result"] = videos.pop("perfect") if result == "perfect" else videos[result]
        found.append(Outcome(motion, pose[0], looks, driver_looks, points, held, videos))
    return found


def passed(pairs: list[Outcome]) -> dict[str, bool]:
    return {gate["name"]: gate["passed"] for gate in check_gates(summarise(pairs))}


def with_result(pairs: list[Outcome], **changes: object) -> list[Outcome]:
    return [
        replace(pair, videos={**pair.videos, "result": replace(pair.videos["result"], **changes)}) for pair in pairs
    ]


def test_there_is_a_gate_for_all_that_the_model_must_show() -> None:
    names = [gate.name for gate in GATES]
    expected = ["psnr_gain", "lmd_share", *(f"correlation_{name}" for name in MOTION_PARAMETERS), "identity_share"]
    assert names == expected
    assert [gate.limit for gate in GATES] == [6.0, 0.25, *[0.9] * 11, 0.97]


def test_a_perfect_result_passes_all_gates() -> None:
    figures = summarise(outcomes())
    assert all(gate["passed"] for gate in check_gates(figures))
    assert figures["result"]["lmd"] == figures["result"]["aed"] == figures["result"]["apd"] == 0
    assert set(rounded(figures["result"]["correlation"]).values()) == {1.0}


@pytest.mark.parametrize(
    ("baseline", "good"),
    [
        ("held_still", {"identity_share"}),
        ("driver", {f"correlation_{name}" for name in MOTION_PARAMETERS} | {"lmd_share"}),
    ],
)
def test_a_baseline_passes_those_gates_alone_that_it_must(baseline: str, good: set[str]) -> None:
    assert {name for name, is_passed in passed(outcomes(baseline)).items() if is_passed} == good


@pytest.mark.parametrize(("value", "expected"), [(26.0, True), (25.99, False)])
def test_psnr_is_held_against_the_best_baseline(value: float, expected: bool) -> None:
    assert passed(with_result(outcomes(), psnr=value))["psnr_gain"] is expected


@pytest.mark.parametrize(("share", "expected"), [(0.249, True), (0.251, False)])
def test_landmarks_are_held_against_the_portrait_held_still(share: float, expected: bool) -> None:
    pairs = outcomes()
    distance = summarise(pairs)["exact"]["held_still_lmd"]
    assert distance == pytest.approx(summarise(pairs)["held_still"]["lmd"])
    changed = [
        replace(
            pair,
            videos={
                **pair.videos,
                "result": replace(pair.videos["result"], landmarks=pair.landmarks + np.array([share * distance, 0])),
            },
        )
        for pair in pairs
    ]
    assert summarise(changed)["result"]["lmd"] == pytest.approx(share * distance)
    assert passed(changed)["lmd_share"] is expected


def test_gaze_is_judged_where_eyes_are_open() -> None:
    pairs = outcomes()
    rng = np.random.default_rng(0)
    changed = []
    for pair in pairs:
        motion, read = pair.motion.copy(), pair.motion.copy()
        motion[::2, BLINK] = read[::2, BLINK] = 0.9
        read[::2, GAZE] = rng.uniform(-1, 1, len(read[::2]))
        videos = {**pair.videos, "result": replace(pair.videos["result"], motion=read)}
        changed.append(replace(pair, motion=motion, videos=videos))
    correlation = summarise(changed)["result"]["correlation"]
    assert correlation["gaze_x"] == pytest.approx(1)
    assert correlation["blink"] == pytest.approx(1)
    # The other way round, it would be seen.
    for pair in changed:
        pair.motion[:, BLINK] = -1
    assert summarise(changed)["result"]["correlation"]["gaze_x"] < 0.8


def test_a_parameter_that_never_moves_is_no_pass() -> None:
    pairs = with_result(outcomes(), motion=np.zeros((NUM_FRAMES, 11)))
    gates = {gate["name"]: gate for gate in check_gates(summarise(pairs))}
    assert math.isnan(gates["correlation_yaw"]["value"])
    assert gates["correlation_yaw"]["passed"] is False
    assert rounded(gates["correlation_yaw"])["value"] is None


def test_identity_is_the_share_of_pairs_nearer_to_the_portrait() -> None:
    pairs, others = outcomes(), outcomes("driver")
    figures = summarise([*pairs[:9], *others[9:]])
    assert figures["result"]["identity_share"] == 0.75
    assert figures["driver"]["identity_share"] == 0


def test_errors_of_motion_are_in_half_ranges_and_degrees() -> None:
    pairs = [replace(pair, motion=np.zeros((NUM_FRAMES, 11))) for pair in outcomes()]
    read = np.zeros((NUM_FRAMES, 11))
    read[:, 0] = 0.3  # 10.5 degrees of yaw, of three angles
    read[:, BLINK] = 0.6  # of six parameters
    figures = summarise(with_result(pairs, motion=read))["result"]
    assert figures["apd"] == pytest.approx(3.5)
    assert figures["aed"] == pytest.approx(0.1)


# --- the command


def test_the_command_prints_one_json_object(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["evaluate-toy", "5", "--num-pairs", "2", "--models", str(folder), "--device", "cpu"]
    assert main([*arguments, "--processes", "1", "--num-inference-steps", "1"]) == 0
    report = json.loads(capsys.readouterr().out)

    assert report["seed"] == 5
    assert report["num_pairs"] == 2
    assert report["passed"] is False
    assert [gate["name"] for gate in report["gates"]] == [gate.name for gate in GATES]
    assert set(report["videos"]) == {"exact", *VIDEOS}
    assert report["videos"]["truth"]["psnr"] is None
    assert all(len(report["videos"][name]["psnr_of_pairs"]) == 2 for name in BASELINES)


def test_other_processes_measure_what_this_one_does(folder: Path, model: Model) -> None:
    (beside,) = _beside(Source(folder, device="cpu", sampling=model.sampling), 5, 1, 1)
    here = measure_pair(held_out_pair(5, 0), model)

    assert beside.videos["result"].psnr == pytest.approx(here.videos["result"].psnr, abs=1e-3)
    assert beside.videos["driver"].landmarks == pytest.approx(here.videos["driver"].landmarks, abs=1e-2)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--num-inference-steps", "0"], "num_inference_steps"),
        (["--num-pairs", "0"], "--num-pairs and --processes must be at least 1"),
        (["--models", "nowhere"], "There is no folder nowhere"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["evaluate-toy", "1", *arguments]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert message in printed.err.splitlines()[-1]
