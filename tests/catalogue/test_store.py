"""Datasets and files: what is registered is there again, and what cannot be is told."""

from __future__ import annotations

import pytest

from columnservice.catalogue.records import FileCounts
from columnservice.catalogue.store import Catalogue
from columnservice.errors import (
    DamagedFile,
    DatasetExists,
    DatasetInUse,
    RequestError,
    SetupError,
    UnknownDataset,
    UnknownFile,
)
from columnservice.model import ColumnSet, Dataset, LumiRange
from tests.catalogue.conftest import LAYOUT, offered, record

pytestmark = pytest.mark.fast
MINI, NANO = Dataset("tt_mini", "miniaod"), Dataset("tt_nano", "nanoaod", "tt_mini")


def test_a_dataset_is_found_again_with_its_parent_and_children(catalogue):
    catalogue.add_dataset(MINI)
    catalogue.add_dataset(NANO)
    catalogue.add_dataset(NANO)
    assert catalogue.datasets() == (MINI, NANO)
    assert catalogue.dataset("tt_nano") == NANO
    assert catalogue.children("tt_mini") == (NANO,)
    assert catalogue.children("tt_nano") == ()


def test_another_dataset_of_the_same_name_is_refused(catalogue):
    catalogue.add_dataset(MINI)
    with pytest.raises(DatasetExists, match="'tt_mini' exists already, with format 'miniaod'"):
        catalogue.add_dataset(Dataset("tt_mini", "aod"))


def test_an_unknown_parent_and_an_unknown_name_are_told_with_the_nearest(catalogue):
    catalogue.add_dataset(MINI)
    with pytest.raises(UnknownDataset, match="nearest: tt_mini"):
        catalogue.add_dataset(Dataset("x", "nanoaod", "tt_mni"))
    with pytest.raises(UnknownDataset, match=r"^No dataset 'zzzz'\. "):
        catalogue.files("zzzz")
    assert catalogue.datasets() == (MINI,)


@pytest.mark.parametrize("name", ["", "a/b", "a b", ".hidden", "a" * 129, "Ä", "a\n"])
def test_names_that_cannot_stand_in_a_url_are_refused(catalogue, name):
    with pytest.raises(RequestError, match="cannot be a dataset's name"):
        catalogue.add_dataset(Dataset(name, "nanoaod"))


def test_an_unknown_format_is_refused_and_the_known_ones_are_named(catalogue):
    with pytest.raises(RequestError, match="nanoaod, miniaod"):
        catalogue.add_dataset(Dataset("a", "nano"))


def test_a_parent_of_another_experiment_is_refused(catalogue):
    catalogue.add_dataset(Dataset("atlas", "daod"))
    with pytest.raises(RequestError, match="different experiments"):
        catalogue.add_dataset(Dataset("cms", "nanoaod", "atlas"))


def test_a_parent_cannot_be_removed_before_its_children(catalogue):
    catalogue.add_dataset(MINI)
    catalogue.add_dataset(NANO)
    with pytest.raises(DatasetInUse, match="parent of tt_nano"):
        catalogue.remove_dataset("tt_mini")
    catalogue.remove_dataset("tt_nano")
    catalogue.remove_dataset("tt_mini")
    assert catalogue.datasets() == ()


def test_removing_a_dataset_leaves_nothing_of_it_behind(catalogue):
    catalogue.add_dataset(MINI)
    catalogue.record_file("tt_mini", record(1, LumiRange(1, 1, 5)), LAYOUT)
    catalogue.set_note("tt_mini", "duplicates", 3)
    catalogue.remove_dataset("tt_mini")
    with catalogue._database.reading() as connection:
        for table in ("datasets", "notes", "files", "lumis", "columnsets"):
            assert connection.exec_driver_sql(f"SELECT count(*) FROM {table}").scalar() == 0
    catalogue.add_dataset(MINI)
    assert catalogue.columnsets("tt_mini") == ()
    assert catalogue.note("tt_mini", "duplicates") is None


def test_a_recorded_file_is_found_again_whole(catalogue):
    catalogue.add_dataset(MINI)
    there = record(
        7, LumiRange(1, 1, 5), LumiRange(1, 9, 9), LumiRange(4_294_967_295, 1, 2**32 - 1)
    )
    assert catalogue.record_file("tt_mini", there, LAYOUT) is None
    assert catalogue.files("tt_mini") == (there,)
    assert catalogue.file("tt_mini", there.identity.uuid) == there
    assert catalogue.holders(there.identity.uuid) == ("tt_mini",)
    assert catalogue.columnset(LAYOUT.digest) == LAYOUT
    assert catalogue.columnsets("tt_mini") == ((LAYOUT, 1),)


