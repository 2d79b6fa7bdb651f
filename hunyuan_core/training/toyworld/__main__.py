"""``python -m hunyuan_core.training.toyworld`` writes the contact sheet."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from ...errors import HunyuanPortraitError
from ...video.images import write_image
from .contact_sheet import contact_sheet


def main(arguments: list[str] | None = None) -> str | None:
    """Run; what comes back is the exit status or the error to print."""
    parser = argparse.ArgumentParser(prog="python -m hunyuan_core.training.toyworld", description=__doc__)
    parser.add_argument(
        "--contact-sheet", type=Path, required=True, metavar="PATH", help="picture to write: .jpg, .png or .webp"
    )
    parser.add_argument("--seed", type=int, default=0, help="of the people (default: 0)")
    parser.add_argument("--people", type=int, default=6, help="rows, one for each (default: 6)")
    parser.add_argument("--size", type=int, default=80, help="side of one portrait, pixels (default: 80)")
    options = parser.parse_args(arguments)
    try:
        if options.people < 1 or options.size < 1:
            parser.error("--people and --size must be at least 1")
        write_image(options.contact_sheet, contact_sheet(options.seed, options.people, options.size))
    except HunyuanPortraitError as error:
        return str(error)
    return None


if __name__ == "__main__":
    sys.exit(main())
