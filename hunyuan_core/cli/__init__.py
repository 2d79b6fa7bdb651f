"""The command line ``hunyuan-portrait``."""

from .main import main

__all__ = ["main"]
