"""Portraits of every kind that Pillow reads."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from clips import moving_frames
from PIL import Image

from hunyuan_core.errors import MediaError
from hunyuan_core.video import read_image


@pytest.fixture
def picture() -> np.ndarray:
    return moving_frames(1, 80, 100)[0]


def test_rgb_is_read_as_it_is(tmp_path: Path, picture: np.ndarray) -> None:
    Image.fromarray(picture).save(tmp_path / "p.png")
    read = read_image(tmp_path / "p.png")
    assert read.dtype == np.uint8
    np.testing.assert_array_equal(read, picture)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_camera_orientation_is_applied(tmp_path: Path, picture: np.ndarray, orientation: int) -> None:
    # EXIF 2.3, tag 274: how the stored picture came from the upright one.
    stored = {
        1: lambda x: x,
        2: np.fliplr,
        3: lambda x: np.rot90(x, 2),
        4: np.flipud,
        5: lambda x: x.transpose(1, 0, 2),
        6: np.rot90,
        7: lambda x: np.rot90(x, 2).transpose(1, 0, 2),
        8: lambda x: np.rot90(x, -1),
    }[orientation](picture)
    exif = Image.Exif()
    exif[274] = orientation
    Image.fromarray(np.ascontiguousarray(stored)).save(tmp_path / "p.png", exif=exif)
    np.testing.assert_array_equal(read_image(tmp_path / "p.png"), picture)


@pytest.mark.parametrize("mode", ["L", "1", "P", "CMYK"])
def test_other_modes_become_rgb(tmp_path: Path, picture: np.ndarray, mode: str) -> None:
    image = Image.fromarray(picture).convert(mode)
    path = tmp_path / ("p.tif" if mode == "CMYK" else "p.png")
    image.save(path)
    np.testing.assert_array_equal(read_image(path), np.asarray(image.convert("RGB")))


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_transparency_lies_over_white(tmp_path: Path, mode: str) -> None:
    image = Image.new("RGBA", (64, 64), (0, 0, 0, 0))
    image.paste((100, 100, 100, 255), (0, 0, 64, 32))
    if mode == "P":
        Image.fromarray(np.arange(64 * 64).reshape(64, 64).__ge__(2048).astype(np.uint8)).save(tmp_path / "grey.png")
        image = Image.open(tmp_path / "grey.png").convert("P")
        image.putpalette([100, 100, 100, 0, 0, 0])
        image.save(tmp_path / "p.png", transparency=1)
    else:
        image.convert(mode).save(tmp_path / "p.png")
    read = read_image(tmp_path / "p.png")
    assert (read[:32] == 100).all()
    assert (read[32:] == 255).all()


def test_half_transparency_is_mixed(tmp_path: Path) -> None:
    Image.new("RGBA", (64, 64), (200, 100, 0, 128)).save(tmp_path / "p.png")
    np.testing.assert_allclose(read_image(tmp_path / "p.png")[0, 0], [227, 177, 127], atol=1)


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_16_bit_grey_is_scaled(tmp_path: Path, suffix: str) -> None:
    values = np.linspace(0, 65535, 80 * 100).reshape(80, 100).astype(np.uint16)
    path = tmp_path / f"p{suffix}"
    assert cv2.imwrite(str(path), values)
    read = read_image(path)
    assert read.shape == (80, 100, 3)
    np.testing.assert_array_equal(read[..., 0], np.rint(values / 257))


@pytest.mark.parametrize("channels", [3, 4])
def test_16_bit_colour_is_scaled(tmp_path: Path, channels: int) -> None:
    values = np.random.default_rng(0).integers(0, 65536, (80, 100, channels)).astype(np.uint16)
    values[..., 3:] = 65535
    path = tmp_path / "p.png"
    assert cv2.imwrite(str(path), values)
    expected = values[..., 2::-1] / 257  # OpenCV writes BGR
    assert np.abs(read_image(path) - expected).max() <= 1


def test_floating_point_is_refused(tmp_path: Path) -> None:
    Image.fromarray(np.zeros((64, 64), np.float32)).save(tmp_path / "p.tif")
    with pytest.raises(MediaError, match=r"p\.tif holds floating-point"):
        read_image(tmp_path / "p.tif")


def test_portrait_of_100_megapixels(tmp_path: Path) -> None:
    path = tmp_path / "large.png"
    Image.new("1", (10_000, 10_000), 1).save(path)
    read = read_image(path)
    assert read.shape == (10_000, 10_000, 3)
    assert (read[::1000, ::1000] == 255).all()


def test_portrait_beyond_the_limit(tmp_path: Path) -> None:
    Image.new("1", (20_000, 10_000)).save(tmp_path / "huge.png")
    with pytest.raises(MediaError, match=r"huge\.png has more pixels than the limit of 178956970; scale"):
        read_image(tmp_path / "huge.png")


def test_portrait_of_8x8(tmp_path: Path) -> None:
    Image.new("RGB", (8, 8)).save(tmp_path / "tiny.png")
    with pytest.raises(MediaError, match="is 8x8 pixels, but each side must have at least 64; use a larger image"):
        read_image(tmp_path / "tiny.png")


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp", ".gif", ".tif"])
@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 0.9])
def test_truncated_image(tmp_path: Path, suffix: str, share: float) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (80, 100, 3), dtype=np.uint8)
    path = tmp_path / f"p{suffix}"
    Image.fromarray(noise).save(path)
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    with pytest.raises(MediaError, match=f"p{suffix}") as error:
        read_image(path)
    assert "\n" not in str(error.value)


def test_missing_image_folder_and_text(tmp_path: Path) -> None:
    (tmp_path / "text.png").write_text("not an image")
    for path, cause in [
        (tmp_path / "nowhere.png", "does not exist"),
        (tmp_path / "text.png", "is not an image"),
        (tmp_path, "is a folder, but one picture is wanted"),
    ]:
        with pytest.raises(MediaError, match=cause) as error:
            read_image(path)
        assert "\n" not in str(error.value)
