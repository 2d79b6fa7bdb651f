"""Decoding, pasting back and saving in a real ComfyUI, with the tiny untrained VAE."""

from __future__ import annotations

import importlib
import json
from collections.abc import Iterator
from fractions import Fraction
from io import BytesIO
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import av
import numpy as np
import pytest
import torch
from clips import NTSC, audio_packets, make_clip

T, PADDING = 11, 2
SQUARE = {"x": 20, "y": 10, "width": 64, "height": 64}
PORTRAIT = np.random.default_rng(0).integers(0, 256, (91, 120, 3), dtype=np.uint8)
PLAIN = {"feather": 0.1, "colour_match": 0.0}
SAVING = {"filename_prefix": "video/test", "fps": 0.0, "crf": 17, "format": "mp4", "chunk_size": 8, **PLAIN}


@pytest.fixture(autouse=True)
def as_comfyui_runs_nodes() -> Iterator[None]:
    with torch.inference_mode():
        yield


@pytest.fixture(scope="module")
def core(pack: ModuleType) -> SimpleNamespace:
    """The core as the pack imports it."""
    names = ("data", "errors", "models.vae", "paste_back", "pipeline", "video")
    modules = {name: importlib.import_module(f"{pack.__name__}.hunyuan_core.{name}") for name in names}
    return SimpleNamespace(**{name.rpartition(".")[2]: module for name, module in modules.items()})


@pytest.fixture(scope="module")
def bridge(pack: ModuleType) -> SimpleNamespace:
    names = ("decoding", "guider", "images", "progress", "vae", "videos")
    return SimpleNamespace(
        **{name: importlib.import_module(f"{pack.__name__}.nodes.comfy_bridge.{name}") for name in names}
    )


@pytest.fixture(scope="module")
def module(pack: ModuleType) -> ModuleType:
    return importlib.import_module(f"{pack.__name__}.nodes.output")


@pytest.fixture(scope="module")
def pipeline(core: SimpleNamespace) -> Any:
    return core.pipeline.Pipeline.untrained_tiny(device="cpu", dtype=torch.float32)


@pytest.fixture(scope="module")
def vae(bridge: SimpleNamespace, pipeline: Any) -> Any:
    return bridge.vae.PortraitVAE(pipeline.vae)


@pytest.fixture(scope="module")
def latent(bridge: SimpleNamespace) -> dict[str, Any]:
    return make_latent(bridge, T)


def make_latent(bridge: SimpleNamespace, num_frames: int, padding: int = PADDING) -> dict[str, Any]:
    generator = torch.Generator().manual_seed(1)
    samples = torch.randn(num_frames + 2 * padding, 4, 8, 8, generator=generator) * 4
    return {"samples": samples, bridge.guider.PADDING_KEY: padding}


def expected_frames(core: SimpleNamespace, pipeline: Any, latent: dict[str, Any], chunk_size: int = 8) -> np.ndarray:
    """What the library makes of the same latents."""
    scaled = latent["samples"] * pipeline.vae.config.scaling_factor
    padding = next((value for name, value in latent.items() if name.endswith("padding")), 0)
    return np.stack(list(pipeline.decode(core.data.VideoLatents(scaled, padding), chunk_size)))


def decode(module: ModuleType, vae: Any, latent: Any, chunk_size: int = 8) -> torch.Tensor:
    return module.HunyuanPortraitDecode.execute(vae, latent, chunk_size).args[0]


def paste(module: ModuleType, frames: Any, **changed: Any) -> torch.Tensor:
    given = {"portrait": image(PORTRAIT[None]), "square": SQUARE, **PLAIN, **changed}
    return module.HunyuanPortraitPasteBack.execute(frames, **given).args[0]


def save(module: ModuleType, vae: Any, latent: Any, driving: Any, **changed: Any) -> Any:
    return module.HunyuanPortraitSaveVideo.execute(vae, latent, driving, **{**SAVING, **changed})


