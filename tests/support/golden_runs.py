"""From a golden case to its outputs, on the product's path and on the plain reference's.

Each ``run_*`` takes what the case gives and returns every output that it holds, by name and in the stored layout.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from golden_cases import Case, load_case
from golden_networks import (
    CaseReader,
    Fields,
    filled,
    own_config,
    pose_guider_config,
    unet_config,
    vae_config,
    vision_config,
)
from plain import plain_sample, plain_unet

from hunyuan_core.config import ModelConfig, SamplingConfig
from hunyuan_core.models.predictor import VideoPredictor
from hunyuan_core.models.vae import decode_frames, encode_image
from hunyuan_core.motion import pad_motion_tokens
from hunyuan_core.sampling import Denoiser, apply_strength, karras_sigmas, sample_euler

Outputs = dict[str, torch.Tensor]

NETWORK_TOLERANCE = 1e-4
"""Of the standard deviation of the output."""
PIPELINE_TOLERANCE = 1e-3


def check_case(path: Path, run: Callable[[CaseReader], Outputs], tolerance: float) -> None:
    """Compute a case and compare every output that the file holds."""
    case = load_case(path)
    for name, actual in compute(case, run).items():
        assert_near(name, actual, case.tensors[name], tolerance)


def compute(case: Case, run: Callable[[CaseReader], Outputs]) -> Outputs:
    """Compute the outputs of a case; an unknown field or tensor is an error."""
    reader = CaseReader(case)
    with torch.inference_mode():
        outputs = run(reader)
    reader.finish(outputs)
    return outputs


def assert_near(name: str, actual: torch.Tensor, expected: torch.Tensor, tolerance: float) -> None:
    """Compare the largest error with a share of the expected standard deviation.

    What is stored as float16 (decoded frames) was rounded to it, so there half of its spacing at the stored value, and
    no more, comes on top.
    """
    assert actual.shape == expected.shape, f"{name} is {tuple(actual.shape)}, expected {tuple(expected.shape)}"
    error = (actual.double() - expected.double()).abs()
    if expected.dtype == torch.float16:
        magnitude = expected.abs()
        spacing = torch.nextafter(magnitude, torch.full_like(magnitude, torch.inf)).double() - magnitude.double()
        error = error - spacing / 2
    deviation = expected.double().std(correction=0)
    # A constant output has no deviation to measure by.
    unit = deviation if deviation > 0 else expected.double().abs().max()
    worst = (error.max() / unit).item()
    assert worst <= tolerance, f"{name}: largest error is {worst:.2e} of the deviation, allowed are {tolerance:.0e}"


def run_unet(reader: CaseReader) -> Outputs:
    """The product's path: rows without tokens attend to nothing, tokens are projected once."""
    return _run_unet(reader, _product_unet)


def run_plain_unet(reader: CaseReader) -> Outputs:
    """The plain reference: all rows and tokens in one batch."""
    return _run_unet(reader, plain_unet)


def _run_unet(reader: CaseReader, call: Callable[..., torch.Tensor]) -> Outputs:
    metadata = reader.fields
    unet = filled("unet", replace(ModelConfig(), unet=unet_config(metadata.take("config", None))))
    sample = reader.input("sample")
    B = len(sample)
    arguments = [
        unet,
        sample,
        torch.tensor(metadata.take("timestep"), dtype=torch.float32).expand(B),
        reader.input("added_time_ids").expand(B, -1),
        reader.input("image_tokens"),
        reader.input("motion_tokens"),
    ]
    motion_scale = _motion_scale(metadata)
    pose = reader.input("pose_features") if "pose_features" in reader else None
    poses = {"output": pose, "output_without_pose": None}
    return {name: call(*arguments, poses[name], motion_scale) for name in poses if name in reader}


