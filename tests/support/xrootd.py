"""Real XRootD servers for tests: an origin, a counting relay, and an XCache that reads through it.

The session's servers are shared: tests that freeze, kill or fill servers start their own with
``storage()``.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from columnservice.demo import xrootd
from columnservice.demo.relay import Counts, Relay
from columnservice.demo.xrootd import XrootdServer


@dataclass(frozen=True)
class Storage:
    """client → ``xcache`` → ``relay`` → ``origin``."""

    origin: XrootdServer
    relay: Relay
    xcache: XrootdServer

    @property
    def xcaches(self) -> dict[str, str]:
        """The setting ``xcaches``: origin prefix → XCache prefix."""
        return {f"root://{self.origin.address}": f"root://{self.xcache.address}"}

    def put(self, source: Path, path: str | None = None) -> str:
        """Copy a file to the origin; returns its URL *at the origin*."""
        return self.origin.put(source, path)

    @property
    def counts(self) -> Counts:
        """What the XCache has exchanged with the origin so far."""
        return self.relay.counts


@contextmanager
def storage(delay_seconds: float = 0.0) -> Iterator[Storage]:
    """A fresh origin, relay and XCache; ``delay_seconds`` one way between cache and origin."""
    with ExitStack() as stack:
        origin = stack.enter_context(XrootdServer())
        relay = stack.enter_context(Relay(origin.port, delay_seconds))
        xcache = stack.enter_context(XrootdServer(origin=relay.address))
        yield Storage(origin, relay, xcache)


@pytest.fixture(scope="session")
def xrootd_installed() -> None:
    """Skip where the xrootd server programs are absent (a failure in CI)."""
    if not xrootd.installed():
        pytest.skip("no xrootd server programs: run scripts/system-packages")


@pytest.fixture(scope="session")
def xrootd_storage(xrootd_installed: None) -> Iterator[Storage]:
    """The session's origin, relay and XCache."""
    with storage() as servers:
        yield servers


@pytest.fixture(scope="session")
def origin(xrootd_storage: Storage) -> XrootdServer:
    """A real origin; ``origin.put(path, "a.root")`` copies it to ``/store``, returns its URL."""
    return xrootd_storage.origin


@pytest.fixture(scope="session")
def relay(xrootd_storage: Storage) -> Relay:
    """Counts what the XCache exchanges with the origin: ``relay.counts.received_bytes``."""
    return xrootd_storage.relay


@pytest.fixture(scope="session")
def xcache(xrootd_storage: Storage) -> XrootdServer:
    """A real XCache in front of the origin; ``xcache.url("name.root")``."""
    return xrootd_storage.xcache