def test_luminosity_blocks_are_kept_in_the_fewest_ranges(catalogue):
    catalogue.add_dataset(MINI)
    catalogue.record_file(
        "tt_mini", record(1, LumiRange(1, 4, 6), LumiRange(1, 1, 4), LumiRange(1, 7, 7)), LAYOUT
    )
    assert catalogue.files("tt_mini")[0].lumis == (LumiRange(1, 1, 7),)


def test_an_unknown_uuid_is_told(catalogue):
    catalogue.add_dataset(MINI)
    with pytest.raises(UnknownFile, match="No file with UUID f00 in dataset 'tt_mini'"):
        catalogue.file("tt_mini", "f00")
    assert catalogue.holders("f00") == ()


def test_an_interrupted_registration_goes_on_where_it_was(catalogue, url):
    catalogue.add_dataset(MINI)
    records = [record(n) for n in range(5)]
    assert catalogue.add_files("tt_mini", [r.url for r in records[:3]]) == 3
    catalogue.record_file("tt_mini", records[1], LAYOUT)
    catalogue.record_failure("tt_mini", records[2].url, DamagedFile("It is cut."))

    later = Catalogue(url)
    later.migrate()
    assert later.pending("tt_mini") == (records[0].url,)
    assert later.add_files("tt_mini", [r.url for r in records]) == 2
    assert later.pending("tt_mini") == tuple(records[n].url for n in (0, 3, 4))
    assert later.files("tt_mini") == (records[1],)
    assert later.counts("tt_mini") == FileCounts(ok=1, pending=3, declared=0, failed=1, entries=10)
    later.close()


def test_a_failure_keeps_its_reason_until_it_is_tried_again(catalogue):
    catalogue.add_dataset(MINI)
    catalogue.record_file("tt_mini", record(1, LumiRange(1, 1, 1)), LAYOUT)
    bad = record(1).url
    catalogue.record_failure("tt_mini", bad, DamagedFile("It is cut.", "Copy it again."))
    (failure,) = catalogue.failures("tt_mini")
    assert (failure.url, failure.code) == (bad, "DamagedFile")
    assert (failure.error, failure.remedy) == ("It is cut.", "Copy it again.")
    assert catalogue.files("tt_mini") == ()
    assert catalogue.candidates("tt_mini", [LumiRange(1, 1, 1)]) == ()
    assert catalogue.retry_failures("tt_mini") == 1
    assert catalogue.failures("tt_mini") == ()
    assert catalogue.pending("tt_mini") == (bad,)


def test_a_file_recorded_again_replaces_what_was_known(catalogue):
    catalogue.add_dataset(MINI)
    catalogue.record_file("tt_mini", record(1, LumiRange(1, 1, 5)), LAYOUT)
    wider = ColumnSet("cd" * 16, (*LAYOUT.columns, offered("y")))
    again = record(1, LumiRange(2, 1, 1), entries=20, columnset=wider, uuid="another")
    catalogue.record_file("tt_mini", again, wider)
    assert catalogue.files("tt_mini") == (again,)
    assert catalogue.columnsets("tt_mini") == ((wider, 1),)
    assert catalogue.candidates("tt_mini", [LumiRange(1, 1, 5)]) == ()


def test_the_same_file_under_two_urls_is_kept_once_and_told(catalogue):
    catalogue.add_dataset(MINI)
    first, second = record(1, uuid="same"), record(2, uuid="same")
    catalogue.record_file("tt_mini", first, LAYOUT)
    failure = catalogue.record_file("tt_mini", second, LAYOUT)
    assert "the same file as root://origin:1094//store/1.root" in failure.error
    assert catalogue.failures("tt_mini") == (failure,)
    assert catalogue.files("tt_mini") == (first,)


def test_one_file_may_be_in_several_datasets(catalogue):
    catalogue.add_dataset(MINI)
    catalogue.add_dataset(Dataset("other", "miniaod"))
    for name in ("tt_mini", "other"):
        catalogue.record_file(name, record(1), LAYOUT)
    assert catalogue.holders(record(1).identity.uuid) == ("tt_mini", "other")
    catalogue.remove_files("tt_mini", [record(1).url, "unknown"])
    assert catalogue.holders(record(1).identity.uuid) == ("other",)