def image(frames: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(frames).float() / 255


def uint8(images: torch.Tensor) -> np.ndarray:
    return (images * 255).round().to(torch.uint8).numpy()


def pictures(num_frames: int = 4, height: int = 64, width: int = 64) -> np.ndarray:
    return np.random.default_rng(num_frames).integers(0, 256, (num_frames, height, width, 3), dtype=np.uint8)


def load(path: Path) -> Any:
    from comfy_api.latest import InputImpl

    return InputImpl.VideoFromFile(str(path))


def saved_path(output: Any) -> Path:
    return Path(output.args[0].get_stream_source())


# --- schema


def test_every_input_and_output_has_a_tooltip(module: ModuleType) -> None:
    for node in module.NODES:
        schema = node.GET_SCHEMA()
        assert schema.node_id == node.__name__
        assert schema.category == "HunyuanPortrait/Output"
        assert [part.id or part.display_name for part in (*schema.inputs, *schema.outputs) if not part.tooltip] == []


def test_only_saving_is_an_output(module: ModuleType) -> None:
    assert [node.GET_SCHEMA().is_output_node for node in module.NODES] == [False, False, True]


# --- decode


@pytest.mark.parametrize(("num_frames", "padding"), [(T, PADDING), (1, 0), (1, 3), (16, 0)])
def test_decode_equals_the_core(
    module: ModuleType,
    core: SimpleNamespace,
    bridge: SimpleNamespace,
    pipeline: Any,
    vae: Any,
    num_frames: int,
    padding: int,
) -> None:
    latent = make_latent(bridge, num_frames, padding)

    frames = decode(module, vae, latent)

    assert frames.shape == (num_frames, 64, 64, 3)
    assert frames.dtype == torch.float32
    assert frames.device.type == "cpu"
    assert np.array_equal(uint8(frames), expected_frames(core, pipeline, latent))


def test_decoded_frames_are_not_rounded(module: ModuleType, vae: Any, latent: Any) -> None:
    frames = decode(module, vae, latent)
    assert frames.min() >= 0
    assert frames.max() <= 1
    assert (frames * 255 - (frames * 255).round()).abs().max() > 0.4


def test_without_a_note_of_padding_all_frames_are_decoded(module: ModuleType, vae: Any, latent: Any) -> None:
    assert len(decode(module, vae, {"samples": latent["samples"]})) == T + 2 * PADDING


def test_chunk_size_counts(module: ModuleType, core: SimpleNamespace, pipeline: Any, vae: Any, latent: Any) -> None:
    frames = decode(module, vae, latent, 3)
    assert np.array_equal(uint8(frames), expected_frames(core, pipeline, latent, 3))
    assert not torch.equal(frames, decode(module, vae, latent))


def fail_on(monkeypatch: pytest.MonkeyPatch, vae: Any, is_full: Any) -> list[int]:
    """Let the VAE run out of memory, as a full card does; answers with the chunks that were tried."""
    network_decode = type(vae.network).decode
    tried: list[int] = []

    def failing(network: Any, z: torch.Tensor, num_frames: int) -> Any:
        tried.append(num_frames)
        if is_full(num_frames):
            raise torch.cuda.OutOfMemoryError("CUDA out of memory")
        return network_decode(network, z, num_frames=num_frames)

    monkeypatch.setattr(type(vae.network), "decode", failing)
    return tried


def test_out_of_memory_is_met_with_smaller_chunks(
    module: ModuleType,
    core: SimpleNamespace,
    bridge: SimpleNamespace,
    pipeline: Any,
    vae: Any,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    latent = make_latent(bridge, T, 0)
    small = expected_frames(core, pipeline, latent, 2)
    tried = fail_on(monkeypatch, vae, lambda num_frames: num_frames > 2)

    with caplog.at_level("INFO", "HunyuanPortrait"):
        frames = decode(module, vae, latent)

    assert tried == [8, 4, 2, 2, 2, 2, 2, 1]
    assert np.array_equal(uint8(frames), small)
    said = [record.getMessage() for record in caplog.records]
    assert said[0].startswith("Out of memory: from frame 0 on, 4 frames are decoded together instead of 8;")
    assert len(said) == 2


def test_frames_that_are_done_stay_when_memory_ends_later(
    module: ModuleType,
    core: SimpleNamespace,
    bridge: SimpleNamespace,
    pipeline: Any,
    vae: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    latent = make_latent(bridge, 20, 1)
    large, small = expected_frames(core, pipeline, latent, 8), expected_frames(core, pipeline, latent, 4)
    seen: list[int] = []
    tried = fail_on(monkeypatch, vae, lambda num_frames: seen.append(1) or (len(seen) > 1 and num_frames > 4))

    frames = decode(module, vae, latent)

    assert tried == [8, 8, 4, 4, 4, 2]
    assert np.array_equal(uint8(frames[:7]), large[:7])
    assert np.array_equal(uint8(frames[7:]), small[7:])


def test_out_of_memory_with_one_frame_is_passed_on(
    module: ModuleType, vae: Any, latent: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried = fail_on(monkeypatch, vae, lambda _: True)
    with pytest.raises(torch.cuda.OutOfMemoryError):
        decode(module, vae, latent)
    assert tried == [8, 4, 2, 1]


def test_cancel_stops_before_the_next_chunk(
    module: ModuleType, vae: Any, latent: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    import comfy.model_management as management

    tried = fail_on(monkeypatch, vae, lambda _: management.interrupt_current_processing() is not None)
    with pytest.raises(management.InterruptProcessingException):
        decode(module, vae, latent, 2)
    assert tried == [2]
    assert not management.processing_interrupted()


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("text", r"^samples got a str; connect .*HunyuanPortrait Sampler"),
        ({"samples": torch.zeros(3, 16, 8, 8)}, "^samples has 16 channels, and this vae decodes 4: connect"),
        ({"samples": torch.zeros(1, 4, 3, 8, 8)}, r"^samples must be \(frames, channels, "),
        ({"samples": torch.zeros(0, 4, 8, 8)}, "^samples holds 0 frames"),
        (
            {"samples": torch.zeros(4, 4, 8, 8), "hunyuan_portrait_padding": 2},
            "of which 4 are padding, so none is left",
        ),
        ({"samples": torch.full((2, 4, 8, 8), torch.nan)}, "^samples holds .* not finite: .* weight_dtype"),
        ({"samples": torch.full((2, 4, 8, 8), 1e30)}, "frames are not finite: .* dtype fp32"),
    ],
)
def test_bad_samples(module: ModuleType, core: SimpleNamespace, vae: Any, given: Any, message: str) -> None:
    with pytest.raises(core.errors.HunyuanPortraitError, match=message):
        decode(module, vae, given)


def test_another_vae_is_refused(module: ModuleType, core: SimpleNamespace, latent: Any) -> None:
    with pytest.raises(core.errors.ConfigurationError, match=r"vae must be .*Connect 'Load HunyuanPortrait VAE'"):
        decode(module, "text", latent)


# --- paste back


@pytest.mark.parametrize("options", [{}, {"feather": 0.0}, {"feather": 0.3, "colour_match": 1.0}])
@pytest.mark.parametrize("num_frames", [1, 4])
def test_paste_back_equals_the_core(
    module: ModuleType, core: SimpleNamespace, options: dict[str, float], num_frames: int
) -> None:
    frames = pictures(num_frames, 48, 48)
    settings = {**PLAIN, **options}
    own = core.paste_back.PasteBack(
        PORTRAIT, np.array([20, 10, 84, 74]), settings["feather"], colour_match=settings["colour_match"]
    )

    found = [paste(module, image(frames), **options) for _ in range(2)]

    assert found[0].shape == (num_frames, *PORTRAIT.shape)
    assert np.array_equal(uint8(found[0]), np.stack([own(frame) for frame in frames]))
    assert torch.equal(*found), "a run must not learn from the one before"


@pytest.mark.parametrize("shape", [(1, 91, 120), (91, 120), (1, 64, 64)])
def test_mask_decides_what_shows(module: ModuleType, shape: tuple[int, ...]) -> None:
    frames = pictures(2)
    nothing = paste(module, image(frames), mask=torch.zeros(shape))
    everything = paste(module, image(frames), mask=torch.ones(shape), feather=0.0)
    assert all(np.array_equal(frame, PORTRAIT) for frame in uint8(nothing))
    assert np.array_equal(uint8(everything)[:, 10:74, 20:84], frames)


@pytest.mark.parametrize("is_video", [False, True])
def test_background_moves(module: ModuleType, core: SimpleNamespace, tmp_path: Path, is_video: bool) -> None:
    frames, behind = pictures(3), pictures(5, 92, 120)
    portrait = behind[0]
    background: Any = image(behind)
    if is_video:
        background = load(make_clip(tmp_path / "behind.mp4", num_frames=5, size=(92, 120)))
        behind = np.stack(list(core.video.open_video(tmp_path / "behind.mp4")))
    own = core.paste_back.PasteBack(portrait, np.array([20, 10, 84, 74]))

    found = paste(module, image(frames), portrait=image(portrait[None]), background=background)

    assert np.array_equal(uint8(found), np.stack([own(*pair) for pair in zip(frames, behind, strict=False)]))


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"frames": "text"}, "^frames must be an IMAGE.* Connect an image output"),
        ({"frames": torch.zeros(0, 8, 8, 3)}, "^frames holds no picture"),
        ({"portrait": torch.zeros(2, 8, 8, 3)}, "^portrait takes one picture; got 2"),
        ({"square": "text"}, "^square must be one box .*got a str. Connect .*Appearance"),
        ({"square": [SQUARE, SQUARE]}, "^square must be one box"),
        ({"square": {**SQUARE, "x": 100}}, r"square \(100, 10, 164, 74\).*must lie inside the portrait of 120x91"),
        ({"mask": "text"}, r"^mask must be a MASK \(1, height, width\); got str"),
        ({"mask": torch.ones(2, 91, 120)}, "^mask takes one mask for all frames; got 2"),
        ({"mask": torch.ones(1, 5, 5)}, "mask must be as large as the portrait, 120x91.*Resize the mask"),
        ({"background": "text"}, "^background must be an IMAGE"),
        ({"background": torch.zeros(3, 91, 120, 3)}, "^background has 3 frames, but the result 4; .*disconnect"),
        ({"background": torch.zeros(4, 91, 119, 3)}, "background must be as large as the portrait, 120x91.*got 119x91"),
    ],
)
def test_bad_inputs_of_paste_back(
    module: ModuleType, core: SimpleNamespace, changed: dict[str, Any], message: str
) -> None:
    frames = changed.pop("frames", image(pictures()))
    with pytest.raises(core.errors.HunyuanPortraitError, match=message):
        paste(module, frames, **changed)


