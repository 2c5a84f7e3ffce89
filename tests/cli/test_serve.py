"""serve: what cannot work is one line, and nothing is left behind."""

from __future__ import annotations

import socket

import pytest

from columnservice.cli.serve import demand_catalogue, demand_writable, listen, read_settings
from columnservice.errors import SetupError

pytestmark = pytest.mark.fast


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "example.org", ""])
def test_anything_but_loopback_is_refused(run, tmp_path, host):
    outcome = run("serve", "--host", host, "--port", "0", "--home", tmp_path / "home")
    assert outcome.code == 1
    assert outcome.err.startswith("error: The service does not check tokens yet")
    assert outcome.err.count("\n") == 1
    assert not (tmp_path / "home").exists()


def test_a_port_in_use_is_one_line(run, tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        outcome = run("serve", "--port", port, "--home", tmp_path)
    assert outcome.code == 1
    assert outcome.err.startswith(f"error: Port {port} on 127.0.0.1 is in use. ")
    assert outcome.err.count("\n") == 1


def test_a_home_that_cannot_be_written_is_one_line(run, tmp_path):
    (tmp_path / "file").write_text("")
    outcome = run("serve", "--port", "0", "--home", tmp_path / "file" / "home")
    assert outcome.code == 1
    assert outcome.err.startswith(f"error: The home {tmp_path}/file/home cannot be written: ")
    assert "COLUMNSERVICE_HOME" in outcome.err


def test_a_wrong_variable_is_named(run, monkeypatch):
    monkeypatch.setenv("COLUMNSERVICE_WORKERS", "none")
    outcome = run("serve")
    assert outcome.code == 1
    assert outcome.err.startswith("error: COLUMNSERVICE_WORKERS is wrong: ")
    monkeypatch.delenv("COLUMNSERVICE_WORKERS")
    monkeypatch.setenv("COLUMNSERVICE_XCACHES", "{nonsense")
    assert 'field "xcaches"' in run("serve").err


def test_the_command_line_comes_before_the_environment(monkeypatch):
    monkeypatch.setenv("COLUMNSERVICE_PORT", "1234")
    monkeypatch.setenv("COLUMNSERVICE_WORKERS", "7")
    settings = read_settings({"port": 4321})
    assert (settings.port, settings.workers) == (4321, 7)


def test_a_home_is_made_for_its_owner_only(tmp_path):
    home = tmp_path / "a" / "home"
    demand_writable(home)
    assert home.stat().st_mode & 0o777 == 0o700
    assert list(home.iterdir()) == []


def test_port_0_takes_a_free_one():
    with listen("127.0.0.1", 0) as listener:
        assert listener.getsockname()[1] > 0


def test_a_broken_catalogue_is_one_line(tmp_path):
    (tmp_path / "catalogue.sqlite").write_text("this is no database at all, says this text\n" * 30)
    with pytest.raises(SetupError, match="is not a database"):
        demand_catalogue(read_settings({"home": tmp_path}))
