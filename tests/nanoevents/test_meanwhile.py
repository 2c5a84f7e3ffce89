"""What is done while the service is waited for: begun once, over in time, and silent."""

from __future__ import annotations

import threading
import time

import pytest
import uproot
from coffea.nanoevents import BaseSchema

from columnservice.errors import RequestError
from columnservice.nanoevents.localtree import LocalTree
from columnservice.nanoevents.meanwhile import Meanwhile

from .small import write_small

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


def test_without_another_thread_the_same_thread_does_it_later(small, service, monkeypatch):
    start = threading.Thread.start

    def no_more(self: threading.Thread) -> None:
        if self.name == "columnservice-meanwhile":
            raise RuntimeError("can't start new thread")
        start(self)

    monkeypatch.setattr(threading.Thread, "start", no_more)
    tree = small.tree(service.nanoevents(BaseSchema, dataset="small"))
    assert len(tree["rho"].array()) == tree.num_entries


def test_the_file_is_left_alone_when_the_reading_is_over(small, service, monkeypatch):
    """However it went: who gets an error may close the file."""
    reading, go_on = threading.Event(), threading.Event()
    read = LocalTree.values

    def values(self: LocalTree, *where: object) -> object:
        reading.set()
        go_on.wait(10)
        return read(self, *where)

    def refuse(*_: object, **__: object) -> None:
        assert reading.wait(10)
        threading.Timer(0.1, go_on.set).start()
        raise RequestError("of no interest")

    monkeypatch.setattr(LocalTree, "values", values)
    tree = small.tree(service.nanoevents(BaseSchema, dataset="small"))
    monkeypatch.setattr(type(service), "ask", refuse)
    with pytest.raises(RequestError, match="of no interest"):
        tree["rho"].array()
    assert go_on.is_set()
    assert not [t for t in threading.enumerate() if t.name == "columnservice-meanwhile"]


def test_one_thread_at_a_time_reads_a_file_that_is_introduced(
    small, service, monkeypatch, tmp_path
):
    """The service does not know it, so all of its keys are read while those of a range are."""
    at_once, most, lock, read = 0, 0, threading.Lock(), LocalTree.values

    def values(self: LocalTree, *where: object) -> object:
        nonlocal at_once, most
        with lock:
            at_once += 1
            most = max(most, at_once)
        time.sleep(0.02)
        try:
            return read(self, *where)
        finally:
            with lock:
                at_once -= 1

    monkeypatch.setattr(LocalTree, "values", values)
    path = tmp_path / "unseen.root"
    write_small(path)
    options = service.nanoevents(BaseSchema, dataset="small")["uproot_options"]
    with uproot.open({path: "Events"}, **options) as tree:
        assert len(tree["rho"].array()) == tree.num_entries
    assert most == 1
