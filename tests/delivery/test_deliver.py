"""Which parents a request is worked out with, over a real catalogue; nothing is read."""

from __future__ import annotations

import json
from types import SimpleNamespace

import pytest

from columnservice.catalogue.manifest import ManifestEntry
from columnservice.catalogue.store import Catalogue
from columnservice.delivery import deliver
from columnservice.delivery.deliver import Delivery
from columnservice.delivery.metrics import Metrics
from columnservice.delivery.plan import ColumnRequest
from columnservice.errors import OutOfRange, Unavailable
from columnservice.model import ColumnSet, Dataset, LumiRange
from columnservice.settings import Settings
from tests.catalogue.conftest import offered, record

pytestmark = pytest.mark.fast
LOCAL = ColumnSet("1" * 32, (offered("run"),))
FAR = ColumnSet("2" * 32, (offered("rho"),))
LUMIS = LumiRange(1, 1, 10)
PATIENCE_SECONDS = 60


def url(number: int) -> str:
    return record(number, LUMIS, columnset=FAR).url


class Registrar:
    """Opens declared Files; meanwhile others are declared."""

    examiner = None

    def __init__(self, catalogue: Catalogue) -> None:
        self.catalogue = catalogue
        self.meanwhile: list[list[int]] = []
        self.opened = 0

    def declare(self, *numbers: int) -> None:
        entries = [ManifestEntry(url(n), 10, (LUMIS,)) for n in numbers]
        assert self.catalogue.import_manifest("far", entries) == len(numbers)

    def open_declared(self, dataset, lumis) -> None:
        found = self.catalogue.declared(dataset.name, lumis)
        if self.meanwhile:
            self.declare(*self.meanwhile.pop(0))
        for number in range(100):
            if url(number) in found:
                self.catalogue.record_file("far", record(number, LUMIS, columnset=FAR), FAR)
                self.opened += 1


@pytest.fixture
def catalogue(tmp_path):
    made = Catalogue(f"sqlite:///{tmp_path / 'catalogue.sqlite'}")
    made.migrate()
    made.add_dataset(Dataset("far", "miniaod"))
    made.add_dataset(Dataset("near", "nanoaod", "far"))
    made.record_file("near", record(70, LUMIS, columnset=LOCAL), LOCAL)
    made.record_file("far", record(1, LUMIS, columnset=FAR), FAR)
    yield made
    made.close()


@pytest.fixture
def registrar(catalogue):
    return Registrar(catalogue)


@pytest.fixture
def delivery(tmp_path, catalogue, registrar):
    unchanged = SimpleNamespace(check=lambda _: True, stop=lambda: None)
    settings = Settings(home=tmp_path, partition_events=5)
    made = Delivery(settings, catalogue, None, None, registrar, unchanged, Metrics())
    yield made
    made.stop()


def asked(stop: int = 10) -> ColumnRequest:
    file = record(70, LUMIS, columnset=LOCAL).identity.uuid
    return ColumnRequest("near", file, 0, stop, ("rho",))


def parents(delivery: Delivery, stop: int = 10) -> set[str]:
    stream = delivery.open(asked(stop)).result(PATIENCE_SECONDS)
    stream.close()
    return {parent["lfn"] for parent in json.loads(stream.provenance)["parents"]}


def lfns(*numbers: int) -> set[str]:
    return {record(n, LUMIS, columnset=FAR).lfn for n in numbers}


def test_declared_parents_are_opened_before_a_request_is_worked_out(delivery, registrar):
    registrar.declare(2)
    assert parents(delivery) == lfns(1, 2)


def test_parents_declared_while_others_are_opened_are_opened_too(delivery, registrar):
    registrar.declare(2)
    registrar.meanwhile = [[3], [4, 5], []]
    assert parents(delivery) == lfns(1, 2, 3, 4, 5)
    assert parents(delivery, stop=9) == lfns(1, 2, 3, 4, 5)


def test_who_declares_without_end_is_waited_for_no_longer_than_that(
    delivery, registrar, monkeypatch
):
    monkeypatch.setattr(deliver, "MOST_OPENINGS", 3)
    registrar.declare(2)
    registrar.meanwhile = [[n] for n in range(3, 10)]
    with pytest.raises(Unavailable, match="being declared"):
        parents(delivery)
    assert registrar.opened == 3


def test_parents_declared_after_a_file_is_known_are_opened_for_all_its_rows(delivery, registrar):
    assert parents(delivery) == lfns(1)
    registrar.declare(2)
    assert parents(delivery, stop=9) == lfns(1, 2)
    registrar.declare(3)
    assert parents(delivery) == lfns(1, 2, 3)


def test_parents_declared_between_the_question_and_the_plan_are_asked_for_again(
    delivery, catalogue, registrar, monkeypatch
):
    """They missed this request, which came before; they must not be missed by the next."""
    whole = Catalogue.candidates

    def then_declared(self, *args):
        found = whole(self, *args)
        if not registrar.opened:
            registrar.declare(2)
            monkeypatch.undo()
        return found

    monkeypatch.setattr(Catalogue, "candidates", then_declared)
    assert parents(delivery) == lfns(1)
    assert parents(delivery, stop=9) == lfns(1, 2)
    assert parents(delivery) == lfns(1, 2)


def test_other_rows_are_worked_out_without_asking_for_parents_again(delivery, monkeypatch):
    first = parents(delivery)
    monkeypatch.setattr(Catalogue, "candidates", None)
    assert parents(delivery, stop=3) == first
    with pytest.raises(OutOfRange, match="which has 10"):
        parents(delivery, stop=11)


def test_uploaded_keys_that_are_gone_are_asked_for_before_anything_else(delivery, monkeypatch):
    monkeypatch.setattr(deliver, "is_digest", lambda _: True)
    gone = set[str]()
    monkeypatch.setattr(deliver, "is_kept", lambda _, file: file not in gone)
    monkeypatch.setattr(delivery, "_local", lambda _: record(70, LUMIS, columnset=LOCAL))
    parents(delivery)
    request = asked(9)
    assert delivery._known(request) is not None
    gone.add(request.file)
    assert delivery._known(request) is None
    assert delivery._known(asked(11)) is None  # no word of rows that it does not have
