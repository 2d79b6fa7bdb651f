"""Opening of ONNX files, the same way for every network that comes as one."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from .errors import WeightsError
from .optional import require

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

_INSTALL = "pip install onnxruntime (or onnxruntime-gpu for an NVIDIA card; never both)"
_ERRORS_ONLY = 3  # onnxruntime's severity levels: 0 verbose, 1 info, 2 warning, 3 error, 4 fatal
# TensorRT compiles a network for minutes before its first run, Azure runs nothing itself.
_UNWANTED_PROVIDERS = {"TensorrtExecutionProvider", "NvTensorRTRTXExecutionProvider", "AzureExecutionProvider"}


def open_onnx(path: str | Path, purpose: str, *, is_cpu_only: bool = False) -> InferenceSession:
    """Open an ONNX file for inference on the best device that the installed onnxruntime knows.

    Args:
        path: The ``.onnx`` file.
        purpose: What the file is needed for, as it should read after "is needed for".
        is_cpu_only: For hosts that share out the GPU's memory and cannot see what a session holds of it.

    Raises:
        MissingDependencyError: If neither onnxruntime nor onnxruntime-gpu is installed.
        WeightsError: If the file is missing, damaged, or not a network that onnxruntime can run.
    """
    onnxruntime = require("onnxruntime", purpose, _INSTALL)
    failures = require("onnxruntime.capi.onnxruntime_pybind11_state", purpose, _INSTALL)
    path = Path(path)
    if not path.is_file():
        raise WeightsError(f"{path} is needed for {purpose} but is not a file; give the path of the .onnx file.")
    options = onnxruntime.SessionOptions()
    options.log_severity_level = _ERRORS_ONLY
    providers = [name for name in onnxruntime.get_available_providers() if name not in _UNWANTED_PROVIDERS]
    if is_cpu_only:
        providers = ["CPUExecutionProvider"]
    try:
        return onnxruntime.InferenceSession(str(path), sess_options=options, providers=providers)
    except (
        failures.Fail,
        failures.InvalidArgument,
        failures.InvalidGraph,
        failures.InvalidProtobuf,
        failures.NotImplemented,
        failures.RuntimeException,
    ) as error:
        cause = " ".join(str(error).split())
        raise WeightsError(
            f"{path}, needed for {purpose}, cannot be opened as an ONNX network ({cause}); download the file again."
        ) from error
