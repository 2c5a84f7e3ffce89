"""What ``import columnservice`` loads in a fresh process: nothing heavy, nothing of the server."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator

from benchmarks.measure import Options, Row, holds

HEAVY = (
    "uproot", "awkward", "coffea", "dask", "numba", "pandas", "sqlalchemy", "alembic", "fastapi",
    "uvicorn", "pydantic", "XRootD", "diskcache",
    *(f"columnservice.{room}" for room in (
        "api", "cli", "delivery", "alignment", "cache", "catalogue", "reader", "formats",
        "settings", "demo",
    )),
)  # fmt: skip
SCRIPT = """
import json, sys, time
begun = time.perf_counter()
import columnservice
seconds = time.perf_counter() - begun
print(json.dumps([seconds, sorted(sys.modules)]))
"""


def rows(options: Options) -> Iterator[Row]:
    """The row ``import/light``."""
    seconds, loaded = [], set()
    for _ in range(options.pairs):
        done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, check=True)
        took, modules = json.loads(done.stdout)
        seconds.append(took)
        loaded |= {m for m in modules if any(m == h or m.startswith(f"{h}.") for h in HEAVY)}
    note = f"loads {', '.join(sorted(loaded))}" if loaded else "1: loads none of these"
    yield holds(options, "import/light", not loaded, sorted(seconds)[len(seconds) // 2], note)
