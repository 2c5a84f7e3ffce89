"""Reading ahead: which range comes next, and that nothing of it is ever seen but fewer waits."""

from __future__ import annotations

import multiprocessing
import os
import threading

import awkward as ak
import numpy as np
import pytest
from coffea.nanoevents import BaseSchema

from columnservice.errors import ProofMismatch, Unavailable
from columnservice.nanoevents.ahead import AHEAD, Ahead, Pace
from columnservice.nanoevents.memory import MEMORY, Range, Source

from .small import ROWS

SOURCE = Source("http://here", "nano")


def at(start: int, stop: int, uuid: str = "u") -> Range:
    return Range(SOURCE, uuid, start, stop)


@pytest.mark.fast
@pytest.mark.parametrize(
    ("ranges", "following"),
    [
        ([(0, 10)], None),
        ([(0, 10), (10, 20)], (20, 30)),
        ([(0, 10), (10, 20), (20, 30)], (30, 35)),
        ([(0, 10), (10, 20), (10, 20)], None),
        ([(0, 10), (20, 30)], None),
        ([(0, 10), (10, 15)], None),
        ([(10, 20), (0, 10)], None),
        ([(15, 25), (25, 35)], None),
    ],
)
def test_two_neighbours_of_one_size_say_what_comes_next(ranges, following):
    pace = Pace()
    found = [pace.follow(at(*r), entries=35) for r in ranges][-1]
    assert found == (None if following is None else at(*following))


@pytest.mark.fast
def test_files_are_followed_apart_from_each_other_and_not_for_ever():
    pace = Pace()
    for start in (0, 10):
        found = [pace.follow(at(start, start + 10, u), 100) for u in ("a", "b")]
    assert found == [at(20, 30, "a"), at(20, 30, "b")]
    for n in range(200):
        pace.follow(at(0, 10, str(n)), 100)
    assert pace.follow(at(20, 30, "a"), 100) is None


@pytest.mark.fast
def test_one_range_at_a_time_is_on_its_way():
    ahead, go = Ahead(), threading.Event()
    assert ahead.begin(at(0, 10), go.wait)
    assert not ahead.begin(at(10, 20), go.wait)
    assert not ahead.wait(at(10, 20))
    assert ahead.on_its_way(at(0, 10))
    go.set()
    ahead.wait(at(0, 10))
    assert ahead.on_its_way(at(0, 10)) is None
    done = threading.Event()
    assert ahead.begin(at(10, 20), done.set)
    assert done.wait(10)


@pytest.mark.fast
def test_a_failure_stays_in_the_background():
    ahead = Ahead()

    def fail() -> None:
        raise Unavailable("too busy.")

    assert ahead.begin(at(0, 10), fail)
    ahead.wait(at(0, 10))
    assert ahead.begin(at(0, 10), lambda: None)


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_a_forked_child_waits_for_no_thread_of_its_parent():
    go = threading.Event()
    MEMORY._lock.acquire()
    AHEAD.begin(at(0, 10), go.wait)
    context = multiprocessing.get_context("fork")
    answers = context.Queue()

    def child() -> None:
        MEMORY.clear()
        answers.put((AHEAD.wait(at(0, 10)), AHEAD.begin(at(0, 10), lambda: None)))

    process = context.Process(target=child)
    process.start()
    try:
        assert answers.get(timeout=20) == (False, True)
    finally:
        MEMORY._lock.release()
        go.set()
        process.join()


def parts(tree, *ranges):
    return [tree["PFCands_pt"].array(entry_start=a, entry_stop=b) for a, b in ranges]


CHUNKS = [(0, 6), (6, 12), (12, 18), (18, 24)]


@pytest.mark.parametrize("ahead", [True, False])
def test_the_values_are_the_same_and_each_range_is_asked_for_once(small, service, server, ahead):
    options = service.nanoevents(BaseSchema, dataset="small", read_ahead=ahead)
    tree = small.tree(options)
    found = ak.concatenate(parts(tree, *CHUNKS))
    assert ak.flatten(found).to_list() == small.table.values["PFCands_pt"].values.tolist()
    assert [r.rows for r in server.data_requests] == CHUNKS
    assert service.report().record["traffic"]["ahead"] == (2 if ahead else 0)


def test_what_is_read_ahead_is_there_before_it_is_asked_for(small, service, server):
    tree = small.tree(service.nanoevents(BaseSchema, dataset="small"))
    parts(tree, *CHUNKS[:2])
    AHEAD.wait(tree.columnservice_friend._supply.range(12, 18))
    assert server.data_requests[-1].rows == (12, 18)
    asked = len(server.log)
    server.answer_with(503, "text/plain", b"")
    parts(tree, CHUNKS[2])
    AHEAD.wait(tree.columnservice_friend._supply.range(18, 24))
    assert [r.rows for r in server.data_requests[asked - 1 :]] == [(18, 24)]
    with pytest.raises(Unavailable):
        parts(tree, CHUNKS[3])


def test_what_is_read_ahead_is_proven_like_anything_else(small, service):
    tree = small.tree(service.nanoevents(BaseSchema, dataset="small"))
    rows = np.arange(ROWS)
    rows[[13, 14]] = rows[[14, 13]]
    small.table.rows = rows
    parts(tree, *CHUNKS[:2])
    AHEAD.wait(tree.columnservice_friend._supply.range(12, 18))
    with pytest.raises(ProofMismatch):
        parts(tree, CHUNKS[2])
    assert len(parts(tree, CHUNKS[3])[0]) == 6


def test_what_does_not_fit_beside_the_range_in_use_is_not_kept(small, service, monkeypatch):
    tree = small.tree(service.nanoevents(BaseSchema, dataset="small"))
    monkeypatch.setattr(MEMORY, "limit_bytes", 10)
    parts(tree, *CHUNKS[:2])
    where = tree.columnservice_friend._supply.range(12, 18)
    AHEAD.wait(where)
    assert MEMORY.recall(where) == {}
    assert ak.count(parts(tree, CHUNKS[2])[0]) > 0


def test_several_columns_read_ahead_come_in_one_request(small, service, server):
    tree = small.tree(service.nanoevents(BaseSchema, dataset="small"))
    for start, stop in CHUNKS:
        for name in ("rho", "Muon_dxy", "PFCands_pt"):
            tree[name].array(entry_start=start, entry_stop=stop)
    by_range = [r.rows for r in server.data_requests]
    assert by_range == [(0, 6)] * 3 + CHUNKS[1:]
    assert all(
        {"rho", "Muon_dxy", "PFCands_pt"} == set(r.columns) for r in server.data_requests[3:]
    )
