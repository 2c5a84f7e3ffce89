"""Uploaded keys: examined once however many bring them, and kept as long as anybody needs them."""

from __future__ import annotations

import os
import threading
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
import pyarrow as pa
import pytest

from columnservice import wire
from columnservice.alignment.eventindex import eventindex_path
from columnservice.alignment.tidy import SPARED_SECONDS
from columnservice.catalogue.store import Catalogue
from columnservice.delivery.intake import Intake
from columnservice.delivery.tasks import CheckResult
from columnservice.delivery.uploads import (
    Upload,
    is_kept,
    recall,
    remember,
    witness_path,
    write_upload,
)
from columnservice.errors import DamagedFile, Unavailable, UnknownDataset, UnknownFile, WrongParent
from columnservice.model import Dataset, Keys

pytestmark = pytest.mark.fast
PATIENCE_SECONDS = 30


@pytest.fixture
def catalogue(tmp_path):
    made = Catalogue(f"sqlite:///{tmp_path / 'catalogue.sqlite'}")
    made.migrate()
    made.add_dataset(Dataset("far", "miniaod"))
    for name in ("one", "two"):
        made.add_dataset(Dataset(name, "nanoaod", "far"))
    yield made
    made.close()


@pytest.fixture
def upload():
    keys = Keys(np.ones(3, "u4"), np.ones(3, "u4"), np.arange(3, dtype="u8"))
    rho = np.arange(3, dtype="f4")
    witnesses = pa.record_batch({"rho": rho})
    return Upload(wire.keys_digest(keys, {"rho": rho}), keys, witnesses)


class Examiner:
    """Writes the files of an upload as the real one does; then waits, and fails where told to."""

    def __init__(self, catalogue, index_dir):
        self.catalogue, self.index_dir = catalogue, index_dir
        self.fails: dict[str, Exception] = {}
        self.go_on: dict[str, threading.Event] = {}
        self.begun: list[str] = []

    def accept(self, dataset, upload):
        write_upload(self.index_dir, upload)
        self.begun.append(dataset.name)
        if dataset.name in self.go_on:
            assert self.go_on[dataset.name].wait(PATIENCE_SECONDS)
        if dataset.name in self.fails:
            raise self.fails[dataset.name]
        result = CheckResult(3, 2, 0, 0, ())
        return remember(self.catalogue, dataset.name, upload, result)


class Place:
    """An intake with a number of places."""

    def __init__(self, catalogue, index_dir, places):
        self.examiner = Examiner(catalogue, index_dir)
        self.free = places
        self.threads = ThreadPoolExecutor(8)
        self.intake = Intake(catalogue, index_dir, self.examiner, self._begin)

    def _begin(self, work) -> Future:
        if not self.free:
            raise Unavailable("Too many wait already.")
        self.free -= 1
        return self.threads.submit(work)


@pytest.fixture
def place(catalogue, tmp_path):
    made = Place(catalogue, tmp_path / "indexes", places=4)
    yield made
    for event in made.examiner.go_on.values():
        event.set()
    made.threads.shutdown()


def test_what_many_send_at_a_time_is_examined_once_in_one_place(place, upload):
    place.examiner.go_on["one"] = threading.Event()
    asked = [place.intake.accept("one", upload) for _ in range(50)]
    assert place.free == 3
    place.examiner.go_on["one"].set()
    told = [future.result(PATIENCE_SECONDS) for future in asked]
    assert told == [{"digest": upload.digest, "events": 3, "with_parent": 2}] * 50
    assert place.examiner.begun == ["one"]


def test_what_is_known_already_is_not_examined_again(place, upload):
    first = place.intake.accept("one", upload).result(PATIENCE_SECONDS)
    assert place.intake.accept("one", upload).result(PATIENCE_SECONDS) == first
    assert place.examiner.begun == ["one"]


