"""Frames, audio and images in and out of files."""

from .images import read_image, write_image
from .source import VideoSource, open_video
from .writing import check_writable, write_video

__all__ = ["VideoSource", "check_writable", "open_video", "read_image", "write_image", "write_video"]
