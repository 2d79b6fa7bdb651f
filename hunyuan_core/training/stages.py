"""What is trained: the modules of a stage and the loss of a batch."""

from __future__ import annotations

from collections.abc import Iterable
from fnmatch import fnmatchcase
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import nn

from ..data import Branch
from ..errors import ConfigurationError
from ..models import ExpressionEncoder, HeadPoseEncoder, MotionRefiner, UNet, build
from ..models.attention import scaled_dot_product
from ..models.vision import TokenProjection, VisionEncoder
from ..motion import assemble_tokens
from .config import TrainingConfig
from .identity_network import IdentityNetwork
from .initialisation import start_plainly
from .objective import Noise, draw_noise, noisy_input, seeded_noise, v_loss
from .reader_data import Pictures
from .toy_data import Clip, Frames
from .toyworld import IDENTITY_PARAMETERS, MOTION_PARAMETERS
from .toyworld.reader import Reader, standard_looks

IDENTITY = "arcface"
"""Name of the identity network among a stage's networks."""

READER = "reader"
"""Name of the drawn world's reader among them."""

Losses = dict[str, torch.Tensor]


class Stage(nn.Module):
    """Networks of one model, and the loss that one stage trains them by.

    Calling it with a batch and the number of steps that are done gives the losses by name; ``total`` is what is
    minimised, each is a mean over the batch.
    """

    networks: nn.ModuleDict

    def network(self, name: str) -> Any:
        """One network."""
        return self.networks[name]


class VAEStage(Stage):
    """Reconstruction of short clips, whose frames the decoder mixes as it does in inference."""

    def __init__(self, config: TrainingConfig) -> None:
        super().__init__()
        self.config = config
        self.networks = nn.ModuleDict({"vae": _trainable("vae", config)})
        start_plainly(self.network("vae"))

    def forward(self, batch: Frames, num_done: int) -> Losses:
        """Losses of reconstruction, of its edges and colours, and the KL divergence from a standard normal."""
        x = batch.frames.flatten(0, 1).float() / 127.5 - 1
        vae = self.network("vae")
        latents = vae.encode(x).latent_dist
        mean, logvar = latents.mean.float(), latents.logvar.float()
        noise = seeded_noise(batch.seed, (batch.frames.shape[1], *mean.shape[1:])).flatten(0, 1).to(mean)
        y = vae.decode(mean + torch.exp(0.5 * logvar) * noise, num_frames=batch.frames.shape[1]).sample.float()
        loss = self.config.loss
        weight = torch.ones_like(x[:, :1])
        if loss.feature_weight:
            tiles = 1 + loss.feature_weight * batch.features.flatten(0, 1)[:, None]
            weight = F.interpolate(tiles / tiles.mean(), scale_factor=8, mode="nearest")
        squared = (weight * (y - x).square()).mean()
        across = (weight[..., 1:, :], weight[..., :, 1:])
        edges = sum((w * (a - b).abs()).mean() for w, a, b in zip(across, _edges(y), _edges(x), strict=True))
        # Large plain areas, whose colour the normalisations hide, count for little otherwise.
        colours = (F.avg_pool2d(y, 8) - F.avg_pool2d(x, 8)).abs().mean()
        kl = 0.5 * (mean.square() + logvar.exp() - 1 - logvar).mean()
        total = (weight * (y - x).abs()).mean() + squared
        total = total + loss.edge_weight * edges + loss.colour_weight * colours + loss.kl_weight * kl
        return {"total": total, "psnr": 10 * torch.log10(4 / (y - x).detach().square().mean()), "kl": kl.detach()}


