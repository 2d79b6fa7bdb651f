"""The stages together, with the tiny untrained networks."""

from __future__ import annotations

import weakref
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
import torch
from plain import plain_sample

from hunyuan_core.config import SamplingConfig
from hunyuan_core.data import Appearance, Face, FaceTrack, Motion, VideoLatents
from hunyuan_core.errors import ConfigurationError, HunyuanPortraitError, ShapeError
from hunyuan_core.faces.crops import image_encoder_input, reference_crop
from hunyuan_core.models import VisionEncoder
from hunyuan_core.motion import INTENSITY_CHUNK, pad_motion_tokens
from hunyuan_core.pipeline import Pipeline
from hunyuan_core.pose_features import encode_pose_images
from hunyuan_core.sampling import initial_noise, karras_sigmas

SIZE, T = 64, 5
CONFIG = SamplingConfig(
    num_inference_steps=2, context_window=6, context_overlap=2, num_padding_frames=2, decode_chunk_size=3
)
BOX = np.array([30.0, 20, 60, 55])
LANDMARKS = np.array([[37.0, 30], [53, 30], [45, 38], [39, 46], [51, 46]])


@pytest.fixture(scope="module")
def pipeline() -> Pipeline:
    return Pipeline.untrained_tiny(device="cpu")


def images(num_frames: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (num_frames, 80, 96, 3), dtype=np.uint8)


def track(num_frames: int) -> FaceTrack:
    steps = np.arange(num_frames)[:, None]
    return FaceTrack(BOX + 0.1 * steps, LANDMARKS + 0.1 * steps[:, None], np.ones(num_frames, bool))


@pytest.fixture(scope="module")
def appearance(pipeline: Pipeline) -> Appearance:
    return pipeline.encode_appearance(images(1)[0], Face(BOX, LANDMARKS), size=SIZE)


@pytest.fixture(scope="module")
def motion(pipeline: Pipeline) -> Motion:
    return pipeline.encode_motion(images(T, 1), track(T))


@pytest.fixture(scope="module")
def video(pipeline: Pipeline, appearance: Appearance, motion: Motion) -> VideoLatents:
    return pipeline.sample(appearance, motion, CONFIG)


@pytest.fixture(scope="module")
def latents(video: VideoLatents) -> torch.Tensor:
    return video.samples


def test_shapes_and_types_of_every_stage(
    pipeline: Pipeline, appearance: Appearance, motion: Motion, latents: torch.Tensor
) -> None:
    width = pipeline.unet.config.cross_attention_dim
    for tensor, shape in (
        (appearance.image_tokens, (64, width)),
        (appearance.image_latents, (4, 8, 8)),
        (appearance.id_embedding, (512,)),
        (motion.tokens, (T, 64, width)),
        (motion.rotation, (T, 3)),
        (motion.translation, (T, 3)),
        (latents, (T + 4, 4, 8, 8)),
    ):
        assert tensor.shape == shape
        assert tensor.dtype == torch.float32
        assert tensor.device.type == "cpu"
        assert tensor.isfinite().all()
    frames = list(pipeline.decode(VideoLatents(latents, CONFIG.num_padding_frames)))
    assert len(frames) == T
    assert all(frame.shape == (SIZE, SIZE, 3) and frame.dtype == np.uint8 for frame in frames)
    assert np.std(frames) > 1


def test_appearance_is_the_networks_over_the_released_crops(pipeline: Pipeline, appearance: Appearance) -> None:
    reference = reference_crop(images(1)[0], BOX, SIZE)
    pixels = torch.from_numpy(reference.copy()).permute(2, 0, 1)[None] / 255 * 2 - 1
    with torch.inference_mode():
        latents = pipeline.vae.encode(pixels).latent_dist.mean[0]
        features = pipeline.vision(image_encoder_input(reference, 56), torch.zeros(1, 512))
        tokens = pipeline.token_projection(features)[0]

    torch.testing.assert_close(appearance.image_latents, latents, rtol=0, atol=1e-5)
    torch.testing.assert_close(appearance.image_tokens, tokens, rtol=0, atol=1e-5)


def test_sampling_is_the_plain_reference_with_padded_motion_and_seeded_noise(
    pipeline: Pipeline, appearance: Appearance, motion: Motion, latents: torch.Tensor
) -> None:
    sigmas = karras_sigmas(2)
    tokens = pad_motion_tokens(motion.tokens, 2)
    x = appearance.image_latents * 0.18215 + initial_noise((T + 4, 4, 8, 8), CONFIG.seed) * sigmas[0]
    with torch.inference_mode():
        pose = pipeline.pose_guider(torch.zeros(1, 3, SIZE, SIZE)).expand(T + 4, -1, -1, -1)
        expected = plain_sample(
            pipeline.unet, x, sigmas, appearance.image_tokens, tokens, appearance.image_latents, pose, CONFIG
        )
    assert (latents - expected).abs().max() < 1e-3 * expected.std()


