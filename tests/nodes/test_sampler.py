"""Sampling through the nodes: equal to the core, to the golden runs, and kind to memory and to the cancel button."""

from __future__ import annotations

import importlib
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

STEPS, T, SIZE, PADDING = 3, 9, 64, 2
SETTINGS = {
    "image_guidance": 2.0,
    "image_guidance_end": 2.0,
    "motion_guidance": 2.0,
    "motion_guidance_end": 2.0,
    "motion_scale": 1.0,
    "context_window": 6,
    "context_overlap": 2,
    "context_shift": 1,
    "padding": PADDING,
    "fps_condition": 12.5,
    "motion_bucket_id": 0.0,
    "noise_aug_strength": 0.0,
    "memory_mode": "auto",
}


class Stage:
    """The pack's modules, tiny networks, and one video."""

    def __init__(self, pack: ModuleType) -> None:
        def module(name: str) -> Any:
            return importlib.import_module(f"{pack.__name__}.{name}")

        self.sampler = module("nodes.sampler")
        self.model = module("nodes.comfy_bridge.model")
        self.guider = module("nodes.comfy_bridge.guider")
        self.memory = module("nodes.comfy_bridge.memory")
        self.images = module("nodes.comfy_bridge.images")
        self.core = module("hunyuan_core")
        self.data = module("hunyuan_core.data")
        self.config = module("hunyuan_core.config")
        self.errors = module("hunyuan_core.errors")
        self.unet_class = module("hunyuan_core.models.unet").UNet
        self.pipeline = module("hunyuan_core.pipeline").Pipeline.untrained_tiny(device="cpu", dtype=torch.float32)
        self.patcher = self.patched(self.pipeline.unet)
        self.pose_guider = self.memory.ManagedNetwork(self.pipeline.pose_guider)
        generator = torch.Generator().manual_seed(3)
        width = self.pipeline.unet.config.cross_attention_dim
        self.appearance = self.data.Appearance(
            torch.randn(64, width, generator=generator),
            torch.randn(4, SIZE // 8, SIZE // 8, generator=generator),
            torch.zeros(512),
        )
        tokens = torch.randn(T, 64, width, generator=generator)
        self.motion = self.data.Motion(tokens, (40,), (50,), torch.zeros(T, 3), torch.zeros(T, 3))

    def patched(self, unet: torch.nn.Module, dtype: torch.dtype = torch.float32) -> Any:
        """The network's weights in a MODEL, with ComfyUI's layers and attention."""
        import comfy.model_patcher
        import comfy.ops

        attention = self.model.ChosenAttention()
        own = self.unet_class(unet.config, comfy.ops.manual_cast, attention)
        own.load_state_dict(unet.state_dict())
        model = self.model.PortraitModel(own.to(dtype).eval(), attention, dtype, torch.float32)
        cpu = torch.device("cpu")
        return comfy.model_patcher.ModelPatcher(model, load_device=cpu, offload_device=cpu)

    def sockets(self, **changed: object) -> dict[str, object]:
        """What comes in at the sockets of both nodes."""
        given = {
            "model": self.patcher,
            "appearance": self.appearance,
            "motion": self.motion,
            "pose_guider": self.pose_guider,
        }
        return {**given, **changed}

    def sample(self, **changed: object) -> torch.Tensor:
        """The Sampler node's latents."""
        arguments = {**self.sockets(), **SETTINGS, "seed": 5, "steps": STEPS, "strength": 1.0, **changed}
        return self.sampler.HunyuanPortraitSampler.execute(**arguments).result[0]["samples"]

    def sample_with_core(self, **changed: object) -> torch.Tensor:
        """The same through the Guider and ComfyUI's own nodes."""
        from comfy_extras import nodes_custom_sampler as core_nodes

        name = changed.pop("sampler", "euler")
        sigmas = changed.pop("sigmas", None)
        guider, start = self.sampler.HunyuanPortraitGuider.execute(**{**self.sockets(), **SETTINGS, **changed}).result
        if sigmas is None:
            sigmas = self.sampler.HunyuanPortraitSigmas.execute(steps=STEPS, strength=1.0).result[0]
        noise = core_nodes.RandomNoise.execute(noise_seed=5).result[0]
        sampler = core_nodes.KSamplerSelect.execute(sampler_name=name).result[0]
        out = core_nodes.SamplerCustomAdvanced.execute(noise, guider, sampler, sigmas, start).result[0]
        assert out[self.guider.PADDING_KEY] == PADDING
        return out["samples"]


@pytest.fixture(scope="module")
def stage(pack: ModuleType) -> Stage:
    with torch.inference_mode():
        return Stage(pack)


@pytest.fixture(autouse=True)
def _inference() -> Any:
    """As ComfyUI's executor does."""
    with torch.inference_mode():
        yield


def assert_near(actual: torch.Tensor, expected: torch.Tensor, tolerance: float) -> None:
    error = (actual - expected).abs().max() / expected.std()
    assert error <= tolerance, f"{error:.2e} of the deviation"


def test_the_sampler_node_equals_the_core(stage: Stage) -> None:
    config = stage.config.SamplingConfig(
        num_inference_steps=STEPS, seed=5, context_window=6, context_overlap=2, context_shift=1, num_padding_frames=2
    )
    expected = stage.pipeline.sample(stage.appearance, stage.motion, config).samples / 0.18215
    assert_near(stage.sample(), expected, 2e-5)


@pytest.mark.parametrize("guidance", [{}, {"image_guidance": 1.0, "motion_guidance_end": 4.0}])
def test_the_guider_with_euler_equals_the_sampler_node(stage: Stage, guidance: dict[str, float]) -> None:
    assert_near(stage.sample_with_core(**guidance), stage.sample(**guidance), 2e-6)


@pytest.mark.parametrize("name", ["heun", "dpmpp_2m", "uni_pc", "lcm"])
def test_other_samplers_run(stage: Stage, name: str) -> None:
    samples = stage.sample_with_core(sampler=name)
    assert samples.isfinite().all()
    assert (samples - stage.sample()).abs().max() > 1e-4


def test_align_your_steps_runs(stage: Stage) -> None:
    from comfy_extras.nodes_align_your_steps import AlignYourStepsScheduler

    sigmas = AlignYourStepsScheduler.execute(model_type="SVD", steps=4, denoise=1.0).result[0]
    assert float(sigmas[0]) == 700
    assert stage.sample_with_core(sigmas=sigmas).isfinite().all()


def test_pose_features_of_a_long_video_are_made_for_each_window(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = torch.rand(T, SIZE, SIZE, 3, generator=torch.Generator().manual_seed(4))
    expected = stage.sample(pose_images=drawn)
    monkeypatch.setattr(stage.guider, "MAX_CACHED_FRAMES", 0)
    assert torch.equal(stage.sample(pose_images=drawn), expected)
    # The MODEL of others is left as it was.
    assert not stage.patcher.get_nested_additional_models()


def test_pose_images_count(stage: Stage) -> None:
    black = stage.sample()
    assert torch.equal(black, stage.sample(pose_images=torch.zeros(1, SIZE, SIZE, 3)))
    drawn = torch.rand(T, SIZE, SIZE, 3, generator=torch.Generator().manual_seed(1))
    assert (stage.sample(pose_images=drawn) - black).abs().max() > 1e-3


@pytest.mark.parametrize("mode", ["fastest", "one branch at a time", "smallest"])
def test_memory_modes_give_the_same(stage: Stage, mode: str) -> None:
    assert_near(stage.sample(memory_mode=mode), stage.sample(), 2e-5)


def test_attention_override_is_used(stage: Stage) -> None:
    calls = []

    def override(function: Any, *args: Any, **kwargs: Any) -> torch.Tensor:
        calls.append(args[3])
        return function(*args, **kwargs)

    patcher = stage.patcher.clone()
    patcher.model_options["transformer_options"]["optimized_attention_override"] = override
    samples = stage.sample(model=patcher)
    assert len(calls) > STEPS
    assert_near(samples, stage.sample(), 2e-6)


def test_a_lora_changes_the_result_and_leaves_no_trace(stage: Stage) -> None:
    import comfy.sd

    before = stage.sample()
    key = "mid_block.attentions.0.transformer_blocks.0.attn2.to_q"
    weight = stage.patcher.model.diffusion_model.get_parameter(f"{key}.weight")
    generator = torch.Generator().manual_seed(1)
    lora = {
        f"diffusion_model.{key}.lora_A.weight": torch.randn(2, weight.shape[1], generator=generator),
        f"diffusion_model.{key}.lora_B.weight": torch.randn(weight.shape[0], 2, generator=generator),
    }
    patched, _ = comfy.sd.load_lora_for_models(stage.patcher, None, lora, 1.0, 0.0)
    assert (stage.sample(model=patched) - before).abs().max() > 1e-3
    assert torch.equal(stage.sample(), before)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float8_e4m3fn])