class MotionStage(Stage):
    """Motion and image tokens, and identity, against what the drawn world knows of itself.

    A warm start: linear heads read the motion off the expression features and off the refined motion tokens, and the
    looks off the image tokens and off the identity; the head-pose encoder gives its angles in degrees.

    The head on the expression features is what lets these learn: the refiner normalises them, and through that alone
    the quickest way down is a constant, from which there is no way back. Nor does a head see degrees, beside which the
    other channels of a token are small.
    """

    names: tuple[str, ...] = ("vision", "token_projection", "expression", "head_pose", "refiner", IDENTITY)

    def __init__(self, config: TrainingConfig) -> None:
        super().__init__()
        self.config = config
        model = config.model
        names = [name for name in self.names if name != IDENTITY or config.data.identity == "network"]
        self.networks = nn.ModuleDict({name: _trainable(name, config) for name in names})
        width, num_motion = model.unet.cross_attention_dim, len(MOTION_PARAMETERS)
        self.heads = nn.ModuleDict(
            {
                "expression": nn.Linear(model.expression.out_features, num_motion),
                "motion": nn.Linear(model.refiner.num_memories * model.refiner.out_features, num_motion),
                "looks": nn.Linear(model.vision.num_image_tokens * width, len(IDENTITY_PARAMETERS)),
                "identity": nn.Linear(IdentityNetwork().out.out_features, len(IDENTITY_PARAMETERS)),
            }
        )

    def forward(self, clip: Clip, num_done: int) -> Losses:
        """Losses of the auxiliary heads alone."""
        _, _, losses = self.encode(clip)
        return {"total": sum(losses.values(), torch.zeros(())), **{k: v.detach() for k, v in losses.items()}}

    def encode(self, clip: Clip) -> tuple[torch.Tensor, torch.Tensor, Losses]:
        """Image tokens (B, N, C), motion tokens (B, T, N, C) and the auxiliary losses."""
        id_embedding = clip.id_embedding
        if IDENTITY in self.networks:
            id_embedding = self.network(IDENTITY)(clip.identity_crop.permute(0, 3, 1, 2))
        vision = cast("VisionEncoder", self.network("vision"))
        projection = cast("TokenProjection", self.network("token_projection"))
        image_tokens = projection(vision(clip.image, id_embedding))

        B, T = clip.motion_crops.shape[:2]
        expression = cast("ExpressionEncoder", self.network("expression"))
        head_pose = cast("HeadPoseEncoder", self.network("head_pose"))
        refiner = cast("MotionRefiner", self.network("refiner"))
        head, face = (level.repeat_interleave(T) for level in clip.intensity.unbind(-1))
        features = expression(clip.motion_crops.flatten(0, 1).float() / 255)
        refined = refiner(features, head, face)
        # Release: the head-pose encoder is fed x·2 + 1.
        rotation, translation = head_pose(clip.head_pose_crops.flatten(0, 1).float() / 255 * 2 + 1)
        motion_tokens = assemble_tokens(
            refined, rotation, translation, self.config.model.head_pose.translation_scale
        ).unflatten(0, (B, T))

        if self.config.data.videos:
            return image_tokens, motion_tokens, {}  # nobody knows the truth
        looks, motion = standard_looks(clip.looks), clip.motion.flatten(0, 1)
        # Yaw, pitch, roll and translation lead the parameters; the ranges of angles are symmetric.
        angles = motion[:, :3] * rotation.new_tensor([35.0, 20.0, 20.0])
        losses = {
            "expression": (self.heads["expression"](features) - motion).square().mean(),
            "motion": (self.heads["motion"](refined.flatten(1)) - motion).square().mean(),
            "rotation": ((rotation - angles) / 20).square().mean(),
            "translation": (translation[:, :2] - motion[:, 3:5]).square().mean(),
            "looks": (self.heads["looks"](image_tokens.flatten(1)) - looks).square().mean(),
            "identity": (self.heads["identity"](id_embedding * 16) - looks).square().mean(),
        }
        return image_tokens, motion_tokens, losses


