"""One prompt with every node of the pack, small enough to run in a second or two."""

from __future__ import annotations

import json
from typing import Any

PREFIX = "HunyuanPortrait"
NUM_FRAMES, SIZE, PADDING = 5, 64, 1
GUIDANCE = {
    "image_guidance": 2.0,
    "image_guidance_end": 2.0,
    "motion_guidance": 2.0,
    "motion_guidance_end": 2.0,
    "motion_scale": 1.0,
    "context_window": 4,
    "context_overlap": 1,
    "context_shift": 1,
    "padding": PADDING,
    "fps_condition": 12.5,
    "motion_bucket_id": 0.0,
    "noise_aug_strength": 0.0,
    "memory_mode": "auto",
}
VIDEO_SOCKETS = {
    "model": ["loaders", 0],
    "appearance": ["appearance", 0],
    "motion": ["motion", 0],
    "pose_guider": ["loaders", 5],
    "pose_images": ["pose", 0],
}
WIDE = {"feather": 0.1, "colour_match": 0.0, "portrait": ["portrait", 0], "square": ["appearance", 1]}
WIDE |= {"mask": ["mask", 0], "background": ["driver", 0]}


def node(class_type: str, **inputs: Any) -> dict[str, Any]:
    """A node of an API-format prompt; a link is ``["id", output]``."""
    return {"class_type": class_type, "inputs": inputs}


def tensor(*shape: int, fill: str = "ramp") -> dict[str, Any]:
    """A node that hands over a tensor as whatever is wanted."""
    return node("StrangerTensor", shape=" ".join(map(str, shape)), fill=fill)


def latent(*shape: int, fill: str = "ramp") -> dict[str, Any]:
    """A node that hands over a LATENT of such samples."""
    return node("StrangerLatent", shape=" ".join(map(str, shape)), fill=fill)


def value(plain: Any) -> dict[str, Any]:
    """A node that hands over a plain value as whatever is wanted."""
    return node("StrangerJson", text=json.dumps(plain))


def thing(kind: str) -> dict[str, Any]:
    """A node that hands over some object as whatever is wanted."""
    return node("StrangerObject", kind=kind)


def faces(frames: str) -> dict[str, Any]:
    """Detect Faces with a box by hand."""
    return node(
        f"{PREFIX}DetectFaces",
        frames=[frames, 0],
        choose="largest",
        face_index=0,
        position_x=0,
        position_y=0,
        smoothing=1,
        box_x=16,
        box_y=12,
        box_width=32,
        box_height=36,
    )


def keypoints(num_frames: int, *, size: int = SIZE, people: int = 1) -> list[dict[str, Any]]:
    """A POSE_KEYPOINT: a body that stands in the middle."""
    body = [[32 + 2 * (i % 5), 8 + 3 * i, 1] for i in range(18)]
    person = {"pose_keypoints_2d": [number for point in body for number in point]}
    return [{"people": [person] * people, "canvas_height": size, "canvas_width": size}] * num_frames


