"""The table of failures against words that real servers and clients said (xrootd 5.5.3, 6.2.1)."""

from __future__ import annotations

import lzma
import zlib
from importlib.resources import files

import cramjam
import numpy as np
import pytest
import uproot
from hypothesis import given
from hypothesis import strategies as st

from columnservice.errors import DamagedFile, FileChanged, NotAllowed, UnknownColumn, Unreachable
from columnservice.reader import faults
from columnservice.reader.faults import classify, fault

pytestmark = pytest.mark.fast

URL = "root://cache:1095//store/a.root"


def server_says(code: int, rest: str) -> FileNotFoundError:
    """What uproot makes of every error that a server sends."""
    return FileNotFoundError(
        f"file not found ([ERROR] Server responded with an error: [{code}] {rest}\n)\n\n"
        f"    '{URL}'\n\nFiles may be specified as:\n   * str/bytes: relative or absolute"
    )


def client_says(words: str) -> OSError:
    return OSError(f"XRootD error: {words} in file {URL}")


# What was said, as recorded from real servers, and what had really been done to them.
SEEN = [
    (server_says(3010, "Unable to open /store/a.root; permission denied"), "denied"),
    (server_says(3010, "Opening path '/etc/passwd' is disallowed."), "denied"),
    (server_says(3006, "Invalid request; user not authenticated"), "denied"),
    (client_says("[FATAL] Auth failed: No protocols left to try"), "denied"),
    (client_says("[FATAL] TLS error: certificate has expired"), "denied"),
    (server_says(3005, "Unable to open /store/a.root; token has expired"), "denied"),
    (server_says(3011, "Unable to open /store/a.root; no such file or directory"), "absent"),
    (client_says("[FATAL] Connection error"), "refused"),
    (FileNotFoundError(f"file not found ([FATAL] Invalid address)\n\n    '{URL}'\n"), "refused"),
    (server_says(3005, "Unable to readv /store/a; socket operation on non-socket"), "stalled"),
    (server_says(3027, "Unable to read /store/a.root; stale"), "stalled"),
    (server_says(3012, "Unable to open /store/a.root; bad address"), "stalled"),
    (TimeoutError(f"XRootD error: [ERROR] Operation expired in file {URL}"), "stalled"),
    (RuntimeError("dictionary changed size during iteration"), "stalled"),
    (ValueError("I/O operation on closed file"), "stalled"),  # XRootD, of a lost connection
    (client_says("[FATAL] Socket timeout"), "timed out"),
    (server_says(3019, "Unable to readv /store/a.root; checksum error"), "damaged"),
    (server_says(3005, "Unable to readv /store/a.root; illegal seek"), "damaged"),
    (server_says(3000, "Unable to readv /store/a.root; invalid argument"), "damaged"),
    (
        OSError(f"expected Chunk of length 9461,\nreceived 0 bytes from HeldXRootD\n{URL}"),
        "damaged",
    ),
    (server_says(3016, "Unable to open /store/dir; is a directory"), "not ROOT"),
    (server_says(3013, "not supported"), "other"),
    (client_says("[FATAL] Something nobody has seen"), "other"),
]


@pytest.mark.parametrize(("error", "name"), SEEN, ids=lambda v: str(v)[:60])
def test_what_servers_and_clients_say_is_told_apart_by_code_and_words(error, name):
    found = classify(error)
    assert found is not None
    assert found.name == name


@pytest.mark.parametrize("kind", [FileNotFoundError, PermissionError, TimeoutError, OSError])
def test_the_code_decides_whatever_type_carries_it(kind):
    error = kind("([ERROR] Server responded with an error: [3011] Unable to open /store/a.root")
    assert classify(error) is faults.ABSENT


@pytest.mark.parametrize("name", ["[3010]", "expired", "Auth failed", "Socket timeout", "is empty"])
def test_words_in_a_path_decide_nothing(name):
    url = f"root://o:1//store/{name}.root"
    assert classify(OSError(f"XRootD error: [FATAL] Connection error in file {url}")).name == (
        "refused"
    )


