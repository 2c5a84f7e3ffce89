"""Candidates by luminosity block: always all that may hold an event, found through an index."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy.dialects import postgresql

from columnservice.catalogue.lumis import merged, overlap_query, span_of
from columnservice.catalogue.manifest import ManifestEntry
from columnservice.model import Dataset, LumiRange
from tests.catalogue.conftest import LAYOUT, record

pytestmark = pytest.mark.fast
LARGEST = 2**32 - 1

blocks = st.one_of(st.integers(0, 60), st.integers(0, LARGEST))


@st.composite
def ranges(draw: st.DrawFn) -> LumiRange:
    first, last = sorted((draw(blocks), draw(blocks)))
    return LumiRange(draw(st.sampled_from((1, 2, LARGEST))), first, last)


def overlap(a: LumiRange, b: LumiRange) -> bool:
    return a.run == b.run and a.first <= b.last and b.first <= a.last


@given(
    held=st.lists(st.tuples(st.lists(ranges(), max_size=4), st.integers(0, 1)), max_size=6),
    wanted=st.lists(ranges(), min_size=1, max_size=4),
)
@settings(
    max_examples=150,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
def test_candidates_are_those_that_brute_force_finds(catalogue, held, wanted):
    name = f"p{len(catalogue.datasets())}"  # each example in a dataset of its own
    catalogue.add_dataset(Dataset(name, "miniaod"))
    records = [record(n, *lumis, entries=10 * e) for n, (lumis, e) in enumerate(held)]
    for each in records:
        catalogue.record_file(name, each, LAYOUT)
    expected = [
        r.url
        for r in records
        if any(overlap(a, b) for a in r.lumis for b in wanted) or (not r.lumis and r.entries)
    ]
    assert [r.url for r in catalogue.candidates(name, wanted)] == expected


def test_where_the_blocks_looked_for_are_unknown_every_file_with_events_is_a_candidate(catalogue):
    catalogue.add_dataset(Dataset("p", "miniaod"))
    catalogue.record_file("p", record(1, LumiRange(1, 1, 1)), LAYOUT)
    catalogue.record_file("p", record(2, entries=0), LAYOUT)
    assert [r.lfn for r in catalogue.candidates("p", ())] == ["/store/1.root"]


def test_candidates_of_another_dataset_do_not_mix_in(catalogue):
    for name in ("p", "q"):
        catalogue.add_dataset(Dataset(name, "miniaod"))
    catalogue.record_file("q", record(1, LumiRange(1, 1, 9)), LAYOUT)
    assert catalogue.candidates("p", [LumiRange(1, 1, 9)]) == ()


def test_more_ranges_than_fit_into_one_statement(catalogue):
    catalogue.add_dataset(Dataset("p", "miniaod"))
    lumis = [LumiRange(1, 3 * n, 3 * n) for n in range(12_000)]
    catalogue.import_manifest("p", [ManifestEntry(f"f{r.first}", 1, (r,)) for r in lumis])
    assert len(catalogue.declared("p", lumis)) == 12_000
    assert catalogue.declared("p", [LumiRange(1, 3, 3), LumiRange(1, 1, 1)]) == ("f3",)


def test_the_search_goes_through_the_index_and_never_over_a_table(catalogue):
    query = overlap_query(1, [LumiRange(1, 1, 5), LumiRange(2, 7, 9)])
    with catalogue._database.reading() as connection:
        text = str(query.compile(connection.engine, compile_kwargs={"literal_binds": True}))
        plan = [row[3] for row in connection.exec_driver_sql("EXPLAIN QUERY PLAN " + text)]
    search = "USING COVERING INDEX ix_lumis_search (dataset_id=? AND run=? AND span=? AND first>?"
    assert any(step.startswith("SEARCH lumis") and search in step for step in plan), plan
    assert not any("SCAN lumis" in step or "SCAN files" in step for step in plan), plan


def test_the_search_can_be_said_in_postgresql():
    text = str(overlap_query(1, [LumiRange(1, 1, 5)]).compile(dialect=postgresql.dialect()))
    assert "WITH wanted(run, first, last) AS" in text
    assert "(VALUES (" in text


@given(st.lists(ranges(), max_size=8))
def test_merged_ranges_are_the_same_blocks_ascending_with_gaps_between(given_ranges):
    found = merged(given_ranges)
    for a, b in itertools.pairwise(found):
        assert (a.run, a.last + 1) < (b.run, b.first)
    for run in {r.run for r in given_ranges}:
        edges = {e for r in given_ranges for e in (r.first - 1, r.first, r.last, r.last + 1)}
        for block in edges:
            point = LumiRange(run, block, block)
            assert any(overlap(point, r) for r in found) == any(
                overlap(point, r) for r in given_ranges
            )


@pytest.mark.parametrize(
    ("width", "span"), [(1, 0), (2, 1), (16, 1), (17, 2), (256, 2), (LARGEST + 1, 8)]
)
def test_the_class_of_a_width(width, span):
    assert span_of(LumiRange(1, 0, width - 1)) == span
