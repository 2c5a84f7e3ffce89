"""Many ask at once: what is the same is read once, what is too much is turned away, nobody starves.

An origin behind a counting relay; frozen, it lets requests pile up for as long as a test likes.
"""

from __future__ import annotations

import json
import socket
import threading
import time
from contextlib import ExitStack

import pytest

from columnservice.demo.relay import Relay
from columnservice.demo.xrootd import XrootdServer
from columnservice.errors import Unavailable
from tests.support.pairs import judged_pair
from tests.support.site import Later, site

pytestmark = pytest.mark.xrootd
CLIENTS = 32
QUEUE_LIMIT = 8
FOLLOWERS = 100
PATIENCE_SECONDS = 120


@pytest.fixture(scope="module")
def place(tmp_path_factory, xrootd_installed):
    """A site whose origin can be frozen and is read through a counting relay."""
    folder = tmp_path_factory.mktemp("sharing")
    pair = judged_pair(folder / "pair", events=900)
    with ExitStack() as stack:
        origin = stack.enter_context(XrootdServer())
        relay = stack.enter_context(Relay(origin.port))
        for parent in pair.pair.parents:
            origin.put(parent)
        urls = [f"root://{relay.address}//store/{parent.name}" for parent in pair.pair.parents]
        environment = {
            # a frozen origin is waited for, however long the test takes
            "COLUMNSERVICE_DEADLINE_SECONDS": "600",
            "COLUMNSERVICE_QUEUE_LIMIT": str(QUEUE_LIMIT),
            "COLUMNSERVICE_REVALIDATE_SECONDS": "3600",
            "XRD_CONNECTIONWINDOW": "300",
            "XRD_REQUESTTIMEOUT": "300",
            "XRD_STREAMTIMEOUT": "300",
        }
        made = stack.enter_context(site(folder, pair, urls, environment))
        made.demand_right("PFCands_charge")  # origins confirm, files are open
        made.origin, made.relay = origin, relay
        yield made


def forget(place) -> None:
    assert place.service.ask("POST", "/v1/cache/evict")[0] == 200
    time.sleep(1.1)  # a held map is believed for a second


def until(true) -> None:
    end = time.monotonic() + PATIENCE_SECONDS
    while not true():
        assert time.monotonic() < end
        time.sleep(0.05)


class frozen:  # noqa: N801
    """The origin does not answer, inside."""

    def __init__(self, place) -> None:
        self.origin = place.origin

    def __enter__(self) -> None:
        self.origin.freeze()

    def __exit__(self, *_) -> None:
        self.origin.thaw()


def test_32_clients_cost_one_read_and_get_equal_answers(place):
    names = ("PFCands_pt", "PFCands_eta", "nPFCands")

    def cost(clients: int) -> tuple[float, int]:
        forget(place)
        read, passed = place.metric("source_bytes_total"), place.relay.counts
        asked = [Later(place, *names) for _ in range(clients)]
        for one in asked:
            place.pair.demand_right(one.result())
        relayed = (place.relay.counts - passed).received_bytes
        return place.metric("source_bytes_total") - read, relayed

    cost(1)  # by now every worker has the files open
    one_bytes, one_relayed = cost(1)
    all_bytes, all_relayed = cost(CLIENTS)
    assert all_bytes == one_bytes > 0
    # The files may be opened in another worker; 32 reads would be 32 times as much.
    assert all_relayed < 3 * one_relayed


