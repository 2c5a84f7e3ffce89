from __future__ import annotations

import json
import multiprocessing
import os
import pickle
import socket
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

import columnservice
from columnservice import errors

from .conftest import ROWS, UUID, column

HEAVY = ("uproot", "awkward", "coffea", "numba", "sqlalchemy", "fastapi", "pydantic", "XRootD")


def test_importing_and_connecting_loads_nothing_heavy():
    code = (
        "import sys, columnservice; columnservice.connect('http://127.0.0.1:9'); "
        f"found = [m for m in {HEAVY!r} if m in sys.modules]; "
        "ours = [m for m in sys.modules if m.startswith('columnservice.') and "
        "m.split('.')[1] not in ('client', 'wire', 'search', 'model', 'errors')]; "
        "print(found, ours)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split("\n")[0] == "[] []"


def test_the_url_comes_from_the_argument_the_environment_or_this_host(monkeypatch):
    monkeypatch.delenv("COLUMNSERVICE_URL", raising=False)
    assert columnservice.connect().url == "http://127.0.0.1:8000"
    monkeypatch.setenv("COLUMNSERVICE_URL", "http://elsewhere:1/base/")
    assert columnservice.connect().url == "http://elsewhere:1/base"
    assert columnservice.connect("https://here").url == "https://here"


@pytest.mark.parametrize("url", ["ftp://x", "x", "http://", "http://h:port", "http://h?q=1"])
def test_what_is_not_a_url_is_refused(url):
    with pytest.raises(errors.RequestError, match="URL"):
        columnservice.connect(url)


@pytest.mark.parametrize(
    "blank", ["\r\nX: y", "\n", "\t", " ", "a b", "\x00", "\x1b[2J", "\x7f", "\u2028", "\xa0"]
)
@pytest.mark.parametrize("url", ["http://127.0.0.1:1/{}", "http://127.0.0.1:1{}", "{}http://h"])
def test_a_url_with_blanks_or_control_characters_is_refused_in_one_printable_line(url, blank):
    written = url.format(blank)
    with pytest.raises(errors.RequestError, match="must look like http://host:port") as caught:
        columnservice.connect(written)
    assert str(caught.value).isprintable()
    assert repr(written) in str(caught.value)


def test_a_secret_in_what_is_no_url_is_not_repeated():
    for url in ("http://me:hunter2@h:port", "http://me:hunter2@h:1/\n", "http://h?t=hunter2\n"):
        with pytest.raises(errors.RequestError) as caught:
            columnservice.connect(url)
        assert "hunter2" not in str(caught.value)


def test_a_password_in_the_url_is_refused_and_not_repeated():
    with pytest.raises(errors.RequestError) as caught:
        columnservice.connect("http://me:hunter2@host:1")
    assert "hunter2" not in str(caught.value)


def test_datasets_are_listed_and_shown(server):
    service = columnservice.connect(server.url)
    (listed,) = service.datasets()
    assert (listed.name, listed.format, listed.parent) == ("nano", "nanoaod", "parents")
    shown = service.dataset("nano")
    assert shown.info["files"]["ok"] == 1
    assert "nano" in repr(shown)
    assert service.datasets(file="ffffffff") == []
    assert server.url in repr(service)


def test_an_unknown_dataset_is_the_service_s_own_error(server):
    service = columnservice.connect(server.url)
    for ask in (service.dataset, service.columns):
        with pytest.raises(errors.UnknownDataset, match="nanno"):
            ask("nanno")


def test_names_are_escaped_in_paths(server):
    with pytest.raises(errors.UnknownDataset, match=r"a/b\?c"):
        columnservice.connect(server.url).dataset("a/b?c")
    assert server.log[-1].path == "/v1/datasets/a%2Fb%3Fc"


def test_columns_are_fetched_by_get_and_many_by_post(server):
    service = columnservice.connect(server.url)
    reply = service.fetch("nano", UUID, 2, 9, ["rho", "PF_pt"])
    assert len(reply.values(column("rho", "float64"))) == 7
    assert server.log[-1].method == "GET"
    (table,) = server.datasets["nano"].tables.values()
    names = [f"rho_{i:03d}_{'x' * 40}" for i in range(100)]
    server.datasets["nano"].columns += [column(n, "float64") for n in names]
    table.values.update(dict.fromkeys(names, table.values["rho"]))
    reply = service.fetch("nano", UUID, 0, ROWS, names)
    assert server.log[-1].method == "POST"
    assert np.array_equal(reply.values(column(names[5], "float64")).values, np.linspace(0, 1, ROWS))


def test_a_range_that_is_none_is_refused_without_asking(server):
    with pytest.raises(errors.OutOfRange):
        columnservice.connect(server.url).fetch("nano", UUID, 5, 3, ["rho"])
    assert server.log == []


def test_errors_of_the_service_arrive_as_they_are(server):
    service = columnservice.connect(server.url)
    with pytest.raises(errors.UnknownColumn, match="nope"):
        service.fetch("nano", UUID, 0, 3, ["nope"])
    for kind in (errors.WrongParent, errors.Unavailable, errors.NotAllowed, errors.DamagedFile):
        body = json.dumps(errors.problem(kind("because."))).encode()
        server.answer_with(kind.status, "application/problem+json", body)
        with pytest.raises(kind, match="because") as caught:
            service.fetch("nano", UUID, 0, 3, ["rho"])
        assert type(caught.value) is kind
        assert caught.value.__cause__ is None
        assert caught.value.__context__ is None


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (401, errors.Unauthenticated),
        (403, errors.NotAllowed),
        (502, errors.Unavailable),
        (500, errors.ColumnServiceError),
        (302, errors.ColumnServiceError),
        (404, errors.ColumnServiceError),
    ],
)
def test_an_answer_of_something_else_is_one_clear_line(server, status, kind):
    server.answer_with(status, "text/html", b"<html>a page</html>")
    with pytest.raises(kind) as caught:
        columnservice.connect(server.url).datasets()
    assert "html" not in str(caught.value)
    assert server.url in str(caught.value)
    assert len(server.log) == 1


