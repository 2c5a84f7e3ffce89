from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from columnservice.reader import faults
from columnservice.reader.retry import (
    PAUSES_SECONDS,
    REPEAT_WITHIN_SECONDS,
    LeftAside,
    pause_before_repeat,
    still_to_ask,
)

pytestmark = pytest.mark.fast

CACHE, OTHER_CACHE, ORIGIN = (f"root://{name}:1094//store/a.root" for name in ("c", "d", "o"))
REPLICAS = [CACHE, OTHER_CACHE, ORIGIN]
CLASSES = st.sampled_from(faults.CLASSES)


@given(CLASSES, st.floats(0, 10))
def test_repetitions_end_after_two_and_within_the_bound(found, step_seconds):
    elapsed, repeated = step_seconds, 0
    while (pause := pause_before_repeat(found, repeated, elapsed)) is not None:
        assert elapsed + pause < REPEAT_WITHIN_SECONDS
        elapsed += pause + step_seconds
        repeated += 1
    assert repeated <= found.repeats <= 2


def test_pauses_grow():
    pauses = [pause_before_repeat(faults.REFUSED, n, 0.0) for n in range(3)]
    assert pauses == [*PAUSES_SECONDS, None]
    assert sorted(PAUSES_SECONDS) == list(PAUSES_SECONDS)


def test_a_server_that_hung_for_long_is_not_asked_again():
    assert pause_before_repeat(faults.TIMED_OUT, 0, 16.0) is None


@pytest.mark.parametrize(
    ("found", "asked"),
    [
        (faults.REFUSED, [OTHER_CACHE, ORIGIN]),
        (faults.STALLED, [OTHER_CACHE, ORIGIN]),
        (faults.ABSENT, [OTHER_CACHE, ORIGIN]),
        (faults.DAMAGED, [ORIGIN]),
        (faults.CHANGED, [ORIGIN]),
        (faults.DENIED, []),
    ],
    ids=lambda v: getattr(v, "name", ""),
)
def test_who_is_asked_after_a_cache_failed(found, asked):
    assert still_to_ask(found, REPLICAS[1:], ORIGIN) == asked


@given(CLASSES, st.permutations(REPLICAS), st.integers(0, 3))
def test_nobody_is_asked_twice(found, order, asked):
    waiting = order[asked:]
    rest = still_to_ask(found, waiting, ORIGIN)
    assert set(rest) <= set(waiting)
    assert len(set(rest)) == len(rest)


def test_a_server_that_is_down_is_asked_last_for_every_file_until_its_time_is_over():
    aside = LeftAside(seconds=30)
    aside.add(faults.TIMED_OUT, CACHE, now_seconds=100)
    files = [url.replace("a.root", "b.root") for url in REPLICAS]
    assert aside.ordered(files, 129) == [*files[1:], files[0]]
    assert aside.ordered(files, 131) == files


def test_a_damaged_replica_is_asked_last_and_other_files_of_its_server_are_not():
    aside = LeftAside(seconds=30)
    aside.add(faults.DAMAGED, CACHE, now_seconds=100)
    files = [url.replace("a.root", "b.root") for url in REPLICAS]
    assert aside.ordered(REPLICAS, 101) == [OTHER_CACHE, ORIGIN, CACHE]
    assert aside.ordered(files, 101) == files


@pytest.mark.parametrize("found", [faults.STALLED, faults.DENIED, faults.ABSENT])
def test_a_cache_that_lacks_only_what_its_origin_withholds_stays_first(found):
    aside = LeftAside()
    aside.add(found, CACHE, now_seconds=0)
    assert aside.ordered(REPLICAS, 0) == REPLICAS


@given(st.lists(st.tuples(CLASSES, st.sampled_from(REPLICAS), st.floats(0, 200))))
def test_whatever_is_left_aside_all_replicas_are_still_asked(happened):
    aside = LeftAside(seconds=50)
    for found, url, now in sorted(happened, key=lambda h: h[2]):
        aside.add(found, url, now)
    assert sorted(aside.ordered(REPLICAS, 200)) == sorted(REPLICAS)
