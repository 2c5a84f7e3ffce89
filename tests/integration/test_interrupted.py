"""A notebook goes on: after Ctrl-C in the middle of a wait, and over a restart of the service."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pytest

import columnservice
from columnservice.client.report import LEDGER
from columnservice.errors import Unreachable
from columnservice.nanoevents.memory import MEMORY
from tests.soak.test_kills import Service
from tests.support.pairs import JudgedPair, judged_pair
from tests.support.site import PATIENCE_SECONDS, site

# What a user types; the signal comes while the first sum waits.
NOTEBOOK = """
import signal
import sys
import uproot
from coffea.nanoevents import NanoAODSchema
import columnservice
# A shell that started the tests in the background has them ignore the signal.
signal.signal(signal.SIGINT, signal.default_int_handler)
service = columnservice.connect(sys.argv[1])
options = service.nanoevents(NanoAODSchema, dataset=sys.argv[2], missing="mask")["uproot_options"]
tree = uproot.open({sys.argv[3]: "Events"}, **options)
try:
    print("waiting", flush=True)
    sys.stdin.readline()
    tree["PFCands_pt"].array()
    print("not interrupted")
except KeyboardInterrupt:
    print("interrupted", flush=True)
sys.stdin.readline()
print(tree["PFCands_pt"].array().layout.content.data.astype("f8").sum())
print(len(service.datasets()))
"""


@contextmanager
def stoppable(port: int) -> Iterator[tuple[str, threading.Event, threading.Event]]:
    """A relay to a service on this host, which passes replies on while its gate is open.

    The second event is set whenever a reply is held back.
    """
    gate, ending, held_back = threading.Event(), threading.Event(), threading.Event()
    gate.set()

    def carry(source: socket.socket, sink: socket.socket, held: bool) -> None:
        try:
            while data := source.recv(65536):
                while held and not gate.wait(0.1):
                    held_back.set()
                    if ending.is_set():
                        return
                sink.sendall(data)
        except OSError:
            return
        finally:
            for end in (source, sink):
                end.close()

    def accept() -> None:
        while not ending.is_set():
            try:
                here, _ = listener.accept()
            except OSError:
                return
            try:
                there = socket.create_connection(("127.0.0.1", port))
            except OSError:
                here.close()
                continue
            for one in ((here, there, False), (there, here, True)):
                threading.Thread(target=carry, args=one, daemon=True).start()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=accept, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}", gate, held_back
        finally:
            ending.set()
            gate.set()


@pytest.fixture(scope="module")
def pair(tmp_path_factory) -> JudgedPair:
    return judged_pair(tmp_path_factory.mktemp("pair"), events=300, parents=2)


def sum_of(pair: JudgedPair) -> float:
    return float(pair.right("PFCands_pt").values.astype(np.float64).sum())


def test_ctrl_c_in_the_middle_of_a_wait_leaves_a_usable_client(tmp_path, pair):
    with site(tmp_path, pair, pair.pair.parents) as place:
        port = int(place.service.url.rpartition(":")[2])
        with stoppable(port) as (url, gate, held):
            arguments = [sys.executable, "-c", NOTEBOOK, url, place.dataset, str(pair.pair.local)]
            environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
            with subprocess.Popen(
                arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
            ) as notebook:
                assert notebook.stdout is not None
                assert notebook.stdin is not None
                assert notebook.stdout.readline() == "waiting\n"
                gate.clear()
                held.clear()
                notebook.stdin.write("\n")
                notebook.stdin.flush()
                assert held.wait(PATIENCE_SECONDS)  # the reply is on its way, and waited for
                notebook.send_signal(signal.SIGINT)
                assert notebook.stdout.readline() == "interrupted\n"
                gate.set()
                notebook.stdin.write("\n")
                notebook.stdin.flush()
                total, datasets = notebook.stdout.read().split()
                assert notebook.wait(PATIENCE_SECONDS) == 0
    assert float(total) == pytest.approx(sum_of(pair))
    assert datasets == "2"


def test_a_client_goes_on_when_its_service_is_started_again(tmp_path, pair):
    home = tmp_path / "home"
    with site(tmp_path, pair, pair.pair.parents) as place:
        uuid, dataset = place.uuid, place.dataset
        (column,) = place.columns(["PFCands_pt"])
    MEMORY.clear()
    LEDGER.renew()
    service = Service(home, [pair.pair.local.parent, tmp_path], 100_000_000)
    try:
        service.wait_until_ready()
        client = columnservice.connect(service.url)
        right = pair.right("PFCands_pt").values.tolist()
        reply = client.fetch(dataset, uuid, 0, 300, [column.name])
        assert reply.values(column).values.tolist() == right
        service.kill()
        with pytest.raises(Unreachable, match="No answer"):
            client.fetch(dataset, uuid, 0, 300, [column.name])
        service.start()
        service.wait_until_ready()
        again = client.fetch(dataset, uuid, 0, 300, [column.name])
        assert again.values(column).values.tolist() == right
    finally:
        service.kill()