def test_the_operating_system_s_own_errors_go_by_their_type():
    told = {
        PermissionError(13, "Permission denied"): "denied",
        FileNotFoundError(2, "No such file or directory"): "absent",
        IsADirectoryError(21, "Is a directory"): "not ROOT",
        ConnectionResetError(104, "Connection reset by peer"): "refused",
        TimeoutError(110, "timed out"): "timed out",
        OSError(5, "Input/output error"): "other",
    }
    assert [classify(error).name for error in told] == list(told.values())


def broken(decompress, packed: bytes) -> Exception:
    middle = len(packed) // 2
    try:
        decompress(packed[:middle] + bytes(8) + packed[middle + 8 :])
    except Exception as error:
        return error
    raise AssertionError("damage was not noticed")


PLAIN = np.random.default_rng(1).integers(0, 9, 5000, np.uint8).tobytes()


@pytest.mark.parametrize(
    "error",
    [
        broken(zlib.decompress, zlib.compress(PLAIN)),
        broken(lzma.decompress, lzma.compress(PLAIN)),
        broken(cramjam.zstd.decompress, bytes(cramjam.zstd.compress(PLAIN))),
        broken(cramjam.lz4.decompress, bytes(cramjam.lz4.compress(PLAIN))),
        broken(cramjam.xz.decompress, bytes(cramjam.xz.compress(PLAIN))),
        ValueError("computed checksum 6740 didn't match expected checksum 1619"),
    ],
    ids=lambda e: type(e).__module__ + str(e)[:20],
)
def test_bytes_that_do_not_decompress_are_damage(error):
    assert classify(error) is faults.DAMAGED


def test_whatever_the_reading_library_stumbles_over_is_damage_and_our_own_mistakes_are_not():
    with pytest.raises(TypeError) as caught:
        len(5)
    assert classify(caught.value) is None
    with pytest.raises(AttributeError) as caught:
        uproot.source.cursor.Cursor(0).bytes(None, 4, None)  # raised inside uproot
    assert classify(caught.value) is faults.DAMAGED


def test_mistakes_of_the_program_are_not_made_into_errors_of_a_file():
    mistake = TypeError("unexpected argument")
    with pytest.raises(TypeError) as caught:
        fault(mistake, "a", "a")
    assert caught.value is mistake
    assert classify(UnknownColumn("no column")) is None
    assert classify(FileChanged("other")) is faults.CHANGED


@pytest.mark.parametrize(("error", "name"), SEEN, ids=lambda v: str(v)[:60])
def test_every_message_is_one_line_with_file_replica_class_and_remedy(error, name):
    told = fault(error, "/store/a.root", URL)
    assert told.message.startswith(f"/store/a.root at {URL} ")
    assert f"({name}): " in told.message
    assert "\n" not in str(told)
    assert "Files may be" not in told.message
    assert told.remedy


def test_the_class_decides_what_the_caller_gets():
    kinds = {"denied": NotAllowed, "damaged": DamagedFile, "stalled": Unreachable}
    for error, name in SEEN:
        if name in kinds:
            assert type(fault(error, "a", "a")) is kinds[name]


TOKEN = st.text("abcDEF0189-._~+/=", min_size=8)


@given(TOKEN)
def test_no_credential_reaches_a_message(token):
    url = f"root://user:{token.replace('/', '_')}@cache:1//a.root?authz=Bearer%20{token}&x=1"
    error = OSError(f"XRootD error: [FATAL] Auth failed: Bearer {token} in file {url}")
    told = fault(error, "/a.root", url)
    assert token not in str(told)
    assert token.replace("/", "_") not in str(told)
    assert "(denied)" in told.message


def test_denials_are_never_repeated_and_damage_goes_around_the_cache():
    assert (faults.DENIED.repeats, faults.DENIED.then) == (0, "nobody")
    assert (faults.DAMAGED.repeats, faults.DAMAGED.then) == (0, "origin")
    assert (faults.CHANGED.repeats, faults.CHANGED.then) == (0, "origin")
    assert all(1 <= f.repeats <= 2 for f in (faults.STALLED, faults.REFUSED, faults.TIMED_OUT))
    assert all(found.remedy.endswith(".") for found in faults.CLASSES)


def test_the_client_s_words_are_those_of_the_installed_client():
    libraries = [p for p in files("pyxrootd").iterdir() if p.name.startswith("libXrdCl.")]
    assert libraries
    spoken = libraries[0].read_bytes()
    assert [words for words in faults.CLIENT_WORDS if words.encode() not in spoken] == []
