"""Lists of Columns that a client holds: asked about each time, never old, never another's."""

from __future__ import annotations

import json
import threading
from itertools import pairwise

import pytest

import columnservice
from columnservice import errors
from columnservice.client import catalogue
from columnservice.client.catalogue import MOST_LISTS
from columnservice.client.connection import close_all

from ..support.wire_server import wire_server
from .conftest import column, small_dataset

PATH = "/v1/datasets/nano/columns"


@pytest.fixture(autouse=True)
def forgetful():
    catalogue.forget()


@pytest.fixture
def service(server):
    return columnservice.connect(server.url)


@pytest.fixture
def sent(server, monkeypatch):
    """Status and size of the body of each answer, as they went over the wire."""
    found = []
    exchange = columnservice.client.transport.Transport.exchange

    def watched(self, *args, **more):
        answer = exchange(self, *args, **more)
        found.append((answer.status, len(answer.content)))
        return answer

    monkeypatch.setattr(columnservice.client.transport.Transport, "exchange", watched)
    return found


def told(found) -> tuple:
    makings = found.makings
    return found.format, [*found.columns], found.witnesses, makings, found.columns.names


def test_a_list_that_has_not_changed_is_not_sent_again(service, server, sent):
    first, second = service.catalogue("nano"), service.catalogue("nano")
    assert [status for status, _ in sent] == [200, 304]
    assert sent[1] == (304, 0)
    assert [r.path for r in server.log] == [PATH, PATH]
    assert told(second) == told(first)
    assert [*second.columns] == server.datasets["nano"].columns


def test_a_process_that_holds_no_list_asks_for_it_whole(service, server, sent):
    service.catalogue("nano")
    catalogue.forget()
    service.catalogue("nano")
    assert [status for status, _ in sent] == [200, 200]
    assert all("If-None-Match" not in r.headers for r in server.log)


def test_after_each_change_the_new_list_is_told_at_once(service, server, sent):
    served = server.datasets["nano"]
    lists = [service.catalogue("nano")]
    served.columns.append(column("more", "float32"))
    lists.append(service.catalogue("nano"))
    served.made["rho"] = {"recipes": ["ab" * 8]}
    lists.append(service.catalogue("nano"))
    served.made["rho"]["inputs"] = ["nPF"]
    lists.append(service.catalogue("nano"))
    served.parents_state = "another"
    lists.append(service.catalogue("nano"))
    served.witnesses.append("run")
    lists.append(service.catalogue("nano"))
    served.columns.pop()
    lists.append(service.catalogue("nano"))
    assert [status for status, _ in sent] == [200] * 7
    assert all(told(a) != told(b) for a, b in pairwise(lists))
    assert lists[1].columns.names[-1] == "more"
    assert lists[2].makings.recipes == {"rho": ("ab" * 6,)}
    assert lists[3].makings.inputs == {"rho": ("nPF",)}
    assert lists[4].makings.parents == "another"
    assert lists[5].witnesses == ("run",)
    assert "more" not in lists[6].columns
    assert told(service.catalogue("nano")) == told(lists[6])
    assert sent[-1] == (304, 0)


def test_a_list_that_a_caller_changed_harms_nobody_else(service, sent):
    right = service.catalogue("nano")
    for _ in range(2):
        mine = service.catalogue("nano")
        mine.columns._columns = ()
        mine.makings.recipes["rho"] = ("wrong",)
        mine.makings.inputs["rho"] = ("wrong",)
        assert told(mine) != told(right)
        assert told(service.catalogue("nano")) == told(right)
    catalogue.forget()
    first = service.catalogue("nano")
    first.columns._columns = ()
    first.makings.recipes["rho"] = ("wrong",)
    assert told(service.catalogue("nano")) == told(right)
    assert sent[-1] == (304, 0)


