"""Answers as they come over a socket: plain ones in one go, all others as HTTP says."""

from __future__ import annotations

import http.client
import socket
import ssl
import threading
from contextlib import contextmanager

import pytest

from columnservice import errors
from columnservice.client import connection
from columnservice.client.connection import Answer, Connection, give_back, take
from columnservice.client.transport import Transport

pytestmark = pytest.mark.fast
PATIENCE_SECONDS = 60.0
LARGE = bytes(range(256)) * 1000


def reply(body: bytes, *lines: str, status: str = "200 OK") -> bytes:
    told = (f"HTTP/1.1 {status}", *(lines or (f"Content-Length: {len(body)}",)))
    return "\r\n".join(told).encode() + b"\r\n\r\n" + body


def chunked(*parts: bytes) -> bytes:
    return b"".join(b"%x\r\n%b\r\n" % (len(p), p) for p in (*parts, b""))


class Peer:
    """The other end of a connection: what it was sent, and what it sends for each request."""

    def __init__(self, *scripts: list[bytes] | None) -> None:
        self.ours, self.theirs = socket.socketpair()
        self.heard: list[bytes] = []
        self._thread = threading.Thread(target=self._serve, args=(scripts,))
        self._thread.start()

    def _serve(self, scripts) -> None:
        for script in scripts:
            self.heard.append(self.theirs.recv(1 << 16))
            if script is None:
                break
            for part in script:
                self.theirs.sendall(part)
        self.theirs.close()

    def end(self) -> None:
        self._thread.join()


@contextmanager
def answering(*scripts):
    """A Connection to a Peer that says these, and hangs up behind the last."""
    peer = Peer(*scripts)
    made = Connection(peer.ours)
    try:
        yield made, peer
    finally:
        made.close()
        peer.end()


def ask(made: Connection, method: str = "GET") -> Answer:
    return made.exchange(method, b"GET / HTTP/1.1\r\n\r\n", PATIENCE_SECONDS)


@pytest.mark.parametrize("body", [b"", b"few", LARGE], ids=["empty", "small", "large"])
@pytest.mark.parametrize("cut", [0, 10, 70], ids=["whole", "within-the-head", "within-the-body"])
def test_a_body_of_known_length_arrives_whatever_comes_when(body, cut):
    lines = (f"content-LENGTH: {len(body)}", "Content-Type:  text/x", 'ETag: "e"')
    sent = reply(body, *lines)
    with answering([sent[:cut], sent[cut:]] if cut else [sent]) as (made, _):
        answer = ask(made)
        assert (answer.status, answer.kind, answer.etag) == (200, "text/x", '"e"')
        assert bytes(answer.content) == body
        assert answer.whole
        assert made.reusable


@pytest.mark.parametrize(
    ("sent", "body", "reusable"),
    [
        (reply(chunked(b"ab", b"c"), "Transfer-Encoding: chunked"), b"abc", True),
        (reply(chunked(LARGE), "Transfer-Encoding: chunked"), LARGE, True),
        (reply(b"abc", "Connection: close"), b"abc", False),
        (reply(b"abc", "Content-Length: 3", "Connection: close"), b"abc", False),
        (b"HTTP/1.0 200 OK\r\nContent-Length: 3\r\n\r\nabc", b"abc", False),
        (b"HTTP/1.0 200 OK\r\nContent-Length: 256000\r\n\r\n" + LARGE, LARGE, False),
        (b"HTTP/1.1 100 Continue\r\n\r\n" + reply(b"abc"), b"abc", True),
        (reply(b"abc", "X-Long: " + "x" * 30_000, "Content-Length: 3"), b"abc", True),
    ],
    ids=[
        "chunked",
        "large-chunk",
        "no-length",
        "close",
        "old",
        "old-large",
        "continue",
        "long-head",
    ],
)
def test_other_answers_are_read_as_http_says(sent, body, reusable):
    with answering([sent]) as (made, _):
        answer = ask(made)
        assert (bytes(answer.content), answer.whole, answer.status) == (body, True, 200)
        assert made.reusable == reusable