def test_strength_starts_later(pipeline: Pipeline, appearance: Appearance, motion: Motion) -> None:
    config = replace(CONFIG, num_inference_steps=4, strength=0.5)
    calls: list[tuple[int, int]] = []
    latents = pipeline.sample(appearance, motion, config, on_progress=lambda done, total: calls.append((done, total)))
    samples = latents.samples

    assert calls == [(i, 6) for i in range(1, 7)]  # 2 steps of 3 windows
    assert (samples - appearance.image_latents * 0.18215).std() < 100


def test_the_same_seed_gives_the_same_video_whatever_ran_before(
    appearance: Appearance, motion: Motion, latents: torch.Tensor
) -> None:
    torch.manual_seed(123)
    torch.rand(7)
    state = torch.get_rng_state()
    other = Pipeline.untrained_tiny(device="cpu")
    assert torch.equal(torch.get_rng_state(), state)

    again = other.sample(appearance, motion, CONFIG).samples

    assert torch.equal(again, latents)
    assert not torch.equal(other.sample(appearance, motion, replace(CONFIG, seed=1)).samples, latents)


def test_decoding_drops_the_padding_on_the_grid_of_all_frames(pipeline: Pipeline, video: VideoLatents) -> None:
    counts: list[int] = []
    kept = list(pipeline.decode(video, 3, counts.append))
    everything = list(pipeline.decode(replace(video, num_padding_frames=0), 3))

    assert len(everything) == len(video.samples)
    np.testing.assert_array_equal(kept, everything[2 : 2 + T])
    assert counts == [1, 2, 3, 4, 5]


def test_one_pose_image_is_the_same_as_one_per_frame(appearance: Appearance, motion: Motion) -> None:
    pipeline = Pipeline.untrained_tiny(device="cpu")
    pipeline.pose_guider.conv_out.weight.mul_(100)  # untrained, it hardly shows
    image = np.random.default_rng(2).integers(0, 256, (1, SIZE, SIZE, 3), dtype=np.uint8)
    constant = pipeline.sample(appearance, motion, CONFIG, pose_images=image).samples
    repeated = pipeline.sample(appearance, motion, CONFIG, pose_images=np.repeat(image, T, axis=0)).samples
    black = pipeline.sample(appearance, motion, CONFIG, pose_images=np.zeros_like(image)).samples

    torch.testing.assert_close(constant, repeated, rtol=0, atol=1e-3)
    assert torch.equal(black, pipeline.sample(appearance, motion, CONFIG).samples)
    assert (constant - black).abs().max() > 0.01


def test_padding_has_the_pose_of_the_first_frame(pipeline: Pipeline) -> None:
    poses = np.random.default_rng(2).integers(0, 256, (T, SIZE, SIZE, 3), dtype=np.uint8)
    with torch.inference_mode():
        features = encode_pose_images(pipeline.pose_guider, poses, SIZE, SIZE, T, 2)
    expected = [0, 0, 0, 1, 2, 3, 4, 0, 0]
    distinct = features[2 : 2 + T]
    assert len(features) == T + 4
    assert all(torch.equal(features[i], distinct[j]) for i, j in enumerate(expected))
    assert not torch.equal(distinct[0], distinct[1])


@pytest.mark.parametrize("shape", [(T, SIZE, SIZE + 8, 3), (T + 1, SIZE, SIZE, 3), (T, SIZE, SIZE, 4), (SIZE, SIZE, 3)])
def test_pose_images_that_do_not_fit_are_refused(
    shape: tuple[int, ...], pipeline: Pipeline, appearance: Appearance, motion: Motion
) -> None:
    with pytest.raises(ShapeError, match="pose_images"):
        pipeline.sample(appearance, motion, CONFIG, pose_images=np.zeros(shape, np.uint8))


def test_pose_images_that_are_not_bytes_are_refused(pipeline: Pipeline, appearance: Appearance, motion: Motion) -> None:
    with pytest.raises(ShapeError, match="uint8"):
        pipeline.sample(appearance, motion, CONFIG, pose_images=np.zeros((T, SIZE, SIZE, 3), np.float32))


def test_a_size_that_is_not_a_multiple_of_8_is_refused(pipeline: Pipeline) -> None:
    with pytest.raises(ConfigurationError, match="multiple of 8"):
        pipeline.encode_appearance(images(1)[0], Face(BOX, LANDMARKS), size=60)


def test_noise_augmentation_is_seeded(pipeline: Pipeline, appearance: Appearance) -> None:
    face, portrait = Face(BOX, LANDMARKS), images(1)[0]
    config = replace(CONFIG, noise_aug_strength=0.1)
    noisy, again = (pipeline.encode_appearance(portrait, face, size=SIZE, config=config) for _ in range(2))

    assert torch.equal(noisy.image_latents, again.image_latents)
    assert not torch.equal(noisy.image_latents, appearance.image_latents)
    assert torch.equal(noisy.image_tokens, appearance.image_tokens)


# --- motion


class CountedFrames:
    """Frames that exist one at a time; counts how many are alive."""

    def __init__(self, num_frames: int) -> None:
        self.num_frames = num_frames
        self.alive = self.most_alive = 0

    def __iter__(self) -> Iterator[np.ndarray]:
        for i in range(self.num_frames):
            frame = images(1, i)[0]
            self.alive += 1
            self.most_alive = max(self.most_alive, self.alive)
            weakref.finalize(frame, self._gone)
            yield frame
            del frame

    def _gone(self) -> None:
        self.alive -= 1


