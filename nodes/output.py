"""From latents to pictures: decoding, pasting back into the portrait, and saving a video of any length."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from fractions import Fraction
from typing import Any

import numpy as np
import torch
from comfy_api.latest import Input, InputImpl, io, ui

from ..hunyuan_core.config import SamplingConfig
from ..hunyuan_core.errors import ConfigurationError, ShapeError
from ..hunyuan_core.paste_back import PasteBack
from ..hunyuan_core.video import check_writable, write_video
from ..hunyuan_core.video.timing import read_frame_rate
from . import types as sockets
from .checking import checked
from .comfy_bridge import decoding, images, progress, saving
from .comfy_bridge import vae as vaes
from .comfy_bridge.videos import VideoFrames

ADVANCED = {"advanced": True}
MAX_FPS = 1000.0
MAX_DENOMINATOR = 1000


def vae_input() -> io.Input:
    """The VAE of Decode and Save Long Video."""
    return io.Vae.Input(
        "vae", tooltip="SVD's VAE, from 'Load HunyuanPortrait VAE' or core's loaders. Others cannot decode this."
    )


def samples_input() -> io.Input:
    """The latents of Decode and Save Long Video."""
    return io.Latent.Input(
        "samples", tooltip="Latents of the video, from a sampler. Frames of padding are left out, where it notes them."
    )


def chunk_size_input() -> io.Input:
    """The chunk size of Decode and Save Long Video."""
    return io.Int.Input(
        "chunk_size",
        default=SamplingConfig.decode_chunk_size,
        min=1,
        max=256,
        tooltip="Frames decoded together; released: 8. Fewer need less memory and give slightly different pictures. "
        "Halved by itself when the memory is full.",
        extra_dict=ADVANCED,
    )


def paste_inputs() -> list[io.Input]:
    """How frames are pasted back: the optional inputs of Paste Back and Save Long Video."""
    return [
        io.Float.Input(
            "feather",
            default=0.1,
            min=0.0,
            max=0.5,
            step=0.01,
            tooltip="Share of each side of the square over which the frame fades into the portrait, 0 to 0.5; "
            "released: 0.1.",
        ),
        io.Float.Input(
            "colour_match",
            default=0.0,
            min=0.0,
            max=1.0,
            step=0.05,
            tooltip="How much the frames' colours are brought to the portrait's along the seam, steadily over time; "
            "0 is off, as released.",
        ),
        io.Mask.Input(
            "mask",
            optional=True,
            tooltip="One mask, as large as the portrait or the square: 1 shows the frame, 0 the portrait. It is "
            "multiplied with the feather; set that to 0 to use the mask alone.",
        ),
        io.MultiType.Input(
            "background",
            types=[io.Image, io.Video],
            optional=True,
            tooltip="A moving background instead of the portrait: at least as many frames as the result, each of the "
            "portrait's size in pixels.",
        ),
    ]


class HunyuanPortraitDecode(io.ComfyNode):
    """Latents to pictures, in fixed chunks."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Describe the node."""
        return io.Schema(
            node_id="HunyuanPortraitDecode",
            display_name="HunyuanPortrait Decode",
            category="HunyuanPortrait/Output",
            description=(
                "Decode the sampled latents in fixed chunks, as released; the pictures go to main memory chunk by "
                "chunk. For very long videos use 'HunyuanPortrait Save Long Video'."
            ),
            inputs=[vae_input(), samples_input(), chunk_size_input()],
            outputs=[
                io.Image.Output(
                    display_name="frames",
                    tooltip="The animated square, one picture for each driving frame, in [0, 1] and not rounded.",
                )
            ],
            **sockets.supported(search_aliases=["hunyuan portrait", "vae decode", "svd decode", "latent to image"]),
        )

    @classmethod
    @checked
    def execute(cls, vae: Any, samples: Any, chunk_size: int) -> io.NodeOutput:
        """Decode."""
        latents = decoding.Latents.of(samples)
        show = progress.Progress(len(latents))
        result = torch.empty((len(latents), *latents.size, 3))
        done = 0
        for chunk in decoding.decode(vae, latents, chunk_size):
            result[done : done + len(chunk)] = chunk
            done += len(chunk)
            show(done)
        return io.NodeOutput(result)


