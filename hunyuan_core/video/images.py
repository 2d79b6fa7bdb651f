"""Still images from and to files, as (H, W, 3) uint8 RGB."""

from __future__ import annotations

import struct
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, ImageSequence

from ..errors import MediaError
from .files import replacing, write_error

MIN_PORTRAIT_SIDE = 64
"""Pixels; a face in anything smaller has fewer pixels than one cell of the latents."""


_ANIMATED_FORMATS = ("GIF", "PNG", "WEBP")


def read_image(path: Path | str, *, min_side: int = MIN_PORTRAIT_SIDE) -> np.ndarray:
    """Read an image as it is meant to be seen.

    The camera's orientation (EXIF) is applied, transparency is laid over white, 16 bits are scaled to 8. The limit of
    size is Pillow's own for images that might be decompression bombs, about 179 megapixels.

    Args:
        min_side: Least width and height, pixels.

    Returns:
        (H, W, 3) uint8 RGB.

    Raises:
        MediaError: If the file is missing, damaged, not an image, or too small or large.
    """
    path = Path(path)
    with _opened(path) as image:
        if min(image.size) < min_side:
            raise MediaError(
                f"{path} is {image.width}x{image.height} pixels, but each side must have at least {min_side}; "
                "use a larger image."
            )
        ImageOps.exif_transpose(image, in_place=True)
        return _to_rgb(image, path)


class ImageFrames:
    """The frames of an image file: one, or those of an animated GIF, PNG or WebP.

    Attributes:
        is_animated: Whether there are several frames; the pages of a document are not frames.

    Raises:
        MediaError: If the file is missing, damaged or not an image.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        with _opened(path) as image:
            self.is_animated = image.format in _ANIMATED_FORMATS and getattr(image, "is_animated", False)

    def __iter__(self) -> Iterator[np.ndarray]:
        """Decode from the first frame on, (H, W, 3) uint8 RGB."""
        if not self.is_animated:
            yield read_image(self.path, min_side=1)
            return
        with _opened(self.path) as image:
            for frame in ImageSequence.Iterator(image):
                yield _to_rgb(frame, self.path)

    def durations(self) -> list[float]:
        """Milliseconds that each frame is shown.

        Raises:
            MediaError: If a frame is damaged.
        """
        durations = []
        with _opened(self.path) as image:
            for frame in ImageSequence.Iterator(image):
                frame.load()  # a WebP file says the duration no earlier
                durations.append(_duration(frame))
        return durations


def write_image(path: Path | str, image: np.ndarray) -> None:
    """Write an image in the format of the path's suffix; the file appears whole or not at all.

    Args:
        image: (H, W, 3) uint8 RGB.

    Raises:
        MediaError: If the suffix is unknown, the folder missing or not writable, or the disk full.
    """
    path = Path(path)
    if path.suffix.lower() not in (".png", ".jpg", ".jpeg", ".webp"):
        raise MediaError(f"Cannot write {path}: the suffix must be .png, .jpg, .jpeg or .webp; rename the output.")
    with replacing(path) as temporary:
        try:
            Image.fromarray(image).save(temporary, quality=95)
        except OSError as error:
            raise write_error(path, error.errno, error.strerror or str(error)) from error


@contextmanager
def _opened(path: Path) -> Iterator[Image.Image]:
    """Open an image, and name the file in what goes wrong until it is closed."""
    if path.is_dir():
        raise MediaError(f"{path} is a folder, but one picture is wanted; give the path of an image file.")
    try:
        # No longer than needed: the filter is that of all threads.
        with warnings.catch_warnings():
            # Pillow warns at half of its limit; portraits of 100 megapixels are wanted.
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            opened = Image.open(path)
        with opened as image:
            yield image
    except FileNotFoundError as error:
        raise MediaError(f"{path} does not exist; check the path.") from error
    except Image.UnidentifiedImageError as error:
        raise MediaError(f"{path} is not an image that can be read; use a PNG, JPEG or WebP file.") from error
    except Image.DecompressionBombError as error:
        raise MediaError(
            f"{path} has more pixels than the limit of {2 * (Image.MAX_IMAGE_PIXELS or 0)}; scale the image down."
        ) from error
    # Pillow's readers let the errors of their parsers through.
    except (OSError, SyntaxError, ValueError, EOFError, struct.error, zlib.error) as error:
        reason = " ".join(str(error).split())
        raise MediaError(f"{path} cannot be read ({reason}); copy it again or save it anew as PNG.") from error


def _duration(frame: Image.Image) -> float:
    """Milliseconds; browsers and FFmpeg show frames that claim less than 20 ms for 100 ms."""
    duration = frame.info.get("duration", 0)
    return duration if duration >= 20 else 100


def _to_rgb(image: Image.Image, path: Path) -> np.ndarray:
    if image.mode == "I" or image.mode.startswith("I;16"):
        # Pillow's own conversion cuts at 255. Some of its versions give a 16-bit greyscale PNG as "I".
        grey = np.asarray(image).astype(np.int64)
        if grey.min() < 0 or grey.max() > 65535:
            raise MediaError(f"{path} has more than 16 bits a pixel, so white is undefined; save it with 8 or 16.")
        return np.repeat(((grey + 128) // 257).astype(np.uint8)[..., None], 3, axis=2)
    if image.mode == "F":
        raise MediaError(f"{path} holds floating-point values, so white is undefined; save it with 8 or 16 bits.")
    if image.has_transparency_data:
        foreground = image.convert("RGBA")
        white = Image.new("RGBA", foreground.size, "white")
        return np.array(Image.alpha_composite(white, foreground).convert("RGB"))
    return np.array(image.convert("RGB"))