class JointStage(MotionStage):
    """The paper's training: the UNet and what steers it, by the diffusion loss."""

    names = (*MotionStage.names, "unet", "pose_guider", "vae")

    def __init__(self, config: TrainingConfig) -> None:
        super().__init__(config)
        for attention in cast("UNet", self.network("unet")).cross_attentions:
            processor = attention.processor
            for linear in (*processor.to_k_ip, *processor.to_v_ip):
                # Degrees are much larger than the other channels of a motion token.
                cast("nn.Linear", linear).weight.data[:, -6:] *= 0.03
            for linear in processor.to_v_ip:
                # Loud at random, it would teach the tokens to be quiet before it has learned to read them.
                cast("nn.Linear", linear).weight.data *= 0.1

    def forward(self, clip: Clip, num_done: int) -> Losses:
        """Diffusion loss, and the auxiliary losses while they have weight."""
        config = self.config.loss
        image_tokens, motion_tokens, losses = self.encode(clip)
        target, image_latents = self._latents(clip)
        # A clip is dear to draw and to encode, and says something else at each noise level.
        target, image_latents, image_tokens, motion_tokens, pose_images = (
            x.repeat(config.noise_levels, *[1] * (x.ndim - 1))
            for x in (target, image_latents, image_tokens, motion_tokens, clip.pose_images)
        )
        seeds = torch.cat([clip.seed + level for level in range(config.noise_levels)])
        noise = draw_noise(
            seeds,
            tuple(target.shape[1:]),
            config.sigma_mean,
            config.sigma_std,
            config.drop_all,
            config.drop_motion,
        )
        v = self.predict(target, noise, image_latents, image_tokens, motion_tokens, pose_images)
        diffusion = v_loss(v, target, noise, self._emphasis(clip)).mean()
        weight = config.auxiliary_weight * max(0.0, 1 - num_done / config.auxiliary_steps)
        total = diffusion + weight * sum(losses.values(), torch.zeros((), device=diffusion.device))
        return {"total": total, "diffusion": diffusion.detach(), **{k: v.detach() for k, v in losses.items()}}

    def _emphasis(self, clip: Clip) -> torch.Tensor | None:
        """Tell how much the error of each place of the latents counts, (B * noise levels, T, h, w)."""
        loss, emphasis = self.config.loss, None
        for weight, where in ((loss.feature_weight, clip.features), (loss.face_weight, clip.face)):
            if weight:
                if not where.numel():
                    raise ConfigurationError(
                        "loss.feature_weight and loss.face_weight need clips that know where these are; those in "
                        f"{self.config.data.encoded} are older: remove the folder."
                    )
                emphasis = (1 if emphasis is None else emphasis) + weight * where
        return None if emphasis is None else emphasis.repeat(loss.noise_levels, 1, 1, 1)

    @torch.no_grad()
    def encode_pictures(self, pictures: torch.Tensor) -> torch.Tensor:
        """(n, 3, S, S) uint8 to latents (n, C, h, w) float32, not scaled."""
        vae = self.network("vae")
        pixels = pictures.to(vae.encoder.conv_in.weight.device).float() / 127.5 - 1
        return vae.encode(pixels).latent_dist.mode().float()

    def _latents(self, clip: Clip) -> tuple[torch.Tensor, torch.Tensor]:
        """The target's latents, scaled, (B, T, C, h, w), and the portrait's, not scaled, (B, C, h, w)."""
        scale = self.network("vae").config.scaling_factor
        if clip.target_latents.numel():
            return clip.target_latents * scale, clip.reference_latents
        B, T = clip.target.shape[:2]
        latents = self.encode_pictures(torch.cat([clip.target.flatten(0, 1), clip.reference]))
        return latents[: B * T].unflatten(0, (B, T)) * scale, latents[B * T :]

    def predict(
        self,
        latents: torch.Tensor,
        noise: Noise,
        image_latents: torch.Tensor,
        image_tokens: torch.Tensor,
        motion_tokens: torch.Tensor,
        pose_images: torch.Tensor,
    ) -> torch.Tensor:
        """Predict v as inference does, but for each clip at its own noise level and under its own conditions.

        Args:
            latents: (B, T, 4, h, w), scaled, without noise.
            noise: Of each clip.
            image_latents: (B, 4, h, w), not scaled.
            image_tokens: (B, N, C).
            motion_tokens: (B, T, N, C).
            pose_images: (B, 1 or T, 3, H, W) uint8; one image of a clip is black.

        Returns:
            (B, T, 4, h, w).
        """
        unet = cast("UNet", self.network("unet"))
        # The UNet takes rows sorted by what they are told.
        order = sorted(range(len(latents)), key=lambda i: noise.branches[i])
        branches = [noise.branches[i] for i in order]
        num_image = sum(branch >= Branch.IMAGE for branch in branches)
        num_motion = sum(branch >= Branch.MOTION for branch in branches)
        is_told = torch.tensor([branch >= Branch.IMAGE for branch in branches], device=latents.device)
        rows = torch.tensor(order, device=latents.device)
        image = image_latents[rows] * is_told.view(-1, 1, 1, 1)
        x = noisy_input(latents, noise)[rows]
        sample = torch.cat([x, image[:, None].expand_as(x)], dim=2)
        n = len(order)
        context = unet.project_context(
            image_tokens[rows[n - num_image :], None], motion_tokens[rows[n - num_motion :]], num_image, num_motion
        )
        timestep = 0.25 * torch.log(noise.sigma.to(latents))[rows]
        poses = pose_images[rows] if pose_images.shape[1] > 1 else pose_images[:1]  # black is the same in all clips
        pose = self.network("pose_guider")(poses.flatten(0, 1).to(latents) / 255).unflatten(0, poses.shape[:2])
        # SVD's micro-conditions; the release keeps them at 12.5 frames a second, no motion bucket, no noise.
        added = latents.new_tensor([[12.5, 0.0, 0.0]])
        v = unet(sample, timestep, added, context, pose)
        back = torch.empty_like(rows)
        back[rows] = torch.arange(n, device=rows.device)
        return v[back]


