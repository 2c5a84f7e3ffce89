"""Registering files that are refused, replaced or asked for meanwhile."""

from __future__ import annotations

import os
import time

import numpy as np
import pytest

from columnservice.delivery import registration
from columnservice.delivery.summary import summarise
from columnservice.model import Dataset
from tests.delivery.inline import registry
from tests.integration.test_provenance import KEYS, write_nano

pytestmark = pytest.mark.fast
RHO = np.linspace(10, 30, 100).astype("f4")
PATIENCE_SECONDS = 60


@pytest.fixture
def house(tmp_path):
    root = tmp_path / "data"
    root.mkdir()
    with registry(tmp_path / "home", root) as made:
        yield (*made, root)


def settle(registrar, dataset):
    end = time.monotonic() + PATIENCE_SECONDS
    while registrar.is_running(dataset):
        assert time.monotonic() < end
        time.sleep(0.01)


def register(house, name, *paths, parent=None):
    registrar, catalogue, _, _ = house
    catalogue.add_dataset(Dataset(name, "nanoaod", parent))
    catalogue.add_files(name, [str(path) for path in paths])
    registrar.start(name)
    settle(registrar, name)
    assert catalogue.failures(name) == ()


def test_a_known_file_does_not_become_unknown_because_it_may_not_be_read_now(house, tmp_path):
    registrar, catalogue, _, root = house
    file = write_nano(root / "here.root", KEYS, RHO)
    link = root / "link.root"
    link.symlink_to(file)
    register(house, "near", link)
    elsewhere = write_nano(tmp_path / "elsewhere.root", KEYS, RHO)
    link.unlink()
    link.symlink_to(elsewhere)
    registrar.start("near", "refresh")
    steps = [step for step in registrar.listen("near") if step is not None]
    settle(registrar, "near")
    assert all(step.status == "failed" for step in steps)
    assert [record.url for record in catalogue.files("near")] == [str(link)]


def test_a_refresh_asked_for_while_files_are_registered_comes_after_that(house):
    registrar, catalogue, crew, root = house
    file = write_nano(root / "a.root", KEYS, RHO)
    catalogue.add_dataset(Dataset("near", "nanoaod"))
    catalogue.add_files("near", [str(file)])
    crew.open_gate.clear()
    registrar.start("near")
    end = time.monotonic() + PATIENCE_SECONDS
    while not crew.files:
        assert time.monotonic() < end
        time.sleep(0.01)
    registrar.start("near", "refresh")
    assert len(crew.files) == 1
    crew.open_gate.set()
    settle(registrar, "near")
    assert crew.files == [str(file)] * 2


def test_what_was_found_of_a_replaced_file_is_forgotten(house):
    registrar, catalogue, _, root = house
    parent = write_nano(root / "parent.root", KEYS, RHO)
    local = write_nano(root / "local.root", KEYS, RHO)
    register(house, "far", parent)
    register(house, "near", local, parent="far")
    assert summarise(catalogue, "near", False).coverage.events == 100
    write_nano(root / "new.root", KEYS[:30], RHO[:30]).replace(local)
    os.utime(local, (1, 1))
    registrar.start("near", "refresh")
    settle(registrar, "near")
    told = summarise(catalogue, "near", False)
    assert (told.coverage.events, told.coverage.with_parent) == (30, 30)
    assert [(w.compared, w.agreed) for w in told.witnesses] == [(30, 30)]


def test_who_follows_hears_something_now_and_then_and_can_leave(house, monkeypatch):
    registrar, catalogue, crew, root = house
    monkeypatch.setattr(registration, "HEARTBEAT_SECONDS", 0.01)
    catalogue.add_dataset(Dataset("near", "nanoaod"))
    catalogue.add_files("near", [str(write_nano(root / "a.root", KEYS, RHO))])
    crew.open_gate.clear()
    registrar.start("near")
    leaver, stayer = registrar.listen("near"), registrar.listen("near")
    assert [next(leaver) for _ in range(3)] == [None] * 3
    leaver.close()
    assert next(stayer) is None  # it listens from here on
    crew.open_gate.set()
    assert [step.status for step in stayer if step is not None] == ["ok"]