def test_a_list_with_one_square_will_do(module: ModuleType) -> None:
    frames = image(pictures())
    assert torch.equal(paste(module, frames, square=[SQUARE]), paste(module, frames))


# --- video frames


def test_video_frames_are_the_command_lines(bridge: SimpleNamespace, core: SimpleNamespace, tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "clip.mp4", num_frames=30, rate=NTSC, audio_codec="aac")
    frames = bridge.images.frames_of(load(clip), "frames")
    expected = list(core.video.open_video(clip))
    assert len(frames) == 30
    assert frames.frame_rate == NTSC
    assert frames.audio_from == clip
    for _ in range(2):
        assert all(np.array_equal(a, b) for a, b in zip(frames, expected, strict=True))


@pytest.mark.parametrize(
    ("pix_fmt", "most", "mean"), [("gray", 1.0, 0.5), ("yuv444p", 2.0, 1.0), ("yuv420p", 5.0, 1.0)]
)
def test_video_frames_are_cores_within_rounding(
    bridge: SimpleNamespace, tmp_path: Path, pix_fmt: str, most: float, mean: float
) -> None:
    """But for colours between their samples: the release's decoder repeats them, core's interpolates."""
    clip = make_clip(tmp_path / "clip.mp4", num_frames=12, pix_fmt=pix_fmt)
    images = load(clip).get_components().images
    frames = np.stack(list(bridge.videos.VideoFrames(load(clip))))
    difference = np.abs(frames - images.numpy() * 255)
    assert difference.max() <= most
    assert difference.mean() <= mean