def test_without_a_place_it_is_turned_away_and_may_come_again(place, upload):
    place.free = 0
    with pytest.raises(Unavailable):
        place.intake.accept("one", upload)
    place.free = 1
    assert place.intake.accept("one", upload).result(PATIENCE_SECONDS)["events"] == 3
    with pytest.raises(UnknownDataset):
        place.intake.accept("none", upload)


def test_of_a_file_of_another_sample_nothing_is_kept(place, upload, catalogue, tmp_path):
    place.examiner.fails["one"] = WrongParent("another sample")
    with pytest.raises(WrongParent):
        place.intake.accept("one", upload).result(PATIENCE_SECONDS)
    assert not list((tmp_path / "indexes").rglob("*.arrow"))
    with pytest.raises(UnknownFile):
        recall(catalogue, tmp_path / "indexes", "one", upload.digest)


def test_a_refusal_by_one_dataset_leaves_another_its_files(place, upload, catalogue, tmp_path):
    place.intake.accept("two", upload).result(PATIENCE_SECONDS)
    place.examiner.fails["one"] = WrongParent("another sample")
    with pytest.raises(WrongParent):
        place.intake.accept("one", upload).result(PATIENCE_SECONDS)
    assert recall(catalogue, tmp_path / "indexes", "two", upload.digest)["events"] == 3


def test_a_refusal_leaves_the_files_that_another_dataset_is_examining(
    place, upload, catalogue, tmp_path
):
    place.examiner.go_on["two"] = threading.Event()
    waiting = place.intake.accept("two", upload)
    while "two" not in place.examiner.begun:
        pass
    place.examiner.fails["one"] = WrongParent("another sample")
    with pytest.raises(WrongParent):
        place.intake.accept("one", upload).result(PATIENCE_SECONDS)
    assert is_kept(tmp_path / "indexes", upload.digest)
    place.examiner.go_on["two"].set()
    waiting.result(PATIENCE_SECONDS)
    assert recall(catalogue, tmp_path / "indexes", "two", upload.digest)["events"] == 3


@pytest.mark.parametrize("error", [Unavailable("a storage is silent"), DamagedFile("a parent")])
def test_a_failure_that_is_not_the_file_s_own_removes_nothing(place, upload, error, tmp_path):
    place.examiner.fails["one"] = error
    with pytest.raises(type(error)):
        place.intake.accept("one", upload).result(PATIENCE_SECONDS)
    assert is_kept(tmp_path / "indexes", upload.digest)
    del place.examiner.fails["one"]
    assert place.intake.accept("one", upload).result(PATIENCE_SECONDS)["events"] == 3


def test_an_upload_that_lost_a_file_is_unknown_and_is_whole_again_when_sent_anew(
    place, upload, catalogue, tmp_path
):
    """Evicted one by one: keys without Witness values could not be compared with a new parent."""
    folder = tmp_path / "indexes"
    paths = eventindex_path(folder, upload.record.identity), witness_path(folder, upload.digest)
    for path in paths:
        place.intake.accept("one", upload).result(PATIENCE_SECONDS)
        recall(catalogue, folder, "one", upload.digest)
        path.unlink()
        with pytest.raises(UnknownFile, match="key digest"):
            recall(catalogue, folder, "one", upload.digest)
    place.intake.accept("one", upload).result(PATIENCE_SECONDS)
    assert is_kept(folder, upload.digest)


def test_asking_for_an_upload_is_a_use_of_both_its_files(place, upload, catalogue, tmp_path):
    folder = tmp_path / "indexes"
    place.intake.accept("one", upload).result(PATIENCE_SECONDS)
    paths = eventindex_path(folder, upload.record.identity), witness_path(folder, upload.digest)
    for path in paths:
        past = path.stat().st_mtime - 2 * SPARED_SECONDS
        os.utime(path, (past, past))
    recall(catalogue, folder, "one", upload.digest)
    assert all(path.stat().st_mtime > past + SPARED_SECONDS for path in paths)
