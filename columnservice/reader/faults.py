"""What a failed read means: its class, what to do next, and the error of ours that tells of it.

XRootD's Python layers raise misleading types (``FileNotFoundError`` for permission denied, for a
stalled cache and for a checksum error), so the server's bracketed code decides, then the client's
own words, and the exception's type only where there are neither. Tables and pure functions: knows
no clock, opens nothing.
"""

from __future__ import annotations

import lzma
import re
import struct
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import uproot

from columnservice.errors import (
    ColumnServiceError,
    CountsMismatch,
    DamagedFile,
    FileChanged,
    NotAllowed,
    NotRoot,
    Unreachable,
)
from columnservice.reader.replicas import redact


@dataclass(frozen=True)
class FailureClass:
    """One kind of failure and what follows from it.

    Attributes:
        name: as messages say it.
        error: what the caller gets when no replica serves.
        says: what happened to the file, for the message.
        repeats: how often the same replica is asked again, with a pause before each time.
        then: who is asked after that: the next replica, only the origin (which bypasses every
            cache), or nobody, since all would say the same.
        aside: what is asked last for a while, where others serve too: every file of that server,
            this replica of the file, or nothing.
        remedy: what a person can do.
    """

    name: str
    error: type[ColumnServiceError]
    says: str
    repeats: int
    then: Literal["next", "origin", "nobody"]
    aside: Literal["server", "replica", "nothing"]
    remedy: str


DENIED = FailureClass(
    "denied", NotAllowed, "is refused by the storage", 0, "nobody", "nothing",
    "Check the service's credential and the file's permissions at the storage.",
)  # fmt: skip
ABSENT = FailureClass(
    "absent", Unreachable, "does not exist", 0, "next", "nothing",
    "Restore the file, or register the dataset without it.",
)  # fmt: skip
REFUSED = FailureClass(
    "refused", Unreachable, "cannot be read", 2, "next", "server",
    "Check that the server runs and that its address is right.",
)  # fmt: skip
STALLED = FailureClass(
    "stalled", Unreachable, "cannot be read", 1, "next", "nothing",
    "The server answers but does not get the bytes: check its disk or the origin behind it.",
)  # fmt: skip
TIMED_OUT = FailureClass(
    "timed out", Unreachable, "cannot be read", 1, "next", "server",
    "The server does not answer: try again; if it lasts, it must be restarted.",
)  # fmt: skip
DAMAGED = FailureClass(
    "damaged", DamagedFile, "is truncated or corrupted", 0, "origin", "replica",
    "Copy the file again, or remove it from the cache; the other files are not affected.",
)  # fmt: skip
CHANGED = FailureClass(
    "changed", FileChanged, "is not the file that was registered", 0, "origin", "replica",
    FileChanged.default_remedy,
)  # fmt: skip
NOT_ROOT = FailureClass(
    "not ROOT", NotRoot, "is not a ROOT file", 0, "origin", "replica",
    NotRoot.default_remedy,
)  # fmt: skip
CONTRADICTORY = FailureClass(
    "contradictory", CountsMismatch, "contradicts itself", 0, "origin", "replica",
    CountsMismatch.default_remedy,
)  # fmt: skip
OTHER = FailureClass(
    "other", Unreachable, "cannot be read", 1, "next", "nothing",
    Unreachable.default_remedy,
)  # fmt: skip

CLASSES = (
    DENIED, ABSENT, REFUSED, STALLED, TIMED_OUT, DAMAGED, CHANGED, NOT_ROOT, CONTRADICTORY, OTHER,
)  # fmt: skip

# Codes that servers send in brackets (XErrorCode in XRootD's XProtocol.hh), as they were seen to be
# used rather than as they are named: a cache reports every error of its own client that has no code
# as 3005, and a stalled origin as 3027.
SERVER_CODES: Mapping[int, FailureClass] = {
    3004: STALLED,  # FileNotOpen: the server has forgotten the handle; opened anew when repeated
    3005: STALLED,  # FSError
    3006: DENIED,  # InvalidRequest: "user not authenticated"
    3007: STALLED,  # IOError
    3008: STALLED,  # NoMemory
    3009: STALLED,  # NoSpace
    3010: DENIED,  # NotAuthorized
    3011: ABSENT,  # NotFound
    3012: STALLED,  # ServerError
    3014: STALLED,  # noserver
    3015: NOT_ROOT,  # NotFile
    3016: NOT_ROOT,  # isDirectory
    3017: STALLED,  # Cancelled
    3019: DAMAGED,  # ChkSumErr
    3020: STALLED,  # inProgress
    3023: DAMAGED,  # DecryptErr
    3024: STALLED,  # Overloaded
    3026: DAMAGED,  # BadPayload
    3027: STALLED,  # AttrNotFound
    3028: DENIED,  # TLSRequired
    3029: ABSENT,  # noReplicas
    3030: DENIED,  # AuthFailed
    3033: STALLED,  # TooManyErrs
    3034: STALLED,  # ReqTimedOut
    3035: STALLED,  # TimerExpired
}
# The same code with these words behind it means something more special.
SERVER_WORDS: Mapping[tuple[int, str], FailureClass] = {
    (3005, "illegal seek"): DAMAGED,  # a vector read behind the end: truncated while it was open
    (3000, "Unable to readv"): DAMAGED,  # the same, asked of an XCache
}
# The client's own status where no server answered with a code (XrdClStatus.cc), by its number.
CLIENT_WORDS: Mapping[str, FailureClass] = {
    "Received corrupted data": DAMAGED,  # 14
    "No more replicas": REFUSED,  # 16
    "Invalid address": REFUSED,  # 101
    "Socket error": REFUSED,  # 102
    "Socket timeout": TIMED_OUT,  # 103
    "Socket disconnected": REFUSED,  # 104
    "Stream disconnect": REFUSED,  # 107
    "Connection error": REFUSED,  # 108
    "Invalid session": REFUSED,  # 109
    "TLS error": REFUSED,  # 110
    "Hand shake failed": REFUSED,  # 202
    "Login failed": DENIED,  # 203
    "Auth failed": DENIED,  # 204
    # 206: the server is there, as its connection is, but did not answer this request
    "Operation expired": STALLED,
    "Operation interrupted": REFUSED,  # 207
    "Resource not found": ABSENT,  # 304
    "CheckSum error": DAMAGED,  # 305
}
_EXPIRED_CREDENTIAL = re.compile(
    r"(token|certificate|credential|proxy)\b.*\bexpired", re.IGNORECASE
)

