"""Origin, relay and XCache run for real: bytes are counted, faults bite, nothing is left behind."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
import uproot

from columnservice.demo.process import Process, free_port
from columnservice.demo.relay import Counts, Relay
from columnservice.demo.xrootd import XrootdServer, answers
from columnservice.errors import SetupError
from tests.support.processes import gone
from tests.support.xrootd import Storage, storage

READ = """
import sys, uproot
with uproot.open(sys.argv[1]) as f:
    print(f["Events"][sys.argv[2]].array().tolist())
"""


def read_branch(url: str, branch: str) -> str:
    """What a fresh process reads (its own XRootD connections, no cached handles)."""
    done = subprocess.run(
        [sys.executable, "-c", READ, url, branch], capture_output=True, text=True, check=True
    )
    return done.stdout


def wait_gone(pid: int) -> None:
    deadline = time.monotonic() + 120
    while not gone(pid):
        assert time.monotonic() < deadline, f"process {pid} was left behind"
        time.sleep(0.05)


def settled(relay: Relay) -> Counts:
    """What passed, once nothing more passes: a cache closes files later than its clients."""
    deadline = time.monotonic() + 120
    before, counts = None, relay.counts
    while counts != before:
        assert time.monotonic() < deadline
        time.sleep(1.0)
        before, counts = counts, relay.counts
    return counts


@pytest.mark.xrootd
def test_warm_columns_come_from_the_cache_without_a_byte_from_the_origin(
    data_dir: Path, origin: XrootdServer, xcache: XrootdServer, relay: Relay
):
    path = data_dir / "cms" / "nano_dy.root"
    origin.put(path, "servers/nano_dy.root")
    url = xcache.url("servers/nano_dy.root")
    cold = read_branch(url, "Jet_pt")
    with uproot.open(path) as file:
        assert cold.strip() == str(file["Events"]["Jet_pt"].array().tolist())
    before = settled(relay)
    assert before.received_bytes > 0
    assert read_branch(url, "Jet_pt") == cold
    assert relay.counts == before


@pytest.mark.xrootd
def test_a_cache_still_serves_cached_columns_when_its_origin_is_dead_and_after_a_restart(
    data_dir: Path, xrootd_installed: None
):
    with storage() as servers:
        servers.put(data_dir / "cms" / "nano_dy.root", "a.root")
        cold = read_branch(servers.xcache.url("a.root"), "Jet_pt")
        servers.origin.kill()
        assert not answers(servers.origin.port)
        assert read_branch(servers.xcache.url("a.root"), "Jet_pt") == cold
        servers.xcache.stop()
        servers.xcache.start()
        assert read_branch(servers.xcache.url("a.root"), "Jet_pt") == cold


@pytest.mark.xrootd
def test_a_frozen_server_does_not_answer_until_it_is_thawed(xrootd_installed: None):
    with XrootdServer() as server:
        for _ in range(30):  # without waiting for all threads to stop, some answered in time
            server.freeze()
            assert not answers(server.port, timeout_seconds=0.02)
            server.thaw()
            assert answers(server.port, timeout_seconds=20)
        server.freeze()  # a frozen one must be closed all the same


@pytest.mark.xrootd
def test_a_server_that_cannot_start_tells_the_end_of_its_log(xrootd_installed: None):
    with XrootdServer() as running:
        second = XrootdServer()
        second.port = running.port
        home = second.log.parent
        with pytest.raises(SetupError, match="origin ended while starting"), second:
            pass
        assert not home.exists()


@pytest.mark.xrootd
def test_a_server_dies_with_the_process_that_started_it(xrootd_installed: None):
    code = (
        "import time; from columnservice.demo.xrootd import XrootdServer\n"
        "server = XrootdServer().start()\n"
        "print(server.process.pid, server.log.parent, flush=True)\n"
        "time.sleep(600)"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, text=True
    ) as starter:
        assert starter.stdout is not None
        pid, home = starter.stdout.readline().split()
        assert not gone(int(pid))
        starter.kill()
    wait_gone(int(pid))
    subprocess.run(["rm", "-r", home], check=True)


def test_a_process_is_stopped_with_all_that_it_started(tmp_path: Path):
    code = (
        "import subprocess, sys, time\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])\n"
        "print(child.pid, flush=True); time.sleep(600)"
    )
    log = tmp_path / "log"
    process = Process("sleeper", [sys.executable, "-c", code], log)
    process.wait_until(lambda: bool(log.read_text().strip()), 120)
    grandchild = int(log.read_text())
    process.stop()
    assert not process.alive()
    wait_gone(process.pid)
    wait_gone(grandchild)


def test_a_released_process_outlives_its_starter_and_ends_by_its_guard(tmp_path: Path):
    code = (
        "import sys; from pathlib import Path; from columnservice.demo.process import Process\n"
        f"p = Process('kept', [sys.executable, '-c', 'import time; time.sleep(600)'], "
        f"Path({str(tmp_path / 'log')!r}))\n"
        "p.release(); print(p.pid, p.guard_pid)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr == ""
    pid, guard_pid = map(int, done.stdout.split())
    time.sleep(0.5)  # more than the guard needs to notice that its starter is gone
    assert not gone(pid)
    os.kill(guard_pid, signal.SIGTERM)
    wait_gone(pid)


def test_a_program_that_does_not_exist_is_one_clear_error(tmp_path: Path):
    with pytest.raises(SetupError, match="sleeper could not be started"):
        Process("sleeper", ["/does/not/exist"], tmp_path / "log")


def echo_server() -> tuple[Process, int]:
    """A process that sends back what it gets."""
    port = free_port()
    code = (
        "import asyncio\n"
        "async def echo(reader, writer):\n"
        "    while data := await reader.read(1 << 16):\n"
        "        writer.write(data); await writer.drain()\n"
        "    writer.close()\n"
        "async def main():\n"
        f"    server = await asyncio.start_server(echo, '127.0.0.1', {port})\n"
        "    await server.serve_forever()\n"
        "asyncio.run(main())"
    )
    process = Process("echo", [sys.executable, "-c", code], Path(os.devnull))

    def listens() -> bool:
        with socket.socket() as s:
            return s.connect_ex(("127.0.0.1", port)) == 0

    process.wait_until(listens, 120)
    return process, port


@pytest.mark.parametrize("delay_seconds", [0.0, 0.05])
def test_the_relay_passes_and_counts_every_byte(delay_seconds: float):
    sent = os.urandom(3_000_001)
    process, port = echo_server()
    try:
        with Relay(port, delay_seconds) as relay:
            before = relay.counts
            started = time.monotonic()
            with socket.create_connection(("127.0.0.1", relay.port)) as s:
                received = b""
                for at in range(0, len(sent), 100_000):
                    s.sendall(sent[at : at + 100_000])
                    while len(received) < min(at + 100_000, len(sent)):
                        more = s.recv(1 << 16)
                        assert more
                        received += more
            assert received == sent
            passed = relay.counts - before
            assert passed == Counts(len(sent), len(sent), 1)
            assert time.monotonic() - started >= 2 * delay_seconds * 31
    finally:
        process.stop()


def test_the_relay_closes_when_its_target_is_absent():
    with Relay(free_port()) as relay, socket.create_connection(("127.0.0.1", relay.port)) as s:
        assert s.recv(1) == b""
        assert relay.counts == Counts()


@pytest.mark.xrootd
def test_storage_names_its_cache_by_the_origin(xrootd_storage: Storage):
    (prefix, cache) = next(iter(xrootd_storage.xcaches.items()))
    assert xrootd_storage.origin.url("a.root").startswith(prefix + "//")
    assert xrootd_storage.xcache.url("a.root").startswith(cache + "//")