def _product_unet(
    unet: Any,
    sample: torch.Tensor,
    timestep: torch.Tensor,
    added_time_ids: torch.Tensor,
    image_tokens: torch.Tensor,
    motion_tokens: torch.Tensor,
    pose_features: torch.Tensor | None,
    motion_scale: float,
) -> torch.Tensor:
    # 0: no tokens, 1: image tokens, 2: motion tokens as well, the order that a context asks for.
    kinds = [2 if motion.any() else int(image.any()) for image, motion in zip(image_tokens, motion_tokens, strict=True)]
    order = sorted(range(len(kinds)), key=kinds.__getitem__)
    num_image_rows, num_motion_rows = sum(kind > 0 for kind in kinds), sum(kind > 1 for kind in kinds)
    n = len(kinds)
    context = unet.project_context(
        image_tokens[order][n - num_image_rows :],
        motion_tokens[order][n - num_motion_rows :],
        num_image_rows,
        num_motion_rows,
        motion_scale,
    )
    pose = None if pose_features is None else pose_features[order]
    out = unet(sample[order], timestep[order], added_time_ids[order], context, pose)
    return out[torch.tensor(order).argsort()]


def run_appearance_encoder(reader: CaseReader) -> Outputs:
    """Vision encoder with adapters, and the token projection."""
    image, id_embedding = reader.input("image"), reader.input("id_embedding")
    metadata = reader.fields
    values = dict(metadata.take("config", {}))
    for name in ("adapter_layers", "residual_weight"):  # beside the config or in it
        value = metadata.take(name, None)
        if value is not None:
            assert values.setdefault(name, value) == value, f"two values of {name}"
    num_tokens = reader.tensors["tokens"].shape[1] if "tokens" in reader else None
    config = replace(ModelConfig(), vision=vision_config(values, image.shape[-1], num_tokens))
    features = filled("vision", config)(image, id_embedding.flatten(1))
    outputs = {"features": features}
    if "tokens" in reader:
        outputs["tokens"] = filled("token_projection", config)(features)
    return {name: tensor for name, tensor in outputs.items() if name in reader}


def run_expression_encoder(reader: CaseReader) -> Outputs:
    """Expression encoder."""
    config = ModelConfig()
    config = replace(config, expression=own_config(config.expression, reader.fields.take("config", None)))
    return {"features": filled("expression", config)(reader.input("face"))}


def run_headpose_encoder(reader: CaseReader) -> Outputs:
    """Head-pose encoder; the stored image has been multiplied already."""
    config = ModelConfig()
    config = replace(config, head_pose=own_config(config.head_pose, reader.fields.take("config", None)))
    rotation, translation = filled("head_pose", config)(reader.input("image"))
    return {"rotation": rotation, "translation": translation}


def run_motion_refiner(reader: CaseReader) -> Outputs:
    """Motion refiner, the same intensities for all frames or one pair each."""
    metadata = reader.fields
    values = dict(metadata.take("config", {}))
    for name, own_name in (("heads", "num_heads"), ("layers", "num_layers")):
        value = metadata.take(name, None)
        if value is not None:
            assert values.setdefault(own_name, value) == value, f"two values of {own_name}"
    config = replace(ModelConfig(), refiner=own_config(ModelConfig().refiner, values))
    features = reader.input("features")
    head, expression = (torch.tensor(metadata.take(n)).expand(len(features)) for n in ("head_id", "exp_id"))
    return {"tokens": filled("refiner", config)(features, head, expression)}


def run_motion_padding(reader: CaseReader) -> Outputs:
    """End padding of motion tokens."""
    return {"padded": pad_motion_tokens(reader.input("tokens")[0], reader.fields.take("pad"))[None]}


def run_pose_guider(reader: CaseReader) -> Outputs:
    """Pose guider."""
    reader.fields.expect("layout", "b c f h w")
    config = replace(ModelConfig(), pose_guider=pose_guider_config(reader.fields.take("config", None)))
    features = filled("pose_guider", config)(_frames_first(reader.input("pose")))
    return {"features": _frames_third(features)}


def run_pipeline(reader: CaseReader) -> Outputs:
    """The product's path: denoiser, predictor and Euler sampler."""
    return run_pipeline_with(reader, _product_sample)


def run_plain_pipeline(reader: CaseReader) -> Outputs:
    """The plain reference of a whole sampling run."""
    return run_pipeline_with(reader, plain_sample)