class HunyuanPortraitPasteBack(io.ComfyNode):
    """Frames back into the whole portrait."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Describe the node."""
        return io.Schema(
            node_id="HunyuanPortraitPasteBack",
            display_name="HunyuanPortrait Paste Back",
            category="HunyuanPortrait/Output",
            description=(
                "Put the animated square back into the portrait, at the portrait's own size. Give all frames of a clip "
                "at once and in order: the colour match learns from frame to frame."
            ),
            inputs=[
                io.Image.Input("frames", tooltip="The animated square, from 'HunyuanPortrait Decode'; any size."),
                io.Image.Input("portrait", tooltip="The whole portrait that the square was cut from; one picture."),
                io.BoundingBox.Input(
                    "square",
                    force_input=True,
                    tooltip="Where the square lies in the portrait, in pixels; from Appearance (IMAdapter).",
                ),
                *paste_inputs(),
            ],
            outputs=[
                io.Image.Output(
                    display_name="frames", tooltip="The animated portrait at its own size, in steps of 1/255."
                )
            ],
            **sockets.supported(search_aliases=["hunyuan portrait", "composite", "uncrop", "stitch", "blend"]),
        )

    @classmethod
    @checked
    def execute(
        cls,
        frames: Any,
        portrait: Any,
        square: Any,
        feather: float,
        colour_match: float,
        mask: Any = None,
        background: Any = None,
    ) -> io.NodeOutput:
        """Paste."""
        given = images.ImageFrames(images.images_of(frames, "frames"), "frames")
        paste = _Paster(portrait, square, feather, colour_match, mask, background, len(given))
        return io.NodeOutput(images.to_image(_counted(paste(given), len(given)), len(given)))


class HunyuanPortraitSaveVideo(io.ComfyNode):
    """Latents to a video file, without the whole video in memory."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Describe the node."""
        return io.Schema(
            node_id="HunyuanPortraitSaveVideo",
            display_name="HunyuanPortrait Save Long Video",
            category="HunyuanPortrait/Output",
            description=(
                "Decode, paste back if wanted, and write to ComfyUI's output folder, a few frames in memory at a time. "
                "Frame times and audio are the driving video's."
            ),
            inputs=[
                vae_input(),
                samples_input(),
                io.Video.Input(
                    "driving",
                    tooltip="The driving video: its frame times and its audio are copied. Audio that goes on after "
                    "the last frame of a trimmed video, or of a shorter result, is cut off.",
                ),
                io.String.Input(
                    "filename_prefix",
                    default="video/HunyuanPortrait",
                    tooltip="Folder below the output folder and start of the file name; a number is added. "
                    "%year%, %month%, %day%, %width% and %height% are filled in.",
                ),
                io.Float.Input(
                    "fps",
                    default=0.0,
                    min=0.0,
                    max=MAX_FPS,
                    step=0.001,
                    tooltip="Frames per second; 0 takes the driving video's own times, exactly. Another rate lets the "
                    "audio drift.",
                ),
                io.Int.Input(
                    "crf",
                    default=17,
                    min=0,
                    max=51,
                    tooltip="Quality of H.264: 0 is lossless, 51 worst; 17 is hard to tell from the original.",
                ),
                io.Combo.Input(
                    "format",
                    options=["mp4", "mov"],
                    default="mp4",
                    tooltip="Kind of file; mov holds audio that mp4 cannot, such as PCM.",
                    extra_dict=ADVANCED,
                ),
                chunk_size_input(),
                io.Image.Input(
                    "portrait",
                    optional=True,
                    tooltip="To paste the frames back: the whole portrait, one picture. Give square too.",
                ),
                io.BoundingBox.Input(
                    "square",
                    optional=True,
                    force_input=True,
                    tooltip="To paste the frames back: where the square lies in the portrait, in pixels; from "
                    "'HunyuanPortrait Appearance (IMAdapter)'.",
                ),
                *paste_inputs(),
            ],
            outputs=[io.Video.Output(display_name="video", tooltip="The video file that was written.")],
            hidden=[io.Hidden.prompt, io.Hidden.extra_pnginfo],
            is_output_node=True,
            **sockets.supported(search_aliases=["hunyuan portrait", "save video", "export video", "long video"]),
        )

    @classmethod
    @checked
    def execute(
        cls,
        vae: Any,
        samples: Any,
        driving: Any,
        filename_prefix: str,
        fps: float,
        crf: int,
        format: str,
        chunk_size: int,
        feather: float,
        colour_match: float,
        portrait: Any = None,
        square: Any = None,
        mask: Any = None,
        background: Any = None,
    ) -> io.NodeOutput:
        """Decode, paste and write."""
        # What can fail without the network fails first.
        latents = decoding.Latents.of(samples)
        vaes.temporal_vae(vae)
        num_frames, size = len(latents), latents.size
        paste: Callable[[Iterable[np.ndarray]], Iterable[np.ndarray]] = iter
        if portrait is not None and square is not None:
            paster = _Paster(portrait, square, feather, colour_match, mask, background, num_frames)
            paste, size = paster, paster.size
        elif not all(value is None for value in (portrait, square, mask, background)):
            raise ConfigurationError(
                "To paste the frames back, give both portrait and square; without them disconnect mask and background."
            )
        video = _driving_frames(driving)
        times, audio_part = _timing(video, num_frames, fps)
        file = saving.next_file(filename_prefix, f".{format}", *size)
        check_writable(file.path, size=size, crf=crf, **times)

        chunks = decoding.decode(vae, latents, chunk_size)
        frames = _counted(paste(images.to_uint8(image) for chunk in chunks for image in chunk), num_frames)
        tags = saving.workflow_tags(cls.hidden)
        write_video(file.path, frames, crf=crf, metadata=tags, **times, **audio_part)
        return io.NodeOutput(InputImpl.VideoFromFile(str(file.path)), ui=ui.PreviewVideo([file.shown]))


