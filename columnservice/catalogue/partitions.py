"""Cutting a File into Partitions at its clusters: pure arithmetic."""

from __future__ import annotations

import itertools

from columnservice.model import FileRecord, Partition


def partitions_of(record: FileRecord, partition_events: int) -> tuple[Partition, ...]:
    """Partitions of at most ``partition_events`` rows that cover the File, in order, without gaps.

    Clusters are joined while they fit; a larger cluster is split into equal parts. A Partition
    therefore ends inside a cluster only where that cluster alone is larger than a Partition.

    Args:
        record: the File; its ``cluster_stops`` may be empty (then it is one cluster).
        partition_events: the most rows of a Partition, at least 1.
    """
    stops = [s for s in record.cluster_stops if 0 < s < record.entries] + [record.entries]
    found: list[Partition] = []
    start = end = 0
    for stop in stops:
        if stop - start <= partition_events:
            end = stop
            continue
        if end > start:
            found.append(Partition(start, end))
            start = end
        parts = max(1, -(-(stop - start) // partition_events))
        cuts = [start + (stop - start) * i // parts for i in range(parts + 1)]
        found.extend(Partition(a, b) for a, b in itertools.pairwise(cuts[:-1]))
        start, end = cuts[-2], stop
    if end > start:
        found.append(Partition(start, end))
    return tuple(found)