def test_weights_may_be_stored_smaller(stage: Stage, dtype: torch.dtype) -> None:
    samples = stage.sample(model=stage.patched(stage.pipeline.unet, dtype))
    expected = stage.sample()
    assert samples.isfinite().all()
    assert 0 < (samples - expected).square().mean().sqrt() / expected.std() < 0.5


def test_cancel_stops_before_the_next_call(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    import comfy.model_management as management

    forward = stage.unet_class.forward
    calls = []

    def counted(*args: Any, **kwargs: Any) -> torch.Tensor:
        calls.append(1)
        if len(calls) == 2:
            management.interrupt_current_processing()
        return forward(*args, **kwargs)

    monkeypatch.setattr(stage.unet_class, "forward", counted)
    with pytest.raises(management.InterruptProcessingException):
        stage.sample()
    assert len(calls) == 2
    assert not management.processing_interrupted()


@pytest.mark.parametrize("num_failures", [1, 2])
def test_out_of_memory_is_met_with_less(stage: Stage, monkeypatch: pytest.MonkeyPatch, num_failures: int) -> None:
    expected = stage.sample()
    failures = fail(stage, monkeypatch, num_failures)
    result = stage.sampler.HunyuanPortraitSampler.execute(
        **{**stage.sockets(), **SETTINGS, "seed": 5, "steps": STEPS, "strength": 1.0}
    ).result
    assert len(failures) == num_failures
    assert_near(result[0]["samples"], expected, 2e-5)
    assert result[1].count("Out of memory") == num_failures


def test_out_of_memory_is_passed_on_when_nothing_is_left_to_do(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    failures = fail(stage, monkeypatch, 99)
    with pytest.raises(torch.cuda.OutOfMemoryError):
        stage.sample()
    assert len(failures) == 3


def fail(stage: Stage, monkeypatch: pytest.MonkeyPatch, times: int) -> list[int]:
    """Let the UNet run out of memory so many times, as a full card does."""
    forward = stage.unet_class.forward
    failures: list[int] = []

    def failing(*args: Any, **kwargs: Any) -> torch.Tensor:
        if len(failures) < times:
            failures.append(1)
            raise torch.cuda.OutOfMemoryError("CUDA out of memory")
        return forward(*args, **kwargs)

    monkeypatch.setattr(stage.unet_class, "forward", failing)
    return failures


def test_nothing_stays_behind(stage: Stage) -> None:
    guider, start = stage.sampler.HunyuanPortraitGuider.execute(**stage.sockets(), **SETTINGS).result
    import comfy.samplers

    sigmas = stage.sampler.HunyuanPortraitSigmas.execute(steps=1, strength=1.0).result[0]
    guider.sample(torch.randn_like(start["samples"]), start["samples"], comfy.samplers.sampler_object("euler"), sigmas)
    assert guider._denoiser is None
    assert guider._pose_features is None


@pytest.mark.parametrize("socket", ["appearance", "motion", "pose_guider", "model"])
def test_a_wrong_socket_is_named(stage: Stage, socket: str) -> None:
    with pytest.raises(stage.errors.ConfigurationError, match=f"^{socket} .*(connect|come from)"):
        stage.sample(**{socket: "a text"})


def test_another_model_is_refused(stage: Stage) -> None:
    import comfy.model_patcher

    cpu = torch.device("cpu")
    other = comfy.model_patcher.ModelPatcher(torch.nn.Linear(2, 2), load_device=cpu, offload_device=cpu)
    with pytest.raises(stage.errors.ConfigurationError, match=r"model must come from .*got a Linear"):
        stage.sample(model=other)


def test_another_sampler_is_told_what_to_use(stage: Stage) -> None:
    import comfy.sample

    latents = torch.randn(T, 4, 8, 8)
    conditioning = [[torch.zeros(1, 1, 8), {}]]
    with pytest.raises(stage.errors.ConfigurationError, match="HunyuanPortrait Sampler"):
        comfy.sample.sample(
            stage.patcher, latents, 1, 1.0, "euler", "normal", conditioning, conditioning, latents, seed=1
        )


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"context_overlap": 6}, "context_overlap"),
        ({"strength": 0.1}, "strength"),
        ({"pose_images": torch.zeros(0, SIZE, SIZE, 3)}, "pose_images"),
        ({"pose_images": torch.zeros(T + 1, SIZE, SIZE, 3)}, "pose_images"),
        ({"pose_images": torch.zeros(1, SIZE + 8, SIZE, 3)}, "pose_images"),
    ],
)
def test_bad_values_are_named(stage: Stage, changed: dict[str, object], message: str) -> None:
    with pytest.raises(stage.errors.HunyuanPortraitError, match=message):
        stage.sample(**changed)