def small_graph() -> dict[str, dict[str, Any]]:
    """Every node once or more, all sockets connected, by names that say what they make."""
    return {
        **_loaders(),
        "loaders": node(f"{PREFIX}LoadAll", weights="released", weight_dtype="default", download_missing=False),
        "pose_detector": node(
            f"{PREFIX}LoadPoseDetector",
            detector_name="none (the picture shows one person)",
            pose_name="dw-ll_ucoco_384.onnx",
        ),
        "drawn": node(f"{PREFIX}DrawnExample", seed=0, num_frames=NUM_FRAMES, size=SIZE),
        "portrait": tensor(1, SIZE, SIZE, 3),
        "driver": tensor(NUM_FRAMES, SIZE, SIZE, 3),
        "video": node("CreateVideo", images=["driver", 0], fps=25.0, bit_depth=8),
        "mask": tensor(1, SIZE, SIZE, fill="1"),
        "blind": thing("finds nothing"),
        "keypoints": value(keypoints(NUM_FRAMES)),
        "own_keypoints": value(keypoints(1)),
        "portrait_face": faces("portrait"),
        "driver_face": faces("driver"),
        "appearance": node(
            f"{PREFIX}EncodeAppearance",
            image_encoder=["loaders", 2],
            vae=["loaders", 1],
            portrait=["portrait", 0],
            track=["portrait_face", 0],
            size=SIZE,
            identity_strength=1.0,
            noise_aug_strength=0.0,
            seed=1,
            arcface=["loaders", 3],
        ),
        "motion": _encode_motion("driver"),
        "portrait_motion": _encode_motion("portrait"),
        "edited": node(
            f"{PREFIX}EditMotion",
            motion=["motion", 0],
            portrait_motion=["portrait_motion", 0],
            expression_strength=1.0,
            rotation_strength=1.0,
            translation_strength=1.0,
            keep="all",
            relative=True,
            expression_smoothing=1,
            pose_smoothing=1,
            first_frame=0,
            num_frames=0,
            direction="forward",
            length=0,
        ),
        "combined": node(
            f"{PREFIX}CombineMotions",
            motion_a=["motion", 0],
            motion_b=["edited", 0],
            mode="mix",
            blend_frames=0,
            expression_weight=0.5,
            pose_weight=0.5,
            fit="error",
        ),
        "saved_motion": node(f"{PREFIX}SaveMotion", motion=["motion", 0], filename_prefix="hunyuan_portrait/motion"),
        "pose": node(
            f"{PREFIX}AlignPose",
            crop=["appearance", 2],
            frames=["driver", 0],
            pose_detector=["pose_detector", 0],
            cross_reenactment=True,
        ),
        "given_pose": node(
            f"{PREFIX}AlignPose",
            crop=["appearance", 2],
            portrait_keypoints=["own_keypoints", 0],
            driving_keypoints=["keypoints", 0],
            cross_reenactment=True,
        ),
        "speed": node(f"{PREFIX}Speed", preset="none"),
        "sampler": node(
            f"{PREFIX}Sampler", **VIDEO_SOCKETS, **GUIDANCE, seed=1, steps=2, strength=1.0, speed=["speed", 0]
        ),
        "guider": node(f"{PREFIX}Guider", **VIDEO_SOCKETS, **GUIDANCE, speed=["speed", 0]),
        "sigmas": node(f"{PREFIX}Sigmas", steps=2, strength=1.0),
        "noise": node("RandomNoise", noise_seed=1),
        "euler": node("KSamplerSelect", sampler_name="euler"),
        "any_sampler": node(
            "SamplerCustomAdvanced",
            noise=["noise", 0],
            guider=["guider", 0],
            sampler=["euler", 0],
            sigmas=["sigmas", 0],
            latent_image=["guider", 1],
        ),
        "decoded": node(f"{PREFIX}Decode", vae=["loaders", 1], samples=["sampler", 0], chunk_size=4),
        "pasted": node(f"{PREFIX}PasteBack", frames=["decoded", 0], **WIDE),
        "saved_video": node(
            f"{PREFIX}SaveVideo",
            vae=["loaders", 1],
            samples=["sampler", 0],
            driving=["video", 0],
            filename_prefix="video/small",
            fps=0.0,
            crf=17,
            format="mp4",
            chunk_size=4,
            **WIDE,
        ),
        "evaluated": node(
            f"{PREFIX}Evaluate",
            reference=["driver", 0],
            result=["decoded", 0],
            portrait=["portrait", 0],
            arcface=["loaders", 3],
            motion_encoder=["loaders", 4],
            face_detector=["blind", 0],
        ),
    }


def prompt_for(target: str, graph: dict[str, dict[str, Any]] | None = None, output: int = 0) -> dict[str, Any]:
    """A prompt whose run ends with one node.

    The others stay in it, so that ComfyUI keeps their results from run to run.

    Args:
        output: Which of its outputs is shown as text, by the node "shown"; nodes that save need none.
    """
    graph = graph or small_graph()
    saves = {name for name, made in graph.items() if made["class_type"] in SAVING}
    prompt = {name: made for name, made in graph.items() if name not in saves - {target}}
    if target not in saves:
        prompt["shown"] = node("PreviewAny", source=[target, output])
    return prompt


def _loaders() -> dict[str, dict[str, Any]]:
    """The loaders of the parts, of which no other node needs any."""
    return {
        "unet": node(f"{PREFIX}LoadUNet", unet_name="unet.pth", weight_dtype="default"),
        "vae": node(f"{PREFIX}LoadVAE", vae_name="svd_xt_vae.safetensors", dtype="default"),
        "image_encoder": node(
            f"{PREFIX}LoadImageEncoder",
            vision_name="dino.pth",
            token_projection_name="image_proj.pth",  # noqa: S106 - a file
            dtype="default",
        ),
        "arcface": node(f"{PREFIX}LoadArcFace", arcface_name="arcface.onnx"),
        "motion_encoder": node(
            f"{PREFIX}LoadMotionEncoder",
            expression_name="expression.pth",
            head_pose_name="headpose.pth",
            refiner_name="motion_proj.pth",
        ),
        "pose_guider": node(f"{PREFIX}LoadPoseGuider", pose_guider_name="pose_guider.pth", dtype="default"),
        "face_detector": node(f"{PREFIX}LoadFaceDetector", detector="mediapipe", model_name="auto"),
        "motion_file": node(f"{PREFIX}LoadMotion", motion_file="motion.safetensors"),
    }


SAVING = (f"{PREFIX}SaveMotion", f"{PREFIX}SaveVideo", "StrangerMemory")


def _encode_motion(frames: str) -> dict[str, Any]:
    return node(
        f"{PREFIX}EncodeMotion",
        motion_encoder=["loaders", 4],
        frames=[frames, 0],
        track=[f"{frames}_face", 0],
        head_intensity=-1,
        expression_intensity=-1,
    )
