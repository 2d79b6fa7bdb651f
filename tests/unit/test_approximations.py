"""What is given up for speed: off it changes nothing, on it saves what it says and does what its source says."""

from __future__ import annotations

import argparse
import math
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

import pytest
import torch

from hunyuan_core.cli.animate import add_options
from hunyuan_core.cli.options import sampling_config
from hunyuan_core.cli.speed import speed_config
from hunyuan_core.config import ModelConfig, SamplingConfig
from hunyuan_core.data import Appearance, Branch, Motion
from hunyuan_core.errors import ConfigurationError
from hunyuan_core.models.feature_reuse import FeatureReuse, feature_bytes
from hunyuan_core.models.predictor import VideoPredictor
from hunyuan_core.models.unet import DeepFeatures, UNet
from hunyuan_core.pipeline import Pipeline
from hunyuan_core.sampling import (
    PRESETS,
    SAMPLERS,
    Denoiser,
    ExtrapolatingDenoiser,
    SpeedConfig,
    align_your_steps_sigmas,
    computed_steps,
    context_windows,
    extrapolate,
    initial_noise,
    karras_sigmas,
    sample_dpmpp_2m,
    sample_euler,
    sample_unipc,
)
from hunyuan_core.sampling.sigmas import ALIGN_YOUR_STEPS

CONFIG = SamplingConfig(num_inference_steps=6, context_window=7, context_overlap=2, num_padding_frames=2)
BOTH = (Branch.UNCONDITIONAL, Branch.MOTION)
MULTISTEP = (sample_dpmpp_2m, sample_unipc)


@pytest.fixture(scope="module")
def pipeline() -> Pipeline:
    return Pipeline.untrained_tiny(device="cpu")


class Counted:
    """Runs of the pipeline's UNet: rows of each, and whether it ran as a whole."""

    def __init__(self, pipeline: Pipeline, num_frames: int = 12) -> None:
        generator = torch.Generator().manual_seed(0)
        width = pipeline.unet.config.cross_attention_dim
        self.pipeline = pipeline
        self.appearance = Appearance(
            torch.randn(64, width, generator=generator), torch.randn(4, 8, 8, generator=generator), torch.zeros(512)
        )
        zeros = torch.zeros(num_frames, 3)
        self.motion = Motion(torch.randn(num_frames, 64, width, generator=generator), (0,), (0,), zeros, zeros)
        self.calls: list[tuple[int, bool]] = []
        self.progress: list[tuple[int, int]] = []

    def sample(self, speed: SpeedConfig | None = None, config: SamplingConfig = CONFIG) -> torch.Tensor:
        self.calls.clear()
        self.progress.clear()
        handle = self.pipeline.unet.register_forward_pre_hook(self._note)
        try:
            result = self.pipeline.sample(
                self.appearance, self.motion, config, on_progress=lambda *at: self.progress.append(at), speed=speed
            )
        finally:
            handle.remove()
        assert self.progress == [(i + 1, len(self.calls)) for i in range(len(self.calls))]
        return result.samples

    def _note(self, _: object, inputs: tuple) -> None:
        is_whole = len(inputs) < 6 or inputs[5].features is None
        self.calls.append((len(inputs[0]), is_whole))


@pytest.fixture(scope="module")
def run(pipeline: Pipeline) -> Counted:
    return Counted(pipeline)


@pytest.fixture(scope="module")
def full(run: Counted) -> torch.Tensor:
    return run.sample()


NUM_WINDOWS = len(context_windows(16, 7, 2))


# --- all of them, through the pipeline


@pytest.mark.parametrize(
    "neutral",
    [
        SpeedConfig(),
        SpeedConfig(guidance_interval=(0.0, 700.0)),
        SpeedConfig(feature_interval=1, num_outer_layers=1),
        SpeedConfig(extrapolation_interval=1, extrapolation_order=2),
        SpeedConfig(noise_padding=2),
    ],
)
def test_neutral_settings_change_no_bit(run: Counted, full: torch.Tensor, neutral: SpeedConfig) -> None:
    assert torch.equal(run.sample(neutral), full)