@pytest.mark.parametrize(("start", "duration"), [(0.0, 0.4), (0.4, 0.0), (0.4, 0.4), (-0.4, 0.2), (0.333, 0.1)])
@pytest.mark.parametrize("is_older", [False, True])
def test_trimmed_video(
    bridge: SimpleNamespace,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    start: float,
    duration: float,
    is_older: bool,
) -> None:
    from comfy_api.latest import Input, InputImpl

    clip = make_clip(tmp_path / "clip.mp4", num_frames=30, audio_codec="aac")
    video = load(clip).as_trimmed(start, duration, strict_duration=False)
    images = video.get_components().images
    if is_older:  # as in ComfyUI 0.9
        monkeypatch.delattr(InputImpl.VideoFromFile, "get_active_trim_window")
        monkeypatch.delattr(Input.Video, "get_active_trim_window")

    frames = bridge.videos.VideoFrames(video)

    assert len(frames) == len(images) < 30
    assert frames.frame_rate == 25
    # Neighbours differ by 4 levels everywhere.
    assert np.abs(np.stack(list(frames)) - images.numpy() * 255).mean((1, 2, 3)).max() < 1.5


def test_video_in_memory(bridge: SimpleNamespace, tmp_path: Path) -> None:
    from comfy_api.latest import InputImpl

    clip = make_clip(tmp_path / "clip.mp4", audio_codec="aac")
    frames = bridge.videos.VideoFrames(InputImpl.VideoFromFile(BytesIO(clip.read_bytes())))
    assert all(np.array_equal(a, b) for a, b in zip(frames, bridge.videos.VideoFrames(load(clip)), strict=True))
    copy = frames.audio_from
    assert audio_packets(copy) == audio_packets(clip)
    del frames
    assert not copy.exists()