def test_motion_of_another_model_is_refused(stage: Stage) -> None:
    motion = stage.data.Motion(torch.zeros(T, 64, 32), (0,), (0,), torch.zeros(T, 3), torch.zeros(T, 3))
    with pytest.raises(stage.errors.ShapeError, match="motion_tokens"):
        stage.sample(motion=motion)


def test_latents_of_another_video_are_refused(stage: Stage) -> None:
    import comfy.samplers

    guider, _ = stage.sampler.HunyuanPortraitGuider.execute(**stage.sockets(), **SETTINGS).result
    latents = torch.zeros(T, 4, 8, 8)
    with pytest.raises(stage.errors.ShapeError, match="latent_image"):
        guider.sample(latents, latents, comfy.samplers.sampler_object("euler"), torch.tensor([1.0, 0.0]))


def test_overflow_is_told(stage: Stage) -> None:
    appearance = stage.data.Appearance(
        stage.appearance.image_tokens, stage.appearance.image_latents * torch.inf, torch.zeros(512)
    )
    with pytest.raises(stage.errors.HunyuanPortraitError, match="not finite"):
        stage.sample(appearance=appearance)


def golden_pipelines() -> list[Path]:
    """Both the project's own and the shared ones."""
    from golden_cases import case_files

    return list(case_files("pipeline_"))


