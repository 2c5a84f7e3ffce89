from __future__ import annotations

import pytest

from columnservice.delivery.tasks import CheckTask, JoinTask, KeysTask
from columnservice.delivery.troubled import Troubled, origins_of, servers_of
from columnservice.model import FileLocation

pytestmark = pytest.mark.fast


def file(*replicas: str) -> FileLocation:
    return FileLocation("/a.root", replicas, "Events")


def test_a_server_is_troubled_for_a_while_or_until_it_answers():
    now = [0.0]
    troubled = Troubled(60.0, lambda: now[0])
    troubled.add({"root://a", "root://b"})
    assert troubled.holds({"root://b", "root://c"})
    assert not troubled.holds({"root://c"})
    assert not troubled.holds(())
    troubled.remove({"root://b", "root://never"})
    assert not troubled.holds({"root://b"})
    now[0] = 60.0
    assert not troubled.holds({"root://a"})


def test_servers_are_those_of_the_origins_and_paths_have_none():
    assert servers_of(["root://a:1//x", "root://a:1//y", "/data/a:b"]) == {"root://a:1"}
    cached = file("root://cache:1//x", "root://origin:1//x")
    assert origins_of(KeysTask(cached, "miniaod")) == {"root://origin:1"}
    assert origins_of(KeysTask(file("/x"), "nanoaod")) == frozenset()
    join = JoinTask(file("/x"), "nanoaod", (cached, file()), "miniaod", "a")
    assert origins_of(CheckTask(join, (), (), 1)) == {"root://origin:1"}
