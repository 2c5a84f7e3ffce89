"""SIGTERM: what has begun is finished, nothing new is begun, and nothing is left behind."""

from __future__ import annotations

import signal
import time
from contextlib import ExitStack

import pytest
from urllib3.exceptions import HTTPError

from columnservice.demo.xrootd import XrootdServer
from columnservice.errors import TransportError, Unavailable
from tests.support.pairs import judged_pair
from tests.support.processes import gone
from tests.support.site import Later, incoming, site

pytestmark = pytest.mark.xrootd
PATIENCE_SECONDS = 120
ENVIRONMENT = {
    "COLUMNSERVICE_REVALIDATE_SECONDS": "3600",
    # a frozen origin is waited for, however long the test takes
    "XRD_CONNECTIONWINDOW": "300",
    "XRD_REQUESTTIMEOUT": "300",
    "XRD_STREAMTIMEOUT": "300",
}


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    return judged_pair(tmp_path_factory.mktemp("drain"), events=400, parents=2)


@pytest.fixture
def place(tmp_path, pair, xrootd_installed, request):
    """A service of its own with one cached column, on an origin that can be frozen."""
    with ExitStack() as stack:
        origin = stack.enter_context(XrootdServer())
        urls = [origin.put(parent) for parent in pair.pair.parents]
        drain = getattr(request, "param", 600)
        environment = {**ENVIRONMENT, "COLUMNSERVICE_DRAIN_SECONDS": str(drain)}
        made = stack.enter_context(site(tmp_path, pair, urls, environment))
        made.demand_right("PFCands_pt")
        made.origin = origin
        yield made
        origin.thaw()


def until(true) -> None:
    end = time.monotonic() + PATIENCE_SECONDS
    while not true():
        assert time.monotonic() < end
        time.sleep(0.05)


def begin(place, name: str) -> Later:
    """A request that cannot go on, and a service that was told to end."""
    place.origin.freeze()
    asked = Later(place, name)
    until(lambda: place.metric("tasks_running") > 0)
    place.service.process.send_signal(signal.SIGTERM)
    until(lambda: place.ready() == 503)
    return asked


def demand_nothing_left(place, workers) -> None:
    assert incoming(place.service.home) == []
    assert not list((place.service.home / "indexes").rglob(".new-*"))
    for pid in workers:
        until(lambda pid=pid: gone(pid))


def test_running_replies_are_finished_and_no_cold_work_is_begun(place):
    workers = place.workers()
    asked = begin(place, "PFCands_eta")
    assert place.service.ask("GET", "/readyz")[1]["service"] == "shutting down"
    place.demand_right("PFCands_pt")
    with pytest.raises(Unavailable, match="shutting down"):
        place.ask("PFCands_phi")
    assert place.service.process.poll() is None
    place.origin.thaw()
    place.pair.demand_right(asked.result())
    assert place.service.process.wait(PATIENCE_SECONDS) == 0
    demand_nothing_left(place, workers)


def test_a_second_signal_ends_it_at_once(place):
    workers = place.workers()
    asked = begin(place, "PFCands_eta")
    place.service.process.send_signal(signal.SIGTERM)
    assert place.service.process.wait(PATIENCE_SECONDS) is not None
    with pytest.raises((TransportError, HTTPError)):
        asked.result()
    demand_nothing_left(place, workers)


@pytest.mark.parametrize("place", [10], indirect=True)
def test_the_bound_ends_it(place):
    workers = place.workers()
    asked = begin(place, "PFCands_eta")
    assert place.service.process.wait(PATIENCE_SECONDS) == 0
    with pytest.raises(Unavailable, match="shutting down"):
        asked.result()
    demand_nothing_left(place, workers)


def test_an_idle_service_ends_at_once_and_goes_on_with_its_cache(place, tmp_path):
    workers = place.workers()
    place.service.process.send_signal(signal.SIGINT)
    assert place.service.process.wait(PATIENCE_SECONDS) == 0
    demand_nothing_left(place, workers)
    assert "Traceback" not in place.service.log.read_text()
