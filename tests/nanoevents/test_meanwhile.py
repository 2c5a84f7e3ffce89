"""What is done while the service is waited for: begun once, over in time, and silent."""

from __future__ import annotations

import threading

import pytest
from coffea.nanoevents import BaseSchema

from columnservice.nanoevents.localtree import LocalTree
from columnservice.nanoevents.meanwhile import Meanwhile

pytestmark = pytest.mark.fast


def test_work_is_done_once_and_by_another_thread():
    by: list[int] = []
    meanwhile = Meanwhile(lambda: by.append(threading.get_ident()))
    meanwhile.begin()
    meanwhile.begin()
    meanwhile.end()
    assert len(by) == 1
    assert by[0] != threading.get_ident()


def test_what_was_not_begun_is_not_done():
    done: list[bool] = []
    Meanwhile(lambda: done.append(True)).end()
    assert not done


def test_its_end_waits_for_the_work():
    """A file may be closed after that."""
    go, done = threading.Event(), []

    def work() -> None:
        go.wait(10)
        done.append(True)

    meanwhile = Meanwhile(work)
    meanwhile.begin()
    threading.Timer(0.05, go.set).start()
    meanwhile.end()
    assert done == [True]


def test_an_error_stays_where_it_is():
    def work() -> None:
        raise ValueError("of no interest")

    meanwhile = Meanwhile(work)
    meanwhile.begin()
    meanwhile.end()


def test_event_keys_are_read_while_the_service_is_asked_and_only_then(small, service, monkeypatch):
    """The next reading of the same rows comes from memory, and there is nothing to wait for."""
    by: list[bool] = []
    read = LocalTree.values

    def values(self: LocalTree, *where: object) -> object:
        by.append(threading.current_thread() is threading.main_thread())
        return read(self, *where)

    monkeypatch.setattr(LocalTree, "values", values)
    for told in ([False] * 3, [True] * 3):
        by.clear()
        tree = small.tree(service.nanoevents(BaseSchema, dataset="small"))
        tree["rho"].array()
        assert by == told
