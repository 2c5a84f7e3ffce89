"""A reply's batches come in order, some made ahead, and nothing is begun that nobody needs."""

from __future__ import annotations

from concurrent.futures import Future

import pytest

from columnservice.delivery.stream import Stream
from columnservice.errors import Unavailable

pytestmark = pytest.mark.fast


class Making:
    """Begins parts on demand: ``cached`` ones are ready, others while there are places."""

    def __init__(self, cached=(), places=100):
        self.cached, self.places = set(cached), places
        self.begun = []
        self.futures = {}
        self.closed = 0

    def begin(self, part, due):
        future = Future()
        if part in self.cached:
            future.set_result(part)
        elif not self.places:
            if due:
                raise Unavailable("full")
            return None
        else:
            self.places -= 1
        self.begun.append(part)
        self.futures[part] = future
        return future

    def close(self):
        self.closed += 1

    def stream(self, parts, ahead=2):
        return Stream(parts, lambda: "empty", self.begin, ahead, self.close)


def test_batches_come_in_order_whatever_is_done_first():
    making = Making()
    stream = making.stream(range(5))
    for part in range(5):
        future = stream.next()
        assert future is making.futures[part]
        future.set_result(part)
    assert stream.next() is None


def test_only_so_many_parts_are_begun_ahead():
    making = Making()
    stream = making.stream(range(10), ahead=2)
    stream.next()
    assert making.begun == [0, 1, 2]
    stream.next()
    assert making.begun == [0, 1, 2, 3]


def test_what_is_cached_waits_for_its_turn():
    making = Making(cached=range(10))
    stream = making.stream(range(10))
    stream.next()
    assert making.begun == [0]


def test_without_places_the_part_that_is_due_is_made_and_the_others_wait():
    making = Making(places=1)
    stream = making.stream(range(3))
    stream.next().set_result(0)
    assert making.begun == [0]
    making.places = 1
    stream.next()
    assert making.begun == [0, 1]


def test_without_any_place_the_reply_is_refused():
    with pytest.raises(Unavailable):
        Making(places=0).stream(range(3)).next()


def test_a_closed_reply_begins_nothing_and_is_closed_once():
    making = Making()
    stream = making.stream(range(9))
    stream.next()
    stream.close()
    stream.close()
    assert stream.next() is None
    assert (making.begun, making.closed) == ([0, 1, 2], 1)
    assert not any(future.cancelled() for future in making.futures.values())


def test_a_reply_without_parts_is_empty():
    stream = Making().stream([])
    assert (stream.next(), stream.empty()) == (None, "empty")
