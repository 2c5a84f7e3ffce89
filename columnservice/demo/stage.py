"""The servers of the demo, each hop counted: analysis ← service ← XCache ← origin.

With the xrootd programs there are a real origin and a real XCache; without them the service reads
the parents from their local paths. Knows how to start, name and end all of it.
"""

from __future__ import annotations

import http.client
import json
import shlex
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any
from urllib.parse import quote

import columnservice
from columnservice.client import Service
from columnservice.demo.process import Process, free_port
from columnservice.demo.relay import Relay
from columnservice.demo.xrootd import XrootdServer, installed
from columnservice.errors import ColumnServiceError
from columnservice.settings import default_home

START_SECONDS = 600
"""The service compiles its kernels on its first start."""

POLL_SECONDS = 0.2


@dataclass(frozen=True)
class Traffic:
    """Bytes that arrived over each hop; None where there is no such hop.

    Attributes:
        from_service: at the analysis.
        from_xcache: at the service.
        from_origin: at the XCache.
    """

    from_service: int
    from_xcache: int | None
    from_origin: int | None

    def __sub__(self, earlier: Traffic) -> Traffic:
        def less(now: int | None, then: int | None) -> int | None:
            return None if now is None or then is None else now - then

        return Traffic(
            self.from_service - earlier.from_service,
            less(self.from_xcache, earlier.from_xcache),
            less(self.from_origin, earlier.from_origin),
        )


class Stage:
    """Directories, storage and service of one demo; a context manager that leaves nothing behind.

    ``parents`` is where parent files must be put before ``open`` is called.
    """

    def __init__(self) -> None:
        self._stack = ExitStack()
        self.directory = Path(tempfile.mkdtemp(prefix="columnservice-demo-"))
        self._stack.callback(shutil.rmtree, self.directory, ignore_errors=True)
        self.origin: XrootdServer | None = None
        self._origin_relay: Relay | None = None
        self._xcache: XrootdServer | None = None
        self._xcache_relay: Relay | None = None
        self._process: Process | None = None
        self._service_relay: Relay | None = None
        if installed():
            self.origin = XrootdServer()
            self._stack.callback(self.origin.close)
        self.parents = self.origin.store if self.origin else self.directory

    def __enter__(self) -> Stage:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stack.close()

    def open_storage(self) -> None:
        """Start origin and XCache where they are installed."""
        if self.origin is None:
            return
        self.origin.start()
        self._origin_relay = self._stack.enter_context(Relay(self.origin.port))
        self._xcache = XrootdServer(origin=self._origin_relay.address)
        self._stack.callback(self._xcache.close)
        self._xcache.start()
        self._xcache_relay = self._stack.enter_context(Relay(self._xcache.port))

    def url_of(self, parent: Path) -> str:
        """What a parent file is registered as: its URL at the origin, or its path."""
        return str(parent) if self.origin is None else self.origin.url(parent.name)

    @property
    def place(self) -> str:
        """Where the parents are, for people."""
        if self.origin is None or self._xcache is None:
            return f"local paths in {self.parents}"
        return f"origin root://{self.origin.address}, XCache root://{self._xcache.address}"

    def open_service(self) -> None:
        """Start the service and wait until it is ready."""
        port = free_port()
        settings: dict[str, Any] = {"allowed_roots": [str(self.directory), str(self.parents)]}
        if self.origin is not None and self._xcache_relay is not None:
            settings["allowed_hosts"] = [self.origin.address]
            settings["xcaches"] = {
                f"root://{self.origin.address}": f"root://{self._xcache_relay.address}"
            }
        env = {f"COLUMNSERVICE_{name.upper()}": json.dumps(v) for name, v in settings.items()}
        home = self.directory / "home"
        home.mkdir(mode=0o700)
        _share_kernels(home)
        command = [sys.executable, "-m", "columnservice.cli", "serve"]
        command += ["--host", "127.0.0.1", "--port", str(port), "--home", str(home)]
        self._process = Process("the service", command, self.directory / "service.log", env)
        self._stack.callback(self._process.stop)
        self._process.wait_until(lambda: _ready(port), START_SECONDS)
        self._service_relay = self._stack.enter_context(Relay(port))

    @property
    def service(self) -> Service:
        """The client of the service, through the counting relay."""
        assert self._service_relay is not None
        return columnservice.connect(f"http://{self._service_relay.address}")

    @property
    def traffic(self) -> Traffic:
        """What has arrived over each hop until now."""
        assert self._service_relay is not None
        xcache, origin = self._xcache_relay, self._origin_relay
        return Traffic(
            self._service_relay.counts.received_bytes,
            xcache.counts.received_bytes if xcache else None,
            origin.counts.received_bytes if origin else None,
        )

    def register(
        self,
        name: str,
        format_name: str,
        files: list[str],
        parent: str | None,
        progress: Callable[[int, int], None],
    ) -> dict[str, Any]:
        """Register a dataset and wait until all its files are known.

        Returns:
            what the service says about the dataset.

        Raises:
            ColumnServiceError: the service refuses the dataset, or a file of it.
        """
        transport = self.service.transport
        document = {"name": name, "format": format_name, "parent": parent, "files": files}
        transport.request("POST", "/v1/datasets", document=document)
        while True:
            info = transport.json(f"/v1/datasets/{quote(name)}")
            progress(info["files"]["ok"], len(files))
            if not info["registering"]:
                break
            time.sleep(POLL_SECONDS)
        for failure in info["failures"]:
            raise ColumnServiceError(f"{failure['url']}: {failure['error']}", failure["remedy"])
        return info

    def forget_pieces(self) -> None:
        """Empty the service's own cache, so that the next request goes to the XCache."""
        self.service.transport.request("POST", "/v1/cache/evict", document={})

    def keep(self) -> Path:
        """Let everything live on; returns a script that ends it."""
        servers = [s for s in (self._xcache, self.origin) if s is not None]
        relays = [self._service_relay, self._xcache_relay, self._origin_relay]
        processes = [self._process, *(server.process for server in servers)]
        processes += [relay.process for relay in relays if relay is not None]
        running = [process for process in processes if process is not None]
        homes = [self.directory, *(server.home for server in servers)]
        homes += [relay.directory for relay in relays if relay is not None]
        pids = " ".join(str(process.guard_pid) for process in running)
        script = self.directory / "stop"
        script.write_text(f"#!/bin/sh\nkill {pids}\nsleep 1\nrm -r {shlex.join(map(str, homes))}\n")
        script.chmod(0o755)
        for process in running:
            process.release()
        self._stack.pop_all()
        return script


def _share_kernels(home: Path) -> None:
    """Take compiled kernels from the user's own home: compiling them takes most of a start."""
    kernels = default_home() / "kernels"
    try:
        kernels.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError:
        return  # a user without a home compiles them anew each time
    (home / "kernels").symlink_to(kernels)


def _ready(port: int) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", "/readyz")
        return connection.getresponse().status == 200
    except OSError:
        return False
    finally:
        connection.close()
