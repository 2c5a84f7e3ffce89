"""What a failed read means: an error of ours, and whether another replica may do better.

XRootD's Python layers raise misleading types (``FileNotFoundError`` for permission denied), so the
bracketed server code and the wording decide, not the class. Knows no retry policy.
"""

from __future__ import annotations

import re
import struct
import zlib

import uproot

from columnservice.errors import (
    ColumnServiceError,
    DamagedFile,
    NotAllowed,
    NotRoot,
    Unreachable,
)
from columnservice.reader.replicas import redact

_SERVER_CODE = re.compile(r"\[(\d{4})\]")
_DENIED = {3010, 3006}
_CHECKSUM = {3019}
_NOT_ROOT = ("not a ROOT file", "is empty", "not a recognized")


def describe(error: BaseException, most: int = 200) -> str:
    """The first telling line of an exception, without credentials."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return redact(lines[0])[:most] if lines else type(error).__name__


def fault(error: BaseException, lfn: str, replica: str) -> ColumnServiceError:
    """The error of ours for an exception raised while opening or reading a file.

    Args:
        error: what uproot, XRootD or a decompressor raised.
        lfn: the file, for the message.
        replica: the URL or path that was read, for the message.
    """
    if isinstance(error, ColumnServiceError):
        return error
    text = str(error)
    where = lfn if lfn == replica else f"{lfn} at {redact(replica)}"
    code = _SERVER_CODE.search(text)
    number = int(code.group(1)) if code else 0
    if isinstance(error, PermissionError) or number in _DENIED or "Auth failed" in text:
        return NotAllowed(f"The storage refuses {where}: {describe(error)}.")
    if any(words in text for words in _NOT_ROOT):
        return NotRoot(f"{where} is not a ROOT file.")
    if number in _CHECKSUM or "expected Chunk of length" in text:
        return DamagedFile(f"{where} is truncated or corrupted: {describe(error)}.")
    if isinstance(error, OSError):
        return Unreachable(f"Cannot read {where}: {describe(error)}.")
    damaged = (
        uproot.deserialization.DeserializationError,
        zlib.error,
        struct.error,
        ValueError,
        IndexError,
        KeyError,
        AssertionError,
        RuntimeError,
        NotImplementedError,
    )
    if isinstance(error, damaged):
        return DamagedFile(f"{where} is truncated or corrupted: {describe(error)}.")
    raise error


def another_replica_may_help(error: ColumnServiceError) -> bool:
    """Whether to ask the next replica: for lost bytes and damage, never for a refusal."""
    return isinstance(error, Unreachable | DamagedFile)
