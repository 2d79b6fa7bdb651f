"""The eight workflows."""

from __future__ import annotations

from typing import Any

from hunyuan_core.toy import TOY_SAMPLING, TOY_SIZE

from . import notes, stages
from .graph import MUTED, Graph
from .notes import DRIVING, PORTRAIT, note
from .stages import ANIMATE, BLUE, ENCODE, FACES, GOLD, GREEN, GREY, RED, SAVE, VIOLET

SEED = 72580  # Release


def portrait_basic() -> Graph:
    """The shortest way from a portrait and a video to a video with its sound."""
    graph = Graph(
        "portrait_basic",
        note(
            "Portrait basic",
            "The portrait moves and speaks like the person in the driving video, whose sound and frame rate are kept. "
            "All settings are the released ones.",
            models=notes.all_at_once(),
            change="- The two files.\n"
            "- *Sampler* `steps`: 15 saves 40 % of the time and changes the picture a little.\n"
            "- *Sampler* `seed`: another take.\n"
            "- A wrong face, or jitter: `choose` and `smoothing` in *Detect Faces*.",
        ),
    )
    loaded, portrait, driving = stages.load_three(graph)
    appearance, motion = stages.encode(graph, loaded, portrait, driving)
    graph.column(ANIMATE, VIOLET)
    samples = stages.add_sampler(graph, loaded, appearance, motion)["samples"]
    frames = graph.node("HunyuanPortraitDecode", vae=loaded["vae"], samples=samples)["frames"]
    graph.column(SAVE, RED)
    stages.save(graph, frames, driving, "video/portrait_basic")
    return graph


def toy_portrait() -> Graph:
    """The model that the pack carries, on drawings that a node makes."""
    graph = Graph(
        "toy_portrait",
        note(
            "Toy portrait",
            "Runs as it is, with nothing to download: *Drawn Example* draws a portrait and a driver, the small model "
            "that the pack carries animates the one by the other, and the true answer stands beside it (driver, "
            "result, truth). It knows drawn faces of this kind only, and is no measure of the released model.",
            start="Nothing. Press Run.",
            models=notes.CARRIED,
            change="- `seed` in *Drawn Example*: other people, another motion.\n"
            "- *Edit Motion* between *Motion Features* and *Sampler*: strength of expression and head rotation.\n"
            "- The steps of the *Sampler*. Its windows of 5 frames, no guidance and no padding are what the small "
            "model was trained on.\n"
            "- For photographs and the released model take the workflow *portrait_basic*.",
            cost="Hardly any memory, and well under a minute on a CPU.",
            files=(),
        ),
    )
    graph.column("1 · Load and draw", BLUE)
    loaded = graph.node("HunyuanPortraitLoadAll", weights="toy")
    drawn = graph.node("HunyuanPortraitDrawnExample")
    graph.column(FACES, GREEN)
    face = stages.add_faces(graph, drawn["portrait"], loaded["face_detector"], "Face in the portrait")
    track = stages.add_faces(graph, drawn["driver"], loaded["face_detector"], "Face of the driver")
    graph.column(ENCODE, GOLD)
    appearance = graph.node(
        "HunyuanPortraitEncodeAppearance",
        image_encoder=loaded["image_encoder"],
        vae=loaded["vae"],
        arcface=loaded["arcface"],
        portrait=drawn["portrait"],
        track=face["track"],
        size=TOY_SIZE,
    )
    motion = graph.node(
        "HunyuanPortraitEncodeMotion",
        motion_encoder=loaded["motion_encoder"],
        frames=drawn["driver"],
        track=track["track"],
    )
    graph.column(ANIMATE, VIOLET)
    config = TOY_SAMPLING
    sampled = stages.add_sampler(
        graph,
        loaded,
        appearance,
        motion,
        steps=config.num_inference_steps,
        image_guidance=config.image_guidance_scale[0],
        motion_guidance=config.motion_guidance_scale[0],
        image_guidance_end=config.image_guidance_scale[1],
        motion_guidance_end=config.motion_guidance_scale[1],
        context_window=config.context_window,
        context_overlap=config.context_overlap,
        context_shift=config.context_shift,
        padding=config.num_padding_frames,
    )
    frames = graph.node(
        "HunyuanPortraitDecode", vae=loaded["vae"], samples=sampled["samples"], chunk_size=config.decode_chunk_size
    )["frames"]
    measured = graph.node("HunyuanPortraitEvaluate", reference=drawn["truth"], result=frames)
    graph.node("PreviewAny", "Against the truth", source=measured["text"])
    graph.column(SAVE, RED)
    pair = graph.node("ImageStitch", "Driver and result", image1=drawn["driver"], image2=frames)
    three = graph.node("ImageStitch", "Driver, result, truth", image1=pair["IMAGE"], image2=drawn["truth"])
    video = graph.node("CreateVideo", images=three["IMAGE"], fps=drawn["fps"])
    graph.node("SaveVideo", video=video["VIDEO"], filename_prefix="video/toy_portrait")
    return graph


