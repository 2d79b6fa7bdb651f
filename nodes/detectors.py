"""Loading what finds faces and bodies in pictures: files of others, opened by others' libraries."""

from __future__ import annotations

from pathlib import Path

from comfy_api.latest import io

from ..hunyuan_core.errors import ConfigurationError, WeightsError
from ..hunyuan_core.faces.detection import FaceDetector, create_detector
from ..hunyuan_core.pose.dwpose import DWPose
from ..hunyuan_core.toy import toy_reader_file
from ..hunyuan_core.training.toyworld.detector import DrawnFaceDetector
from . import types as sockets
from .checking import blaming, checked
from .comfy_bridge import files
from .loading import Validity, all_valid, file_input

DRAWN = "drawn"
DETECTORS = ("yoloface", "mediapipe", "insightface", DRAWN)
AUTO = "auto"
BUFFALO_DOWNLOAD = "download: buffalo_l (289 MB)"
WHOLE_PICTURE = "none (the picture shows one person)"


class HunyuanPortraitLoadFaceDetector(io.ComfyNode):
    """Load a face detector."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """See ``io.ComfyNode``."""
        names = [*files.options(files.YOLOFACE), *files.mediapipe_models(), *files.insightface_folders()]
        return io.Schema(
            node_id="HunyuanPortraitLoadFaceDetector",
            display_name="Load HunyuanPortrait Face Detector",
            category="HunyuanPortrait/Loaders",
            description="Loads what finds faces: yoloface, as released; mediapipe, whose licence is free; insightface; "
            "or drawn, for the drawn faces that the toy model knows. They run on the CPU, unless onnxruntime-gpu is "
            "installed for insightface.",
            inputs=[
                io.Combo.Input(
                    "detector",
                    options=list(DETECTORS),
                    default="yoloface",
                    tooltip="The library that finds the faces. yoloface is the released model's and needs no further "
                    "package; mediapipe and insightface need theirs (pip install mediapipe or insightface). drawn "
                    "comes with the pack, and knows the one face of a picture from Drawn Example.",
                ),
                io.Combo.Input(
                    "model_name",
                    options=[AUTO, *names, BUFFALO_DOWNLOAD],
                    default=AUTO,
                    tooltip=f"Its model; auto takes the one that is there. yoloface: {files.YOLOFACE.tooltip} "
                    f"mediapipe: face_landmarker.task from Google's Face Landmarker page, put into models/"
                    f"{files.FOLDER}. insightface: a folder in models/insightface, or buffalo_l, which the library "
                    "itself downloads to your home folder (non-commercial research only).",
                ),
            ],
            outputs=[
                sockets.FaceDetector.Output(display_name="face_detector", tooltip="For Detect Faces and Evaluate.")
            ],
            **sockets.supported(search_aliases=["hunyuan portrait", "yoloface", "mediapipe", "insightface"]),
        )

    @classmethod
    def validate_inputs(cls, detector: str | None, model_name: str | None) -> Validity:
        """Check that there is such a model, and that it is one of the detector's."""
        if detector is None or model_name is None:
            return True
        if detector == "yoloface" and files.YOLOFACE.is_download(model_name):
            return True
        try:
            model_path(detector, model_name)
        except (ConfigurationError, WeightsError) as error:
            return str(error)
        return True

    @classmethod
    def fingerprint_inputs(cls, detector: str | None, model_name: str | None) -> str | None:
        """Load again what has changed on the disk."""
        if detector is None or model_name is None or model_name.startswith("download"):
            return model_name
        return files.file_state(model_path(detector, model_name))

    @classmethod
    @checked
    def execute(cls, detector: str, model_name: str) -> io.NodeOutput:
        """Load it."""
        path = model_path(detector, model_name)
        with blaming("model_name"):
            return io.NodeOutput(_create(detector, path))


def _create(detector: str, path: Path | None) -> FaceDetector:
    if detector == DRAWN and path is not None:
        return DrawnFaceDetector(path)
    return create_detector(detector, model_path=path)


