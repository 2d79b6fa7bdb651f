"""The loader nodes over models folders of every shape, and downloads from a server on loopback."""

from __future__ import annotations

import hashlib
import importlib
import os
import shutil
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch

CONTENT = hashlib.sha512(b"unet").digest() * 4096  # 256 KiB
RELEASED = {
    "unet": "hyportrait/unet.pth",
    "vision": "hyportrait/dino.pth",
    "token_projection": "hyportrait/image_proj.pth",
    "expression": "hyportrait/expression.pth",
    "head_pose": "hyportrait/headpose.pth",
    "refiner": "hyportrait/motion_proj.pth",
    "pose_guider": "hyportrait/pose_guider.pth",
    "vae": "stable-video-diffusion-img2vid-xt/vae/diffusion_pytorch_model.fp16.safetensors",
}
LOADERS = {
    "HunyuanPortraitLoadAll": ["weights", "weight_dtype", "download_missing"],
    "HunyuanPortraitLoadUNet": ["unet_name", "weight_dtype"],
    "HunyuanPortraitLoadVAE": ["vae_name", "dtype"],
    "HunyuanPortraitLoadImageEncoder": ["vision_name", "token_projection_name", "dtype"],
    "HunyuanPortraitLoadArcFace": ["arcface_name"],
    "HunyuanPortraitLoadMotionEncoder": ["expression_name", "head_pose_name", "refiner_name"],
    "HunyuanPortraitLoadPoseGuider": ["pose_guider_name", "dtype"],
    "HunyuanPortraitLoadFaceDetector": ["detector", "model_name"],
    "HunyuanPortraitLoadPoseDetector": ["detector_name", "pose_name"],
}


class Shop:
    """The pack's modules, and the files of the tiny networks."""

    def __init__(self, pack: ModuleType) -> None:
        def module(name: str) -> Any:
            return importlib.import_module(f"{pack.__name__}.{name}")

        self.files = module("nodes.comfy_bridge.files")
        self.deferred = module("nodes.deferred")
        self.errors = module("hunyuan_core.errors")
        self.pipeline = module("hunyuan_core.pipeline").Pipeline
        self.node = {node.__name__: node for node in module("nodes.loaders").NODES}
        self.tiny = module("nodes.comfy_bridge.untrained").untrained_files()


@pytest.fixture(scope="module")
def shop(pack: ModuleType) -> Shop:
    return Shop(pack)


