"""A generated pair, the storage that its parents stand in, and a service that knows both.

Everything is of one benchmark and is gone after it. Knows how to start and ask; not what is timed.
"""

from __future__ import annotations

import json
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import uproot
from numpy.typing import NDArray

import columnservice
from columnservice.client import Service
from columnservice.demo.blocks import Sample
from columnservice.demo.generate import Pair, generate
from columnservice.demo.process import Process, free_port
from columnservice.demo.relay import Relay
from columnservice.demo.xrootd import XrootdServer
from columnservice.nanoevents.branches import ColumnClasses
from columnservice.nanoevents.memory import MEMORY
from columnservice.nanoevents.offer import make_offer

PARENT, LOCAL = "bench_parent", "bench_local"
KEYS = ("run", "luminosityBlock", "event")
START_SECONDS = 180
CLUSTER_EVENTS = 2000
KERNELS = Path(__file__).resolve().parents[1] / ".pytest_cache" / "kernels"


@dataclass
class World:
    """A running service that knows a pair.

    Attributes:
        pair: the files.
        service: its client.
        urls: of the parents, where a user who knows of no service would read them.
        home: where the service keeps its state.
        relay: between readers and the XCache; None where there is none.
    """

    pair: Pair
    service: Service
    urls: tuple[str, ...]
    home: Path
    relay: Relay | None = None
    uuids: dict[str, str] = field(default_factory=dict)

    def evict(self) -> None:
        """Empty the service's cache: the next request reads from the parents."""
        self.service.transport.request("POST", "/v1/cache/evict", document={})

    def register(self, name: str, files: Sequence[str | Path], parent: str | None = None) -> None:
        """Register a Dataset and wait until its Files are known."""
        form = self.pair.parent_format if parent is None else self.pair.local_format
        told = {"name": name, "format": form, "parent": parent, "files": [str(f) for f in files]}
        self.service.transport.request("POST", "/v1/datasets", document=told)
        while (info := self.service.transport.json(f"/v1/datasets/{name}"))["registering"]:
            time.sleep(0.1)
        assert not info["failures"], info["failures"]
        found = self.service.transport.json(f"/v1/datasets/{name}/files")
        self.uuids[name] = found["files"][0]["uuid"]

    def tree(self, path: Path | None = None, dataset: str = LOCAL, **how: Any) -> Any:
        """A local file's tree with the remote columns as branches, as an analysis opens it."""
        offer = make_offer(self.service, dataset=dataset, read_ahead=False, **how)
        classes = ColumnClasses(offer)
        return uproot.open({path or self.pair.local: "Events"}, custom_classes=classes)

    def opener(self, path: Path | None = None, dataset: str = LOCAL) -> Callable[[], Any]:
        """Opens a local file each time as if for the first time, its column list being known."""
        classes = ColumnClasses(make_offer(self.service, dataset=dataset, read_ahead=False))
        return lambda: uproot.open({path or self.pair.local: "Events"}, custom_classes=classes)


def forget() -> None:
    """Forget what this process was given: the next touch asks the service."""
    MEMORY.clear()