@pytest.mark.parametrize("path", golden_pipelines())
def test_golden_pipeline(stage: Stage, path: Any) -> None:
    from golden_cases import load_case
    from golden_networks import filled, pose_guider_config
    from golden_runs import PIPELINE_TOLERANCE, check_case, run_pipeline_with

    own_config = importlib.import_module("hunyuan_core.config")
    case = load_case(path)
    poses = case.tensors["pose"][0].permute(1, 2, 3, 0)  # (T, H, W, 3)

    def sample(
        unet: Any,
        x: torch.Tensor,
        sigmas: torch.Tensor,
        image_tokens: torch.Tensor,
        motion_tokens: torch.Tensor,
        image_latents: torch.Tensor,
        pose_features: torch.Tensor,
        config: Any,
    ) -> torch.Tensor:
        import comfy.samplers

        zeros = torch.zeros(len(x), 3)
        network = filled(
            "pose_guider", own_config.ModelConfig(pose_guider=pose_guider_config(case.metadata.get("pose_guider")))
        )
        video = stage.guider.PortraitVideo(
            stage.data.Appearance(image_tokens, image_latents, torch.zeros(512)),
            stage.data.Motion(motion_tokens, (0,), (0,), zeros, zeros),
            stage.memory.ManagedNetwork(network),
            poses[: len(x)],
        )
        settings = {**vars(config), "num_padding_frames": 0}
        guider = stage.guider.PortraitGuider(stage.patched(unet), video, stage.config.SamplingConfig(**settings))
        start = guider.start_latents()
        noise = (x - start * 0.18215) / sigmas[0]
        return guider.sample(noise, start, comfy.samplers.sampler_object("euler"), sigmas) * 0.18215

    check_case(path, lambda reader: run_pipeline_with(reader, sample), PIPELINE_TOLERANCE)


