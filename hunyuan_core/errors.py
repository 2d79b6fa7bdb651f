"""The errors that this package raises on purpose.

A message is one line that says what was expected, what came, and which input to change.
"""

from __future__ import annotations


class HunyuanPortraitError(Exception):
    """Base of all errors that are the input's or the installation's fault, not a bug."""


class ConfigurationError(HunyuanPortraitError, ValueError):
    """A setting is out of range or two settings contradict each other."""


class ShapeError(HunyuanPortraitError, ValueError):
    """A tensor does not have the documented shape; the message names both shapes."""


class MediaError(HunyuanPortraitError):
    """An image or video file cannot be read, decoded or written."""


class FaceNotFoundError(HunyuanPortraitError):
    """No face, or no person, where one is needed; in a video, only if no frame shows one."""


class WeightsError(HunyuanPortraitError):
    """A weight file is missing, damaged, of another model, or unsafe to read."""


class MissingDependencyError(HunyuanPortraitError, ImportError):
    """An optional package is not installed; the message holds the line that installs it."""