def run_pipeline_with(reader: CaseReader, sample: Callable[..., torch.Tensor]) -> Outputs:
    """A whole sampling run by some sampler over the networks; see ``_product_sample`` for its arguments."""
    metadata = reader.fields
    image, pose = reader.input("image"), reader.input("pose")
    token_projection = metadata.take("token_projection", None)
    config = replace(
        ModelConfig(),
        unet=unet_config(metadata.take("unet", None)),
        vae=vae_config(metadata.take("vae", None)),
        vision=vision_config(
            metadata.take("dino", None), image.shape[-1], token_projection[1] if token_projection else None
        ),
        pose_guider=pose_guider_config(metadata.take("pose_guider", None)),
    )
    assert token_projection in (None, [config.vision.num_tokens, config.vision.num_image_tokens]), token_projection
    motion_scale = _motion_scale(metadata)

    unet, vae = filled("unet", config), filled("vae", config)
    image_latents = encode_image(vae, reader.input("reference"))[0]
    features = filled("vision", config)(image, reader.input("id_embedding").flatten(1))
    image_tokens = filled("token_projection", config)(features)[0]
    pose_features = filled("pose_guider", config)(_frames_first(pose))
    motion_tokens, noise = reader.input("motion_tokens")[0], reader.input("noise")[0]

    outputs: Outputs = {}
    for name, values in metadata.take("runs").items():
        run = Fields(values, f"run {name}")
        n = run.take("num_frames", len(noise))
        sides = run.take("size", None)
        assert sides is None or sides in (*pose.shape[-2:], list(pose.shape[-2:])), f"run {name}: size {sides}"
        settings = _sampling_config(run, motion_scale)
        sigmas = apply_strength(karras_sigmas(settings.num_inference_steps), settings.strength)
        x = image_latents * config.vae.scaling_factor + noise[:n] * sigmas[0]
        x = sample(unet, x, sigmas, image_tokens, motion_tokens[:n], image_latents, pose_features[:n], settings)
        if f"latents_{name}" in reader:
            outputs[f"latents_{name}"] = x[None]
        if f"frames_{name}" in reader:
            frames = torch.cat(list(decode_frames(vae, x, settings.decode_chunk_size)))
            outputs[f"frames_{name}"] = _frames_third(frames)
    return outputs


def _product_sample(
    unet: Any,
    x: torch.Tensor,
    sigmas: torch.Tensor,
    image_tokens: torch.Tensor,
    motion_tokens: torch.Tensor,
    image_latents: torch.Tensor,
    pose_features: torch.Tensor,
    config: SamplingConfig,
) -> torch.Tensor:
    is_constant = bool((pose_features == pose_features[:1]).all())
    predictor = VideoPredictor(
        unet,
        image_tokens,
        motion_tokens,
        image_latents,
        (config.fps, config.motion_bucket_id, config.noise_aug_strength),
        pose_features[:1] if is_constant else pose_features,
        config.motion_scale,
    )
    return sample_euler(Denoiser(predictor, len(x), sigmas, config), x, sigmas)


def _sampling_config(run: Fields, motion_scale: float) -> SamplingConfig:
    default = SamplingConfig()
    settings = SamplingConfig(
        num_inference_steps=run.take("steps"),
        strength=run.take("strength", default.strength),
        image_guidance_scale=tuple(run.take("guidance_image", default.image_guidance_scale)),
        motion_guidance_scale=tuple(run.take("guidance_motion", default.motion_guidance_scale)),
        motion_scale=run.take("ip_motion_scale", run.take("motion_scale", motion_scale)),
        context_window=run.take("window", default.context_window),
        context_overlap=run.take("overlap", default.context_overlap),
        context_shift=run.take("shift", default.context_shift),
        fps=run.take("fps", default.fps),
        motion_bucket_id=run.take("motion_bucket_id", default.motion_bucket_id),
        noise_aug_strength=run.take("noise_aug_strength", default.noise_aug_strength),
        decode_chunk_size=run.take("decode_chunk_size", default.decode_chunk_size),
    )
    run.take("seed", None)  # the noise is in the file
    run.finish()
    return settings


def _motion_scale(metadata: Fields) -> float:
    return metadata.take("ip_motion_scale", metadata.take("motion_scale", 1.0))


def _frames_first(video: torch.Tensor) -> torch.Tensor:
    """(1, C, T, H, W) to (T, C, H, W)."""
    return video[0].transpose(0, 1)


def _frames_third(frames: torch.Tensor) -> torch.Tensor:
    """(T, C, H, W) to (1, C, T, H, W)."""
    return frames.transpose(0, 1)[None]