@pytest.mark.parametrize(
    "speed",
    [
        SpeedConfig(schedule="align_your_steps"),
        SpeedConfig(sampler="dpmpp_2m"),
        SpeedConfig(sampler="unipc"),
        SpeedConfig(guidance_interval=(0.3, 60.0)),
        SpeedConfig(feature_interval=2),
        SpeedConfig(extrapolation_interval=2),
        SpeedConfig(is_circular=False),
    ],
)
def test_each_changes_the_result_a_little(run: Counted, full: torch.Tensor, speed: SpeedConfig) -> None:
    approximate = run.sample(speed)

    assert torch.isfinite(approximate).all()
    assert 0 < (approximate - full).abs().max() < 10 * full.std()


def test_plain_settings_call_every_window_whole(run: Counted) -> None:
    run.sample()

    assert run.calls == [(2, True)] * NUM_WINDOWS * 6


def test_guidance_outside_its_interval_costs_one_branch(run: Counted) -> None:
    levels = karras_sigmas(6)[:-1].tolist()
    # Above the first, up to and with the second: levels 2 and 3 of the six are guided.
    run.sample(SpeedConfig(guidance_interval=(levels[4], levels[2])))

    rows = [rows for rows, _ in run.calls]
    assert rows == [n for n in (1, 1, 2, 2, 1, 1) for _ in range(NUM_WINDOWS)]


def test_reused_features_leave_the_deep_part_out(run: Counted) -> None:
    run.sample(SpeedConfig(feature_interval=3, num_outer_layers=1))

    assert run.calls == [(2, whole) for whole in (True, False, False) * 2 for _ in range(NUM_WINDOWS)]


def test_extrapolated_steps_make_no_call(run: Counted) -> None:
    run.sample(SpeedConfig(extrapolation_interval=2))

    assert len(run.calls) == NUM_WINDOWS * len(computed_steps(6, 2, 1)) == NUM_WINDOWS * 4


def test_windows_without_the_circle_are_fewer(run: Counted) -> None:
    run.sample(SpeedConfig(is_circular=False))

    assert len(run.calls) == 3 * 6 < NUM_WINDOWS * 6


@pytest.mark.parametrize("name", PRESETS)
def test_presets_run(pipeline: Pipeline, name: str) -> None:
    preset = PRESETS[name]
    config = preset.apply(SamplingConfig(seed=3))
    run = Counted(pipeline, num_frames=40)

    assert torch.isfinite(run.sample(preset.speed, config)).all()
    assert config.seed == 3
    num_steps, num_guided = {"fast": (10, 6), "turbo": (6, 2)}[name]
    assert config.num_inference_steps == num_steps
    num_windows = len(run.calls) // num_steps
    assert sum(rows for rows, _ in run.calls) == num_windows * (num_steps + num_guided)
    assert all(whole for _, whole in run.calls)


@pytest.mark.parametrize("name", PRESETS)
def test_presets_keep_the_decoder_s_chunks(name: str) -> None:
    """Else decoded frames differ by the frames that they are decoded with, whatever the latents."""
    default, config = SamplingConfig(), PRESETS[name].apply(SamplingConfig())

    assert (default.num_padding_frames - config.num_padding_frames) % config.decode_chunk_size == 0


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("schedule", "linear"),
        ("sampler", "heun"),
        ("guidance_interval", (2.0, 1.0)),
        ("guidance_interval", (-1.0, 1.0)),
        ("feature_interval", 0),
        ("num_outer_layers", 0),
        ("extrapolation_interval", 1.5),
        ("extrapolation_order", 4),
        ("feature_interval", True),
    ],
)
def test_wrong_settings_are_refused(name: str, value: object) -> None:
    with pytest.raises(ConfigurationError, match=name):
        SpeedConfig(**{name: value})  # pyright: ignore[reportArgumentType]


# --- options of the command line