def full_control() -> Graph:
    """Every loader, edited motion, a skeleton, the whole picture, and numbers."""
    loaders = (
        "HunyuanPortraitLoadUNet",
        "HunyuanPortraitLoadVAE",
        "HunyuanPortraitLoadImageEncoder",
        "HunyuanPortraitLoadArcFace",
        "HunyuanPortraitLoadMotionEncoder",
        "HunyuanPortraitLoadPoseGuider",
        "HunyuanPortraitLoadFaceDetector",
        "HunyuanPortraitLoadPoseDetector",
    )
    graph = Graph(
        "full_control",
        note(
            "Full control",
            "Every part of the model in a node of its own. The motion can be edited, a skeleton gives the pose, the "
            "animated face goes back into the whole picture, and the result is measured.",
            models=notes.one_by_one(
                notes.ALL_FILES, "ArcFace and the skeleton need `onnxruntime`; the plot needs `matplotlib`."
            ),
            change="- *Edit Motion*: strength of expression and head rotation, smoothing, loops. As it comes, it "
            "changes nothing.\n"
            "- *Combine Motions* blends the motion as filmed (a, weight 0) with the edited one (b, weight 1); or "
            "connect the motion of another driver to b.\n"
            "- The skeleton brings the driver's position and head swing, and needs two more files. The released "
            "program feeds black instead: for that select *Align Pose* and mute it (Ctrl+M).\n"
            "- *Paste Back*: `colour_match` against a visible seam.\n"
            "- *Evaluate*: identity, motion and head pose say something for any pair; PSNR, SSIM and landmark "
            "distance only where portrait and driver are the same picture (a self-test). If you change `size` in "
            "*Appearance*, change width and height of *Driver in the size of the result* too.",
            cost=f"{notes.MEMORY} {notes.TIME} *Evaluate* adds seconds.",
            files=notes.ALL_FILES,
        ),
    )
    graph.column("Models", GREY)
    unet, vae, image_encoder, arcface, motion_encoder, pose_guider, face_detector, pose_detector = (
        stages.add_loader(graph, loader) for loader in loaders
    )
    graph.column("1 · Your files", BLUE)
    portrait = graph.node("LoadImage", "Portrait", image=PORTRAIT)
    driving = graph.node("LoadVideo", "Driving video", file=DRIVING)

    graph.column("2 · Find the faces", GREEN)
    detector = face_detector["face_detector"]
    face = stages.add_faces(graph, portrait["IMAGE"], detector, "Face in the portrait")
    track = stages.add_faces(graph, driving["VIDEO"], detector, "Face in the driving video")

    graph.column("3 · Portrait", GOLD)
    appearance = graph.node(
        "HunyuanPortraitEncodeAppearance",
        image_encoder=image_encoder["image_encoder"],
        vae=vae["vae"],
        portrait=portrait["IMAGE"],
        track=face["track"],
        arcface=arcface["arcface"],
    )
    graph.group("4 · Pose by skeleton", GOLD)
    pose = graph.node(
        "HunyuanPortraitAlignPose",
        crop=appearance["crop"],
        frames=driving["VIDEO"],
        pose_detector=pose_detector["pose_detector"],
    )
    graph.column("5 · Motion", GOLD)
    filmed = graph.node(
        "HunyuanPortraitEncodeMotion",
        motion_encoder=motion_encoder["motion_encoder"],
        frames=driving["VIDEO"],
        track=track["track"],
    )
    edited = graph.node("HunyuanPortraitEditMotion", motion=filmed["motion"])
    motion = graph.node(
        "HunyuanPortraitCombineMotions",
        "Combine Motions: as filmed (a), edited (b)",
        motion_a=filmed["motion"],
        motion_b=edited["motion"],
        mode="mix",
        expression_weight=1.0,
        pose_weight=1.0,
        fit="loop",
    )
    graph.column("6 · Animate", VIOLET)
    sampled = graph.node(
        "HunyuanPortraitSampler",
        model=unet["model"],
        appearance=appearance["appearance"],
        motion=motion["motion"],
        pose_guider=pose_guider["pose_guider"],
        pose_images=pose["pose_images"],
    )
    graph.node("PreviewAny", "What the sampler did", source=sampled["report"])

    graph.column("7 · Whole picture and video", RED)
    frames = graph.node("HunyuanPortraitDecode", vae=vae["vae"], samples=sampled["samples"])
    whole = graph.node(
        "HunyuanPortraitPasteBack",
        frames=frames["frames"],
        portrait=portrait["IMAGE"],
        square=appearance["square"],
    )
    parts = stages.save(graph, whole["frames"], driving, "video/full_control")

    graph.column("8 · Measure", GREY)
    reference = graph.node(
        "ImageScale",
        "Driver in the size of the result",
        image=parts["images"],
        upscale_method="lanczos",
        width=512,
        height=512,
        crop="center",
    )
    measured = graph.node(
        "HunyuanPortraitEvaluate",
        reference=reference["IMAGE"],
        result=frames["frames"],
        portrait=portrait["IMAGE"],
        face_detector=detector,
        arcface=arcface["arcface"],
        motion_encoder=motion_encoder["motion_encoder"],
    )
    graph.node("PreviewAny", "Numbers", source=measured["text"])
    return graph


