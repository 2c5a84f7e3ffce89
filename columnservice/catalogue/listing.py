"""From what a user wrote to the files that it means, inside what the operator allows.

Local paths and patterns, ``root://`` files, directories and patterns. The service reads with its
own rights, so each file must lie below an allowed directory or on an allowed host. Knows no format
and opens no file.
"""

from __future__ import annotations

import fnmatch
import glob
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import SplitResult, urlsplit

from columnservice.errors import NotAllowed, RequestError, Unreachable
from columnservice.reader.replicas import configure_xrootd, is_remote, redact
from columnservice.settings import Settings

SUFFIX = ".root"
_MAGIC = re.compile(r"[*?\[]")
_DEFAULT_PORT = 1094
LISTING_TIMEOUT_SECONDS = 60

# XRootD's codes of a refusal (XErrorCode).
_DENIED, _NOT_FOUND = 3010, 3011

# (directory on the server) → ((name, is a directory), …)
ListDirectory = Callable[[str], Sequence[tuple[str, bool]]]
Pattern = tuple[str, ...]


def expand(url_or_glob: str, settings: Settings) -> list[str]:
    """The files that a path, URL, directory or pattern means, sorted.

    A directory means every ``.root`` file below it. Patterns know ``*``, ``?`` (not in URLs),
    ``[…]`` and ``**``. A single file is not looked for here: whether it exists is found out when
    it is opened.

    Raises:
        RequestError: neither an absolute path nor an XRootD URL, or nothing matches.
        NotAllowed: outside ``allowed_roots`` or ``allowed_hosts``.
        Unreachable: the server does not list the directory.
    """
    if is_remote(url_or_glob):
        return _expand_remote(url_or_glob, settings)
    if "://" in url_or_glob or not url_or_glob.startswith("/") or "\0" in url_or_glob:
        raise RequestError(
            f"{redact(url_or_glob)!r} is neither an absolute path nor a root:// URL.",
            "Write paths from / on, or root://host:port//path.",
        )
    return _expand_local(url_or_glob, settings)


def _nothing(pattern: str) -> RequestError:
    return RequestError(f"No file matches {pattern}.", "Check the path or pattern.")


def _expand_local(pattern: str, settings: Settings) -> list[str]:
    path = Path(pattern)
    literal = not _MAGIC.search(pattern) or path.exists()
    # What lies outside is refused before it is looked at: whether it exists is nobody's business.
    fixed = path if literal else Path(_fixed_part(pattern))
    _demand_allowed_path(fixed.resolve(), settings)
    if literal and not path.is_dir():
        return [str(path.resolve())]
    if literal:
        found = [p for p in path.rglob("*" + SUFFIX) if p.is_file()]
    else:
        # glob, not Path.glob, which refuses some patterns and finds hidden files.
        names = glob.iglob(pattern, recursive=True)  # noqa: PTH207
        found = [p for name in names if (p := Path(name)).is_file()]
    resolved = sorted({p.resolve() for p in found})
    for file in resolved:
        _demand_allowed_path(file, settings)
    if not resolved:
        raise _nothing(pattern)
    return [str(file) for file in resolved]


def _fixed_part(pattern: str) -> str:
    """The directory before the first part with a wildcard."""
    parts = pattern.split("/")
    first = next(i for i, part in enumerate(parts) if _MAGIC.search(part))
    return "/".join(parts[:first]) or "/"


def _demand_allowed_path(resolved: Path, settings: Settings) -> None:
    """Refuse a path (symlinks resolved) that is not an allowed directory or below one."""
    if not any(resolved.is_relative_to(root.resolve()) for root in settings.allowed_roots):
        raise NotAllowed(
            f"{resolved} lies outside the directories that the service may read.",
            "The operator can add its directory to COLUMNSERVICE_ALLOWED_ROOTS.",
        )


def _expand_remote(url: str, settings: Settings) -> list[str]:
    parts = _demand_plain_url(url)
    _demand_allowed_host(parts.hostname or "", parts.port or _DEFAULT_PORT, settings)
    path = "/" + parts.path.strip("/")
    is_pattern = _MAGIC.search(path) is not None
    if not is_pattern and parts.path.endswith(SUFFIX):
        return [url]
    server = f"{parts.scheme}://{parts.netloc}"
    storage = _Storage(server)
    if not is_pattern and not storage.is_directory(path):
        return [url]
    fixed = (_fixed_part(path) if is_pattern else path).rstrip("/")
    pattern = tuple(path[len(fixed) + 1 :].split("/")) if is_pattern else ("**", "*" + SUFFIX)
    found = sorted(matches(storage.entries_of, fixed, [pattern]))
    if not found:
        raise _nothing(url)
    return [f"{server}/{file}" for file in found]


