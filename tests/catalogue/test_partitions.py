"""Partitions cover a file exactly, end at clusters where they can, and are never too large."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from columnservice.catalogue.partitions import partitions_of
from columnservice.model import Partition
from tests.catalogue.conftest import record

pytestmark = pytest.mark.fast


def file_with(entries: int, *stops: int):
    return replace(record(1), entries=entries, cluster_stops=stops)


@given(
    clusters=st.lists(st.integers(1, 300), max_size=30),
    partition_events=st.integers(1, 500),
    known=st.booleans(),
)
def test_partitions_cover_the_file_without_gaps(clusters, partition_events, known):
    stops = [sum(clusters[: n + 1]) for n in range(len(clusters))]
    entries = sum(clusters)
    file = file_with(entries, *(stops if known else ()))
    found = partitions_of(file, partition_events)
    edges = [0, *(p.stop for p in found)]
    assert [p.start for p in found] == edges[:-1]
    assert edges[-1] == entries
    assert all(0 < p.stop - p.start <= partition_events for p in found)
    if known:
        starts = [0, *stops]
        for p in found:
            inside = [
                stop - start
                for start, stop in zip(starts, stops, strict=False)
                if start < p.stop < stop
            ]
            assert all(size > partition_events for size in inside)
        # Whole clusters that would fit into one Partition never stand apart.
        for a, b in itertools.pairwise(found):
            if a.stop in stops and b.stop in stops:
                assert b.stop - a.start > partition_events


def test_an_empty_file_has_no_partition():
    assert partitions_of(file_with(0), 100) == ()


def test_clusters_are_joined_and_large_ones_split_evenly():
    found = partitions_of(file_with(1000, 50, 90, 140, 740, 800, 1000), 200)
    assert found == (
        Partition(0, 140),
        Partition(140, 340),
        Partition(340, 540),
        Partition(540, 740),
        Partition(740, 800),
        Partition(800, 1000),
    )


def test_stops_outside_the_file_are_ignored():
    assert partitions_of(file_with(10, 0, 4, 10, 15), 5) == (
        Partition(0, 4),
        Partition(4, 7),
        Partition(7, 10),
    )