class ReaderStage(Stage):
    """What reads motion, looks and landmarks off pictures of the drawn world, against the truth."""

    def __init__(self, config: TrainingConfig) -> None:
        super().__init__()
        self.networks = nn.ModuleDict({READER: Reader()})

    def forward(self, batch: Pictures, num_done: int) -> Losses:
        """Losses of each kind; where somebody looks counts as far as the eyes are open."""
        reading = self.network(READER)(batch.pictures.flatten(0, 1).float() / 127.5 - 1)
        motion = batch.motion.flatten(0, 1)
        closed = (motion[:, [MOTION_PARAMETERS.index("blink")]] + 1) / 2
        weight = torch.ones_like(motion)
        gaze = [MOTION_PARAMETERS.index(name) for name in ("gaze_x", "gaze_y")]
        weight[:, gaze] = (1 - closed).expand(-1, len(gaze))
        looks = standard_looks(batch.looks).repeat_interleave(batch.pictures.shape[1], 0)
        losses = {
            "motion": 3 * (weight * (reading.motion - motion).square()).mean(),
            # Most of what is left of it are lengths that one picture hardly shows.
            "looks": 0.25 * (reading.looks - looks).square().mean(),
            # In eighths of the side, where errors are of the order of the others.
            "landmarks": (8 * (reading.landmarks - batch.landmarks.flatten(0, 1))).abs().mean(),
        }
        return {"total": sum(losses.values(), torch.zeros(())), **{k: v.detach() for k, v in losses.items()}}


STAGES: dict[str, type[Stage]] = {
    "vae": VAEStage,
    "motion": MotionStage,
    "joint": JointStage,
    "reader": ReaderStage,
}


def choose_trainable(stage: nn.Module, patterns: Iterable[str]) -> list[str]:
    """Let only those parameters learn that a pattern names; the stage's own heads always do.

    Returns:
        Names of the parameters that learn.

    Raises:
        ConfigurationError: If a pattern fits nothing.
    """
    patterns = list(patterns)
    used: set[str] = set()
    chosen = []
    for name, parameter in stage.named_parameters():
        short = name.removeprefix("networks.")
        fitting = {p for p in patterns if fnmatchcase(short, p) or fnmatchcase(short, f"{p}.*")}
        used |= fitting
        parameter.requires_grad_(bool(fitting) or name.startswith("heads."))
        if parameter.requires_grad:
            chosen.append(name)
    unused = sorted(set(patterns) - used)
    if unused:
        raise ConfigurationError(f"trainable names {', '.join(unused)}, which this stage does not have; remove it.")
    return chosen


def _trainable(name: str, config: TrainingConfig) -> nn.Module:
    network = IdentityNetwork() if name == IDENTITY else build(name, config.model, attention=training_attention)
    return nn.Module.train(network, name != "vae" or config.stage == "vae").requires_grad_(True)


def training_attention(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, num_heads: int) -> torch.Tensor:
    """PyTorch's attention, but for bfloat16 on the CPU, where its backward pass is up to ten times slower."""
    if q.device.type != "cpu" or q.dtype != torch.bfloat16:
        return scaled_dot_product(q, k, v, num_heads)
    q, k, v = (x.unflatten(-1, (num_heads, -1)).transpose(-2, -3) for x in (q, k, v))
    weights = torch.softmax((q * q.shape[-1] ** -0.5) @ k.transpose(-1, -2), dim=-1)
    return (weights @ v).transpose(-2, -3).flatten(-2)


def _edges(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    return x[..., 1:, :] - x[..., :-1, :], x[..., :, 1:] - x[..., :, :-1]