def test_two_services_and_two_datasets_do_not_mix(service, server, sent):
    server.add(small_dataset("other")).columns.append(column("more", "float32"))
    server.list_etag = lambda _: '"the same everywhere"'
    with wire_server() as elsewhere:
        elsewhere.list_etag = server.list_etag
        elsewhere.add(small_dataset()).columns.append(column("elsewhere", "float32"))
        there = columnservice.connect(elsewhere.url)
        for _ in range(2):
            assert service.catalogue("nano").columns.names[-1] == "run"
            assert service.catalogue("other").columns.names[-1] == "more"
            assert there.catalogue("nano").columns.names[-1] == "elsewhere"
    assert [status for status, _ in sent] == [200] * 3 + [304] * 3


@pytest.mark.parametrize("etag", ["", 'W/"weak"', "plain"])
def test_a_service_that_names_no_bytes_sends_its_list_each_time(service, server, sent, etag):
    service.catalogue("nano")
    server.list_etag = lambda _: etag
    server.datasets["nano"].columns.append(column("more", "float32"))
    for _ in range(2):
        found = service.catalogue("nano")
        assert found.columns.names[-1] == "more"
        assert found.state == ""
    assert [status for status, _ in sent] == [200] * 3
    assert "If-None-Match" not in server.log[-1].headers


def test_who_may_not_read_is_refused_whatever_this_process_holds(service, server, monkeypatch):
    """Each request has the token of its time, and the service's answer is what counts."""
    right = service.catalogue("nano")

    def answer(request):
        if request.headers.get("Authorization") != "Bearer hers":
            body = json.dumps(errors.problem(errors.NotAllowed("not for you."))).encode()
            return 403, "application/problem+json", body
        return None

    server.answer = answer
    for token in ("his", "hers", "his"):
        monkeypatch.setenv("BEARER_TOKEN", token)
        if token == "hers":
            assert told(service.catalogue("nano")) == told(right)
            continue
        with pytest.raises(errors.NotAllowed, match="not for you"):
            service.catalogue("nano")
        assert server.log[-1].headers["If-None-Match"] == right.state


def test_a_dataset_that_is_gone_and_a_service_that_is_silent_are_errors_as_ever(service, server):
    service.catalogue("nano")
    gone = server.datasets.pop("nano")
    with pytest.raises(errors.UnknownDataset):
        service.catalogue("nano")
    server.add(gone)
    server.answer_with(503, "text/plain", b"")
    with pytest.raises(errors.Unavailable):
        service.columns("nano")


def test_without_a_service_what_is_held_is_not_told():
    with wire_server() as double:
        double.add(small_dataset())
        service = columnservice.connect(double.url)
        service.catalogue("nano")
    close_all()  # the thread behind an open connection answers still
    with pytest.raises(errors.Unreachable):
        service.catalogue("nano")


def test_not_modified_for_a_list_that_nobody_holds_is_an_error(service, server):
    server.answer_with(304, "application/json", b"")
    with pytest.raises(errors.ColumnServiceError, match="not a JSON object"):
        service.catalogue("nano")


def test_the_lists_asked_for_longest_ago_are_forgotten(service, server, sent):
    names = [f"nano{n}" for n in range(MOST_LISTS + 1)]
    for name in names:
        server.add(small_dataset(name))
        service.catalogue(name)
    for name in (names[-1], names[1], names[0]):
        service.catalogue(name)
    assert [status for status, _ in sent[-3:]] == [304, 304, 200]


def test_threads_are_told_whole_lists_and_never_an_older_one_after_a_newer(service, server):
    served = server.datasets["nano"]
    plain = list(served.columns)
    more = [column(f"more{n}", "float32") for n in range(40)]
    wrong, stop = [], threading.Event()

    def ask() -> None:
        latest = 0
        while not stop.is_set():
            found = [*service.catalogue("nano").columns]
            number = len(found) - len(plain)
            if number < latest or found != plain + more[:number]:
                wrong.append((latest, number))
            latest = number

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for number in range(1, len(more) + 1):
        served.columns = plain + more[:number]
        assert len(service.catalogue("nano").columns) == len(served.columns)
    stop.set()
    for thread in threads:
        thread.join()
    assert wrong == []