class HunyuanPortraitLoadPoseDetector(io.ComfyNode):
    """Load DWPose."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """See ``io.ComfyNode``."""
        detector = files.PERSON_DETECTOR
        return io.Schema(
            node_id="HunyuanPortraitLoadPoseDetector",
            display_name="Load HunyuanPortrait Pose Detector",
            category="HunyuanPortrait/Loaders",
            description="Loads DWPose, which finds the whole-body keypoints that Align Pose draws. Needs onnxruntime.",
            inputs=[
                io.Combo.Input(
                    detector.input,
                    options=[*files.options(detector), WHOLE_PICTURE],
                    default=detector.option,
                    tooltip=f"{detector.tooltip} none: for pictures that show one person only.",
                ),
                file_input(files.POSE_ESTIMATOR),
            ],
            outputs=[sockets.PoseDetector.Output(display_name="pose_detector", tooltip="For Align Pose.")],
            **sockets.supported(search_aliases=["hunyuan portrait", "dwpose", "keypoints", "skeleton"]),
        )

    @classmethod
    def validate_inputs(cls, detector_name: str | None, pose_name: str | None) -> Validity:
        """Check the files' names."""
        detector_name = None if detector_name == WHOLE_PICTURE else detector_name
        return all_valid((files.PERSON_DETECTOR, detector_name), (files.POSE_ESTIMATOR, pose_name))

    @classmethod
    def fingerprint_inputs(cls, detector_name: str | None, pose_name: str | None) -> list[str]:
        """Load again what has changed on the disk."""
        detector_name = None if detector_name == WHOLE_PICTURE else detector_name
        return [
            files.fingerprint(files.PERSON_DETECTOR, detector_name),
            files.fingerprint(files.POSE_ESTIMATOR, pose_name),
        ]

    @classmethod
    @checked
    def execute(cls, detector_name: str, pose_name: str) -> io.NodeOutput:
        """Load it."""
        detector = None if detector_name == WHOLE_PICTURE else files.resolve(files.PERSON_DETECTOR, detector_name)
        path = files.resolve(files.POSE_ESTIMATOR, pose_name)
        with blaming("detector_name or pose_name"):
            return io.NodeOutput(DWPose(path, detector, is_cpu_only=True))


def model_path(detector: str, name: str) -> Path | None:
    """Find the model that is meant for a face detector; yoloface's is fetched if that was chosen.

    Returns:
        File or folder; None for what insightface itself keeps in the home folder, or downloads there.

    Raises:
        ConfigurationError: If there is no such detector, or the model is another's.
        WeightsError: If there is none, or the download fails; says how to get one.
    """
    if detector not in DETECTORS:
        raise ConfigurationError(f"detector: there is no {detector!r}; choose one of {', '.join(DETECTORS)}.")
    if detector == DRAWN:
        _check_is_of(detector, name, name == AUTO)
        return toy_reader_file()
    if detector == "yoloface":
        name = files.YOLOFACE.option if name == AUTO else name
        _check_is_of(detector, name, name == files.YOLOFACE.option or files.YOLOFACE.is_download(name))
        return files.resolve(files.YOLOFACE, name)
    if detector == "insightface":
        found, own = files.insightface_folders(), Path.home() / ".insightface" / "models" / "buffalo_l"
        if name == BUFFALO_DOWNLOAD or (name == AUTO and not found and own.is_dir()):
            return None
        remedy = f"choose {BUFFALO_DOWNLOAD!r}, or unpack buffalo_l.zip into models/insightface/models/buffalo_l"
    else:
        found = files.mediapipe_models()
        remedy = f"put face_landmarker.task from Google's Face Landmarker page into {files.main_folder()}"
    if name == AUTO:
        if not found:
            raise WeightsError(f"model_name: no model of {detector} was found; {remedy}, and press R.")
        return next(iter(found.values()))
    _check_is_of(detector, name, name in found)
    return found[name]


def _check_is_of(detector: str, name: str, is_fitting: bool) -> None:
    if not is_fitting:
        raise ConfigurationError(f"model_name: {name!r} is no model of the face detector {detector}; choose 'auto'.")
