"""Columns that nobody has asked for yet, against an RDataFrame with the parents as indexed friend.

The same files, XCache and side of ours as in ``cold``. Needs a Python that has ROOT; ``rdataframe``
says how one is named.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks import rdataframe
from benchmarks.cold import COLUMNS, SKIM, cold_side, input_bytes, skim_of
from benchmarks.measure import Options, Row, Side, compare
from benchmarks.truth import agrees
from benchmarks.world import LOCAL, World, world
from columnservice.demo.blocks import Sample


def rows(options: Options) -> Iterator[Row]:
    """The rows ``rdataframe/*``."""
    sample = Sample(events=options.size("friends_events"), parents=2, missing=0)
    options.say("rdataframe: generating events")
    folder = options.scratch / "friends"
    folder.mkdir(mode=0o755)
    options.scratch.chmod(0o755)
    with world(folder, sample, remote=True) as made:
        if options.wants("rdataframe/skim"):
            skim = skim_of(made, made.pair.local.parent / "skim.root")
            yield _against(options, "rdataframe/skim", made, skim.path, SKIM)
        if options.wants("rdataframe/whole"):
            yield _against(options, "rdataframe/whole", made, made.pair.local, LOCAL)


def _against(options: Options, name: str, made: World, local: Path, dataset: str) -> Row:
    """Both find out anew what there is."""

    def same(mine: Any, other: rdataframe.Read) -> bool:
        return agrees(mine, other.arrays())

    with ExitStack() as stack:
        root = rdataframe.started(stack, options.scratch)
        assert root is not None
        return compare(
            options,
            name,
            cold_side(made, local, dataset, known=False),
            {"RDataFrame": Side(partial(rdataframe.script, root, local, made.urls, COLUMNS))},
            same=same,
            input_bytes=input_bytes(made.pair, COLUMNS),
        )
