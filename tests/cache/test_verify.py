from __future__ import annotations

import os
import time

import pytest

from columnservice.cache import PieceCache, VerifyReport
from columnservice.cache.piecefile import write_piece
from tests.cache.support import file_of, key_of, piece_files, same, truth

pytestmark = pytest.mark.fast


@pytest.fixture
def directory(tmp_path):
    return tmp_path / "cache"


@pytest.fixture
def cache(directory):
    opened = PieceCache(directory, 10**6)
    for number in range(5):
        opened.put(key_of(number), truth(number))
    yield opened
    opened.close()


def _age(path, seconds):
    then = time.time() - seconds
    os.utime(path, (then, then))


def test_a_sound_cache_is_clean(cache):
    report = cache.verify(grace_seconds=-1)
    assert report == VerifyReport(checked=5, damaged_removed=0, orphans_removed=0)
    assert report.clean


def test_a_byte_of_the_body_gone_bad_is_found_by_verify_even_while_it_is_mapped(cache, directory):
    assert same(cache.get(key_of(2)), truth(2))
    path = file_of(directory, 2)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.unlink()  # a mapped file is never written to; a disk that goes bad is another matter
    path.write_bytes(content)
    report = cache.verify()
    assert (report.checked, report.damaged_removed) == (5, 1)
    assert not report.clean
    assert cache.get(key_of(2)) is None
    assert not path.exists()
    assert cache.verify() == VerifyReport(4, 0, 0)


def test_every_kind_of_damage_is_found_at_once(cache, directory):
    paths = [file_of(directory, number) for number in range(4)]
    paths[0].unlink()
    paths[1].write_bytes(b"")
    paths[2].write_bytes(paths[2].read_bytes()[:-1])
    paths[3].write_bytes(file_of(directory, 4).read_bytes())
    assert cache.verify() == VerifyReport(5, 4, 0)
    assert piece_files(directory) == [file_of(directory, 4)]
    assert same(cache.get(key_of(4)), truth(4))


def test_a_file_of_another_size_than_entered_is_damage(cache, directory):
    cache._shelf._sql("UPDATE Cache SET size = size + 8 WHERE key = ?", (key_of(3).text,))
    assert cache.verify() == VerifyReport(5, 1, 0)
    assert cache.stats().size_bytes == sum(p.stat().st_size for p in piece_files(directory))


def test_old_files_left_behind_are_swept_and_young_ones_spared(cache, directory):
    (directory / "ab" / "cd").mkdir(parents=True, exist_ok=True)
    unentered = [directory / "ab" / "cd" / f"{n:028x}.arrow" for n in range(2)]
    unfinished = [directory / "incoming" / f"{n:032x}.arrow" for n in range(2)]
    for path in unentered:
        write_piece(path, "ab", truth(1))
    for path in unfinished:
        path.write_bytes(b"ARROW1")
    for old in (unentered[0], unfinished[0]):
        _age(old, 700)
    for young in (unentered[1], unfinished[1]):
        _age(young, 500)
    assert cache.verify() == VerifyReport(5, 0, 2)
    assert [p.exists() for p in unentered + unfinished] == [False, True, False, True]
    for young in (unentered[1], unfinished[1]):
        _age(young, 700)
    PieceCache(directory, 10**6, sweep=False).close()
    assert unentered[1].exists()
    PieceCache(directory, 10**6).close()
    assert len(piece_files(directory)) == 5


def test_files_of_other_kinds_are_left_alone(cache, directory):
    others = [directory / "notes.arrow", directory / "ab.txt", directory / "zz" / "yy" / "a.arrow"]
    for path in others:
        path.parent.mkdir(exist_ok=True, parents=True)
        path.write_text("mine")
        _age(path, 10_000)
    assert cache.verify().clean
    assert all(path.read_text() == "mine" for path in others)


def test_a_piece_entered_while_files_are_listed_is_spared(cache, directory, monkeypatch):
    """The files are listed first: what is entered between the two listings is in the second."""
    names = cache._shelf.filenames

    def entered_meanwhile():
        cache.put(key_of(9), truth(9))
        return names()

    monkeypatch.setattr(cache._shelf, "filenames", entered_meanwhile)
    assert cache.verify(grace_seconds=-1).clean
    assert same(cache.get(key_of(9)), truth(9))


def test_an_entry_replaced_while_it_is_read_is_not_removed(cache, directory, monkeypatch):
    from columnservice.cache import verify

    check = verify.check_piece
    old = file_of(directory, 3)

    def replaced_meanwhile(path):
        if path == old and old.exists():
            cache.put(key_of(3), truth(33))
        return check(path)

    monkeypatch.setattr(verify, "check_piece", replaced_meanwhile)
    assert cache.verify() == VerifyReport(5, 0, 0)
    assert same(cache.get(key_of(3)), truth(33))