def parse(*arguments: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    add_options(parser)
    return parser.parse_args(["--portrait", "p", "--driving", "d", "--out", "o", *arguments])


def test_no_option_is_no_approximation() -> None:
    options = parse()

    assert speed_config(options) == SpeedConfig()
    assert sampling_config(options) == SamplingConfig()


@pytest.mark.parametrize("name", PRESETS)
def test_options_beside_a_preset_take_precedence(name: str) -> None:
    options = parse("--preset", name, "--num-inference-steps", "25", "--sampler", "euler")
    config, speed = sampling_config(options), speed_config(options)

    assert config == replace(PRESETS[name].apply(SamplingConfig()), num_inference_steps=25)
    assert speed == replace(PRESETS[name].speed, sampler="euler")
    # What the video's record says is what ran.
    assert options.num_padding_frames == PRESETS[name].sampling["num_padding_frames"]


def test_each_approximation_has_an_option() -> None:
    options = parse(
        "--schedule=align_your_steps", "--sampler=unipc", "--guidance-interval", "0.5", "30", "--feature-interval=3",
        "--num-outer-layers=1", "--extrapolation-interval=2", "--extrapolation-order=2", "--no-circle",
        "--noise-padding=15",
    )  # fmt: skip

    assert speed_config(options) == SpeedConfig("align_your_steps", "unipc", (0.5, 30.0), 3, 1, 2, 2, False, 15)


# --- noise levels


def test_ten_steps_start_at_the_published_levels() -> None:
    assert align_your_steps_sigmas(10).tolist() == pytest.approx([*ALIGN_YOUR_STEPS[:-1], 0.0])


@pytest.mark.parametrize("num_steps", [1, 5, 7, 13, 20])
def test_other_step_counts_lie_log_linearly_between(num_steps: int) -> None:
    levels = align_your_steps_sigmas(num_steps).tolist()

    assert len(levels) == num_steps + 1
    assert levels[0] == pytest.approx(700)
    assert levels[-1] == 0
    for i, level in enumerate(levels[:-1]):
        before, share = divmod(i * 10 / num_steps, 1)
        low, high = (math.log(s) for s in ALIGN_YOUR_STEPS[int(before) : int(before) + 2])
        assert math.log(level) == pytest.approx(low + share * (high - low), abs=1e-5)


def test_no_step_is_refused() -> None:
    with pytest.raises(ConfigurationError):
        align_your_steps_sigmas(0)


# --- samplers


def gaussian(x: torch.Tensor, sigma: float) -> torch.Tensor:
    """The exact denoiser of data of unit variance around 3: the ODE's solution is known."""
    return 3 + (x - 3) / (1 + sigma**2)


def error(sampler, num_steps: int) -> float:
    sigmas = torch.logspace(2, -2, num_steps + 1, dtype=torch.float64)
    x = torch.linspace(-100, 100, 7, dtype=torch.float64)
    truth = 3 + (x - 3) * math.sqrt((1 + 1e-4) / (1 + 1e4))
    return float((sampler(gaussian, x, sigmas) - truth).abs().max())


@pytest.mark.parametrize(("sampler", "order"), [(sample_euler, 1), (sample_dpmpp_2m, 2), (sample_unipc, 2)])
def test_error_falls_with_the_order(sampler, order: int) -> None:
    rates = [math.log2(error(sampler, n) / error(sampler, 2 * n)) for n in (80, 160)]

    assert rates[-1] > order - 0.15


@pytest.mark.parametrize("sampler", MULTISTEP)
def test_second_order_is_more_exact_with_few_steps(sampler) -> None:
    assert error(sampler, 20) < error(sample_euler, 20) / 2


def wavy(x: torch.Tensor, sigma: float) -> torch.Tensor:
    return torch.sin(x / (1 + sigma)) + x / (1 + sigma**2)


@pytest.mark.parametrize("num_steps", [4, 12, 20])
def test_dpmpp_2m_is_the_referees(num_steps: int) -> None:
    diffusers = pytest.importorskip("diffusers")
    scheduler = diffusers.EDMDPMSolverMultistepScheduler(
        sigma_min=0.002, sigma_max=700.0, sigma_data=1.0, sigma_schedule="karras", rho=7.0, solver_order=2,
        algorithm_type="dpmsolver++", solver_type="midpoint", final_sigmas_type="zero", prediction_type="epsilon",
    )  # fmt: skip
    scheduler.set_timesteps(num_steps)
    sigmas = scheduler.sigmas.double()
    scheduler.sigmas = sigmas
    x = start = initial_noise((2, 4, 3, 3), 0).double() * 700
    for i, t in enumerate(scheduler.timesteps):
        sigma = float(sigmas[i])
        # The scheduler turns its model's output into the estimate D = c_skip x + c_out F; this is the F that gives D.
        c_skip, c_out = 1 / (sigma**2 + 1), sigma / math.sqrt(sigma**2 + 1)
        x = scheduler.step((wavy(x, sigma) - c_skip * x) / c_out, t, x).prev_sample

    actual = sample_dpmpp_2m(wavy, start, sigmas)

    assert (actual - x).abs().max() <= 1e-5 * x.abs().max()


@pytest.mark.parametrize("num_steps", [4, 12, 20])
def test_unipc_is_the_referees(num_steps: int) -> None:
    diffusers = pytest.importorskip("diffusers")
    scheduler = diffusers.UniPCMultistepScheduler(
        solver_order=2, solver_type="bh2", predict_x0=True, prediction_type="sample", final_sigmas_type="zero"
    )
    scheduler.set_timesteps(num_steps)
    sigmas = torch.cat([torch.logspace(2, -2, num_steps, dtype=torch.float64), torch.zeros(1, dtype=torch.float64)])
    scheduler.sigmas = sigmas
    start = initial_noise((2, 4, 3, 3), 0).double() * 100
    # The referee's latents have the variance kept: x / √(σ² + 1).
    scaled = start / math.sqrt(100**2 + 1)
    for i, t in enumerate(scheduler.timesteps):
        sigma = float(sigmas[i])
        scaled = scheduler.step(wavy(scaled * math.sqrt(sigma**2 + 1), sigma), t, scaled).prev_sample

    actual = sample_unipc(wavy, start, sigmas)

    assert (actual - scaled).abs().max() <= 1e-6 * scaled.abs().max()


@pytest.mark.parametrize("name", SAMPLERS)
def test_every_sampler_calls_once_a_step_and_ends_at_the_estimate(name: str) -> None:
    calls: list[float] = []
    seen: list[tuple[int, torch.Tensor, torch.Tensor]] = []
    sigmas = align_your_steps_sigmas(5)

    def denoiser(x: torch.Tensor, sigma: float) -> torch.Tensor:
        calls.append(sigma)
        return wavy(x, sigma)

    x = SAMPLERS[name](denoiser, torch.full((3,), 100.0), sigmas, lambda *step: seen.append(step), 1)

    assert calls == sigmas[1:-1].tolist()
    assert [i for i, _, _ in seen] == [1, 2, 3, 4]
    assert torch.allclose(seen[-1][1], seen[-1][2], rtol=1e-5)
    assert torch.equal(x, seen[-1][1])


# --- windows without the circle


@pytest.mark.parametrize(("window", "overlap"), [(25, 3), (7, 2), (5, 0), (4, 3)])
def test_windows_without_the_circle_cover_every_frame_in_order(window: int, overlap: int) -> None:
    for num_frames in range(1, 60):
        fewest = max(math.ceil((num_frames - overlap) / (window - overlap)), 1)
        for shift in range(0, 30, 3):
            windows = context_windows(num_frames, window, overlap, shift, is_circular=False)

            assert len(windows) == fewest
            assert {len(frames) for frames in windows} == {min(window, num_frames)}
            assert all(b == a + 1 for frames in windows for a, b in pairwise(frames))
            assert windows[0][0] == 0
            assert windows[-1][-1] == num_frames - 1
            assert all(b[0] <= a[-1] + 1 - overlap for a, b in pairwise(windows))


def test_windows_without_the_circle_move_where_they_have_room() -> None:
    seconds = {context_windows(20, 7, 2, shift, is_circular=False)[1][0] for shift in range(10)}

    assert seconds == {3, 4, 5}  # four windows of 7 that overlap by 2 reach over 22 frames


def test_noise_with_a_margin_is_that_of_more_frames() -> None:
    assert torch.equal(initial_noise((4, 2, 3), 5, margin=3), initial_noise((10, 2, 3), 5)[3:7])


# --- extrapolation


@pytest.mark.parametrize("order", [1, 2, 3])
def test_extrapolation_is_exact_for_polynomials(order: int) -> None:
    sigmas = karras_sigmas(12).double()
    coefficients = initial_noise((order + 1, 5, 4, 2, 2), 1).double()
    calls: list[float] = []

    def truth(sigma: float) -> torch.Tensor:
        powers = math.log(sigma) ** torch.arange(order + 1, dtype=torch.float64)
        return torch.einsum("k,k...->...", powers, coefficients)

    def denoiser(x: torch.Tensor, sigma: float) -> torch.Tensor:
        calls.append(sigma)
        return truth(sigma)

    extrapolating = ExtrapolatingDenoiser(denoiser, sigmas, 3, order)
    levels = sigmas[:-1].tolist()
    for sigma in levels:
        actual = extrapolating(torch.zeros(5, 4, 2, 2), sigma)
        assert (actual - truth(sigma)).abs().max() <= 1e-9 * truth(sigma).abs().max()

    assert calls == [levels[i] for i in sorted(computed_steps(12, 3, order))]
    assert len(calls) < 12


def test_steps_that_are_computed() -> None:
    assert computed_steps(10, 1, 2) == set(range(10))
    assert computed_steps(10, 3, 1) == {0, 1, 4, 7, 9}
    assert computed_steps(10, 2, 2) == {0, 1, 2, 4, 6, 8, 9}
    assert computed_steps(1, 3, 2) == {0}


def test_a_level_between_the_steps_is_computed() -> None:
    calls: list[float] = []
    extrapolating = ExtrapolatingDenoiser(lambda x, sigma: calls.append(sigma) or x, karras_sigmas(12), 3, 1)
    between = [50.0, 20.0, 9.0, 3.0]
    for sigma in between:
        extrapolating(torch.zeros(1), sigma)

    assert calls == between


def test_extrapolation_of_one_value_is_that_value() -> None:
    assert torch.equal(extrapolate([2.0], [torch.ones(3)], 5.0), torch.ones(3))


# --- reuse of deep features


def make_predictor(unet: UNet, num_frames: int, reuse: FeatureReuse | None = None) -> VideoPredictor:
    generator = torch.Generator().manual_seed(2)

    def draw(*shape: int) -> torch.Tensor:
        return torch.randn(shape, generator=generator, dtype=torch.float64)

    width = unet.config.cross_attention_dim
    tokens = draw(64, width), draw(num_frames, 64, width)
    pose = draw(1, unet.config.block_out_channels[0], 9, 11)
    return VideoPredictor(unet, *tokens, draw(4, 9, 11), (12.5, 0, 0), pose, reuse=reuse)


@pytest.fixture(scope="module")
def unet() -> UNet:
    torch.manual_seed(0)
    return UNet(ModelConfig.tiny().unet).double().eval().requires_grad_(False)


@pytest.mark.parametrize("num_outer_layers", range(1, 7))
def test_outer_layers_on_deep_features_are_the_whole_network(unet: UNet, num_outer_layers: int) -> None:
    assert unet.num_up_layers == 6
    calls: list[DeepFeatures] = []
    predictor = make_predictor(unet, 5)

    def call(*arguments: torch.Tensor) -> torch.Tensor:
        deep = DeepFeatures(num_outer_layers)
        whole = unet(*arguments, deep)
        assert torch.equal(whole, unet(*arguments))
        calls.append(deep)
        return unet(*arguments, deep)

    x = initial_noise((5, 4, 9, 11), 0).double()
    expected = predictor(x, 0.3, range(5), BOTH)
    predictor.call = call

    assert torch.equal(predictor(x, 0.3, range(5), BOTH), expected)
    assert calls[0].features is not None
    assert calls[0].features.nbytes == feature_bytes(unet.config, num_outer_layers, 2, 5, 9, 11, torch.float64)


def test_more_outer_layers_than_there_are_is_refused(unet: UNet) -> None:
    with pytest.raises(ConfigurationError, match="at most 6"):
        make_predictor(unet, 5, FeatureReuse(2, 7))


def test_everything_recomputed_is_the_exact_result(unet: UNet) -> None:
    config = SamplingConfig(num_inference_steps=2, context_window=5, context_overlap=2)
    sigmas = karras_sigmas(2)
    x = initial_noise((8, 4, 9, 11), 0).double() * 700

    def sample(reuse: FeatureReuse | None) -> torch.Tensor:
        return sample_euler(Denoiser(make_predictor(unet, 8, reuse), 8, sigmas, config), x, sigmas)

    assert torch.equal(sample(FeatureReuse(1, 2)), sample(None))
    assert not torch.equal(sample(FeatureReuse(2, 2)), sample(None))


@pytest.fixture(scope="module")
def spatial_unet(unet: UNet) -> UNet:
    """A UNet whose time mixers take the spatial path alone: what it makes of a frame does not depend on the window."""
    torch.manual_seed(0)
    spatial = UNet(unet.config).double().eval().requires_grad_(False)
    for name, parameter in spatial.named_parameters():
        if name.endswith("mix_factor"):
            parameter.fill_(1e3)
    return spatial


class ByPlace(FeatureReuse):
    """The wrong way: features belong to the place in the step's windows."""

    def take(self, timestep: float, frames: Sequence[int], branches: Sequence[Branch]) -> DeepFeatures:
        return super().take(timestep, self._places(timestep, frames), branches)

    def keep(self, deep: DeepFeatures, frames: Sequence[int], branches: Sequence[Branch]) -> None:
        super().keep(deep, self._last, branches)

    def _places(self, timestep: float, frames: Sequence[int]) -> Sequence[int]:
        self._window = 0 if timestep != self._timestep else self._window + 1
        self._last = [self._window * len(frames) + i for i in range(len(frames))]
        return self._last


def test_features_belong_to_the_frame_because_windows_shift(spatial_unet: UNet) -> None:
    config = SamplingConfig(num_inference_steps=2, context_window=5, context_overlap=2)
    # Two levels so close that the network cannot tell them apart, but that count as two steps: with the same input the
    # kept features are those that would be computed, if and only if they are given to the frame they are from.
    sigmas = torch.tensor([3.0, 3.0 * (1 - 1e-5), 0.0])
    x = initial_noise((11, 4, 9, 11), 0).double() * 3

    def second_step(reuse: FeatureReuse | None) -> torch.Tensor:
        denoiser = Denoiser(make_predictor(spatial_unet, 11, reuse), 11, sigmas.double(), config)
        first, second = sigmas[:-1].double().tolist()
        denoiser(x, first)
        assert denoiser.step_index(second) == 1
        return denoiser(x, second)

    exact = second_step(None)
    assert (second_step(FeatureReuse(2, 2)) - exact).abs().max() < 1e-4 * exact.std()
    assert (second_step(ByPlace(2, 2)) - exact).abs().max() > 0.1 * exact.std()


def test_a_frame_without_kept_features_computes_its_window(unet: UNet) -> None:
    reuse = FeatureReuse(2, 2, max_frames=8)
    predictor = make_predictor(unet, 12, reuse)
    whole: list[bool] = []

    def call(*arguments) -> torch.Tensor:
        whole.append(arguments[-1].features is None)
        return unet(*arguments)

    predictor.call = call
    x = initial_noise((4, 4, 9, 11), 0).double()
    for timestep in (0.5, 0.4):
        for first in (0, 4, 8):
            predictor(x, timestep, range(first, first + 4), (Branch.MOTION,))
        assert reuse.num_bytes == feature_bytes(unet.config, 2, 1, 8, 9, 11, torch.float64)
    predictor(x, 0.4, range(4), BOTH)  # a branch that kept nothing
    predictor(x, 0.3, range(4), BOTH)

    assert whole == [True, True, True, False, False, True, True, True]
    assert reuse.num_bytes == feature_bytes(unet.config, 2, 2, 4, 9, 11, torch.float64)