class _Paster:
    """Pastes the frames of one run back, after a check of all inputs.

    Attributes:
        size: Height and width of the result, pixels.
    """

    def __init__(
        self,
        portrait: Any,
        square: Any,
        feather: float,
        colour_match: float,
        mask: Any,
        background: Any,
        num_frames: int,
    ) -> None:
        picture = images.one_image(portrait, "portrait")
        self.size = picture.shape[:2]
        self._paste = PasteBack(picture, _corners(square), feather, mask=_one_mask(mask), colour_match=colour_match)
        self._background = None if background is None else images.frames_of(background, "background")
        if self._background is not None and len(self._background) < num_frames:
            raise ShapeError(
                f"background has {len(self._background)} frames, but the result {num_frames}; give at least as many, "
                "or disconnect it to paste into the still portrait."
            )

    def __call__(self, frames: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        if self._background is None:
            yield from map(self._paste, frames)
            return
        for frame, behind in zip(frames, self._background, strict=False):
            yield self._paste(frame, behind)


def _corners(square: Any) -> np.ndarray:
    """Corners x1, y1, x2, y2 of a BOUNDING_BOX: one box, or a list that holds one."""
    box = square[0] if isinstance(square, list | tuple) and len(square) == 1 else square
    if not isinstance(box, Mapping) or not {"x", "y", "width", "height"} <= box.keys():
        raise ConfigurationError(
            f"square must be one box with x, y, width and height; got a {type(square).__name__}. Connect the square of "
            "'HunyuanPortrait Appearance (IMAdapter)' to it."
        )
    try:
        x, y, width, height = (int(box[key]) for key in ("x", "y", "width", "height"))
    except (TypeError, ValueError, OverflowError) as error:
        raise ConfigurationError(
            f"square must hold x, y, width and height in pixels; got {dict(box)}. Connect the square of "
            "'HunyuanPortrait Appearance (IMAdapter)' to it."
        ) from error
    return np.array([x, y, x + width, y + height])


def _one_mask(mask: Any) -> np.ndarray | None:
    if mask is None:
        return None
    if not isinstance(mask, torch.Tensor) or mask.ndim not in (2, 3):
        shape = tuple(mask.shape) if isinstance(mask, torch.Tensor) else type(mask).__name__
        raise ConfigurationError(f"mask must be a MASK (1, height, width); got {shape}. Connect a mask output.")
    if mask.ndim == 3 and len(mask) != 1:
        raise ConfigurationError(f"mask takes one mask for all frames; got {len(mask)}. Connect a single one.")
    return mask.reshape(mask.shape[-2:]).float().cpu().numpy()


def _driving_frames(driving: Any) -> VideoFrames:
    if not isinstance(driving, Input.Video):
        is_image = isinstance(driving, torch.Tensor)
        found = "pictures, which have neither times nor audio" if is_image else f"a {type(driving).__name__}"
        raise ConfigurationError(f"driving got {found}; connect 'Load Video', or 'Create Video' with the frame rate.")
    return VideoFrames(driving, "driving")


def _timing(video: VideoFrames, num_frames: int, fps: float) -> tuple[dict[str, Any], dict[str, Any]]:
    """When the frames are shown, and which part of the driving video's audio goes with them, for write_video."""
    rate = read_frame_rate(fps) if fps else video.frame_rate
    timestamps = None if fps else video.timestamps
    if timestamps is not None and num_frames >= len(timestamps):
        progress.say(
            f"The result has {num_frames} frames but driving only {len(video)}, whose rate varies; its mean rate is "
            "used, so the audio may drift."
        )
        rate, timestamps = rate.limit_denominator(MAX_DENOMINATOR), None
    end: Fraction = num_frames / rate if timestamps is None else timestamps[num_frames]
    has_audio_after = video.is_part or num_frames < len(video)
    times = {
        "frame_rate": rate,
        "timestamps": None if timestamps is None else timestamps[: num_frames + 1],
        "audio_from": video.audio_from,
    }
    return times, {"audio_start": video.audio_start, "audio_length": end if has_audio_after else None}


def _counted(frames: Iterable[np.ndarray], num_frames: int) -> Iterator[np.ndarray]:
    """Show the progress of a run over its frames, and stop it when the user cancels."""
    show = progress.Progress(num_frames)
    for done, frame in enumerate(frames, 1):
        yield frame
        show(done)


NODES = [HunyuanPortraitDecode, HunyuanPortraitPasteBack, HunyuanPortraitSaveVideo]