def test_a_requester_that_leaves_does_not_stop_the_read_for_the_others(place):
    forget(place)
    host, port = place.service.url.removeprefix("http://").split(":")
    read = place.metric("source_bytes_total")
    body = json.dumps(place.body(["PFCands_phi"])).encode()
    head = (
        f"POST /v1/datasets/{place.dataset}/columns/query HTTP/1.1\r\nHost: {host}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    with frozen(place), socket.create_connection((host, int(port))) as line:
        line.sendall(head.encode() + body)
        until(lambda: place.metric("pieces_in_flight") > 0)
        stays = Later(place, "PFCands_phi")
        until(lambda: place.metric("streams") == 2)
    place.pair.demand_right(stays.result())
    shared = place.metric("source_bytes_total") - read
    forget(place)
    place.demand_right("PFCands_phi")
    assert place.metric("source_bytes_total") - read == 2 * shared
    until(lambda: place.metric("streams") == 0)


def test_beyond_the_queue_requests_are_turned_away_and_what_is_cached_is_served(place):
    forget(place)
    place.demand_right("PFCands_dz")
    names = [c["name"] for c in place.service.columns(place.dataset) if c["origin"] == "parent"]
    cold = [n for n in names if n.startswith("PFCandsRaw_")][: QUEUE_LIMIT + 4]
    assert len(cold) > QUEUE_LIMIT
    with frozen(place):
        waiting = [Later(place, cold[0])]
        until(lambda: place.metric("partitions_queued") >= 1)
        waiting += [Later(place, name) for name in cold[1:]]
        until(lambda: sum(one.done for one in waiting) > 0)
        until(lambda: place.metric("partitions_queued") == QUEUE_LIMIT)
        refused = [one.outcome for one in waiting if one.done]
        assert all(isinstance(error, Unavailable) for error in refused)
        url = f"{place.service.url}/v1/datasets/{place.dataset}/columns/query"
        reply = place.http.request("POST", url, json=place.body(["PFCands_dxy"]))
        assert (reply.status, int(reply.headers["Retry-After"]) > 0) == (503, True)
        for _ in range(3):
            place.demand_right("PFCands_dz")
        many = [Later(place, "PFCands_dz") for _ in range(100)]
        assert all(len(one.result().present) == place.pair.events for one in many)
        assert place.ready() == 200
        assert place.http.request("GET", place.service.url + "/healthz").status == 200
        assert place.metric("turned_away_total") >= len(refused) + 1
    for one in waiting:
        try:
            answer = one.result()
        except Unavailable:  # one that came too late to be counted above
            continue
        place.pair.demand_right(answer)
    until(lambda: place.metric("partitions_queued") == 0)
    for name in cold:
        place.demand_right(name)


def test_a_huge_request_does_not_block_a_small_one(place):
    forget(place)
    assert place.metric("partitions_queued") == 0
    # what is left of it when the small one is answered must take long enough to be seen
    names = [c["name"] for c in place.service.columns(place.dataset) if c["origin"] == "parent"]
    many = [n for n in names if n.startswith("PFCands_") and n != "PFCands_eta"]
    small = {**place.body(["PFCands_eta"]), "start": 800}
    url = f"{place.service.url}/v1/datasets/{place.dataset}/columns/query"
    with frozen(place):
        huge = Later(place, *many)
        until(lambda: place.metric("partitions_queued") == 3)
        replies = []

        def ask() -> None:
            reply = place.http.request("POST", url, json=small)
            replies.append((reply, huge.done))

        thread = threading.Thread(target=ask, daemon=True)
        thread.start()
        until(lambda: place.metric("partitions_queued") == 4)
    thread.join(PATIENCE_SECONDS)
    [(reply, huge_was_done)] = replies
    assert reply.status == 200
    assert not huge_was_done
    place.pair.demand_right(huge.result())


def test_many_who_follow_a_registration_keep_nobody_waiting(place):
    parent = place.pair.pair.parents[0]
    url = place.origin.put(parent, "followed.root")
    with frozen(place):
        body = {"name": "followed", "format": "miniaod", "files": [url]}
        assert place.service.ask("POST", "/v1/datasets", body)[0] == 201
        followers = []
        for _ in range(FOLLOWERS):
            address = f"{place.service.url}/v1/datasets/followed/events"
            followers.append(place.http.request("GET", address, preload_content=False))
        place.demand_right("PFCands_pt")
        assert place.ready() == 200
    for follower in followers:
        assert "event: done" in follower.read().decode()
        follower.release_conn()