@pytest.mark.parametrize(("fps", "rate"), [(29.97, Fraction(2997, 100)), (30000 / 1001, NTSC), (25.0, Fraction(25))])
def test_video_of_pictures_is_not_encoded(bridge: SimpleNamespace, fps: float, rate: Fraction) -> None:
    from comfy_extras.nodes_video import CreateVideo

    given = pictures(3)
    frames = bridge.videos.VideoFrames(CreateVideo.execute(image(given), fps).args[0])
    assert np.array_equal(np.stack(list(frames)), given)
    assert frames.frame_rate == rate
    assert frames.audio_from is None


@pytest.mark.parametrize(("channels", "rate"), [(1, 16000), (2, 44100), (6, 48000), (2, 50000)])
def test_sound_of_a_video_of_pictures(bridge: SimpleNamespace, channels: int, rate: int) -> None:
    from comfy_extras.nodes_video import CreateVideo

    audio = {"waveform": torch.rand(1, channels, rate * 3) - 0.5, "sample_rate": rate}
    frames = bridge.videos.VideoFrames(CreateVideo.execute(image(pictures(50)), 25.0, audio).args[0])
    packets = audio_packets(frames.audio_from)
    assert packets[-1][0] + packets[-1][1] == pytest.approx(2, abs=0.15)


def test_files_that_are_no_video(bridge: SimpleNamespace, core: SimpleNamespace, tmp_path: Path) -> None:
    path = tmp_path / "clip.mp4"
    path.write_bytes(b"no video" * 100)
    with pytest.raises(core.errors.MediaError, match=r"clip\.mp4 cannot be read as a video"):
        bridge.videos.VideoFrames(load(path))


# --- save


def frame_times(path: Path) -> list[Fraction]:
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        return [frame.pts * stream.time_base for frame in container.decode(stream)]


@pytest.mark.parametrize("rate", [25, NTSC])
def test_saved_file(
    module: ModuleType, core: SimpleNamespace, pipeline: Any, vae: Any, latent: Any, tmp_path: Path, rate: Any
) -> None:
    clip = make_clip(tmp_path / "clip.mp4", num_frames=T, rate=rate, audio_codec="aac", audio_seconds=0.6)

    output = save(module, vae, latent, load(clip), crf=0)

    path = saved_path(output)
    assert frame_times(path) == frame_times(clip)
    assert audio_packets(path) == audio_packets(clip)
    found = np.stack(list(core.video.open_video(path))).astype(int)
    expected = expected_frames(core, pipeline, latent)
    assert found.shape == expected.shape
    assert np.abs(found.mean((1, 2)) - expected.mean((1, 2))).max() < 2  # 4:2:0 blurs the colours of noise
    assert output.ui.as_dict()["images"] == [{"filename": path.name, "subfolder": "video", "type": "output"}]


def test_counter_and_folder_are_comfyuis(
    module: ModuleType, vae: Any, latent: Any, comfyui: Any, tmp_path: Path
) -> None:
    clip = load(make_clip(tmp_path / "clip.mp4", num_frames=T))
    paths = [saved_path(save(module, vae, latent, clip, filename_prefix="a/b/name %width%")) for _ in range(2)]
    folder = Path(comfyui.get_output_directory(), "a", "b")
    assert [path.name for path in paths] == ["name 64_00001_.mp4", "name 64_00002_.mp4"]
    assert sorted(folder.iterdir()) == sorted(folder / path.name for path in paths)