def long_video() -> Graph:
    """A driver of any length, never held in memory."""
    graph = Graph(
        "long_video",
        note(
            "Long video",
            "For drivers of minutes. The driving video is read while it is used, and the result goes straight to the "
            "file, pasted back into the whole portrait, with the driver's exact frame times and its sound. Only the "
            "latents grow with the length: 64 KiB for each frame at 512×512.",
            models=notes.all_at_once(),
            change="- Try a piece first: put *Video Slice* behind *Load Video*.\n"
            "- *Save Long Video*: disconnect `portrait` and `square` to keep the animated square alone; `crf` is the "
            "quality.\n"
            "- *Speed*: preset fast computes 3 times less than the exact run, turbo 5 times; both change the picture.\n"
            "- *Detect Faces*: `smoothing` 5 if the crop jitters.\n"
            "- Cancel takes effect within one call of the network.",
            cost=f"{notes.MEMORY} The length does not change that. {notes.TIME}",
        ),
    )
    loaded, portrait, driving = stages.load_three(graph)
    appearance, motion = stages.encode(graph, loaded, portrait, driving)
    graph.column(ANIMATE, VIOLET)
    speed = graph.node("HunyuanPortraitSpeed")
    sampled = stages.add_sampler(graph, loaded, appearance, motion, speed=speed["speed"])
    graph.column(SAVE, RED)
    stages.save_long(graph, loaded, sampled, driving, portrait, appearance, filename_prefix="video/long_video")
    return graph


def low_vram() -> Graph:
    """The least memory that gives the same picture, but for the 8-bit weights."""
    graph = Graph(
        "low_vram",
        note(
            "Low VRAM",
            "For cards with 4 to 8 GB. Three things differ from *portrait basic*: the UNet is stored in 8 bits "
            "(`weight_dtype` fp8_e4m3fn), the *Sampler* computes the least at a time (`memory_mode` smallest), and "
            "4 frames are decoded together instead of 8. The last two cost time; the first and the last change the "
            "picture a little.",
            models=notes.all_at_once(),
            change="- Enough memory left? `weight_dtype` default (16 bits) first, then `memory_mode` auto.\n"
            "- Still too much: `size` 384 in *Appearance* (about half of the memory to compute with, and a softer "
            "picture), then `chunk_size` 2.\n"
            "- GTX 16xx, black picture: `weight_dtype` fp32, and let ComfyUI keep a part of it in main memory.",
            cost="Counted, not measured on cards: 2.9 GiB while sampling, of which 1.6 GB are weights, and 2 GiB while "
            "decoding 4 frames. Where even that is not free, ComfyUI keeps a part of the UNet in main memory. Slower "
            "than *portrait basic*, whose time is estimated as about 1 second for each frame on an RTX 4090; the "
            "progress bar is exact after the first step.",
        ),
    )
    loaded, portrait, driving = stages.load_three(graph, weight_dtype="fp8_e4m3fn")
    appearance, motion = stages.encode(graph, loaded, portrait, driving)
    graph.column(ANIMATE, VIOLET)
    sampled = stages.add_sampler(graph, loaded, appearance, motion, memory_mode="smallest")
    graph.column(SAVE, RED)
    stages.save_long(
        graph, loaded, sampled, driving, portrait, appearance, filename_prefix="video/low_vram", chunk_size=4
    )
    return graph