_SERVER = re.compile(r"Server responded with an error: \[(\d{4})\] ?([^\n]*)")
_CLIENT = re.compile(r"\[(?:ERROR|FATAL)\] ([^\n]*)")
_NOT_ROOT_WORDS = ("not a ROOT file", "is empty", "not a recognized")
_TRUNCATED_WORDS = ("expected Chunk of length", "I/O operation on closed file")
# XRootD closes all files of a connection with it, whoever reads them then; uproot goes through its
# classes while another thread may be adding to them.
_PASSING_WORDS = ("I/O operation on closed file", "changed size during iteration")
# What uproot and the decompressors raise on bytes that make no sense.
_DAMAGE = (
    uproot.deserialization.DeserializationError,
    zlib.error,
    lzma.LZMAError,
    struct.error,
    ValueError,  # a wrong LZ4 checksum, an unknown compression
    LookupError,
    ArithmeticError,
    AssertionError,
    RuntimeError,
    NotImplementedError,
)
_DAMAGE_NAMES = ("DecompressionError",)  # cramjam: LZ4, LZMA, ZSTD
_READERS = ("uproot", "awkward")


def classify(error: BaseException) -> FailureClass | None:
    """The class of what reading a file raised; None when it says nothing of the file."""
    if isinstance(error, ColumnServiceError):
        return _class_of_ours(error)
    text = str(error)
    if isinstance(error, OSError):
        return _class_of_text(text) or _class_of_os_error(error, text)
    if isinstance(error, ValueError) and any(words in text for words in _NOT_ROOT_WORDS):
        return NOT_ROOT
    if isinstance(error, ValueError | RuntimeError) and any(w in text for w in _PASSING_WORDS):
        return STALLED
    nonsense = isinstance(error, _DAMAGE) or type(error).__name__ in _DAMAGE_NAMES
    return DAMAGED if nonsense or raised_by_reader(error) else None


def _class_of_ours(error: ColumnServiceError) -> FailureClass | None:
    ours = (DAMAGED, CHANGED, NOT_ROOT, CONTRADICTORY)
    return next((found for found in ours if isinstance(error, found.error)), None)


def _class_of_text(text: str) -> FailureClass | None:
    """The class that XRootD's own words tell, whatever exception carries them."""
    server, client = _SERVER.search(text), _CLIENT.search(text)
    said = server or client
    if said is None:
        return None
    words = said[said.re.groups]
    if _EXPIRED_CREDENTIAL.search(words):
        return DENIED
    if server is None:
        return next(
            (found for word, found in CLIENT_WORDS.items() if words.startswith(word)), OTHER
        )
    code = int(server[1])
    special = (f for (number, word), f in SERVER_WORDS.items() if number == code and word in words)
    return next(special, SERVER_CODES.get(code, OTHER))


def _class_of_os_error(error: OSError, text: str) -> FailureClass:
    """The class of an error of the operating system or of uproot, by its type."""
    if any(words in text for words in _TRUNCATED_WORDS):
        return DAMAGED
    by_type = {
        PermissionError: DENIED,
        FileNotFoundError: ABSENT,
        IsADirectoryError: NOT_ROOT,
        ConnectionError: REFUSED,
        TimeoutError: TIMED_OUT,
    }
    return next((found for kind, found in by_type.items() if isinstance(error, kind)), OTHER)


def raised_by_reader(error: BaseException) -> bool:
    """Whether the reading library itself stumbled: over the bytes, then, and not over a call."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    module = "" if trace is None else str(trace.tb_frame.f_globals.get("__name__", ""))
    return module.partition(".")[0] in _READERS


def describe(error: BaseException, most: int = 200) -> str:
    """The first telling line of an exception, without credentials."""
    text = str(error)
    mark = _SERVER.search(text) or _CLIENT.search(text)
    lines = [line.strip() for line in text[mark.start() if mark else 0 :].splitlines()]
    line = redact(next((line for line in lines if line), type(error).__name__))
    line = line.partition(" in file ")[0].removesuffix(")")
    return line[:most].rstrip(".: ")


def fault(error: BaseException, lfn: str, replica: str) -> ColumnServiceError:
    """The error of ours for an exception raised while opening or reading a file.

    Args:
        error: what uproot, XRootD or a decompressor raised; one of ours stays as it is.
        lfn: the file, for the message.
        replica: the URL or path that was read, for the message.

    Raises:
        the exception itself, when it says nothing of the file: a mistake of the program.
    """
    if isinstance(error, ColumnServiceError):
        return error
    found = classify(error)
    if found is None:
        raise error
    where = redact(lfn if lfn == replica else f"{lfn} at {replica}")
    return found.error(f"{where} {found.says} ({found.name}): {describe(error)}.", found.remedy)