def test_saved_frames_are_pasted_back(module: ModuleType, vae: Any, latent: Any, tmp_path: Path) -> None:
    clip = load(make_clip(tmp_path / "clip.mp4", num_frames=T))
    extra = {"portrait": image(PORTRAIT[None]), "square": SQUARE, "colour_match": 0.5}

    video = save(module, vae, latent, clip, crf=0, **extra).args[0]

    expected = uint8(paste(module, decode(module, vae, latent), colour_match=0.5)).astype(float)
    found = uint8(video.get_components().images)
    assert found.shape == (T, 92, 120, 3)  # H.264 has even sides
    assert np.abs(found[:, :91].mean((1, 2)) - expected.mean((1, 2))).max() < 2


def test_memory_stays_flat(module: ModuleType, bridge: SimpleNamespace, vae: Any, tmp_path: Path) -> None:
    """Frames are decoded when the file wants them, not before."""
    latent = make_latent(bridge, 40, 0)
    chunks = bridge.decoding.decode(vae, bridge.decoding.Latents.of(latent), 8)
    assert next(chunks).shape == (8, 64, 64, 3)
    assert chunks.gi_frame.f_locals["first"] == 8


def test_one_frame_is_saved(module: ModuleType, bridge: SimpleNamespace, vae: Any, tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "clip.mp4", num_frames=1)
    assert len(frame_times(saved_path(save(module, vae, make_latent(bridge, 1), load(clip))))) == 1


def test_variable_times_are_kept(module: ModuleType, bridge: SimpleNamespace, vae: Any, tmp_path: Path) -> None:
    pts = [0, 4, 8, 16, 20, 28, 40]
    clip = make_clip(
        tmp_path / "clip.mkv", num_frames=7, pts=pts, time_base=Fraction(1, 100), audio_codec="aac", bf="0"
    )
    path = saved_path(save(module, vae, make_latent(bridge, 7), load(clip)))
    assert frame_times(path) == [Fraction(time, 100) for time in pts]
    shorter = saved_path(save(module, vae, make_latent(bridge, 5), load(clip)))
    assert frame_times(shorter) == [Fraction(time, 100) for time in pts[:5]]
    assert audio_packets(shorter)[-1][0] < Fraction(28, 100)
    longer = saved_path(save(module, vae, make_latent(bridge, 9), load(clip)))
    assert len(frame_times(longer)) == 9


def test_rate_can_be_given(module: ModuleType, vae: Any, latent: Any, tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "clip.mp4", num_frames=T)
    path = saved_path(save(module, vae, latent, load(clip), fps=29.97))
    assert frame_times(path) == [Fraction(100 * i, 2997) for i in range(T)]


def test_trimmed_driving_video_brings_its_own_audio(module: ModuleType, vae: Any, latent: Any, tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "clip.mp4", num_frames=50, audio_codec="aac", audio_seconds=2.0)
    driving = load(clip).as_trimmed(0.8, T / 25, strict_duration=False)

    path = saved_path(save(module, vae, latent, driving))

    given = {data: time for time, _, data in audio_packets(clip)}
    written = audio_packets(path)
    assert len(written) == pytest.approx(T / 25 * 48000 / 1024, abs=1)
    for time, _, data in written:
        assert float(given[data] - time) == pytest.approx(0.8, abs=0.001)


def test_sound_of_pictures_is_saved(module: ModuleType, vae: Any, latent: Any) -> None:
    from comfy_extras.nodes_video import CreateVideo

    audio = {"waveform": torch.rand(1, 2, 48000) - 0.5, "sample_rate": 48000}
    driving = CreateVideo.execute(image(pictures(T)), 25.0, audio).args[0]
    path = saved_path(save(module, vae, latent, driving))
    assert len(frame_times(path)) == T
    assert audio_packets(path)[-1][0] == pytest.approx(T / 25, abs=0.05)


