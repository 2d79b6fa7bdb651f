"""Weight files: find, download, convert, verify, and read them without executing anything they hold."""

from .conversion import convert
from .downloading import download, licence_text
from .files import FILES, PREVIEW_FILES, ModelFile, ModelFiles, Source, default_folder, find_models
from .loading import build_network, load_into, load_network, read_config, save_network
from .reading import read_shapes, read_state_dict
from .reports import FileReport
from .verification import verify

__all__ = [
    "FILES",
    "PREVIEW_FILES",
    "FileReport",
    "ModelFile",
    "ModelFiles",
    "Source",
    "build_network",
    "convert",
    "default_folder",
    "download",
    "find_models",
    "licence_text",
    "load_into",
    "load_network",
    "read_config",
    "read_shapes",
    "read_state_dict",
    "save_network",
    "verify",
]