def test_compiled_it_is_one_graph_for_all_windows_steps_and_videos(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    import comfy.ldm.modules.attention as attention
    import torch._dynamo.testing
    from comfy_api.torch_helpers import set_torch_compile_wrapper

    # What ComfyUI takes on a GPU; its choice for a CPU measures the free memory, which no graph can hold.
    monkeypatch.setattr(attention, "optimized_attention", attention.attention_pytorch)
    expected = stage.sample()
    torch._dynamo.reset()
    counter = torch._dynamo.testing.CompileCounter()
    patcher = stage.patcher.clone()
    set_torch_compile_wrapper(patcher, backend=counter, fullgraph=True)
    assert_near(stage.sample(model=patcher), expected, 2e-5)
    longer = stage.data.Motion(
        stage.motion.tokens.repeat(2, 1, 1), (40,), (50,), torch.zeros(2 * T, 3), torch.zeros(2 * T, 3)
    )
    stage.sample(model=patcher, motion=longer, seed=6)
    assert counter.frame_count == 1


def test_memory_that_ends_while_keys_are_made_is_met_by_making_them_later(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = stage.sample()
    linear = type(stage.patcher.model.diffusion_model.cross_attentions[0].processor.to_k_ip[0])
    forward, failures = linear.forward, []

    def failing(layer: Any, tokens: torch.Tensor) -> torch.Tensor:
        # Only the projection of a whole video's tokens has so many frames.
        if tokens.ndim == 4 and tokens.shape[1] == T + 2 * PADDING:
            failures.append(1)
            raise torch.cuda.OutOfMemoryError("CUDA out of memory")
        return forward(layer, tokens)

    monkeypatch.setattr(linear, "forward", failing)
    result = stage.sampler.HunyuanPortraitSampler.execute(
        **{**stage.sockets(), **SETTINGS, "seed": 5, "steps": STEPS, "strength": 1.0}
    ).result
    assert failures
    assert_near(result[0]["samples"], expected, 2e-5)
    assert "for each window anew" in result[1]


SPEEDS = {
    "nothing": {"preset": "none"},
    "fast": {"preset": "fast", "steps": 4},
    "turbo": {"preset": "turbo", "steps": 4},
    "dpmpp_2m": {"preset": "none", "sampler": "dpmpp_2m"},
    "unipc": {"preset": "none", "sampler": "unipc", "schedule": "align_your_steps"},
    "interval": {"preset": "none", "guidance_above": 0.5, "guidance_up_to": 100.0},
    "features": {"preset": "none", "feature_interval": 2, "outer_layers": 1},
    "extrapolated": {"preset": "none", "steps": 6, "extrapolation_interval": 2, "extrapolation_order": 1},
    "windows": {"preset": "none", "windows": "end with the video", "padding": 3},
}


def speed_of(stage: Stage, **widgets: object) -> Any:
    module = importlib.import_module(stage.sampler.__name__.replace("sampler", "speed"))
    return module.HunyuanPortraitSpeed.execute(**widgets).result[0]


@pytest.mark.parametrize("name", SPEEDS)
def test_with_a_speed_the_sampler_node_equals_the_core(stage: Stage, name: str) -> None:
    preset = speed_of(stage, **SPEEDS[name])
    config = stage.config.SamplingConfig(
        num_inference_steps=STEPS, seed=5, context_window=6, context_overlap=2, context_shift=1, num_padding_frames=2
    )
    expected = stage.pipeline.sample(stage.appearance, stage.motion, preset.apply(config), speed=preset.speed)

    first = stage.sample(speed=preset)

    # The longer the steps, the more they make of a rounding.
    assert_near(first, expected.samples / 0.18215, 5e-5)
    assert torch.equal(stage.sample(speed=preset), first)
    if name == "nothing":
        assert torch.equal(first, stage.sample())


@pytest.mark.parametrize("name", ["interval", "features"])
def test_the_guider_takes_what_it_can(stage: Stage, name: str) -> None:
    preset = speed_of(stage, **SPEEDS[name], windows="end with the video")
    assert_near(stage.sample_with_core(speed=preset), stage.sample(speed=preset), 2e-6)
    assert stage.sample_with_core(speed=preset, sampler="heun").isfinite().all()


@pytest.mark.parametrize(
    ("name", "refused"),
    [
        ("fast", "steps, padding, schedule"),
        ("dpmpp_2m", "sampler"),
        ("extrapolated", "steps, extrapolation_interval"),
    ],
)
def test_the_guider_refuses_the_rest_by_name(stage: Stage, name: str, refused: str) -> None:
    with pytest.raises(stage.errors.ConfigurationError, match=f"^speed: .* cannot apply {refused}; .* Sampler"):
        stage.sample_with_core(speed=speed_of(stage, **SPEEDS[name]))


@pytest.mark.parametrize(
    ("widgets", "message"),
    [
        ({"preset": "quick"}, "preset must be one of none, fast, turbo"),
        ({"preset": "none", "steps": 1.5}, "steps must be a whole number"),
        ({"preset": "none", "guidance_above": 30.0, "guidance_up_to": 3.0}, "guidance_above, guidance_up_to: "),
    ],
)
def test_bad_speeds_are_named(stage: Stage, widgets: dict[str, object], message: str) -> None:
    with pytest.raises(stage.errors.ConfigurationError, match=f"^{message}"):
        speed_of(stage, **widgets)


def test_another_thing_at_the_speed_socket_is_named(stage: Stage) -> None:
    with pytest.raises(stage.errors.ConfigurationError, match=r"^speed got a str; connect .*Speed"):
        stage.sample(speed="fast")


@pytest.mark.parametrize("name", ["features", "unipc"])
def test_out_of_memory_with_a_speed_is_met_with_less(stage: Stage, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    preset = speed_of(stage, **SPEEDS[name])
    expected = stage.sample(speed=preset)
    assert stage.patcher.model.kept_bytes == (0 if name == "unipc" else 26 * 32 * 64 * 4)
    fail(stage, monkeypatch, 2)
    assert_near(stage.sample(speed=preset), expected, 2e-5)


def test_own_samplers_are_cancelled_and_show_each_step(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    import comfy.model_management as management

    steps: list[int] = []

    def interrupt(report: Any, step: int, *_: Any) -> None:
        steps.append(step)
        if step == 1:
            management.interrupt_current_processing()

    monkeypatch.setattr(stage.guider._StepReport, "__call__", interrupt)
    with pytest.raises(management.InterruptProcessingException):
        stage.sample(speed=speed_of(stage, preset="none", sampler="dpmpp_2m"))
    assert steps == [0, 1]
