"""A memory with a bound, which threads share."""

from __future__ import annotations

import os
import random
import signal
import threading

import pytest

from columnservice.client import catalogue
from columnservice.client.lately import Lately
from columnservice.nanoevents import columnlist

pytestmark = pytest.mark.fast


def test_the_least_recently_used_is_forgotten_first():
    known: Lately[str, int] = Lately(2)
    known.keep("a", 1)
    known.keep("b", 2)
    assert known.find("a") == 1
    known.keep("c", 3)
    assert [known.find(k) for k in "abc"] == [1, None, 3]
    known.keep("a", 4)
    known.keep("d", 5)
    assert [known.find(k) for k in "abcd"] == [4, None, None, 5]


def test_what_is_dropped_or_renewed_is_not_there_any_more():
    known: Lately[str, int] = Lately(2)
    known.keep("a", 1)
    known.keep("b", 2)
    known.drop("a")
    known.drop("never there")
    assert [known.find(k) for k in "ab"] == [None, 2]
    known.renew()
    assert known.find("b") is None


def test_threads_neither_break_the_bound_nor_get_what_belongs_to_another_key():
    known: Lately[int, tuple[int, int]] = Lately(5)
    wrong = []

    def use(seed: int) -> None:
        chance = random.Random(seed)
        for step in range(2000):
            key = chance.randrange(12)
            found = known.find(key)
            if found is not None and found[0] != key:
                wrong.append(found)
            (known.drop if step % 7 == 0 else lambda k: known.keep(k, (k, seed)))(key)

    threads = [threading.Thread(target=use, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert 1 <= sum(known.find(key) is not None for key in range(12)) <= 5


def test_a_child_that_is_forked_while_a_thread_holds_the_lock_does_not_wait_for_it():
    """Both memories of lists: that of the client and that of the plugin."""
    for known in (catalogue._lists, columnlist._known):
        with known._lock:
            child = os.fork()
            if child == 0:
                signal.alarm(10)
                known.keep(("a", "b"), 1)
                os._exit(0 if known.find(("a", "b")) == 1 else 1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