@pytest.mark.parametrize("status", [204, 304])
@pytest.mark.parametrize("lines", [("ETag: x",), ("Content-Length: 5", "ETag: x")])
def test_an_answer_without_a_body_is_whole_at_once(status, lines):
    with answering([reply(b"", *lines, status=f"{status} So")], [reply(b"next")]) as (made, _):
        answer = ask(made)
        assert (answer.status, bytes(answer.content), answer.etag) == (status, b"", "x")
        assert made.reusable
        assert bytes(ask(made).content) == b"next"


@pytest.mark.parametrize(
    "sent",
    [
        reply(b"abc", "Content-Length: 4"),
        reply(LARGE, "Content-Length: 256001"),
        reply(b"4\r\nab", "Transfer-Encoding: chunked"),
        b"HTTP/1.0 200 OK\r\nContent-Length: 256001\r\n\r\n" + LARGE,
    ],
    ids=["short", "short-large", "chunked", "old"],
)
def test_what_breaks_off_is_not_whole_and_its_connection_not_used_again(sent):
    with answering([sent]) as (made, _):
        answer = ask(made)
        assert not answer.whole
        assert not made.reusable
        assert sent.endswith(bytes(answer.content))


def test_more_than_was_told_is_no_part_of_the_answer():
    with answering([reply(b"abcdef", "Content-Length: 3")]) as (made, _):
        assert bytes(ask(made).content) == b"abc"
        assert not made.reusable


@pytest.mark.parametrize(
    "sent", [b"", b"HTTP/1.1 2x0 OK\r\n\r\n", b"nonsense\r\n\r\n", b"HTTP/1.1 "]
)
def test_what_is_no_answer_is_an_error(sent):
    with answering([sent]) as (made, _):
        with pytest.raises((http.client.HTTPException, OSError)):
            ask(made)
        assert not made.reusable


@pytest.mark.parametrize("begun", [b"", b"HTTP/1.1 200 OK\r\n", reply(b"abc", "Content-Length: 9")])
def test_silence_ends_in_time(begun):
    ours, theirs = socket.socketpair()
    made = Connection(ours)
    with theirs:
        theirs.sendall(begun)
        with pytest.raises(TimeoutError):
            made.exchange("GET", b"GET / HTTP/1.1\r\n\r\n", 0.1)
    assert not made.reusable
    made.close()


@contextmanager
def server(monkeypatch, *peers: Peer):
    """Connecting gives these, one after the other."""
    monkeypatch.setattr(connection, "_kept", {})
    waiting = list(peers)
    monkeypatch.setattr(connection, "connect", lambda *_: Connection(waiting.pop(0).ours))
    yield
    assert waiting == []
    connection.close_all()
    for peer in peers:
        peer.end()


def exchange(origin: str = "http://h:1") -> bytes:
    made = take(origin, PATIENCE_SECONDS)
    try:
        return bytes(ask(made).content)
    finally:
        give_back(origin, made)


def test_a_connection_is_used_again(monkeypatch):
    with server(monkeypatch, Peer([reply(b"1")], [reply(b"2")])):
        assert exchange() == b"1"
        assert exchange() == b"2"


@pytest.mark.parametrize("after", [[reply(b"1")], [reply(b"1") + b"!"], [reply(b"1"), b"!"]])
def test_one_that_ended_or_said_more_than_was_asked_is_not(monkeypatch, after):
    first = Peer(after)
    with server(monkeypatch, first, Peer([reply(b"2")], [reply(b"3")])):
        assert exchange() == b"1"
        first.end()
        assert exchange() == b"2"
        assert exchange() == b"3"


def test_each_origin_has_its_own(monkeypatch):
    with server(monkeypatch, Peer([reply(b"1")], [reply(b"3")]), Peer([reply(b"2")])):
        assert [exchange("http://a:1"), exchange("http://b:1")] == [b"1", b"2"]
        assert exchange("http://a:1") == b"3"


def test_no_more_are_kept_than_allowed(monkeypatch):
    monkeypatch.setattr(connection, "MOST_KEPT", 1)
    peers = [Peer([reply(b"1")], [reply(b"2")]), Peer([reply(b"1")], None)]
    with server(monkeypatch, *peers):
        both = [take("http://h:1", PATIENCE_SECONDS) for _ in peers]
        for made in both:
            ask(made)
            give_back("http://h:1", made)
        peers[1].end()
        assert peers[1].heard[1:] == [b""]
        assert exchange() == b"2"


