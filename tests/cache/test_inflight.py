from __future__ import annotations

import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from columnservice.cache import Inflight, inflight
from columnservice.errors import ColumnServiceError, CountsMismatch, Unavailable, Unreachable

pytestmark = pytest.mark.fast

PATIENCE_SECONDS = 60  # only a deadlock ever waits so long


class Gate:
    """Work that says when it has begun, and ends when it is told to."""

    def __init__(self, error: BaseException | None = None) -> None:
        self.begun = threading.Event()
        self.open = threading.Event()
        self.made: Counter[str] = Counter()
        self._error = error

    def __call__(self, keys):
        self.begun.set()
        assert self.open.wait(PATIENCE_SECONDS)
        self.made.update(keys)
        if self._error is not None:
            raise self._error
        return {key: f"{key} made" for key in keys}


@pytest.fixture
def threads():
    with ThreadPoolExecutor(32) as pool:
        yield pool


@pytest.fixture
def waiting(monkeypatch):
    """Counted up when a caller is about to wait for others: their flights are in its hands then."""
    counted = threading.Semaphore(0)
    wait = inflight._wait

    def counting(flights, timeout_seconds):
        if flights:
            counted.release()
        return wait(flights, timeout_seconds)

    monkeypatch.setattr(inflight, "_wait", counting)
    return counted


def _never(keys):
    raise AssertionError(f"{keys} made once more")


def _a(_):
    return {"a": 1}


def _await(waiting, callers):
    for _ in range(callers):
        assert waiting.acquire(timeout=PATIENCE_SECONDS)


def test_what_many_ask_for_at_once_is_made_once(threads, waiting):
    flights, gate = Inflight(), Gate()
    first = threads.submit(flights.run, ["a", "b"], gate)
    assert gate.begun.wait(PATIENCE_SECONDS)
    others = [threads.submit(flights.run, ["b", "a"], _never) for _ in range(31)]
    _await(waiting, 31)
    assert len(flights) == 2
    gate.open.set()
    assert first.result() == {"a": "a made", "b": "b made"}
    assert all(other.result() == {"a": "a made", "b": "b made"} for other in others)
    assert gate.made == {"a": 1, "b": 1}
    assert len(flights) == 0


def test_a_caller_makes_only_what_nobody_is_making(threads, waiting):
    flights, slow, quick = Inflight(), Gate(), Gate()
    quick.open.set()
    first = threads.submit(flights.run, ["a", "b"], slow)
    assert slow.begun.wait(PATIENCE_SECONDS)
    second = threads.submit(flights.run, ["c", "b", "d"], quick)
    _await(waiting, 1)
    assert quick.made == {"c": 1, "d": 1}
    assert not second.done()
    assert flights.run(["c"], quick) == {"c": "c made"}  # c is done though its caller waits for b
    slow.open.set()
    assert list(second.result()) == ["c", "b", "d"]
    assert first.result()
    assert slow.made == {"a": 1, "b": 1}


def test_work_is_asked_once_for_repeated_keys_in_order():
    asked = []

    def work(keys):
        asked.append(keys)
        return {key: key.upper() for key in keys}

    assert Inflight().run(["b", "a", "b"], work) == {"b": "B", "a": "A"}
    assert asked == [("b", "a")]
    assert Inflight().run([], _never) == {}


def test_a_failure_reaches_all_who_wait_and_poisons_nothing(threads, waiting):
    flights, gate = Inflight(), Gate(Unreachable("no answer", "wait"))
    callers = [threads.submit(flights.run, ["a", "b"], gate)]
    assert gate.begun.wait(PATIENCE_SECONDS)
    callers += [threads.submit(flights.run, ["b"], _never) for _ in range(5)]
    _await(waiting, 5)
    gate.open.set()
    errors = [caller.exception() for caller in callers]
    assert {(type(e), e.message, e.remedy) for e in errors} == {(Unreachable, "no answer", "wait")}
    assert len({id(error) for error in errors}) == 6
    assert len(flights) == 0
    assert flights.run(["a", "b"], lambda keys: dict.fromkeys(keys, 1)) == {"a": 1, "b": 1}


def test_who_waits_for_a_failure_has_made_its_own_keys_nevertheless(threads, waiting):
    flights, gate, store = Inflight(), Gate(Unreachable("no answer")), {}
    first = threads.submit(flights.run, ["a"], gate)
    assert gate.begun.wait(PATIENCE_SECONDS)

    def work(keys):
        store.update(dict.fromkeys(keys, 1))
        return store

    second = threads.submit(flights.run, ["a", "b"], work)
    _await(waiting, 1)
    gate.open.set()
    assert isinstance(second.exception(), Unreachable)
    assert isinstance(first.exception(), Unreachable)
    assert store == {"b": 1}


