"""What downloading, converting and verifying tell about each file."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from .files import ModelFile

Status = Literal["present", "downloaded", "converted", "missing", "damaged", "wrong layout", "failed"]

Progress = Callable[[str, int, int], None]
"""Called with a filename, the amount done and the whole amount."""


@dataclass(frozen=True)
class FileReport:
    """The outcome for one file; as a string it is one line for people.

    Attributes:
        path: Where the file is, or belongs if it is not there.
        message: Details; for a failure its cause and remedy.
    """

    file: ModelFile
    path: Path
    status: Status
    message: str = ""

    @property
    def is_ok(self) -> bool:
        """Whether nothing needs to be done: the file is sound, or absent and optional."""
        if self.status == "missing":
            return not self.file.is_required
        return self.status in ("present", "downloaded", "converted")

    def __str__(self) -> str:
        """Status, path and details in one line."""
        return f"{self.status:<12}  {self.path}" + (f": {self.message}" if self.message else "")