def test_what_was_derived_is_made_anew_after_every_change(catalogue):
    def lfns() -> tuple[str, ...]:
        return catalogue.derived(
            "lfns", ("tt_mini",), lambda: tuple(f.lfn for f in catalogue.candidates("tt_mini", ()))
        )

    catalogue.add_dataset(MINI)
    assert lfns() == ()
    for number in (1, 2):
        catalogue.record_file("tt_mini", record(number), LAYOUT)
        assert lfns() == tuple(record(n).lfn for n in range(1, number + 1))
    catalogue.remove_files("tt_mini", [record(2).url])
    assert lfns() == (record(1).lfn,)
    catalogue.remove_dataset("tt_mini")
    catalogue.add_dataset(MINI)
    catalogue.record_file("tt_mini", record(2), LAYOUT)
    assert lfns() == (record(2).lfn,)


def test_notes_are_json_and_replace_earlier_ones(catalogue):
    catalogue.add_dataset(MINI)
    for value in ({"events": 3, "witnesses": [1.5, None]}, None, 7):
        catalogue.set_note("tt_mini", "checks/a_b", value)
        assert catalogue.note("tt_mini", "checks/a_b") == value
    catalogue.set_note("tt_mini", "checks/aXb", 8)
    catalogue.set_note("tt_mini", "other", 9)
    assert catalogue.note("tt_mini", "nothing") is None
    assert catalogue.notes("tt_mini", "checks/") == {"checks/aXb": 8, "checks/a_b": 7}
    assert catalogue.notes("tt_mini", "checks/a_") == {"checks/a_b": 7}
    catalogue.remove_notes("tt_mini", "checks/a_")
    assert catalogue.notes("tt_mini", "") == {"checks/aXb": 8, "other": 9}


def test_a_file_that_is_no_database_is_told(tmp_path):
    path = tmp_path / "catalogue.sqlite"
    path.write_text("these are not the bytes of a database, whatever the name says\n" * 20)
    with pytest.raises(SetupError, match="not a database"):
        Catalogue(f"sqlite:///{path}").migrate()


def test_a_home_that_cannot_be_made_is_told(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(SetupError, match=r"Cannot make the directory .*--home"):
        Catalogue(f"sqlite:///{tmp_path / 'file' / 'home' / 'c.sqlite'}")


@pytest.mark.parametrize("bad", ["nonsense", "nosuchdatabase://x", "sqlite"])
def test_a_database_url_that_cannot_be_used_is_told(bad):
    with pytest.raises(SetupError, match="COLUMNSERVICE_DATABASE_URL"):
        Catalogue(bad)


def test_the_state_of_notes_is_another_one_after_each_change_of_them_and_of_nothing_else(
    catalogue, url
):
    catalogue.add_dataset(MINI)
    other = Catalogue(url)
    changes = [
        lambda c: c.set_note("tt_mini", "checks/a", {"events": 1}),
        lambda c: c.set_note("tt_mini", "checks/a", {"events": 2}),
        lambda c: c.set_note("tt_mini", "checks/b", {"events": 2}),
        lambda c: c.remove_notes("tt_mini", "checks/a"),
        lambda c: c.set_note("tt_mini", "checks/b", None),
        lambda c: c.set_note("tt_mini", "checks/b", ""),
    ]
    states = [catalogue.notes_state("tt_mini", "checks/")]
    for number, change in enumerate(changes):
        change((catalogue, other)[number % 2])
        states.append(catalogue.notes_state("tt_mini", "checks/"))
        assert other.notes_state("tt_mini", "checks/") == states[-1]
        both = (other.notes("tt_mini", "checks/"), states[-1])
        assert other.notes_with_state("tt_mini", "checks/") == both
    assert len({*states}) == len(changes) + 1
    catalogue.set_note("tt_mini", "uploads/a", {"events": 1})
    catalogue.record_file("tt_mini", record(1), LAYOUT)
    assert catalogue.notes_state("tt_mini", "checks/") == states[-1]
    other.remove_notes("tt_mini", "checks/")
    assert catalogue.notes_state("tt_mini", "checks/") == states[0]
    other.close()


def test_what_other_processes_do_to_a_dataset_is_seen_at_once(catalogue, url):
    other = Catalogue(url)
    with pytest.raises(UnknownDataset):
        catalogue.dataset("tt_nano")
    other.add_dataset(MINI)
    other.add_dataset(NANO)
    assert catalogue.dataset("tt_nano") == NANO
    other.remove_dataset("tt_nano")
    for ask in (catalogue.dataset, lambda n: catalogue.notes_state(n, "")):
        with pytest.raises(UnknownDataset):
            ask("tt_nano")
    other.add_dataset(Dataset("tt_nano", "nanoaod"))
    assert catalogue.dataset("tt_nano").parent is None
    other.close()