def test_a_page_that_is_not_json_is_one_clear_line(server):
    server.answer_with(200, "text/html", b"<html>")
    with pytest.raises(errors.ColumnServiceError, match="JSON"):
        columnservice.connect(server.url).datasets()


def test_nobody_there_is_unreachable():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(errors.Unreachable, match="No answer") as caught:
            columnservice.connect(url).datasets()
    assert isinstance(caught.value, OSError)
    assert "serve" in str(caught.value)


def answering_once(reply: bytes):
    """A raw server that answers one connection with some bytes and hangs up."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        connection, _ = listener.accept()
        with connection, listener:
            connection.recv(65536)
            connection.sendall(reply)

    thread = threading.Thread(target=serve)
    thread.start()
    return f"http://127.0.0.1:{listener.getsockname()[1]}", thread


@pytest.mark.parametrize(
    ("reply", "kind"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nonly this", errors.TruncatedReply),
        (
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nabcd\r\n",
            errors.TruncatedReply,
        ),
        (b"HTTP/1.1 200 OK\r\n\r\nno length and no end of stream", errors.TruncatedReply),
        (b"", errors.Unreachable),
        (b"not http at all\r\n\r\n", errors.Unreachable),
    ],
    ids=["short", "chunked", "closed", "nothing", "garbage"],
)
def test_a_connection_that_breaks_is_a_transport_error_and_not_retried(reply, kind):
    url, thread = answering_once(reply)
    with pytest.raises(kind) as caught:
        columnservice.connect(url).fetch("nano", UUID, 0, 3, ["rho"])
    thread.join()
    assert isinstance(caught.value, OSError)


def test_a_server_that_is_silent_is_given_up():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        with pytest.raises(errors.Unreachable, match="ReadTimeout"):
            columnservice.connect(url, read_timeout_seconds=0.2).datasets()


def test_the_token_travels_in_the_header_only(server, monkeypatch):
    monkeypatch.setenv("BEARER_TOKEN", "very.secret")
    service = columnservice.connect(server.url)
    service.datasets()
    assert server.log[-1].headers["Authorization"] == "Bearer very.secret"
    assert "secret" not in server.log[-1].path + str(server.log[-1].query)
    assert b"secret" not in pickle.dumps(service)
    assert "secret" not in repr(service)
    server.answer_with(500, "text/plain", b"")
    with pytest.raises(errors.ColumnServiceError) as caught:
        service.datasets()
    assert "secret" not in str(caught.value)


def test_a_service_pickles_and_connects_anew(server):
    service = columnservice.connect(server.url)
    service.datasets()
    again = pickle.loads(pickle.dumps(service))
    assert again == service
    assert again.datasets()[0].name == "nano"


def _names_in_child(url: str, queue) -> None:
    queue.put([d.name for d in columnservice.connect(url).datasets()])


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_a_forked_child_makes_its_own_connections(server):
    service = columnservice.connect(server.url)
    assert service.datasets()
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    child = context.Process(target=_names_in_child, args=(server.url, queue))
    child.start()
    assert queue.get(timeout=120) == ["nano"]
    child.join()
    assert service.datasets()[0].name == "nano"


def test_a_long_wait_is_announced(server, monkeypatch, capsys):
    from columnservice.client import fetching

    monkeypatch.setattr(fetching, "PROGRESS_AFTER_SECONDS", 0.01)
    said = []

    def slow(request):
        until = time.monotonic() + 60
        while "waiting for 1 columns of nano" not in "".join(said) and time.monotonic() < until:
            said.append(capsys.readouterr().err)
            time.sleep(0.01)

    server.answer = slow
    columnservice.connect(server.url).fetch("nano", UUID, 0, 3, ["rho"])
    assert "waiting for 1 columns of nano" in "".join(said)