@pytest.fixture
def models(comfyui: ModuleType, shop: Shop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty ``models`` of this test's own."""
    monkeypatch.setattr(comfyui, "models_dir", str(tmp_path))
    monkeypatch.setattr(comfyui, "filename_list_cache", {})
    registered = dict(comfyui.folder_names_and_paths)
    for kind in ("hunyuan_portrait", "vae", "sonic", "insightface", "dwpose"):
        (tmp_path / kind).mkdir()
        registered.pop(kind)
    monkeypatch.setattr(comfyui, "folder_names_and_paths", registered)
    shop.files.register()
    return tmp_path


@pytest.fixture
def place(models: Path, shop: Shop) -> Callable[..., Path]:
    def put(name: str, *places: str) -> Path:
        for where in places:
            path = models / where
            path.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(shop.tiny[name], path)
        return path

    return put


@pytest.fixture
def all_placed(place: Callable[..., Path]) -> None:
    for name, filename in RELEASED.items():
        place(name, f"hunyuan_portrait/{filename}")


def options_of(node: type, name: str) -> list[str]:
    return next(i for i in node.define_schema().inputs if i.id == name).options


# Schemas


@pytest.mark.parametrize("name", LOADERS)
def test_every_input_and_output_is_explained(shop: Shop, models: Path, name: str):
    schema = shop.node[name].GET_SCHEMA()
    assert schema.node_id == name
    assert schema.category == "HunyuanPortrait/Loaders"
    assert schema.description
    assert [i.id for i in schema.inputs] == LOADERS[name]
    assert all(len(part.tooltip) > 10 for part in (*schema.inputs, *schema.outputs))


def test_the_loaders_are_all_there(shop: Shop):
    assert list(shop.node) == list(LOADERS)


def test_the_licence_is_in_the_tooltip(shop: Shop, models: Path):
    def tooltip(node: str) -> str:
        return shop.node[node].define_schema().inputs[0].tooltip

    assert "academic, non-commercial use only" in tooltip("HunyuanPortraitLoadUNet")
    assert "HF_TOKEN" in tooltip("HunyuanPortraitLoadVAE")


def test_defaults_do_not_depend_on_what_is_there(shop: Shop, models: Path, place: Callable[..., Path]):
    node = shop.node["HunyuanPortraitLoadUNet"]
    before = node.define_schema().inputs[0].default
    place("unet", "hunyuan_portrait/other.safetensors")
    assert before == node.define_schema().inputs[0].default == "unet.pth"


# What is offered


@pytest.mark.parametrize(
    "where",
    [
        "hyportrait/unet.pth",
        "hyportrait/unet.safetensors",
        "pretrained_weights/hyportrait/unet.pth",
        "unet.pth",
        "unet.safetensors",
    ],
)
def test_a_released_file_has_one_option_wherever_it_lies(
    shop: Shop, models: Path, place: Callable[..., Path], where: str
):
    path = place("unet", f"hunyuan_portrait/{where}")
    assert shop.files.options(shop.files.UNET) == ["unet.pth"]
    assert shop.files.validate(shop.files.UNET, "unet.pth") is True
    assert shop.files.resolve(shop.files.UNET, "unet.pth") == path


def test_the_converted_file_comes_before_its_original(shop: Shop, place: Callable[..., Path]):
    place("unet", "hunyuan_portrait/hyportrait/unet.pth", "hunyuan_portrait/hyportrait/unet.safetensors")
    assert shop.files.options(shop.files.UNET) == ["unet.pth"]
    assert shop.files.resolve(shop.files.UNET, "unet.pth").suffix == ".safetensors"


def test_what_lies_flat_comes_before_a_copy_in_a_folder(shop: Shop, models: Path, place: Callable[..., Path]):
    place("unet", "hunyuan_portrait/hyportrait/unet.pth", "hunyuan_portrait/unet.pth")
    assert shop.files.options(shop.files.UNET) == ["unet.pth", "hyportrait/unet.pth"]
    assert shop.files.resolve(shop.files.UNET, "unet.pth") == models / "hunyuan_portrait/unet.pth"
    nested = models / "hunyuan_portrait/hyportrait/unet.pth"
    assert shop.files.resolve(shop.files.UNET, "hyportrait/unet.pth") == nested


def test_other_files_are_offered_by_their_path_and_those_of_other_networks_are_not(
    shop: Shop, models: Path, place: Callable[..., Path]
):
    place("vision", "hunyuan_portrait/hyportrait/dino.pth")
    mine = place("unet", "hunyuan_portrait/mine/unet_finetuned.safetensors")
    for name in ("notes.txt", "half.safetensors.part", "arcface.onnx"):
        (models / "hunyuan_portrait" / name).write_bytes(b"x")
    assert shop.files.options(shop.files.UNET) == ["mine/unet_finetuned.safetensors", "download: unet.pth (6.3 GB)"]
    assert shop.files.resolve(shop.files.UNET, "mine/unet_finetuned.safetensors") == mine


def test_a_file_that_comes_later_is_offered_at_the_next_refresh(shop: Shop, place: Callable[..., Path]):
    node = shop.node["HunyuanPortraitLoadUNet"]
    assert options_of(node, "unet_name") == ["download: unet.pth (6.3 GB)"]
    place("unet", "hunyuan_portrait/unet.pth")
    assert options_of(node, "unet_name") == ["unet.pth"]


def test_the_users_own_folder_comes_first(
    shop: Shop, comfyui: ModuleType, models: Path, place: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
):
    # As extra_model_paths.yaml does before the pack is imported.
    monkeypatch.setitem(comfyui.folder_names_and_paths, "hunyuan_portrait", ([str(models / "mine")], set()))
    shop.files.register()
    shop.files.register()
    assert comfyui.get_folder_paths("hunyuan_portrait") == [str(models / "mine"), str(models / "hunyuan_portrait")]
    place("unet", "hunyuan_portrait/unet.safetensors")
    own = place("unet", "mine/weights/hyportrait/unet.pth")
    assert shop.files.resolve(shop.files.UNET, "unet.pth") == own
    assert shop.files.main_folder() == models / "mine"
    # And as it may do afterwards.
    comfyui.add_model_folder_path("hunyuan_portrait", str(models / "later"), is_default=True)
    last = place("unet", "later/unet.pth")
    assert shop.files.resolve(shop.files.UNET, "unet.pth") == last


def test_neighbours_are_searched(shop: Shop, models: Path, place: Callable[..., Path]):
    files = shop.files
    vae = place("vae", "vae/svd_xt_vae.safetensors", "vae/ae.safetensors")
    assert files.options(files.VAE) == ["svd_xt_vae.safetensors", "ae.safetensors"]
    assert files.resolve(files.VAE, "svd_xt_vae.safetensors").name == "svd_xt_vae.safetensors"
    assert files.resolve(files.VAE, "ae.safetensors") == vae
    (models / "sonic" / "yoloface_v5m.pt").write_bytes(b"x")
    (models / "sonic" / "unet.pth").write_bytes(b"of Sonic")
    assert files.find(files.YOLOFACE) == models / "sonic/yoloface_v5m.pt"
    assert files.find(files.UNET) is None
    (models / "insightface/models/antelopev2").mkdir(parents=True)
    for name in ("arcface.onnx", "det_10g.onnx"):
        (models / "insightface/models/antelopev2" / name).write_bytes(b"x")
    assert files.options(files.ARCFACE) == ["arcface.onnx"]


def test_another_models_vae_is_not_taken_for_svds(shop: Shop, place: Callable[..., Path]):
    place("vae", "vae/sdxl/vae/diffusion_pytorch_model.fp16.safetensors")
    assert shop.files.find(shop.files.VAE) is None
    path = place("vae", f"hunyuan_portrait/{RELEASED['vae']}")
    assert shop.files.find(shop.files.VAE) == path


@pytest.mark.parametrize("value", ["../secret.pth", "/etc/passwd", "", "unet.pth/", "download: dino.pth (628 MB)"])
def test_only_what_is_listed_is_ever_opened(shop: Shop, models: Path, value: str):
    (models / "secret.pth").write_bytes(b"x")
    with pytest.raises(shop.errors.WeightsError, match="unet_name"):
        shop.files.resolve(shop.files.UNET, value)


def test_a_missing_file_is_refused_with_the_remedy(shop: Shop, models: Path, place: Callable[..., Path]):
    node = shop.node["HunyuanPortraitLoadUNet"]
    said = node.validate_inputs(unet_name="unet.pth")
    assert all(
        part in said for part in ("unet_name", str(models / "hunyuan_portrait"), "'download: unet.pth (6.3 GB)'")
    )
    assert "\n" not in said
    with pytest.raises(shop.errors.WeightsError) as caught:
        node.execute("unet.pth", "default")
    assert str(caught.value) == said
    assert node.validate_inputs(unet_name=None) is True
    assert node.validate_inputs(unet_name="download: unet.pth (6.3 GB)") is True
    place("unet", "hunyuan_portrait/unet.pth")
    assert "choose 'unet.pth'" in node.validate_inputs(unet_name="mine.pth")


def test_the_first_missing_file_of_several_is_named(shop: Shop, models: Path, place: Callable[..., Path]):
    place("expression", "hunyuan_portrait/expression.pth")
    node = shop.node["HunyuanPortraitLoadMotionEncoder"]
    assert node.validate_inputs("expression.pth", "headpose.pth", "motion_proj.pth").startswith("head_pose_name")
    node = shop.node["HunyuanPortraitLoadImageEncoder"]
    assert node.validate_inputs("download: dino.pth (628 MB)", "image_proj.pth").startswith("token_projection_name")


def test_a_changed_file_is_loaded_again_and_a_downloaded_one_is_not(shop: Shop, place: Callable[..., Path]):
    node = shop.node["HunyuanPortraitLoadUNet"]
    asked = node.fingerprint_inputs(unet_name="download: unet.pth (6.3 GB)", weight_dtype="default")
    path = place("unet", "hunyuan_portrait/unet.pth")
    assert asked == node.fingerprint_inputs(unet_name="download: unet.pth (6.3 GB)", weight_dtype="default")
    before = node.fingerprint_inputs(unet_name="unet.pth", weight_dtype="default")
    assert before == node.fingerprint_inputs(unet_name="unet.pth", weight_dtype="default")
    os.utime(path, ns=(1, 1))
    assert before != node.fingerprint_inputs(unet_name="unet.pth", weight_dtype="default")


# Loading


@pytest.mark.usefixtures("all_placed")
def test_every_network_is_loaded_by_its_node(shop: Shop):
    pipeline = shop.pipeline.untrained_tiny(device="cpu", dtype=torch.float32)

    def same(network: torch.nn.Module, name: str, dtype: torch.dtype = torch.float32) -> None:
        expected = getattr(pipeline, name).state_dict()
        found = network.state_dict()
        assert found.keys() == expected.keys()
        for key, tensor in found.items():
            assert torch.equal(tensor, expected[key].to(dtype) if tensor.is_floating_point() else expected[key])

    (unet,) = shop.node["HunyuanPortraitLoadUNet"].execute("unet.pth", "default").args
    same(unet.model.diffusion_model, "unet")
    (encoder,) = shop.node["HunyuanPortraitLoadImageEncoder"].execute("dino.pth", "image_proj.pth", "bf16").args
    same(encoder.vision.network, "vision", torch.bfloat16)
    same(encoder.token_projection.network, "token_projection", torch.bfloat16)
    node = shop.node["HunyuanPortraitLoadMotionEncoder"]
    (encoder,) = node.execute("expression.pth", "headpose.pth", "motion_proj.pth").args
    same(encoder.expression.network, "expression")
    same(encoder.head_pose.network, "head_pose")
    same(encoder.refiner.network, "refiner")
    (guider,) = shop.node["HunyuanPortraitLoadPoseGuider"].execute("pose_guider.pth", "fp16").args
    same(guider.network, "pose_guider", torch.float16)
    assert guider.patcher.model is guider.network
    (vae,) = shop.node["HunyuanPortraitLoadVAE"].execute("svd_xt_vae.safetensors", "fp16").args
    # Release: the encoder computes in float32.
    assert torch.equal(vae.network.encoder.conv_in.weight, pipeline.vae.encoder.conv_in.weight)
    assert torch.equal(vae.network.decoder.conv_in.weight, pipeline.vae.decoder.conv_in.weight.half())


def test_a_type_that_the_device_cannot_hold_is_refused(
    shop: Shop, place: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
):
    import comfy.model_management as management

    place("unet", "hunyuan_portrait/unet.pth")
    # On a Mac.
    monkeypatch.setattr(management, "is_device_mps", lambda _: True)
    with pytest.raises(shop.errors.ConfigurationError, match=r"weight_dtype: float8_e4m3fn is .*; choose default"):
        shop.node["HunyuanPortraitLoadUNet"].execute("unet.pth", "fp8_e4m3fn")


@pytest.mark.usefixtures("all_placed")
def test_the_whole_model_is_loaded_by_one_node(shop: Shop, models: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    (models / "hunyuan_portrait/arcface.onnx").write_bytes(b"not opened")
    outputs = shop.node["HunyuanPortraitLoadAll"].execute("released", "fp8_e4m3fn", False).args
    unet, vae, image_encoder, arcface, motion_encoder, pose_guider, detector = outputs
    assert unet.model.diffusion_model.mid_block.resnets[0].spatial_res_block.conv1.weight.dtype is torch.float8_e4m3fn
    assert vae.network.decoder.conv_in.weight.dtype is torch.float32  # on a CPU
    assert image_encoder.vision.network.config.embed_dim == 64
    assert motion_encoder.refiner.network.training is False
    assert next(pose_guider.network.parameters()).requires_grad is False
    # A missing package or file disables only its own output, when it is used.
    with pytest.raises(shop.errors.MissingDependencyError, match="pip install onnxruntime"):
        arcface.embed(np.zeros((112, 112, 3), np.float32))
    with pytest.raises(shop.errors.WeightsError, match=r"yoloface_v5m\.pt is missing.*download_missing"):
        detector.detect(np.zeros((64, 64, 3), np.uint8))


def test_all_missing_files_are_listed_at_once(shop: Shop, models: Path, place: Callable[..., Path]):
    place("unet", "hunyuan_portrait/unet.pth")
    with pytest.raises(shop.errors.WeightsError) as caught:
        shop.node["HunyuanPortraitLoadAll"].execute("released", "default", False)
    said = str(caught.value)
    assert "unet.pth" not in said
    # Under the names that the README lists.
    shown = [
        "svd_xt_vae.safetensors",
        *(Path(file).name for name, file in RELEASED.items() if name not in ("unet", "vae")),
    ]
    assert all(
        part in said
        for part in (*shown, str(models), "download_missing", "README", "arcface.onnx", "set weights to toy")
    )


def test_the_untrained_networks_need_no_file(shop: Shop, models: Path):
    node = shop.node["HunyuanPortraitLoadAll"]
    unet, vae, _, arcface, _, _, detector = node.execute("untrained-tiny", "default", False).args
    pipeline = shop.pipeline.untrained_tiny(device="cpu", dtype=torch.float32)
    weight = unet.model.diffusion_model.conv_in.weight
    assert torch.equal(weight, pipeline.unet.conv_in.weight)
    assert torch.equal(vae.network.decoder.conv_in.weight, pipeline.vae.decoder.conv_in.weight)
    assert arcface is None
    with pytest.raises(shop.errors.WeightsError, match="yoloface"):
        detector.detect(np.zeros((64, 64, 3), np.uint8))
    # Once the file is put there, the node that was told so is run again.
    before = node.fingerprint_inputs(weights="untrained-tiny", weight_dtype="default", download_missing=False)
    (models / "hunyuan_portrait").mkdir(exist_ok=True)
    (models / "hunyuan_portrait/yoloface_v5m.pt").write_bytes(b"not opened")
    assert before != node.fingerprint_inputs(weights="untrained-tiny", weight_dtype="default", download_missing=False)


@pytest.mark.usefixtures("hub")
def test_the_untrained_networks_get_the_face_detector_that_is_wanted(shop: Shop):
    with pytest.raises(shop.errors.WeightsError, match=r"yoloface_v5m\.pt is not the published file"):
        shop.node["HunyuanPortraitLoadAll"].execute("untrained-tiny", "default", True)


@pytest.mark.usefixtures("hub")
def test_the_run_after_a_download_loads_nothing_again(shop: Shop, models: Path):
    given = {"weights": "released", "weight_dtype": "default", "download_missing": True}
    before = shop.node["HunyuanPortraitLoadAll"].fingerprint_inputs(**given)
    shop.files.fetch([shop.files.UNET], "download_missing")
    assert before == shop.node["HunyuanPortraitLoadAll"].fingerprint_inputs(**given)


@pytest.mark.usefixtures("all_placed")
def test_one_changed_file_loads_the_whole_model_again(shop: Shop, models: Path):
    node = shop.node["HunyuanPortraitLoadAll"]
    before = node.fingerprint_inputs(weights="released", weight_dtype="default", download_missing=False)
    assert before == node.fingerprint_inputs(weights="released", weight_dtype="default", download_missing=False)
    os.utime(models / "hunyuan_portrait" / RELEASED["refiner"], ns=(1, 1))
    assert before != node.fingerprint_inputs(weights="released", weight_dtype="default", download_missing=False)


def test_a_file_of_another_network_is_named(shop: Shop, place: Callable[..., Path]):
    place("refiner", "hunyuan_portrait/expression.pth")
    place("head_pose", "hunyuan_portrait/headpose.pth")
    place("refiner", "hunyuan_portrait/motion_proj.pth")
    node = shop.node["HunyuanPortraitLoadMotionEncoder"]
    with pytest.raises(shop.errors.WeightsError, match=r"expression\.pth"):
        node.execute("expression.pth", "headpose.pth", "motion_proj.pth")


def test_svds_vae_in_its_original_names_is_left_to_core(shop: Shop, models: Path):
    from safetensors.torch import save_file

    save_file({"decoder.mid.block_1.mix_factor": torch.zeros(1)}, models / "vae/svd.safetensors")
    with pytest.raises(shop.errors.WeightsError, match="'Load VAE'"):
        shop.node["HunyuanPortraitLoadVAE"].execute("svd.safetensors", "default")


# Face and pose detectors


def test_a_model_of_another_detector_is_refused(shop: Shop, models: Path):
    node = shop.node["HunyuanPortraitLoadFaceDetector"]
    for detector in ("mediapipe", "insightface"):
        said = node.validate_inputs(detector, "yoloface_v5m.pt")
        assert all(part in said for part in ("model_name", detector, "'auto'"))
    (models / "hunyuan_portrait/face_landmarker.task").write_bytes(b"x")
    assert "face_landmarker.task" in options_of(node, "model_name")
    assert "yoloface" in node.validate_inputs("yoloface", "face_landmarker.task")
    with pytest.raises(shop.errors.ConfigurationError, match="model_name"):
        node.execute("yoloface", "face_landmarker.task")
    assert "choose one of yoloface, mediapipe" in node.validate_inputs("retinaface", "auto")


def test_a_detector_without_a_model_says_where_to_get_one(
    shop: Shop, models: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    node = shop.node["HunyuanPortraitLoadFaceDetector"]
    assert "'download: yoloface_v5m.pt (85 MB)'" in node.validate_inputs("yoloface", "auto")
    assert str(models / "hunyuan_portrait") in node.validate_inputs("mediapipe", "auto")
    assert "'download: buffalo_l (289 MB)'" in node.validate_inputs("insightface", "auto")
    assert node.validate_inputs("yoloface", "download: yoloface_v5m.pt (85 MB)") is True
    assert node.validate_inputs("insightface", "download: buffalo_l (289 MB)") is True


def test_only_the_published_torchscript_is_run(shop: Shop, models: Path):
    (models / "sonic/yoloface_v5m.pt").write_bytes(b"another program")
    node = shop.node["HunyuanPortraitLoadFaceDetector"]
    assert node.validate_inputs("yoloface", "auto") is True
    with pytest.raises(shop.errors.WeightsError, match="sha256"):
        node.execute("yoloface", "auto")


@pytest.mark.parametrize(("detector", "package"), [("mediapipe", "mediapipe"), ("insightface", "insightface")])
def test_a_missing_package_is_asked_for_when_it_is_needed(shop: Shop, models: Path, detector: str, package: str):
    if importlib.util.find_spec(package):
        pytest.skip(f"{package} is installed")
    (models / "hunyuan_portrait/face_landmarker.task").write_bytes(b"x")
    (models / "insightface/models/buffalo_l").mkdir(parents=True)
    (models / "insightface/models/buffalo_l/det_10g.onnx").write_bytes(b"x")
    node = shop.node["HunyuanPortraitLoadFaceDetector"]
    assert "models/buffalo_l/" in options_of(node, "model_name")
    assert node.validate_inputs(detector, "auto") is True
    with pytest.raises(shop.errors.MissingDependencyError, match=f"pip install {package}"):
        node.execute(detector, "auto")


def test_dwpose_and_arcface_name_the_package_they_miss(shop: Shop, models: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    for path in ("dwpose/dw-ll_ucoco_384.onnx", "hunyuan_portrait/arcface.onnx"):
        (models / path).write_bytes(b"x")
    node = shop.node["HunyuanPortraitLoadPoseDetector"]
    nobody = options_of(node, "detector_name")[-1]
    assert node.validate_inputs(nobody, "dw-ll_ucoco_384.onnx") is True
    assert node.validate_inputs("yolox_l.onnx", "dw-ll_ucoco_384.onnx").startswith("detector_name")
    with pytest.raises(shop.errors.MissingDependencyError, match="pip install onnxruntime"):
        node.execute(nobody, "dw-ll_ucoco_384.onnx")
    with pytest.raises(shop.errors.MissingDependencyError, match="pip install onnxruntime"):
        shop.node["HunyuanPortraitLoadArcFace"].execute("arcface.onnx")


# Downloads


class Handler(BaseHTTPRequestHandler):
    """Answers as Hugging Face does; Stability AI's repository is gated."""

    protocol_version = "HTTP/1.1"

    def do_HEAD(self) -> None:
        self.answer(b"")

    def do_GET(self) -> None:
        start = int(self.headers.get("Range", "bytes=0-").removeprefix("bytes=").rstrip("-"))
        self.answer(CONTENT[start:])

    def answer(self, body: bytes) -> None:
        is_gated = self.path.startswith("/stabilityai/")
        self.send_response(401 if is_gated else 200 if body in (b"", CONTENT) else 206)
        if is_gated:
            self.send_header("X-Error-Code", "GatedRepo")
        self.send_header("Content-Length", "0" if is_gated else str(len(body or CONTENT)))
        self.send_header("ETag", f'"{hashlib.sha256(CONTENT).hexdigest()}"')
        self.send_header("X-Repo-Commit", "0" * 40)
        self.send_header("X-Linked-Size", str(len(CONTENT)))
        self.end_headers()
        if not is_gated:
            self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    import huggingface_hub.constants

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{server.server_port}")
    monkeypatch.setenv("HF_TOKEN", "")
    for variable in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_DISABLE_TELEMETRY", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(huggingface_hub.constants, "DOWNLOAD_CHUNK_SIZE", 16_384)
    yield
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def bar(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """What ComfyUI is told of the progress."""
    import comfy.utils

    steps: list[tuple[int, int]] = []
    monkeypatch.setattr(comfy.utils, "PROGRESS_BAR_HOOK", lambda value, total, *_, **__: steps.append((value, total)))
    return steps


@pytest.mark.usefixtures("hub")
def test_a_download_entry_fetches_its_file(shop: Shop, models: Path, bar: list[tuple[int, int]]):
    path = shop.files.resolve(shop.files.UNET, "download: unet.pth (6.3 GB)")
    assert path == models / "hunyuan_portrait/hyportrait/unet.pth"
    assert path.read_bytes() == CONTENT
    assert bar[-1] == (len(CONTENT), len(CONTENT))
    assert shop.files.options(shop.files.UNET) == ["unet.pth"]
    # The option that was chosen goes on to mean that file.
    path.write_bytes(b"kept")
    assert shop.files.resolve(shop.files.UNET, "download: unet.pth (6.3 GB)").read_bytes() == b"kept"


@pytest.mark.usefixtures("hub")
def test_cancel_stops_a_download_which_goes_on_the_next_time(
    shop: Shop, models: Path, bar: list[tuple[int, int]], monkeypatch: pytest.MonkeyPatch
):
    import comfy.model_management as management
    import comfy.utils

    def press_cancel(*_: object, **__: object) -> None:
        management.interrupt_current_processing()

    with monkeypatch.context() as cancelled:
        cancelled.setattr(comfy.utils, "PROGRESS_BAR_HOOK", press_cancel)
        with pytest.raises(management.InterruptProcessingException):
            shop.files.resolve(shop.files.UNET, "download: unet.pth (6.3 GB)")
    (part,) = (models / "hunyuan_portrait/hyportrait").iterdir()
    assert 0 < part.stat().st_size < len(CONTENT)
    assert shop.files.options(shop.files.UNET) == ["download: unet.pth (6.3 GB)"]
    path = shop.files.resolve(shop.files.UNET, "download: unet.pth (6.3 GB)")
    assert path.read_bytes() == CONTENT
    assert bar[0][0] > 16_384


@pytest.mark.usefixtures("hub")
def test_a_gated_repository_says_what_to_do(shop: Shop, models: Path):
    option = shop.files.VAE.download_option
    with pytest.raises(shop.errors.WeightsError) as caught:
        shop.node["HunyuanPortraitLoadVAE"].execute(option, "default")
    said = str(caught.value)
    assert said.startswith("vae_name: ")
    assert all(part in said for part in ("stabilityai/stable-video-diffusion-img2vid-xt", "accept", "HF_TOKEN"))


@pytest.mark.usefixtures("hub")
def test_all_that_is_missing_is_fetched_when_that_is_wanted(shop: Shop, models: Path, place: Callable[..., Path]):
    place("unet", "hunyuan_portrait/unet.pth")
    with pytest.raises(shop.errors.WeightsError) as caught:
        shop.node["HunyuanPortraitLoadAll"].execute("released", "default", True)
    # The gated VAE, and yoloface, whose checksum is known; the others were fetched.
    said = str(caught.value)
    assert said.startswith("download_missing: ")
    assert "is gated and refused" in said
    assert said.endswith(" Not fetched either: yoloface_v5m.pt.")
    assert not (models / "hunyuan_portrait/hyportrait/unet.pth").exists()
    for name in ("vision", "expression", "refiner"):
        assert (models / "hunyuan_portrait" / RELEASED[name]).read_bytes() == CONTENT