def test_an_alignment_error_has_no_os_error_in_its_chain_for_any_caller(threads, waiting):
    """coffea's Runner would skip the file otherwise, without a word."""
    flights, gate = Inflight(), Gate(CountsMismatch("3 and 4 objects"))
    callers = [threads.submit(flights.run, ["a"], gate)]
    assert gate.begun.wait(PATIENCE_SECONDS)
    callers.append(threads.submit(flights.run, ["a"], _never))
    _await(waiting, 1)
    gate.open.set()
    for caller in callers:
        error = caller.exception()
        assert isinstance(error, CountsMismatch)
        while error is not None:
            assert not isinstance(error, OSError)
            error = error.__cause__ or error.__context__


def test_who_leaves_does_not_stop_the_work(threads, waiting):
    flights, gate = Inflight(), Gate()
    first = threads.submit(flights.run, ["a"], gate)
    assert gate.begun.wait(PATIENCE_SECONDS)
    with pytest.raises(Unavailable, match="not done after 0"):
        flights.run(["a"], _never, timeout_seconds=0)
    patient = threads.submit(flights.run, ["a"], _never, timeout_seconds=PATIENCE_SECONDS)
    _await(waiting, 2)
    gate.open.set()
    assert first.result() == patient.result() == {"a": "a made"}


def test_a_time_limit_does_not_bound_ones_own_work():
    assert Inflight().run(["a"], _a, timeout_seconds=0) == {"a": 1}


def test_a_timeout_within_the_work_is_the_works_failure(threads, waiting):
    flights, gate = Inflight(), Gate(TimeoutError("of the storage"))
    first = threads.submit(flights.run, ["a"], gate)
    assert gate.begun.wait(PATIENCE_SECONDS)
    second = threads.submit(flights.run, ["a"], _never)
    _await(waiting, 1)
    gate.open.set()
    for caller in (first, second):
        assert type(caller.exception()) is TimeoutError


def test_an_interrupt_stays_in_its_thread(threads, waiting):
    flights, gate = Inflight(), Gate(KeyboardInterrupt())
    first = threads.submit(flights.run, ["a"], gate)
    assert gate.begun.wait(PATIENCE_SECONDS)
    second = threads.submit(flights.run, ["a"], _never)
    _await(waiting, 1)
    gate.open.set()
    assert isinstance(first.exception(), KeyboardInterrupt)
    assert isinstance(second.exception(), Unavailable)
    assert len(flights) == 0


class Uncopyable(Exception):
    def __init__(self, code, place):
        super().__init__(f"{code} at {place}")


def test_an_error_that_cannot_be_copied_is_raised_all_the_same(threads, waiting):
    flights, gate = Inflight(), Gate(Uncopyable(7, "home"))
    first = threads.submit(flights.run, ["a"], gate)
    assert gate.begun.wait(PATIENCE_SECONDS)
    second = threads.submit(flights.run, ["a"], _never)
    _await(waiting, 1)
    gate.open.set()
    # Where something taught exceptions to be copied (tblib does), a copy is as good.
    for failed in (first.exception(), second.exception()):
        assert type(failed) is Uncopyable
        assert str(failed) == "7 at home"


def test_a_key_that_work_leaves_out_is_an_error():
    flights = Inflight()
    with pytest.raises(ColumnServiceError, match="1 of 2 keys were not made"):
        flights.run(["a", "b"], _a)
    assert len(flights) == 0


def test_what_was_made_just_before_is_not_made_again():
    store = {"a": 1}
    made = Inflight().run(["a", "b"], lambda keys: dict.fromkeys(keys, 2), store.get)
    assert made == {"a": 1, "b": 2}
    assert Inflight().run(["a"], _never, store.get) == {"a": 1}


def test_a_lookup_that_fails_is_a_failure_like_any_other():
    flights = Inflight()

    def lookup(key):
        raise Unavailable("index busy")

    with pytest.raises(Unavailable, match="index busy"):
        flights.run(["a"], _never, lookup)
    assert flights.run(["a"], _a) == {"a": 1}


KEYS = st.lists(st.sampled_from("abcdef"), max_size=6)


@settings(max_examples=60, deadline=None)
@given(wants=st.lists(KEYS, min_size=2, max_size=12))
def test_any_callers_in_any_order_make_each_key_once_and_none_blocks_another(wants):
    flights, start, lock = Inflight(), threading.Barrier(len(wants)), threading.Lock()
    store: dict[str, str] = {}
    made: Counter[str] = Counter()

    def work(keys):
        with lock:
            made.update(keys)
            store.update({key: key.upper() for key in keys})
        return {key: key.upper() for key in keys}

    def call(keys):
        start.wait(PATIENCE_SECONDS)
        return flights.run(keys, work, store.get)

    with ThreadPoolExecutor(len(wants)) as pool:
        results = list(pool.map(call, wants, timeout=PATIENCE_SECONDS))
    assert results == [{key: key.upper() for key in want} for want in wants]
    assert made == Counter({key for want in wants for key in want})
    assert len(flights) == 0