def _demand_plain_url(url: str) -> SplitResult:
    """The parts of an XRootD URL that holds a server and a path and nothing else.

    Options could carry somebody's credential into the catalogue, and ``..`` could leave a tree.
    """
    try:
        parts = urlsplit(url)
        extra = parts.query or parts.fragment or parts.username
        valid = parts.hostname is not None and parts.port != 0
    except ValueError:  # brackets or a port that are none
        extra, valid, parts = "", False, SplitResult("", "", "", "", "")
    if extra or not valid or not parts.path.strip("/") or ".." in parts.path.split("/"):
        raise RequestError(
            f"{redact(url)} is not the address of a file or directory.",
            "Write root://host:port//path, without user, options, '?', '#' and '..'.",
        )
    return parts


def _demand_allowed_host(host: str, port: int, settings: Settings) -> None:
    allowed = {told.lower() for told in settings.allowed_hosts}
    if not {host, f"{host}:{port}"} & allowed:
        raise NotAllowed(
            f"The server {host}:{port} is not one that the service may read.",
            "The operator can add it to COLUMNSERVICE_ALLOWED_HOSTS.",
        )


def matches(
    entries_of: ListDirectory, directory: str, patterns: Iterable[Pattern]
) -> Iterator[str]:
    """The files below a directory whose path from there fits a pattern; lists each directory once.

    Args:
        entries_of: lists one directory.
        directory: where to begin, without a slash at its end.
        patterns: one wildcard per path part; ``**`` stands for any number of directories.
    """
    open_ended = {p for p in patterns if p[0] == "**"}
    here = {_without_leading_stars(p) for p in patterns}
    for name, is_directory in entries_of(directory or "/"):
        fitting = [p[1:] for p in here if fnmatch.fnmatchcase(name, p[0])]
        if not is_directory and () in fitting:
            yield f"{directory}/{name}"
        deeper = open_ended | {p for p in fitting if p}
        if is_directory and deeper:
            yield from matches(entries_of, f"{directory}/{name}", deeper)


def _without_leading_stars(pattern: Pattern) -> Pattern:
    """What a pattern asks of this very directory, its leading ``**`` standing for none."""
    while pattern[0] == "**":
        pattern = pattern[1:] or ("*",)
    return pattern


class _Storage:
    """An XRootD server's directories."""

    def __init__(self, server: str) -> None:
        configure_xrootd()
        from XRootD import client

        self._server = server
        self._files: Any = client.FileSystem(server)  # type: ignore[attr-defined,no-untyped-call]

    def is_directory(self, path: str) -> bool:
        """Whether a path is a directory; what does not exist is none."""
        from XRootD.client.flags import StatInfoFlags

        status, info = self._files.stat(path, timeout=LISTING_TIMEOUT_SECONDS)
        if status.errno == _NOT_FOUND:
            return False
        self._demand_ok(status, path)
        return bool(info.flags & StatInfoFlags.IS_DIR)

    def entries_of(self, directory: str) -> list[tuple[str, bool]]:
        """(name, is a directory) of all that a directory holds."""
        from XRootD.client.flags import DirListFlags, StatInfoFlags

        status, found = self._files.dirlist(
            directory, DirListFlags.STAT, timeout=LISTING_TIMEOUT_SECONDS
        )
        self._demand_ok(status, directory)
        return [
            (entry.name, bool(entry.statinfo.flags & StatInfoFlags.IS_DIR))
            for entry in found
            if entry.statinfo is not None  # gone since it was listed
        ]

    def _demand_ok(self, status: Any, path: str) -> None:
        if status.ok:
            return
        where = f"{self._server}/{path}"
        said = redact(str(status.message)).strip()
        if status.errno == _NOT_FOUND:
            raise _nothing(where)
        if status.errno == _DENIED:
            raise NotAllowed(f"The storage refuses to list {where}: {said}.")
        raise Unreachable(f"Cannot list {where}: {said}.")
