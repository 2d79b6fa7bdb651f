"""Run the benchmarks: one JSON object a line; the exit status is 1 if a gate failed.

Usage: python benchmarks/bench.py [NAME ...]
"""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Sequence

BENCHMARKS = ("count", "work", "memory", "calls", "graph", "equal", "ratio", "rss", "quality", "gpu")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what was asked for, or everything."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(BENCHMARKS))
    names = parser.parse_args(arguments).names or BENCHMARKS
    if unknown := set(names) - set(BENCHMARKS):
        parser.error(f"there is no benchmark {', '.join(sorted(unknown))}; choose of {', '.join(BENCHMARKS)}")
    has_failed = False
    for name in names:
        for result in importlib.import_module(name).run():
            print(result.to_json(), flush=True)
            has_failed |= result.status == "fail"
    return int(has_failed)


if __name__ == "__main__":
    sys.exit(main())
