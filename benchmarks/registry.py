"""All benchmarks: one entry per room, with its rows, their targets and its sizes.

Imports none of them. The targets are ratios on the development machine (two cores).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase

from benchmarks.measure import Size, Target


@dataclass(frozen=True)
class Room:
    """One module of benchmarks.

    Attributes:
        module: has ``rows(options) -> Iterator[Row]``.
        targets: the rows that it makes.
        sizes: the sizes that it knows; ``join_events`` is set by ``--join-events``.
        environment: variables of the process that it runs in.
    """

    module: str
    targets: tuple[Target, ...]
    sizes: Mapping[str, Size] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)


# Joins are compared on one thread each: the peers read these before they start.
ONE_THREAD = {"POLARS_MAX_THREADS": "1", "OMP_NUM_THREADS": "1", "ARROW_NUM_THREADS": "1"}

ROOMS = (
    Room(
        "benchmarks.joins",
        (Target("join-natural/best-peer", 5.0), Target("join-shuffled/best-peer", 2.0)),
        {
            "join_events": Size(4_000_000, 20_000, "events of the local file"),
            "join_gap": Size(8, 8, "event numbers of a block lie up to this far apart"),
            "join_disorder": Size(8, 8, "how far a row stands from where it belongs in its block"),
        },
        ONE_THREAD,
    ),
    Room(
        "benchmarks.gathers",
        (
            Target("gather-natural/memcpy", 0.5),
            Target("gather-blocks/awkward", 3.0),
            Target("gather-shuffled/awkward", 1.0),
        ),
        {
            "gather_events": Size(1_000_000, 5_000, "events whose rows are gathered"),
            "gather_items": Size(50, 50, "objects an event, on average"),
        },
    ),
    Room(
        "benchmarks.warm",
        (
            Target("warm-http/plain-stream", 2.0),
            Target("warm-http/flight", 1.0),
            Target("warm-http-small/flight", 1.0),
            Target("warm-http/local-zstd", 1.0),
            Target("warm-http/local-zlib", 1.0),
            Target("warm-http/local-lzma", 20.0),
            Target("warm-mapped/local-zstd", 5.0),
        ),
        {"warm_events": Size(16_000, 200, "events of warm replies, 16 kB each")},
    ),
    Room(
        "benchmarks.cold",
        (
            Target("cold-whole/bare-read", 1.25, "<="),
            Target("cold-whole-50ms/bare-read", 1.1, "<="),
            Target("cold-skim/whole", 0.15, "<="),
            Target("skim-bytes/needed-baskets", 1.3, "<="),
            Target("user-script/skim", 3.0),
            Target("user-script/whole", 1.1),
        ),
        {"cold_events": Size(20_000, 400, "events of a cold file, 60 kB each in the parents")},
    ),
    Room(
        "benchmarks.analysis",
        (
            Target("runner/local", 1.15, "<="),
            Target("first-touch/one-more-local-column", 2.0, "<="),
            Target("later-touch/one-more-local-column", 0.25, "<="),
        ),
        {"analysis_events": Size(8_000, 200, "events of an analysis, 16 kB each")},
    ),
    Room(
        "benchmarks.clients",
        (Target("clients/slowest-of-mean", 0.5), Target("clients/one-alone", 0.8)),
        {
            "clients_events": Size(8_000, 200, "events that the clients ask for, 16 kB each"),
            "clients_seconds": Size(60, 2, "how long they do"),
        },
    ),
    Room(
        "benchmarks.catalogues",
        (Target("catalogue/files", 3.0, "<="),),
        {
            "catalogue_files": Size(1_000_000, 2_000, "files of the large catalogue"),
            "catalogue_few": Size(1_000, 100, "files of the small one"),
        },
    ),
    Room(
        "benchmarks.growth",
        (Target("growth/time", 11.0, "<="), Target("growth/memory", 1.2, "<=")),
        {"growth_events": Size(1_000, 60, "events before they grow tenfold, 60 kB each")},
    ),
    Room("benchmarks.imports", (Target("import/light", 1.0),)),
)


def sizes() -> dict[str, Size]:
    """All sizes of all rooms, by name."""
    return {name: size for room in ROOMS for name, size in room.sizes.items()}


def selected(patterns: Sequence[str]) -> dict[str, tuple[Target, ...]]:
    """The rows that patterns mean, by module: ``join-natural/*``, ``join-natural``, ``*memcpy``.

    Args:
        patterns: names, beginnings of names up to a slash, or shell patterns; none for all.

    Raises:
        LookupError: a pattern means no row.
    """
    for pattern in patterns:
        if not any(_means(pattern, t.name) for room in ROOMS for t in room.targets):
            raise LookupError(pattern)
    found = {
        room.module: tuple(
            t for t in room.targets if not patterns or any(_means(p, t.name) for p in patterns)
        )
        for room in ROOMS
    }
    return {module: targets for module, targets in found.items() if targets}


def _means(pattern: str, name: str) -> bool:
    return fnmatchcase(name, pattern) or name.startswith(f"{pattern}/")
