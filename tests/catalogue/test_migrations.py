"""Migrations: run in this process, by many at once, and give exactly the tables of tables.py."""

from __future__ import annotations

import multiprocessing
import threading

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from columnservice.catalogue.store import Catalogue
from columnservice.catalogue.tables import metadata
from columnservice.errors import DamagedFile, SetupError
from columnservice.model import Dataset, LumiRange
from tests.catalogue.conftest import LAYOUT, record


@pytest.mark.fast
def test_migrations_make_the_tables_that_the_code_uses(catalogue):
    with catalogue._database.reading() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, metadata) == []


@pytest.mark.fast
def test_migrating_again_changes_nothing(catalogue):
    catalogue.add_dataset(Dataset("a", "nanoaod"))
    catalogue.migrate()
    assert catalogue.datasets() == (Dataset("a", "nanoaod"),)


@pytest.mark.fast
def test_a_catalogue_of_a_newer_version_is_refused(catalogue):
    with catalogue._database.writing() as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(SetupError, match="made by a newer columnservice"):
        catalogue.migrate()


@pytest.mark.fast
def test_sqlite_runs_with_write_ahead_log_and_foreign_keys(catalogue):
    with catalogue._database.reading() as connection:
        pragma = {
            name: connection.exec_driver_sql(f"PRAGMA {name}").scalar()
            for name in ("journal_mode", "foreign_keys", "busy_timeout")
        }
    assert pragma == {"journal_mode": "wal", "foreign_keys": 1, "busy_timeout": 30_000}


@pytest.mark.fast
def test_a_percent_sign_and_a_space_in_the_path_do_no_harm(tmp_path):
    catalogue = Catalogue(f"sqlite:///{tmp_path / '100% of it' / 'catalogue.sqlite'}")
    catalogue.migrate()
    assert catalogue.datasets() == ()
    catalogue.close()


def start_and_record(url: str, worker: int, files: int, begin) -> None:
    """What several service processes do at once on one home."""
    begin.wait()
    catalogue = Catalogue(url)
    catalogue.migrate()
    catalogue.add_dataset(Dataset("p", "miniaod"))
    catalogue.add_files("p", [record(n).url for n in range(2 * files)])
    for number in range(worker * files, (worker + 1) * files):
        if number % 5 == 4:
            catalogue.record_failure("p", record(number).url, DamagedFile("It is cut."))
        else:
            catalogue.record_file("p", record(number, LumiRange(1, number, number)), LAYOUT)
        catalogue.candidates("p", [LumiRange(1, 0, number)])
    catalogue.close()


def check_both_recorded(url: str, files: int) -> None:
    catalogue = Catalogue(url)
    counts = catalogue.counts("p")
    assert (counts.ok, counts.failed, counts.pending) == (2 * files * 4 // 5, 2 * files // 5, 0)
    assert len(catalogue.candidates("p", [LumiRange(1, 0, 2 * files)])) == counts.ok
    assert catalogue.revision("p") == 2 * files + 1  # once for the adding that was not in vain
    catalogue.close()


def test_two_processes_start_and_record_at_once(url):
    spawn = multiprocessing.get_context("spawn")
    begin = spawn.Barrier(2)
    workers = [spawn.Process(target=start_and_record, args=(url, n, 50, begin)) for n in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(600)
    assert [worker.exitcode for worker in workers] == [0, 0]
    check_both_recorded(url, 50)


@pytest.mark.fast
def test_threads_start_and_record_at_once(url):
    begin = threading.Barrier(2)
    failures: list[BaseException] = []

    def run(worker: int) -> None:
        try:
            start_and_record(url, worker, 50, begin)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=run, args=(n,)) for n in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    check_both_recorded(url, 50)