@contextmanager
def world(
    folder: Path,
    sample: Sample,
    *,
    remote: bool = False,
    delay_seconds: float | None = None,
    pair: Pair | None = None,
    settings: Mapping[str, str] | None = None,
) -> Iterator[World]:
    """Files, storage and service.

    Args:
        folder: an existing empty directory.
        sample: what to generate.
        remote: whether the parents stand behind a real origin and a real XCache; else they are
            local files.
        delay_seconds: one way between reader and XCache, through a relay that counts bytes and
            takes some of the processor for it; None: no relay stands between them.
        pair: files that were made before; their parents are linked.
        settings: more of the service's, by name of the environment variable.
    """
    with ExitStack() as stack:
        origin = XrootdServer() if remote else None
        if origin is not None:
            stack.callback(origin.close)
        above = origin.store if origin else folder
        if pair is None:
            pair = generate("cms", folder, sample, parents_directory=above)
        elif origin is not None:
            for parent in pair.parents:
                (above / parent.name).symlink_to(parent.resolve())
        told: dict[str, Any] = {"allowed_roots": [str(folder), str(pair.local.parent)]}
        registered = urls = tuple(str(p) for p in pair.parents)
        relay = None
        if origin is not None:
            origin.start()
            xcache = XrootdServer(origin=origin.address)
            stack.callback(xcache.close)
            xcache.start()
            nearest = xcache.address
            if delay_seconds is not None:
                relay = stack.enter_context(Relay(xcache.port, delay_seconds))
                nearest = relay.address
            registered = tuple(origin.url(p.name) for p in pair.parents)
            urls = tuple(f"root://{nearest}//store/{p.name}" for p in pair.parents)
            told |= {
                "allowed_hosts": [origin.address],
                "xcaches": {f"root://{origin.address}": f"root://{nearest}"},
            }
        environment = {f"COLUMNSERVICE_{k.upper()}": json.dumps(v) for k, v in told.items()}
        url = _serve(stack, folder, environment | dict(settings or {}))
        made = World(pair, columnservice.connect(url), urls, folder / "home", relay)
        made.register(PARENT, registered)
        made.register(LOCAL, [pair.local], PARENT)
        yield made


def _serve(stack: ExitStack, folder: Path, environment: Mapping[str, str]) -> str:
    """Start a service; returns its URL."""
    home, port = folder / "home", free_port()
    home.mkdir(mode=0o700)
    KERNELS.mkdir(parents=True, exist_ok=True)
    (home / "kernels").symlink_to(KERNELS)
    command = [sys.executable, "-m", "columnservice.cli", "serve", "--port", str(port)]
    command += ["--home", str(home)]
    process = Process("the service", command, folder / "service.log", environment)
    stack.callback(process.stop)
    process.wait_until(lambda: _answers(f"http://127.0.0.1:{port}/readyz"), START_SECONDS)
    return f"http://127.0.0.1:{port}"


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5) as reply:
            return bool(reply.status == 200)
    except OSError:
        return False


def started(process: Process, url: str) -> Process:
    """A server that answers; stopped and told of where it does not."""
    try:
        process.wait_until(lambda: _answers(url), START_SECONDS)
    except BaseException:
        process.stop()
        raise
    return process


def write_local(
    path: Path,
    source: Path,
    columns: Mapping[str, ak.Array],
    compression: Any,
    rows: NDArray[np.int64] | slice = slice(None),
) -> Path:
    """A NanoAOD-like file that holds more columns, as if a central production had put them in.

    Args:
        path: of the new file.
        source: gives keys, scalars and muons.
        columns: by branch name, ``Collection_field`` or a scalar; all events of ``source``.
        compression: of uproot.
        rows: which events of both, in which order.
    """
    with uproot.open({source: "Events"}) as tree:
        scalars = [*KEYS, "fixedGridRhoFastjetAll", "genWeight", "MET_pt", "PV_npvs"]
        muons = [f"Muon_{m}" for m in ("pt", "eta", "phi", "mass", "charge")]
        held = tree.arrays([*scalars, *muons])[rows]
    flat = {name: held[name] for name in scalars}
    groups: dict[str, dict[str, ak.Array]] = {
        "Muon": {name.partition("_")[2]: held[name] for name in muons}
    }
    for name, array in columns.items():
        collection, _, member = name.partition("_")
        groups.setdefault(collection, {})[member] = array[rows]
    chunk = flat | {name: ak.zip(members) for name, members in groups.items()}
    with uproot.recreate(path, compression=compression) as file:
        tree = file.mktree(
            "Events",
            {name: ak.type(array).content for name, array in chunk.items()},
            field_name=lambda outer, inner: f"{outer}_{inner}" if outer else inner,
        )
        for start in range(0, len(flat["event"]), CLUSTER_EVENTS):
            part = slice(start, start + CLUSTER_EVENTS)
            tree.extend({name: array[part] for name, array in chunk.items()})
    return path
