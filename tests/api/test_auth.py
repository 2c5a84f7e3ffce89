"""Whose definitions a Principal may change: its own; who administers may remove others'."""

from __future__ import annotations

import pytest

from columnservice.api import auth
from columnservice.api.auth import LOCAL, Principal, demand_define, demand_undefine
from columnservice.catalogue.definitions import Definition
from columnservice.catalogue.drafting import define, undefine
from columnservice.catalogue.store import Catalogue
from columnservice.errors import NotAllowed
from columnservice.model import ColumnSet, Dataset, LumiRange
from tests.catalogue.conftest import offered, record

pytestmark = pytest.mark.fast

ADA, BOB, OPERATOR = Principal("ada"), Principal("bob"), Principal(LOCAL)
COLUMNS = ColumnSet(
    "cd" * 16, (offered("Muon_pt", depth=1, collection="Muon", field="pt", shape="Muon"),)
)


@pytest.fixture(autouse=True)
def readers(monkeypatch):
    """Ada and Bob may read, as once there are tokens; only the operator may change datasets."""
    monkeypatch.setattr(auth, "demand_read", lambda *_: None)


@pytest.fixture
def nano(tmp_path):
    catalogue = Catalogue(f"sqlite:///{tmp_path}/catalogue.db")
    catalogue.migrate()
    catalogue.add_dataset(Dataset("mini", "miniaod"))
    catalogue.add_dataset(Dataset("nano", "nanoaod", "mini"))
    for number, name in enumerate(("mini", "nano"), 1):
        file = record(number, LumiRange(1, 1, 1), columnset=COLUMNS)
        catalogue.add_files(name, [file.url])
        catalogue.record_file(name, file, COLUMNS)
    yield catalogue
    catalogue.close()


def defined_by(catalogue, caller, expression):
    draft = Definition("Muon_x", expression, caller.name)
    return define(catalogue, "nano", draft, lambda author: demand_define(caller, "nano", author))


def undefined_by(catalogue, caller):
    undefine(catalogue, "nano", "Muon_x", lambda author: demand_undefine(caller, "nano", author))


def test_one_author_can_neither_change_nor_remove_what_another_defined(nano):
    made = defined_by(nano, ADA, "Muon_pt + 1")
    with pytest.raises(NotAllowed, match=r"bob may not change it\. Choose another name"):
        defined_by(nano, BOB, "Muon_pt + 2")
    with pytest.raises(NotAllowed, match=r"bob may not remove it\. Ask ada, or who administers"):
        undefined_by(nano, BOB)
    assert nano.definitions("nano") == (made,)


def test_an_author_changes_and_removes_what_is_his(nano):
    defined_by(nano, ADA, "Muon_pt + 1")
    assert defined_by(nano, ADA, "Muon_pt + 2").version == 2
    undefined_by(nano, ADA)
    assert nano.definitions("nano") == ()


def test_who_administers_a_dataset_removes_what_others_defined_and_does_not_put_words_there(nano):
    defined_by(nano, ADA, "Muon_pt + 1")
    with pytest.raises(NotAllowed, match="local may not change it"):
        defined_by(nano, OPERATOR, "Muon_pt + 2")
    undefined_by(nano, OPERATOR)
    assert nano.definitions("nano") == ()


def test_who_may_not_read_may_not_define(monkeypatch):
    monkeypatch.undo()
    for demand in (demand_define, demand_undefine):
        with pytest.raises(NotAllowed, match="bob may not read nano"):
            demand(BOB, "nano", "bob")
