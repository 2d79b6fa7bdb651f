"""Other people's nodes, as a pack of ComfyUI: what they hand over may be anything, and the memory may be full.

Not imported by the tests: the server that they start finds it in its custom nodes.
"""

from __future__ import annotations

import gc
import json
import time
from typing import Any

import comfy.model_management as management
import comfy.model_patcher
import comfy.patcher_extension
import torch


class StrangerJson:
    """Any plain value: boxes, keypoints, landmarks, null."""

    RETURN_TYPES = ("*",)
    FUNCTION = "make"
    CATEGORY = "strangers"

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:  # noqa: N802 - ComfyUI's name
        return {"required": {"text": ("STRING", {})}}

    def make(self, text: str) -> tuple[Any]:
        return (json.loads(text),)


class StrangerTensor(StrangerJson):
    """A tensor of any shape under any type: a ramp for "ramp", else full of that number, such as "nan"."""

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:  # noqa: N802
        return {"required": {"shape": ("STRING", {}), "fill": ("STRING", {"default": "ramp"})}}

    def make(self, shape: str, fill: str) -> tuple[Any]:
        sizes = [int(size) for size in shape.split()]
        if fill != "ramp":
            return (torch.full(sizes, float(fill)),)
        return (torch.linspace(0, 1, max(torch.Size(sizes).numel(), 1))[: torch.Size(sizes).numel()].reshape(sizes),)


class StrangerLatent(StrangerTensor):
    """A LATENT of any shape."""

    def make(self, shape: str, fill: str) -> tuple[Any]:
        return ({"samples": super().make(shape, fill)[0]},)


class StrangerObject(StrangerJson):
    """Something that is no plain value."""

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:  # noqa: N802
        return {"required": {"kind": (list(OBJECTS),)}}

    def make(self, kind: str) -> tuple[Any]:
        return (OBJECTS[kind](),)


class _Detector:
    """A detector of faces or people that finds the same in every picture, and takes its time."""

    def __init__(self, found: list[Any], seconds: float = 0) -> None:
        self._found = found
        self._seconds = seconds

    def detect(self, image: Any) -> list[Any]:
        print("stranger: a picture was looked at", flush=True)
        time.sleep(self._seconds)
        return self._found


def _other_model() -> Any:
    cpu = torch.device("cpu")
    return comfy.model_patcher.ModelPatcher(torch.nn.Linear(2, 2), load_device=cpu, offload_device=cpu)


OBJECTS = {
    "object": object,
    "other model": _other_model,
    "conditioning": lambda: [[torch.zeros(1, 1, 8), {}]],
    "finds nothing": lambda: _Detector([]),
    "slowly finds nothing": lambda: _Detector([], 0.3),
    "slowly finds somebody": lambda: _Detector([object()], 0.3),
}


class StrangerModel:
    """A MODEL whose first calls find the memory full, and whose others take their time."""

    RETURN_TYPES = ("MODEL",)
    FUNCTION = "patch"
    CATEGORY = "strangers"

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:  # noqa: N802
        return {
            "required": {
                "model": ("MODEL",),
                "failures": ("INT", {"default": 0}),
                "seconds": ("FLOAT", {"default": 0.0}),
            }
        }

    def patch(self, model: Any, failures: int, seconds: float) -> tuple[Any]:
        left = failures

        def wrapper(executor: Any, *args: Any, **kwargs: Any) -> Any:
            nonlocal left
            print("stranger: the UNet was called", flush=True)
            if left:
                left -= 1
                raise torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 9 GiB")
            time.sleep(seconds)
            return executor(*args, **kwargs)

        patched = model.clone()
        kind = comfy.patcher_extension.WrappersMP.APPLY_MODEL
        patched.add_wrapper_with_key(kind, "stranger", wrapper)
        return (patched,)


class StrangerVAE:
    """A VAE whose decoder finds the memory full with more than so many frames, and takes its time."""

    RETURN_TYPES = ("VAE",)
    FUNCTION = "patch"
    CATEGORY = "strangers"

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:  # noqa: N802
        return {
            "required": {
                "vae": ("VAE",),
                "most_frames": ("INT", {"default": 99}),
                "seconds": ("FLOAT", {"default": 0.0}),
            }
        }

    def patch(self, vae: Any, most_frames: int, seconds: float) -> tuple[Any]:
        decoder = vae.first_stage_model.decoder
        if old := getattr(decoder, "stranger", None):
            old.remove()

        def hook(module: Any, args: Any) -> None:
            print(f"stranger: {len(args[0])} frames were decoded", flush=True)
            if len(args[0]) > most_frames:
                raise torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 9 GiB")
            time.sleep(seconds)

        decoder.stranger = decoder.register_forward_pre_hook(hook)
        return (vae,)


class StrangerMemory:
    """What is in memory at the end of a run: models that ComfyUI holds, and what a sampler works with."""

    RETURN_TYPES = ()
    FUNCTION = "look"
    CATEGORY = "strangers"
    OUTPUT_NODE = True

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:  # noqa: N802
        return {"required": {}}

    @classmethod
    def IS_CHANGED(cls) -> float:  # noqa: N802
        return float("nan")

    def look(self) -> dict[str, Any]:
        gc.collect()
        kinds = ("VideoPredictor", "Denoiser", "PortraitGuider")
        found = [type(thing).__name__ for thing in gc.get_objects() if type(thing).__name__ in kinds]
        loaded = [type(model.model.model).__name__ for model in management.current_loaded_models]
        return {"ui": {"text": [json.dumps({"sampling": found, "loaded": loaded})]}}


NODE_CLASS_MAPPINGS = {
    node.__name__: node
    for node in (
        StrangerJson,
        StrangerTensor,
        StrangerLatent,
        StrangerObject,
        StrangerModel,
        StrangerVAE,
        StrangerMemory,
    )
}
