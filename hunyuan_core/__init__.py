"""HunyuanPortrait: a portrait image and a driving video become a video of the portrait. Knows nothing of ComfyUI."""

__version__ = "0.1.0"
