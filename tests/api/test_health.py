"""/healthz, /readyz and /metrics tell what is so."""

from __future__ import annotations

import os
import signal
import time

import pytest

from tests.support.pairs import judged_pair
from tests.support.site import site, template_of

PATIENCE_SECONDS = 120
EXPECTED = (
    "piece_hits_total",
    "piece_misses_total",
    "source_bytes_total",
    "sent_bytes_total",
    "uncached_pieces_total",
    "pieces_in_flight",
    "partitions_queued",
    "tasks_queued",
    "tasks_running",
    "streams",
    "deadlines_total",
    "worker_deaths_total",
    "workers_alive",
    "turned_away_total",
    "broken_streams_total",
    "cache_bytes",
    "cache_entries",
    "cache_limit_bytes",
    "cache_evictions_total",
    "cache_rejected_total",
    "cache_damaged_total",
    "requests_total",
    "request_seconds_count",
    "materialise_seconds_count",
)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("health")
    pair = judged_pair(folder / "pair", events=200, parents=1)
    with site(folder, pair, pair.pair.parents) as made:
        yield made


def until(true) -> None:
    end = time.monotonic() + PATIENCE_SECONDS
    while not true():
        assert time.monotonic() < end
        time.sleep(0.05)


def test_all_that_is_promised_is_measured(place):
    place.demand_right("PFCands_pt")
    lines = place.service.http.request("GET", place.service.url + "/metrics").data.decode()
    names = {line.split("{")[0].split(" ")[0] for line in lines.splitlines() if line[:1] != "#"}
    assert [n for n in EXPECTED if f"columnservice_{n}" not in names] == []


def test_counts_are_those_of_what_was_done(place):
    place.demand_right("PFCands_eta")
    before = {name: place.metric(name) for name in EXPECTED}
    place.demand_right("PFCands_eta")
    after = {name: place.metric(name) for name in EXPECTED}
    # Two Partitions of 100 events: each has a proof, one shape's offsets and one content.
    assert after["piece_hits_total"] - before["piece_hits_total"] == 6
    assert after["piece_misses_total"] == before["piece_misses_total"]
    assert after["source_bytes_total"] == before["source_bytes_total"] > 0
    assert after["sent_bytes_total"] > before["sent_bytes_total"]
    assert after["cache_entries"] == before["cache_entries"] > 0
    assert (after["streams"], after["partitions_queued"], after["pieces_in_flight"]) == (0, 0, 0)


def test_requests_are_counted_by_route_and_status(place):
    place.service.ask("GET", "/v1/datasets/nothing")
    text = place.service.http.request("GET", place.service.url + "/metrics").data.decode()
    assert 'method="GET",route="/v1/datasets/{name}",status="404"' in text
    assert 'route="/v1/datasets/{name}/columns/query",status="200"' in text
    assert "/nothing" not in text


def test_ready_says_what_is_amiss_and_recovers(place):
    assert place.service.ask("GET", "/readyz") == (200, {"ready": True})
    cache = place.service.home / "cache"
    hidden = cache.rename(cache.with_name("hidden"))
    try:
        status, told = place.service.ask("GET", "/readyz")
        assert status == 503
        assert told["cache"].startswith("cannot be written")
    finally:
        hidden.rename(cache)
    assert place.ready() == 200


def test_ready_means_that_workers_live(place):
    until(lambda: place.metric("workers_alive") == 3)
    template = template_of(place.service.process.pid)
    os.kill(template, signal.SIGSTOP)  # or they were back before anybody could look
    try:
        for pid in place.workers():
            os.kill(pid, signal.SIGKILL)
        until(lambda: place.ready() == 503)
        assert "workers" in place.service.ask("GET", "/readyz")[1]
        assert place.service.http.request("GET", place.service.url + "/healthz").status == 200
    finally:
        os.kill(template, signal.SIGCONT)
    place.demand_right("PFCands_eta")
    until(lambda: place.ready() == 200)
    place.demand_right("PFCands_phi")