def test_what_is_kept_can_be_closed(monkeypatch):
    peer = Peer([reply(b"1")], None)
    with server(monkeypatch, peer):
        assert exchange() == b"1"
        connection.close_all()
        peer.end()
        assert peer.heard[1:] == [b""]


@pytest.mark.parametrize(("error", "tries"), [(ConnectionRefusedError, 3), (ssl.SSLError, 1)])
def test_connecting_is_tried_again_but_not_with_a_wrong_certificate(monkeypatch, error, tries):
    tried = []

    def refuse(self):
        tried.append(self.host)
        raise error

    monkeypatch.setattr(connection, "PAUSES_SECONDS", (0.0, 0.0))
    monkeypatch.setattr(http.client.HTTPSConnection, "connect", refuse)
    with pytest.raises(error):
        connection.connect("https://[::1]:9", 1.0)
    assert tried == ["::1"] * tries


def sent_by(monkeypatch, url: str, *args, **more) -> tuple[str, dict[str, str], bytes]:
    """Request line, headers and body as a server sees them."""
    peer = Peer([reply(b"{}")])
    with server(monkeypatch, peer):
        Transport(url).exchange(*args, **more)
    head, _, body = peer.heard[0].partition(b"\r\n\r\n")
    first, *lines = head.decode().split("\r\n")
    return first, dict(line.split(": ", 1) for line in lines), body


def test_a_request_is_what_http_demands(monkeypatch):
    monkeypatch.setenv("BEARER_TOKEN", "secret")
    url = "http://[::1]:8000/aü/%7e"
    told = sent_by(monkeypatch, url, "POST", "/v1/x", query=[("q", "a&b")], body=b"data")
    first, headers, body = told
    assert first == "POST /a%C3%BC/%7e/v1/x?q=a%26b HTTP/1.1"
    assert headers["Host"] == "[::1]:8000"
    assert headers["Authorization"] == "Bearer secret"
    assert headers["Content-Length"] == "4"
    assert body == b"data"


@pytest.mark.parametrize(("method", "length"), [("GET", None), ("DELETE", "0"), ("POST", "0")])
def test_only_a_get_leaves_the_length_of_its_body_open(monkeypatch, method, length):
    _, headers, _ = sent_by(monkeypatch, "http://h:1", method, "/x")
    assert headers.get("Content-Length") == length


def test_a_name_of_other_letters_travels_as_dns_wants_it(monkeypatch):
    _, headers, _ = sent_by(monkeypatch, "http://bücher.example:1", "GET", "/x")
    assert headers["Host"] == "xn--bcher-kva.example:1"


@pytest.mark.parametrize("headers", [{"If-None-Match": "a\r\nX: b"}, {"A": "b\n"}, {"A": "b\r"}])
def test_nothing_can_end_a_line_of_a_request(monkeypatch, headers):
    with server(monkeypatch), pytest.raises(errors.RequestError, match="line breaks"):
        Transport("http://h:1").exchange("GET", "/x", headers=headers)


@pytest.mark.parametrize("host", ["a" * 70, "a..b"])
def test_a_host_that_cannot_be_one_is_refused(host):
    with pytest.raises(errors.RequestError, match="is not a URL"):
        Transport(f"http://{host}:1").exchange("GET", "/x")


def test_an_absurd_length_is_no_length():
    sent = reply(b"", "Content-Length: " + "9" * 5000)
    with answering([sent]) as (made, _):
        answer = ask(made)
    assert answer.content == b""
    assert not made.reusable


def test_a_connection_of_tls_that_holds_more_than_was_read_is_not_quiet(monkeypatch):
    class Tls(socket.socket):
        def pending(self):
            return 3

    monkeypatch.setattr(connection.ssl, "SSLSocket", Tls)
    ours, theirs = socket.socketpair()
    with theirs, Tls(fileno=ours.detach()) as tls:
        assert not Connection(tls).is_quiet()