def test_motion_is_encoded_as_a_stream(pipeline: Pipeline) -> None:
    num_frames = INTENSITY_CHUNK + 3
    frames = CountedFrames(num_frames)
    progress: list[int] = []

    motion = pipeline.encode_motion(frames, track(num_frames), progress.append)

    assert progress == [INTENSITY_CHUNK, num_frames]
    assert frames.most_alive <= 3
    assert len(motion) == num_frames
    assert len(motion.head_intensity) == len(motion.expression_intensity) == 2
    assert torch.equal(motion.tokens[:, 0, -6:-3], motion.rotation)
    assert torch.equal(motion.tokens[:, -1, -6:-3], motion.rotation)
    assert motion.tokens[..., -3:].count_nonzero() == 0


def test_every_chunk_has_its_own_intensity(pipeline: Pipeline) -> None:
    num_frames = 2 * INTENSITY_CHUNK
    still = track(num_frames)
    landmarks = np.repeat(still.landmarks[:1], num_frames, axis=0)
    landmarks[INTENSITY_CHUNK:] += np.arange(INTENSITY_CHUNK)[:, None, None] * 0.5
    frames = np.repeat(images(1), num_frames, axis=0)

    motion = pipeline.encode_motion(frames, replace(still, landmarks=landmarks))

    assert motion.head_intensity[0] == 0 < motion.head_intensity[1]
    assert motion.expression_intensity == (0, 0)
    # The frames before and at the border are the same image with the same landmarks: only the intensity differs.
    before, at = motion.tokens[INTENSITY_CHUNK - 1], motion.tokens[INTENSITY_CHUNK]
    assert (before - at).abs().max() > 1e-3
    torch.testing.assert_close(motion.tokens[0], before, rtol=0, atol=1e-5)


def record_inputs(network: torch.nn.Module) -> list[torch.Tensor]:
    """Inputs of all calls to come."""
    inputs: list[torch.Tensor] = []
    network.register_forward_pre_hook(lambda _, arguments: inputs.append(arguments[0]))
    return inputs


def test_head_pose_encoder_gets_crops_times_2_plus_1_and_expression_encoder_0_to_1() -> None:
    pipeline = Pipeline.untrained_tiny(device="cpu")
    pose, expression = record_inputs(pipeline.head_pose), record_inputs(pipeline.expression)
    frames = np.full((2, 80, 96, 3), 255, np.uint8)
    frames[1] = 51

    pipeline.encode_motion(frames, track(2))

    assert [x.unique().tolist() for x in pose[0]] == [[3.0], [pytest.approx(1.4)]]
    assert [x.unique().tolist() for x in expression[0]] == [[1.0], [pytest.approx(0.2)]]


@pytest.mark.parametrize("num_frames", [4, 6, INTENSITY_CHUNK, INTENSITY_CHUNK + 1, 2 * INTENSITY_CHUNK])
def test_a_track_of_another_length_is_refused(num_frames: int, pipeline: Pipeline) -> None:
    for num_given in (num_frames - 1, num_frames + 1):
        with pytest.raises(ShapeError, match="track it again"):
            pipeline.encode_motion(images(num_given), track(num_frames))


# --- precision


def test_latents_that_are_not_finite_are_an_error(appearance: Appearance, motion: Motion) -> None:
    pipeline = Pipeline.untrained_tiny(device="cpu")
    pipeline.unet.conv_out.weight.fill_(torch.inf)
    with pytest.raises(HunyuanPortraitError, match="not finite"):
        pipeline.sample(appearance, motion, CONFIG)


def test_bfloat16_runs_and_stays_near_float32(
    pipeline: Pipeline, appearance: Appearance, motion: Motion, video: VideoLatents, latents: torch.Tensor
) -> None:
    half = Pipeline.untrained_tiny(device="cpu", dtype=torch.bfloat16)
    assert half.unet.conv_in.weight.dtype == half.vae.decoder.conv_in.weight.dtype == torch.bfloat16
    for network in (half.expression, half.head_pose, half.refiner, half.vae.encoder):
        assert {p.dtype for p in network.parameters()} == {torch.float32}  # as released

    half_appearance = half.encode_appearance(images(1)[0], Face(BOX, LANDMARKS), size=SIZE)
    half_video = half.sample(half_appearance, motion, CONFIG)
    half_latents = half_video.samples

    assert half_latents.dtype == torch.float32
    assert torch.equal(half_appearance.image_latents, appearance.image_latents)
    error = (half_latents - latents).std() / latents.std()
    assert 0 < error < 0.1
    frames, half_frames = (list(p.decode(x)) for p, x in ((pipeline, video), (half, half_video)))
    assert np.abs(np.subtract(frames, half_frames, dtype=float)).mean() < 10


def test_no_identity_is_a_zero_vector(pipeline: Pipeline, appearance: Appearance) -> None:
    assert appearance.id_embedding.count_nonzero() == 0
    assert isinstance(pipeline.vision, VisionEncoder)
