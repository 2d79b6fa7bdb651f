"""The motion nodes in a real ComfyUI, with the tiny untrained networks."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

T = 27
BOX = np.array([30.0, 20, 60, 55])
LANDMARKS = np.array([[37.0, 30], [53, 30], [45, 38], [39, 46], [51, 46]])
FRAMES = np.random.default_rng(0).integers(0, 256, (T, 80, 96, 3), dtype=np.uint8)
UNEDITED = {
    "expression_strength": 1.0,
    "rotation_strength": 1.0,
    "translation_strength": 1.0,
    "keep": "all",
    "relative": False,
    "expression_smoothing": 1,
    "pose_smoothing": 1,
    "first_frame": 0,
    "num_frames": 0,
    "direction": "forward",
    "length": 0,
}
MIXED = {"mode": "mix", "blend_frames": 0, "expression_weight": 0.5, "pose_weight": 0.5, "fit": "error"}
MEASURED = {"head_intensity": -1, "expression_intensity": -1}


@pytest.fixture(autouse=True)
def as_comfyui_runs_nodes() -> Iterator[None]:
    with torch.inference_mode():
        yield


@pytest.fixture(scope="module")
def core(pack: ModuleType) -> SimpleNamespace:
    """The core as the pack imports it."""
    names = ("data", "errors", "motion", "motion_editing", "motion_files", "pipeline")
    return SimpleNamespace(**{name: importlib.import_module(f"{pack.__name__}.hunyuan_core.{name}") for name in names})


@pytest.fixture(scope="module")
def module(pack: ModuleType) -> ModuleType:
    return importlib.import_module(f"{pack.__name__}.nodes.motion")


@pytest.fixture(scope="module")
def pipeline(core: SimpleNamespace) -> Any:
    return core.pipeline.Pipeline.untrained_tiny(device="cpu")


@pytest.fixture(scope="module")
def encoder(pack: ModuleType, pipeline: Any) -> Any:
    memory = importlib.import_module(f"{pack.__name__}.nodes.comfy_bridge.memory")
    return memory.MotionEncoder(
        *(memory.ManagedNetwork(getattr(pipeline, name)) for name in ("expression", "head_pose", "refiner"))
    )


def track(core: SimpleNamespace, num_frames: int = T) -> Any:
    steps = 0.2 * np.arange(num_frames)[:, None]
    return core.data.FaceTrack(BOX + steps, LANDMARKS + steps[:, None], np.ones(num_frames, bool))


def image(frames: np.ndarray = FRAMES) -> torch.Tensor:
    return torch.from_numpy(frames).float() / 255


@pytest.fixture(scope="module")
def motion(core: SimpleNamespace, pipeline: Any) -> Any:
    return pipeline.encode_motion(FRAMES, track(core))


def encode(module: ModuleType, *args: Any, **options: int) -> Any:
    return module.HunyuanPortraitEncodeMotion.execute(*args, **{**MEASURED, **options}).args


def edit(module: ModuleType, motion: Any, **options: Any) -> Any:
    return module.HunyuanPortraitEditMotion.execute(motion, **{**UNEDITED, **options}).args[0]


def combine(module: ModuleType, *motions: Any, **options: Any) -> Any:
    return module.HunyuanPortraitCombineMotions.execute(*motions, **{**MIXED, **options}).args[0]


def assert_equal(found: Any, expected: Any) -> None:
    for name in ("tokens", "rotation", "translation"):
        assert torch.equal(getattr(found, name), getattr(expected, name)), name
    assert found.head_intensity == expected.head_intensity
    assert found.expression_intensity == expected.expression_intensity


# --- schema


def test_every_input_and_output_has_a_tooltip(module: ModuleType) -> None:
    for node in module.NODES:
        schema = node.GET_SCHEMA()
        assert schema.node_id == node.__name__
        assert schema.category == "HunyuanPortrait/Motion"
        assert [part.id or part.display_name for part in (*schema.inputs, *schema.outputs) if not part.tooltip] == []


def test_the_defaults_change_nothing(module: ModuleType) -> None:
    defaults = {
        part.id: part.default
        for part in module.HunyuanPortraitEditMotion.define_schema().inputs
        if getattr(part, "default", None) is not None
    }

    assert defaults == UNEDITED


# --- encode


def test_encoding_is_the_cores(module: ModuleType, core: SimpleNamespace, encoder: Any, motion: Any) -> None:
    found, crops, report = encode(module, encoder, image(), track(core))

    assert_equal(found, motion)
    assert tuple(crops.shape) == (1, 4 * 260 - 4, 4 * 260 - 4, 3)
    lines = report.splitlines()
    assert lines[0].startswith("27 frames of motion")
    assert lines[1] == f"frames 0-24: head {motion.head_intensity[0]}, expression {motion.expression_intensity[0]}"
    assert len(lines) == 4


def test_the_preview_is_shown_in_the_node(module: ModuleType, core: SimpleNamespace, encoder: Any) -> None:
    output = module.HunyuanPortraitEncodeMotion.execute(encoder, image(FRAMES[:2]), track(core, 2), **MEASURED)

    assert len(output.ui.as_dict()["images"]) == 1


def test_intensities_may_be_given(module: ModuleType, core: SimpleNamespace, encoder: Any, motion: Any) -> None:
    found, _, report = encode(module, encoder, image(), track(core), head_intensity=0, expression_intensity=127)

    assert found.head_intensity == (0, 0)
    assert found.expression_intensity == (127, 127)
    assert "frames 25-26: head 0, expression 127" in report
    assert not torch.equal(found.tokens, motion.tokens)
    assert torch.equal(found.rotation, motion.rotation)


def test_a_still_is_encoded_and_said_to_be_one(module: ModuleType, core: SimpleNamespace, encoder: Any) -> None:
    still, _, report = encode(module, encoder, image(FRAMES[:1]), track(core, 1))

    assert len(still) == 1
    assert "knows video only; set length of 'HunyuanPortrait Edit Motion' to at least 25" in report
    held = edit(module, still, length=30)
    assert len(held) == 30
    assert torch.equal(held.tokens, still.tokens.expand(30, -1, -1))


def test_cancel_stops_after_a_chunk(module: ModuleType, core: SimpleNamespace, encoder: Any) -> None:
    import comfy.model_management as management

    management.interrupt_current_processing(True)

    with pytest.raises(management.InterruptProcessingException):
        encode(module, encoder, image(), track(core))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"motion_encoder": "text"}, "motion_encoder got a str; connect .*Load HunyuanPortrait Motion Encoder"),
        ({"track": torch.zeros(1)}, "track got a Tensor; connect .*HunyuanPortrait Detect Faces"),
        ({"frames": "text"}, "frames must be an IMAGE"),
        ({"frames": torch.zeros(0, 80, 96, 3)}, "frames holds no picture"),
        ({"frames": torch.zeros(T - 1, 80, 96, 3)}, "track has 27 frames but the video only 26; track it again"),
        ({"frames": torch.zeros(T + 1, 80, 96, 3)}, "more frames than the 27 of the face track; track it again"),
        ({"head_intensity": 128}, "head_intensity must be a whole number from -1 to 127"),
        ({"expression_intensity": -2}, "expression_intensity must be a whole number from -1 to 127"),
    ],
)
def test_bad_inputs_of_encode(
    module: ModuleType, core: SimpleNamespace, encoder: Any, changes: dict, message: str
) -> None:
    inputs = {"motion_encoder": encoder, "frames": image(), "track": track(core), **MEASURED, **changes}

    with pytest.raises(core.errors.HunyuanPortraitError, match=message):
        module.HunyuanPortraitEncodeMotion.execute(**inputs)


# --- edit


def test_nothing_changes_unless_asked(module: ModuleType, motion: Any) -> None:
    assert edit(module, motion) is motion
    for options in ({"relative": True}, {"num_frames": T}, {"length": T}, {"relative": True, "direction": "forward"}):
        assert_equal(edit(module, motion, **options), motion)


def test_an_edit_is_the_cores(module: ModuleType, core: SimpleNamespace, motion: Any) -> None:
    strengths = {"expression_strength": 0.5, "rotation_strength": 1.5, "translation_strength": 0.0}

    found = edit(
        module, motion, **strengths, keep="expression", relative=True, expression_smoothing=3, pose_smoothing=5
    )

    expected = core.motion_editing.MotionEdit(
        **strengths, keep="expression", is_relative=True, expression_smoothing=3, pose_smoothing=5
    )
    assert_equal(found, core.motion_editing.edit_motion(motion, expected))


def test_the_cut_comes_first(module: ModuleType, core: SimpleNamespace, motion: Any) -> None:
    found = edit(module, motion, first_frame=5, num_frames=4, relative=True, rotation_strength=0.0)

    assert len(found) == 4
    assert torch.equal(found.rotation, motion.rotation[5:6].expand(4, -1))
    assert torch.equal(edit(module, motion, first_frame=T - 2).tokens, motion.tokens[-2:])


@pytest.mark.parametrize(
    ("options", "order"),
    [
        ({"direction": "reverse"}, [3, 2, 1, 0]),
        ({"direction": "reverse", "length": 6}, [3, 2, 1, 0, 3, 2]),
        ({"direction": "ping-pong"}, [0, 1, 2, 3, 2, 1]),
        ({"direction": "ping-pong", "length": 8}, [0, 1, 2, 3, 2, 1, 0, 1]),
        ({"length": 6}, [0, 1, 2, 3, 0, 1]),
        ({"length": 2}, [0, 1]),
    ],
)
def test_direction_and_length(module: ModuleType, motion: Any, options: dict, order: list[int]) -> None:
    assert torch.equal(edit(module, motion, num_frames=4, **options).tokens, motion.tokens[order])


def test_ping_pong_of_a_still_is_a_still(module: ModuleType, motion: Any) -> None:
    assert len(edit(module, motion, num_frames=1, direction="ping-pong")) == 1


def test_the_head_starts_from_the_portraits_pose(module: ModuleType, core: SimpleNamespace, motion: Any) -> None:
    portrait = core.motion_editing.trim(motion, 9, 9)

    found = edit(module, motion, relative=True, portrait_motion=portrait)

    assert torch.equal(found.rotation[0], portrait.rotation[0])
    assert not torch.equal(found.rotation[1:], motion.rotation[1:])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"motion": "text"}, "motion got a str; connect .*Motion Features"),
        ({"portrait_motion": "text", "relative": True}, "portrait_motion got a str; connect .*Motion Features"),
        ({"first_frame": T}, "first_frame 27 and num_frames 0 reach past the motion's 27 frames; lower them"),
        ({"first_frame": 20, "num_frames": 8}, "first_frame 20 and num_frames 8 reach past the motion's 27 frames"),
        ({"pose_smoothing": 4}, "pose_smoothing is an odd number of frames"),
        ({"rotation_strength": 11.0}, "rotation_strength must be a number from 0 to 10"),
    ],
)
def test_bad_inputs_of_edit(
    module: ModuleType, core: SimpleNamespace, motion: Any, changes: dict, message: str
) -> None:
    with pytest.raises(core.errors.HunyuanPortraitError, match=message):
        module.HunyuanPortraitEditMotion.execute(**{"motion": motion, **UNEDITED, **changes})


def test_the_portraits_pose_is_for_relative_only(module: ModuleType, core: SimpleNamespace, motion: Any) -> None:
    with pytest.raises(
        core.errors.ConfigurationError, match="portrait_motion is for relative only; switch relative on"
    ):
        edit(module, motion, portrait_motion=motion)


# --- combine


def test_one_after_the_other(module: ModuleType, core: SimpleNamespace, motion: Any) -> None:
    joined = combine(module, motion, motion, mode="concatenate", blend_frames=3)

    assert_equal(joined, core.motion_editing.concatenate([motion, motion], 3))
    assert len(joined) == 2 * T - 3


def test_both_at_once(module: ModuleType, core: SimpleNamespace, motion: Any) -> None:
    other = core.motion_editing.reverse(motion)

    mixed = combine(module, motion, other, expression_weight=1.0, pose_weight=0.0)

    assert torch.equal(mixed.tokens[..., :-6], other.tokens[..., :-6])
    assert torch.equal(mixed.rotation, motion.rotation)
    assert_equal(combine(module, motion, other, expression_weight=0.0, pose_weight=0.0), motion)


@pytest.mark.parametrize(("fit", "swapped", "length"), [("loop", False, T), ("loop", True, 4), ("trim", False, 4)])
def test_lengths_may_be_fitted(
    module: ModuleType, core: SimpleNamespace, motion: Any, fit: str, swapped: bool, length: int
) -> None:
    motions = [motion, core.motion_editing.trim(motion, 1, 4)]

    assert len(combine(module, *(reversed(motions) if swapped else motions), fit=fit)) == length


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"motion_a": "text"}, "motion_a got a str"),
        ({"motion_b": None}, "motion_b got a NoneType"),
        ({"motion_b": 3}, "motion_a has 27 frames and motion_b 3; set fit to 'loop' or 'trim'"),
        ({"motion_b": 3, "mode": "concatenate", "blend_frames": 4}, "blend_frames is 4, but motion 2 of 2 has 3"),
        ({"pose_weight": 1.5}, "pose_weight must be a number from 0 to 1"),
    ],
)
def test_bad_inputs_of_combine(
    module: ModuleType, core: SimpleNamespace, motion: Any, changes: dict, message: str
) -> None:
    inputs = {"motion_a": motion, "motion_b": motion, **MIXED, **changes}
    if isinstance(inputs["motion_b"], int):
        inputs["motion_b"] = core.motion_editing.trim(motion, 0, inputs["motion_b"] - 1)

    with pytest.raises(core.errors.HunyuanPortraitError, match=message):
        module.HunyuanPortraitCombineMotions.execute(**inputs)


# --- files


def save(module: ModuleType, motion: Any, prefix: str = "hunyuan_portrait/motion") -> str:
    output = module.HunyuanPortraitSaveMotion.execute(motion, prefix)
    assert output.args[0] is motion
    (name,) = output.ui.as_dict()["text"]
    return name


def offered(module: ModuleType) -> list[str]:
    (choice,) = module.HunyuanPortraitLoadMotion.define_schema().inputs
    return choice.options


def load(module: ModuleType, name: str) -> Any:
    assert module.HunyuanPortraitLoadMotion.validate_inputs(name) is True
    return module.HunyuanPortraitLoadMotion.execute(name).args[0]


def test_what_is_saved_is_offered_and_comes_back(module: ModuleType, motion: Any) -> None:
    first, second = save(module, motion), save(module, edit(module, motion, num_frames=3))

    assert (first, second) == tuple(f"hunyuan_portrait/motion_0000{i}_.safetensors [output]" for i in (1, 2))
    assert {first, second} <= set(offered(module))
    assert_equal(load(module, first), motion)
    assert len(load(module, second)) == 3


def test_a_file_in_the_input_folder(module: ModuleType, core: SimpleNamespace, comfyui: Any, motion: Any) -> None:
    folder = Path(comfyui.get_input_directory(), "templates")
    folder.mkdir()
    core.motion_files.save_motion(motion, folder / "smile.safetensors")

    assert "templates/smile.safetensors" in offered(module)
    assert_equal(load(module, "templates/smile.safetensors"), motion)


def test_a_changed_file_is_read_again(module: ModuleType, core: SimpleNamespace, comfyui: Any, motion: Any) -> None:
    name = save(module, motion, "hunyuan_portrait/changing")
    fingerprint = module.HunyuanPortraitLoadMotion.fingerprint_inputs
    before = fingerprint(name)
    assert fingerprint(name) == before

    path = Path(comfyui.get_output_directory(), name.removesuffix(" [output]"))
    core.motion_files.save_motion(core.motion_editing.reverse(core.motion_editing.loop(motion, T + 1)), path)

    assert fingerprint(name) != before


@pytest.mark.parametrize("prefix", ["", " ", ".", "../motion", "/tmp/motion", "hunyuan_portrait/../.."])  # noqa: S108
def test_a_prefix_that_leaves_the_output_folder(
    module: ModuleType, core: SimpleNamespace, motion: Any, prefix: str
) -> None:
    with pytest.raises(core.errors.ConfigurationError, match=r"filename_prefix must be a name below .*output folder"):
        save(module, motion, prefix)


@pytest.mark.parametrize("name", ["absent.safetensors", "", "../input/absent.safetensors", "/etc/passwd"])
def test_a_file_that_is_not_in_the_list(module: ModuleType, core: SimpleNamespace, name: str) -> None:
    message = module.HunyuanPortraitLoadMotion.validate_inputs(name)

    assert message.startswith(f"motion_file: {name!r} is neither in ComfyUI's input folder nor in output/")
    with pytest.raises(core.errors.MediaError, match="HunyuanPortrait Save Motion"):
        module.HunyuanPortraitLoadMotion.execute(name)


def test_a_file_that_is_no_motion(module: ModuleType, core: SimpleNamespace, comfyui: Any) -> None:
    Path(comfyui.get_input_directory(), "other.safetensors").write_bytes(b"text")

    with pytest.raises(core.errors.MediaError, match=r"other\.safetensors is cut short or not a motion file"):
        module.HunyuanPortraitLoadMotion.execute("other.safetensors")


def test_only_a_motion_is_saved(module: ModuleType, core: SimpleNamespace) -> None:
    with pytest.raises(core.errors.ConfigurationError, match=r"motion got a str; connect .*Motion Features"):
        module.HunyuanPortraitSaveMotion.execute("text", "hunyuan_portrait/motion")


# --- reuse


def test_one_motion_moves_two_portraits(core: SimpleNamespace, pipeline: Any, motion: Any, module: ModuleType) -> None:
    config = importlib.import_module(f"{core.pipeline.__package__}.config").SamplingConfig(num_inference_steps=1)
    kept = load(module, save(module, edit(module, motion, num_frames=3), "hunyuan_portrait/reused"))
    appearances = [
        pipeline.encode_appearance(portrait, core.data.Face(BOX, LANDMARKS), size=64) for portrait in FRAMES[:2]
    ]

    videos = [pipeline.sample(appearance, kept, config).samples for appearance in (*appearances, appearances[0])]

    assert torch.equal(videos[0], videos[2])
    assert not torch.equal(videos[0], videos[1])