def any_sampler_guider() -> Graph:
    """ComfyUI's own samplers and noise levels on the model."""
    loaders = (
        "HunyuanPortraitLoadUNet",
        "HunyuanPortraitLoadVAE",
        "HunyuanPortraitLoadImageEncoder",
        "HunyuanPortraitLoadArcFace",
        "HunyuanPortraitLoadMotionEncoder",
        "HunyuanPortraitLoadPoseGuider",
        "HunyuanPortraitLoadFaceDetector",
    )
    graph = Graph(
        "any_sampler_guider",
        note(
            "Any sampler (guider)",
            "The *Guider* holds guidance and windows, so ComfyUI's *SamplerCustomAdvanced* can drive the model with "
            "any sampler and any noise levels. As it comes (euler, *HunyuanPortrait Sigmas*, the same seed) it gives "
            "what *HunyuanPortrait Sampler* gives.",
            models=notes.one_by_one(notes.NEEDED_FILES, "ArcFace needs `onnxruntime`."),
            change="- Faster: connect *AlignYourSteps* (SVD, 10 levels) to `sigmas` in place of *HunyuanPortrait "
            "Sigmas*; 10 steps instead of 25.\n"
            "- *KSamplerSelect*: dpmpp_2m, heun, … Samplers that add noise (ancestral, sde) may flicker.\n"
            "- LoRA, *TorchCompileModel* and attention nodes go between *Load HunyuanPortrait UNet* and the *Guider*.",
        ),
    )
    graph.column("Models", GREY)
    unet, vae, image_encoder, arcface, motion_encoder, pose_guider, face_detector = (
        stages.add_loader(graph, loader) for loader in loaders
    )
    parts = {
        **{"vae": vae["vae"], "image_encoder": image_encoder["image_encoder"], "arcface": arcface["arcface"]},
        **{"motion_encoder": motion_encoder["motion_encoder"], "face_detector": face_detector["face_detector"]},
    }
    graph.column("1 · Your files", BLUE)
    portrait = graph.node("LoadImage", "Portrait", image=PORTRAIT)
    driving = graph.node("LoadVideo", "Driving video", file=DRIVING)
    appearance, motion = stages.encode(graph, parts, portrait, driving)
    graph.column("4 · Guidance", VIOLET)
    guider = graph.node(
        "HunyuanPortraitGuider",
        model=unet["model"],
        appearance=appearance["appearance"],
        motion=motion["motion"],
        pose_guider=pose_guider["pose_guider"],
    )
    graph.column("5 · Noise, sampler, levels", VIOLET)
    noise = graph.node("RandomNoise", noise_seed=SEED, control_after_generate="fixed")
    sampler = graph.node("KSamplerSelect", sampler_name="euler")
    sigmas = graph.node("HunyuanPortraitSigmas")
    graph.node("AlignYourStepsScheduler", "Instead, faster: connect to sigmas", model_type="SVD", steps=10, denoise=1.0)
    sampled = graph.node(
        "SamplerCustomAdvanced",
        noise=noise["NOISE"],
        guider=guider["guider"],
        sampler=sampler["SAMPLER"],
        sigmas=sigmas["sigmas"],
        latent_image=guider["latent_image"],
    )
    frames = graph.node("HunyuanPortraitDecode", vae=parts["vae"], samples=sampled["output"])["frames"]
    graph.column("6 · Video", RED)
    stages.save(graph, frames, driving, "video/any_sampler")
    return graph