def test_workflow_is_in_the_file(module: ModuleType, vae: Any, latent: Any, tmp_path: Path) -> None:
    clip = load(make_clip(tmp_path / "clip.mp4", num_frames=T))
    prompt, workflow = {"1": {"class_type": "x"}}, {"nodes": ["é"]}
    hidden = {"prompt": prompt, "extra_pnginfo": {"workflow": workflow}}
    node = module.HunyuanPortraitSaveVideo
    from comfy_api.latest import io

    clone = node.PREPARE_CLASS_CLONE({"hidden_inputs": {io.Hidden[name]: value for name, value in hidden.items()}})
    output = clone.execute(vae, latent, clip, **SAVING)
    with av.open(str(saved_path(output))) as container:
        assert json.loads(container.metadata["prompt"]) == prompt
        assert json.loads(container.metadata["workflow"]) == workflow


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"filename_prefix": "../outside"}, r"^filename_prefix must be a name below .*output folder"),
        ({"filename_prefix": " "}, r"^filename_prefix must be a name"),
        ({"portrait": image(PORTRAIT[None])}, "give both portrait and square"),
        ({"square": SQUARE}, "give both portrait and square"),
        ({"mask": torch.ones(1, 64, 64)}, "give both portrait and square; without them disconnect mask"),
        ({"fps": 5000.0}, "^fps must be"),
        ({"crf": 60}, "crf must be"),
        ({"driving": "text"}, "^driving got a str; connect 'Load Video'"),
        ({"driving": torch.zeros(T, 8, 8, 3)}, "^driving got pictures, .*connect 'Load Video', or 'Create Video'"),
        ({"vae": "text"}, "^vae must be"),
        ({"samples": "text"}, "^samples got a str"),
    ],
)
def test_bad_inputs_of_saving_fail_before_decoding(
    module: ModuleType,
    core: SimpleNamespace,
    vae: Any,
    latent: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    changed: dict[str, Any],
    message: str,
) -> None:
    tried = fail_on(monkeypatch, vae, lambda _: False)
    sockets = {"vae": vae, "samples": latent, "driving": load(make_clip(tmp_path / "clip.mp4", num_frames=T))}
    with pytest.raises(core.errors.HunyuanPortraitError, match=message):
        module.HunyuanPortraitSaveVideo.execute(**{**sockets, **SAVING, **changed})
    assert tried == []


def test_audio_that_mp4_cannot_hold_goes_into_mov(
    module: ModuleType, core: SimpleNamespace, vae: Any, latent: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clip = load(make_clip(tmp_path / "clip.avi", num_frames=T, codec="mpeg4", audio_codec="pcm_s16le"))
    tried = fail_on(monkeypatch, vae, lambda _: False)
    with pytest.raises(core.errors.MediaError, match=r"\.mp4 cannot hold the pcm_s16le audio .*write \.mov"):
        save(module, vae, latent, clip)
    assert tried == []
    path = saved_path(save(module, vae, latent, clip, format="mov"))
    assert path.suffix == ".mov"
    assert audio_packets(path)


@pytest.mark.parametrize("is_cancelled", [False, True])
def test_a_failure_leaves_no_file(
    module: ModuleType,
    bridge: SimpleNamespace,
    vae: Any,
    comfyui: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    is_cancelled: bool,
) -> None:
    import comfy.model_management as management

    clip = load(make_clip(tmp_path / "clip.mp4", num_frames=20))
    calls: list[int] = []

    def is_full(num_frames: int) -> bool:
        calls.append(num_frames)
        if len(calls) == 2 and is_cancelled:
            management.interrupt_current_processing()
        return len(calls) > 1 and not is_cancelled

    fail_on(monkeypatch, vae, is_full)
    expected = management.InterruptProcessingException if is_cancelled else torch.cuda.OutOfMemoryError
    with pytest.raises(expected):
        save(module, vae, make_latent(bridge, 20), clip, filename_prefix=f"broken{is_cancelled}/name")
    assert len(calls) > 1
    assert list(Path(comfyui.get_output_directory(), f"broken{is_cancelled}").iterdir()) == []


def test_a_folder_that_is_a_file(
    module: ModuleType, core: SimpleNamespace, vae: Any, latent: Any, comfyui: Any, tmp_path: Path
) -> None:
    Path(comfyui.get_output_directory(), "taken").write_text("")
    clip = load(make_clip(tmp_path / "clip.mp4", num_frames=T))
    with pytest.raises(core.errors.MediaError, match=r"taken/name.*change filename_prefix"):
        save(module, vae, latent, clip, filename_prefix="taken/name")
