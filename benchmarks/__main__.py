"""``python -m benchmarks [NAME…] [--events N] [--json OUT]``."""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict
from pathlib import Path

from benchmarks.alignment import BENCHMARKS


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(BENCHMARKS))
    parser.add_argument("--events", type=int, default=1_000_000)
    parser.add_argument("--json", type=Path)
    told = parser.parse_args()
    unknown = set(told.names) - set(BENCHMARKS)
    if unknown:
        parser.error(
            f"no benchmark {', '.join(sorted(unknown))}; there are: {', '.join(BENCHMARKS)}"
        )
    rows = [BENCHMARKS[name](told.events) for name in told.names or BENCHMARKS]
    for row in rows:
        print(f"{row.name:26} {row.ratio:6.2f}x faster ({row.low:.2f} to {row.high:.2f})")
    if told.json:
        told.json.write_text(json.dumps([asdict(row) for row in rows], indent=1))


if __name__ == "__main__":
    main()