def one_motion_many_portraits() -> Graph:
    """A motion encoded once, used for two portraits, and kept for others."""
    portraits = [f"portrait_{number}.png" for number in (1, 2, 3)]
    graph = Graph(
        "one_motion_many_portraits",
        note(
            "One motion, many portraits",
            "The motion does not depend on the portrait: it is encoded once, animates two portraits, and is saved. "
            "The row below, switched off, needs the saved file only, and no driving video.",
            start=f"- **Portraits** 1 and 2: pictures with one clear face (`{portraits[0]}` and `{portraits[1]}` are "
            f"placeholders).\n"
            f"- **Driving video** (`{DRIVING}` is a placeholder too).\n"
            "- **Later, with other portraits**: press R, select the group *From the saved motion* and press Ctrl+M, "
            "choose the file in *Load Motion* and the third portrait, and set the frame rate in its *Create Video*; "
            "then mute the other rows.",
            models=notes.all_at_once(),
            change="- Copy a row for one more portrait (select it, Ctrl+C, Ctrl+Shift+V keeps the connections).\n"
            "- *Edit Motion* between *Save Motion* and a sampler changes the strength for one portrait.\n"
            "- Motion files lie in `output/hunyuan_portrait`; those put into `input` are offered too.",
            cost=f"{notes.MEMORY} Each portrait takes the whole time: {notes.TIME[0].lower()}{notes.TIME[1:]}",
        ),
    )
    graph.column("1 · Load", BLUE)
    loaded = graph.node("HunyuanPortraitLoadAll")
    driving = graph.node("LoadVideo", "Driving video", file=DRIVING)
    graph.column("2 · The motion, once", GOLD)
    track = stages.add_faces(graph, driving["VIDEO"], loaded["face_detector"], "Face in the driving video")
    filmed = graph.node(
        "HunyuanPortraitEncodeMotion",
        motion_encoder=loaded["motion_encoder"],
        frames=driving["VIDEO"],
        track=track["track"],
    )
    motion = graph.node("HunyuanPortraitSaveMotion", motion=filmed["motion"])
    parts = graph.node("GetVideoComponents", video=driving["VIDEO"])
    rate: dict[str, Any] = {"fps": parts["fps"], "audio": parts["audio"]}
    graph.column("3 · First portrait", GREEN)
    stages.row(graph, loaded, portraits[0], motion, rate, "video/first_portrait")
    graph.group("4 · Second portrait", GREEN)
    stages.row(graph, loaded, portraits[1], motion, rate, "video/second_portrait")
    graph.group(f"5 · From the saved motion {MUTED}", GREY)
    saved = graph.node("HunyuanPortraitLoadMotion", motion_file="hunyuan_portrait/motion_00001_.safetensors [output]")
    stages.row(graph, loaded, portraits[2], saved, {"fps": 25.0}, "video/third_portrait")
    return graph


def drawing_or_animal_manual_box() -> Graph:
    """A face that no detector finds."""
    without = ("arcface",)
    graph = Graph(
        "drawing_or_animal_manual_box",
        note(
            "Drawing or animal (manual box)",
            "No detector finds a drawn face or an animal's, so its box is given by hand, in pixels; and there is no "
            "human identity to keep, so ArcFace stays unconnected. The picture is ComfyUI's own `example.png`.",
            start="- **Portrait**: `example.png` is there already. For your own picture set the four `box_` numbers "
            "of *Box by hand*: left, top, width and height of the face, from ear to ear and from the forehead to "
            "below the chin. Run once and look at its preview.\n"
            f"- **Driving video**: a person, whose face a detector finds (`{DRIVING}` is a placeholder). For a drawn "
            "driver disconnect `face_detector` of the second *Detect Faces* and give a box there too.",
            models=notes.all_at_once(without),
            change="- The box: a larger one shows more around the face, and makes the face smaller.\n"
            "- *Edit Motion* between *Motion Features* and *Sampler*, `expression_strength` above 1: faces unlike "
            "a human's often move too little.\n"
            "- *Paste Back*: `colour_match`, or a `mask` drawn around the head.\n"
            "- The model was trained on people: how well it does on drawings and animals depends on the picture.",
            files=[file for file in notes.NEEDED_FILES if file.name not in without],
        ),
    )
    loaded, portrait, driving = stages.load_three(graph, image="example.png")
    graph.column(FACES, GREEN)
    face = graph.node(
        "HunyuanPortraitDetectFaces",
        "Box by hand",
        frames=portrait["IMAGE"],
        box_x=300,
        box_y=190,
        box_width=160,
        box_height=130,
    )
    track = stages.add_faces(graph, driving["VIDEO"], loaded["face_detector"], "Face in the driving video")
    graph.column(ENCODE, GOLD)
    appearance = stages.add_appearance(graph, {name: loaded[name] for name in ("image_encoder", "vae")}, portrait, face)
    motion = stages.add_motion(graph, loaded, driving, track)
    graph.column(ANIMATE, VIOLET)
    sampled = stages.add_sampler(graph, loaded, appearance, motion)
    graph.column(SAVE, RED)
    frames = graph.node("HunyuanPortraitDecode", vae=loaded["vae"], samples=sampled["samples"])["frames"]
    whole = graph.node(
        "HunyuanPortraitPasteBack", frames=frames, portrait=portrait["IMAGE"], square=appearance["square"]
    )
    stages.save(graph, whole["frames"], driving, "video/drawing")
    return graph


WORKFLOWS = (
    portrait_basic,
    toy_portrait,
    full_control,
    long_video,
    low_vram,
    any_sampler_guider,
    one_motion_many_portraits,
    drawing_or_animal_manual_box,
)
