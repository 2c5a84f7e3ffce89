"""doctor: what is wrong is named with its remedy; what hangs, or is not there, holds nothing up."""

from __future__ import annotations

import json
import os
import socket
import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from columnservice.catalogue.indexing import index_file
from columnservice.catalogue.store import Catalogue
from columnservice.cli import installation, storage
from columnservice.cli.findings import AT_ONCE, Check, fine, look_at_all
from columnservice.cli.serve import read_settings
from columnservice.demo.process import free_port
from columnservice.errors import DamagedFile
from columnservice.model import Dataset
from columnservice.settings import Settings
from tests.support.xrootd import Storage
from tests.support.xrootd import storage as servers_of_our_own


@pytest.fixture(autouse=True)
def _plain_surroundings(monkeypatch, tmp_path):
    """No settings, credentials or service of whoever runs the tests."""
    for name in list(os.environ):
        if name.startswith(("COLUMNSERVICE_", "XRD_", "BEARER_TOKEN", "X509_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("COLUMNSERVICE_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("COLUMNSERVICE_PORT", str(free_port()))
    monkeypatch.setenv("COLUMNSERVICE_CACHE_LIMIT_BYTES", "1000000")
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    monkeypatch.setattr(installation.tempfile, "tempdir", str(tmp_path))


@pytest.fixture
def compiled(monkeypatch):
    """As if all kernels were compiled already: one test compiles them."""
    monkeypatch.setattr(installation, "_COMPILE", "pass")


@pytest.fixture
def home(tmp_path) -> Path:
    """A home with a catalogue."""
    made = tmp_path / "home"
    made.mkdir(mode=0o700)
    catalogue = Catalogue(read_settings({"home": made}).catalogue_url)
    catalogue.migrate()
    catalogue.close()
    return made


def rows(outcome) -> dict[str, list[str]]:
    """check → [mark, found, remedy], from the lines that a pipe gets."""
    found = {}
    for line in outcome.out.splitlines():
        mark, check, said, remedy = line.split("\t")
        assert check not in found
        assert bool(remedy) == (mark == "✘")
        found[check] = [mark, said, remedy]
    return found


def settings() -> Settings:
    return read_settings({})


def test_without_a_home_and_without_a_service_nothing_is_wrong_and_nothing_is_made(
    run, compiled, tmp_path
):
    outcome = run("doctor")
    found = rows(outcome)
    assert outcome.code == 0, outcome.out
    assert found["home"][:2] == ["–", f"{tmp_path}/home does not exist yet: `serve` makes it"]
    assert found["catalogue"][0] == found["storage"][0] == "–"
    for check in ("versions", "XRootD client", "XRootD time limits", "disk", "kernels", "port"):
        assert found[check][0] == "✔", found[check]
    assert not (tmp_path / "home").exists()


def test_kernels_compile_and_stay_under_the_home(home):
    assert installation.kernels(settings()).state == "fine"
    assert list((home / "kernels").rglob("*.nbc"))


def test_kernels_that_do_not_compile_are_told_by_their_last_line(monkeypatch):
    monkeypatch.setattr(installation, "_COMPILE", "raise ImportError('numba is too old')")
    finding = installation.kernels(settings())
    assert finding.state == "wrong"
    assert finding.found == "do not compile: ImportError: numba is too old"


def test_all_that_is_wrong_is_told_at_once_and_the_exit_code_is_1(
    run, compiled, home, monkeypatch, tmp_path
):
    home.chmod(0o755)
    token = tmp_path / "token"
    token.write_text("eyJhbGci")
    token.chmod(0o644)
    monkeypatch.setenv("BEARER_TOKEN_FILE", str(token))
    monkeypatch.setenv("COLUMNSERVICE_CACHE_LIMIT_BYTES", str(10**18))
    monkeypatch.setenv("XRD_REQUESTTIMEOUT", "1800")
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        monkeypatch.setenv("COLUMNSERVICE_PORT", str(port))
        monkeypatch.setattr(installation, "SERVICE_SECONDS", 0.2)
        outcome = run("doctor", "--url", f"http://127.0.0.1:{free_port()}")
    found = rows(outcome)
    assert outcome.code == 1
    assert found["home"] == [
        "✘", f"{home} is open to others (mode 0755)", f"`chmod 700 {home}`"
    ]  # fmt: skip
    assert found["secrets"] == [
        "✘", f"{token} is open to others (mode 0644)", f"`chmod 600 {token}`"
    ]  # fmt: skip
    assert "COLUMNSERVICE_CACHE_LIMIT_BYTES" in found["disk"][2]
    assert "XRD_REQUESTTIMEOUT=1800" in found["XRootD time limits"][1]
    assert f"Port {port}" in found["port"][1]
    assert found["service"][0] == "✘"
    assert found["catalogue"][0] == "✔"
    assert "6 of" in outcome.err
    assert "eyJhbGci" not in outcome.out + outcome.err


def test_wrong_settings_are_a_finding_and_not_a_crash(run, monkeypatch):
    monkeypatch.setenv("COLUMNSERVICE_WORKERS", "many")
    outcome = run("doctor")
    assert outcome.code == 1
    assert rows(outcome)["settings"][0] == "✘"


def test_a_home_that_cannot_be_made_or_is_a_file_is_wrong(tmp_path):
    (tmp_path / "file").write_text("")
    for place in (tmp_path / "file", tmp_path / "file" / "home"):
        finding = installation.home(place)
        assert finding.state == "wrong"
        assert "COLUMNSERVICE_HOME" in finding.remedy


def test_a_secret_that_is_announced_and_absent_is_wrong(monkeypatch, tmp_path):
    monkeypatch.setenv("X509_USER_PROXY", str(tmp_path / "none"))
    assert installation.secrets().found == f"{tmp_path}/none cannot be read"


def test_a_usual_token_of_the_owner_only_is_fine(tmp_path):
    token = tmp_path / f"bt_u{os.geteuid()}"
    token.write_text("x")
    token.chmod(0o600)
    assert installation.secrets().state == "fine"
    assert str(token) in installation.secrets().found


def test_a_damaged_catalogue_and_one_of_another_version_are_wrong(home):
    file = home / "catalogue.sqlite"
    with sqlite3.connect(file) as database:
        database.execute("UPDATE alembic_version SET version_num = '9999'")
    database.close()
    finding = installation.catalogue(settings())
    assert finding.state == "wrong"
    assert "has schema 9999" in finding.found
    for path in home.glob("catalogue.sqlite*"):
        path.unlink()
    file.write_text("this is no database at all, says this text\n" * 30)
    assert "does not open" in installation.catalogue(settings()).found


@pytest.mark.parametrize(
    "url", ["sqlite:////no/such/directory/c.sqlite", "nonsense", "none://user:hush@host/db"]
)
def test_a_database_that_does_not_open_is_wrong(monkeypatch, url):
    monkeypatch.setenv("COLUMNSERVICE_DATABASE_URL", url)
    finding = installation.catalogue(settings())
    assert finding.state == "wrong"
    assert "COLUMNSERVICE_DATABASE_URL" in finding.remedy
    assert "hush" not in finding.found


def test_a_service_that_is_ready_is_fine_and_one_that_is_not_tells_why(fake):
    fake.sends("GET", "/readyz", {"ready": True})
    assert installation.service(fake.url).state == "fine"
    fake.sends("GET", "/readyz", DamagedFile("the cache cannot be written"))
    finding = installation.service(fake.url)
    assert finding.state == "wrong"
    assert "the cache cannot be written" in finding.found


def test_a_port_on_which_our_service_runs_is_no_trouble(fake, monkeypatch):
    fake.sends("GET", "/readyz", {"ready": True})
    monkeypatch.setenv("COLUMNSERVICE_PORT", fake.url.rpartition(":")[2])
    assert installation.port(settings()).state == "fine"


def test_a_check_that_hangs_is_found_wrong_and_holds_up_nobody():
    hanging = threading.Event()

    def hang():
        hanging.wait(60)
        return fine("hangs", "")

    checks = [Check("hangs", hang)] * (AT_ONCE + 1) + [Check("quick", lambda: fine("quick", ""))]
    try:
        found = look_at_all([checks[0], checks[-1]], limit_seconds=5)
        all_stuck = look_at_all(checks, limit_seconds=0.5)
    finally:
        hanging.set()
    assert [finding.state for finding in found] == ["wrong", "fine"]
    assert "within 5 s" in found[0].found
    assert {finding.state for finding in all_stuck} == {"wrong"}


def test_findings_stand_in_the_order_of_the_checks_and_failed_checks_are_findings():
    def fails():
        raise DamagedFile("It is damaged.", "Mend it.")

    def has_a_mistake():
        raise TypeError("two\nlines")

    checks = [Check(str(n), lambda n=n: fine(str(n), "")) for n in range(30)]
    checks += [Check("fails", fails), Check("mistaken", has_a_mistake)]
    found = look_at_all(checks, limit_seconds=30)
    assert [f.check for f in found] == [c.name for c in checks]
    assert (found[-2].found, found[-2].remedy) == ("It is damaged.", "Mend it.")
    assert found[-1].found == "the check itself failed: TypeError: two lines"


@pytest.mark.parametrize(
    ("clocks", "state"),
    [({}, "unchecked"), ({"a": 0.4, "b": -3.0}, "fine"), ({"a": 1.0, "b": -400.0}, "wrong")],
)
def test_the_clock_farthest_away_counts(clocks, state):
    finding = storage.clock(clocks)
    assert finding.state == state
    if state == "wrong":
        assert finding.found == "b is -400 s from this host"


@pytest.fixture(scope="module")
def servers(xrootd_installed: None) -> Iterator[Storage]:
    with servers_of_our_own() as running:
        yield running


def register(home: Path, name: str, url: str) -> None:
    catalogue = Catalogue(read_settings({"home": home}).catalogue_url)
    catalogue.add_dataset(Dataset(name, "nanoaod"))
    catalogue.add_files(name, [url])
    catalogue.record_file(name, *index_file(url, "nanoaod", {}))
    catalogue.close()


@pytest.mark.xrootd
def test_each_server_is_asked_and_each_replica_read(
    run, compiled, home, servers, data_dir, monkeypatch
):
    origin, cache = (f"root://{s.address}" for s in (servers.origin, servers.xcache))
    local = data_dir / "cms" / "nano_dy.root"
    monkeypatch.setenv("COLUMNSERVICE_XCACHES", json.dumps(servers.xcaches))
    register(home, "here", str(local))
    register(home, "there", servers.put(local, "there.root"))
    register(home, "lost", servers.put(local, "lost.root"))
    healthy = run("doctor")
    found = rows(healthy)
    assert healthy.code == 0, healthy.out
    for check in (
        f"XCache {cache}", f"origin {origin}", "clock", f"read here at {local}",
        f"read there at {cache}", f"read there at {origin}", f"read lost at {origin}",
    ):  # fmt: skip
        assert found[check][0] == "✔", (check, found)
    assert found["datasets"][1] == "3 with readable files"
    assert found[f"XCache {cache}"][1].startswith("xrootd v")

    (servers.origin.store / "lost.root").unlink()
    servers.xcache.kill()
    broken = run("doctor")
    found = rows(broken)
    assert broken.code == 1
    assert found[f"XCache {cache}"][:2] == ["✘", "refused: [FATAL] Connection error"]
    assert found[f"read there at {cache}"][:2] == ["–", "its server does not answer"]
    assert found[f"read there at {origin}"][0] == "✔"
    assert "(absent)" in found[f"read lost at {origin}"][1]
    assert found[f"read lost at {origin}"][2].startswith("Restore the file")


@pytest.mark.xrootd
def test_a_frozen_server_costs_its_time_limit_and_is_named(servers):
    servers.origin.freeze()
    try:
        clocks: dict[str, float] = {}
        address = f"root://me@{servers.origin.address}"
        (finding,) = look_at_all(storage.server_checks({address: "origin"}, clocks), 30)
    finally:
        servers.origin.thaw()
    assert finding.state == "wrong"
    assert finding.found.startswith(("timed out", "stalled"))
    assert clocks == {}
