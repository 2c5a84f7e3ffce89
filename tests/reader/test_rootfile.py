from __future__ import annotations

import os

import numpy as np
import pytest
import uproot

from columnservice.errors import DamagedFile, FileChanged, NotRoot, Unreachable
from columnservice.model import BranchRead, FileIdentity, FileLocation
from columnservice.reader import FilePool, read_rows

pytestmark = pytest.mark.fast


def write(path, start=0):
    with uproot.recreate(path) as file:
        file.mktree("Events", {"number": "int64"})
        file["Events"].extend({"number": np.arange(start, start + 10)})
    return path


def identity_of(path):
    with uproot.open(path) as file:
        return FileIdentity(str(file.file.uuid), path.stat().st_size)


def numbers(pool, location):
    return read_rows(pool, location, [BranchRead("number")], np.arange(10)).arrays[0].values


def test_the_file_opened_must_be_the_one_registered(tmp_path):
    path = write(tmp_path / "a.root")
    location = FileLocation("a", (str(path),), "Events", FileIdentity("other", 1))
    with pytest.raises(FileChanged, match="is not the file that was registered"):
        numbers(FilePool(), location)


@pytest.mark.parametrize("name", ["a:b.root", "12:30.root", "a.root:Events"])
def test_a_colon_in_a_name_is_part_of_the_name(tmp_path, name):
    path = write(tmp_path / name, start=3)
    assert numbers(FilePool(), FileLocation(name, (str(path),), "Events"))[0] == 3


def test_a_file_replaced_while_open_is_noticed(tmp_path):
    path = write(tmp_path / "a.root")
    pool, location = FilePool(), FileLocation("a", (str(path),), "Events", identity_of(path))
    assert numbers(pool, location)[0] == 0
    write(tmp_path / "b.root", start=100).replace(path)
    os.utime(path, (1, 1))
    with pytest.raises(FileChanged):
        numbers(pool, location)


def test_the_next_replica_serves_when_the_first_is_gone(tmp_path):
    path = write(tmp_path / "a.root", start=5)
    location = FileLocation("a", (str(tmp_path / "gone.root"), str(path)), "Events")
    assert numbers(FilePool(), location)[0] == 5


def test_the_next_replica_serves_when_the_first_is_damaged(tmp_path):
    path = write(tmp_path / "a.root", start=5)
    broken = tmp_path / "broken.root"
    data = bytearray(path.read_bytes())
    with uproot.open(path) as file:
        seek = file["Events"]["number"].member("fBasketSeek")[0]
    data[seek + 8 : seek + 60] = b"\xff" * 52
    broken.write_bytes(data)
    location = FileLocation("a", (str(broken), str(path)), "Events")
    assert numbers(FilePool(), location)[0] == 5


def test_no_replica_at_all_is_a_transport_error(tmp_path):
    location = FileLocation("a", (str(tmp_path / "gone.root"),), "Events")
    with pytest.raises(Unreachable, match=r"gone\.root"):
        numbers(FilePool(), location)


def test_a_refused_port_is_a_transport_error():
    location = FileLocation("/a.root", ("root://127.0.0.1:1//a.root",), "Events")
    with pytest.raises(Unreachable):
        numbers(FilePool(), location)


@pytest.mark.parametrize("content", [b"", b"not a root file at all", b"root" + bytes(20)])
def test_bytes_that_are_no_root_file_are_called_so(tmp_path, content):
    path = tmp_path / "text.root"
    path.write_bytes(content)
    with pytest.raises((NotRoot, DamagedFile)):
        numbers(FilePool(), FileLocation("text", (str(path),), "Events"))


@pytest.mark.parametrize("part", [0.3, 0.6, 0.9])
def test_a_truncated_file_is_damaged_or_lost_but_never_read(tmp_path, part):
    path = write(tmp_path / "a.root")
    data = path.read_bytes()
    path.write_bytes(data[: int(part * len(data))])
    with pytest.raises((DamagedFile, NotRoot)):
        numbers(FilePool(), FileLocation("a", (str(path),), "Events"))


def test_the_pool_keeps_no_more_files_open_than_told(tmp_path):
    pool = FilePool(open_files=2)
    opened = []
    for n in range(4):
        path = write(tmp_path / f"{n}.root")
        with pool.tree(FileLocation(str(n), (str(path),), "Events")) as tree:
            opened.append(tree)
    assert [tree.directory.file.closed for tree in opened] == [True, True, False, False]
    pool.close()
    assert all(tree.directory.file.closed for tree in opened)


def test_a_file_is_opened_once_for_many_reads(tmp_path):
    pool, path = FilePool(), write(tmp_path / "a.root")
    location = FileLocation("a", (str(path),), "Events")
    with pool.tree(location) as first:
        numbers(pool, location)
    with pool.tree(location) as second:
        assert second is first
