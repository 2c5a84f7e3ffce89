"""What is remembered of a database is what it says, however many others write to it."""

from __future__ import annotations

import pytest
import sqlalchemy as sa

from columnservice.catalogue import remembered
from columnservice.catalogue.database import Database
from columnservice.catalogue.remembered import Remembered

pytestmark = pytest.mark.fast


@pytest.fixture
def database(tmp_path):
    opened = Database(f"sqlite:///{tmp_path / 'x.sqlite'}")
    with opened.writing() as connection:
        connection.execute(sa.text("CREATE TABLE t (n INTEGER)"))
    yield opened
    opened.close()


def add(database: Database) -> None:
    with database.writing() as connection:
        connection.execute(sa.text("INSERT INTO t VALUES (1)"))


def count(connection: sa.Connection) -> int:
    return connection.execute(sa.text("SELECT count(*) FROM t")).scalar_one()


def test_an_answer_is_asked_for_again_after_any_commit_and_only_then(database, tmp_path):
    asked, memory = [], Remembered(database)
    other = Database(f"sqlite:///{tmp_path / 'x.sqlite'}")

    def ask(connection: sa.Connection) -> int:
        asked.append(1)
        return count(connection)

    told = []
    for writer in (None, None, other, None, database, None):
        if writer is not None:
            add(writer)
        told.append(memory.look_up(("t",), ask))
    assert told == [0, 0, 1, 1, 2, 2]
    assert len(asked) == 3
    other.close()


def test_what_is_committed_while_it_is_asked_is_not_taken_for_known(database):
    memory = Remembered(database)

    def ask(connection: sa.Connection) -> int:
        found = count(connection)
        add(database)
        return found

    assert memory.look_up(("t",), ask) == 0
    assert memory.look_up(("t",), count) == 1


def test_questions_have_answers_of_their_own(database):
    memory = Remembered(database)
    assert memory.look_up(("a",), lambda _: "a") == "a"
    assert memory.look_up(("a", "b"), lambda _: "b") == "b"
    assert memory.look_up(("a",), lambda _: "c") == "a"


def test_neither_memory_grows_without_bound(database, monkeypatch):
    monkeypatch.setattr(remembered, "MOST_DERIVED", 3)
    monkeypatch.setattr(remembered, "MOST_LOOKED_UP", 3)
    memory = Remembered(database)
    for number in range(20):
        assert memory.derive((number,), lambda n=number: n) == number
        assert memory.look_up((str(number),), lambda _, n=number: n) == number
    assert len(memory._derived) <= 3
    assert len(memory._looked_up) <= 4


def test_what_was_used_last_is_derived_once(database, monkeypatch):
    monkeypatch.setattr(remembered, "MOST_DERIVED", 2)
    made, memory = [], Remembered(database)
    for key in ("a", "b", "a", "c", "a", "b"):
        memory.derive((key,), lambda k=key: made.append(k))
    assert made == ["a", "b", "c", "b"]
