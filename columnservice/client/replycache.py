"""Replies kept on the user's own disk: a plain directory of Arrow streams with a bound.

A reply is only used again when the service confirms its ETag. Several processes may share the
directory: files appear by rename and are never changed. Knows neither HTTP nor Arrow.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from columnservice.errors import SetupError
from columnservice.model import digest_of

FOLDER = "columnservice-replies"
_ETAG = re.compile(r'(W/)?"([A-Za-z0-9_-]{1,64})"')
_PART = ".part-"
_ABANDONED_SECONDS = 86_400
_KEEP_FRACTION = 0.9
"""How full the directory is left after old replies were removed."""

_written: dict[str, int] = {}
"""Directory → bytes that this process wrote since it last looked at the total."""


def _check(body: bytes | memoryview) -> str:
    return hashlib.blake2b(body, digest_size=8).hexdigest()


@dataclass(frozen=True)
class ReplyCache:
    """Replies by key, least recently used ones removed first. Picklable.

    Attributes:
        directory: a directory of its own, readable by its owner only.
        limit_bytes: how much may stand in it.
    """

    directory: str
    limit_bytes: int

    @classmethod
    def below(cls, cache_dir: str | os.PathLike[str], limit_bytes: int) -> ReplyCache:
        """The cache in a directory that the user names, made where it is missing.

        Raises:
            SetupError: it cannot be made or is somebody else's; or the limit is not positive.
        """
        if limit_bytes <= 0:
            raise SetupError("cache_limit_bytes must be positive.", "Say how much may be kept.")
        directory = Path(cache_dir).expanduser().absolute() / FOLDER
        text = ""
        try:
            directory.mkdir(parents=True, exist_ok=True, mode=0o700)
            if directory.is_symlink() or directory.stat().st_uid != os.geteuid():
                text = f"{directory} is not yours."
            else:
                directory.chmod(0o700)
        except OSError as error:
            text = f"{directory} cannot be used: {error.strerror}."
        if text:
            raise SetupError(text, "Name another cache_dir.")
        return cls(str(directory), limit_bytes)

    @staticmethod
    def key(*parts: object) -> str:
        """The key of what such a request asks for."""
        return digest_of("reply", *parts)

    def _found(self, key: str) -> list[Path]:
        return sorted(Path(self.directory, key[:2]).glob(f"{key}.*.arrow"))

    def get(self, key: str) -> tuple[str, bytes] | None:
        """ETag and body; None where there is none. Damage is removed."""
        for path in self._found(key):
            _, etag, check, _ = path.name.split(".")
            with contextlib.suppress(OSError):
                body = path.read_bytes()
                if _check(body) == check:
                    os.utime(path)
                    return f'"{etag}"', body
            self._remove(path)
        return None

    def put(self, key: str, etag: str, body: bytes | memoryview) -> bool:
        """Keep a reply; False where it has no usable ETag, is too large, or the disk refuses."""
        match = _ETAG.fullmatch(etag)
        if match is None or len(body) > self.limit_bytes * _KEEP_FRACTION:
            return False
        folder = Path(self.directory, key[:2])
        older = self._found(key)
        path = folder / f"{key}.{match[2]}.{_check(body)}.arrow"
        try:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            with tempfile.NamedTemporaryFile(dir=folder, prefix=_PART, delete=False) as part:
                part.write(body)
            Path(part.name).replace(path)
        except OSError:
            return False
        for other in older:
            if other != path:
                self._remove(other)
        if self.directory not in _written:
            _written[self.directory] = self.limit_bytes
        _written[self.directory] += len(body)
        if _written[self.directory] > self.limit_bytes * (1 - _KEEP_FRACTION) / 2:
            self.shrink()
        return True

    def drop(self, key: str) -> None:
        """Forget a reply."""
        for path in self._found(key):
            self._remove(path)

    @staticmethod
    def _remove(path: Path) -> None:
        with contextlib.suppress(OSError):
            path.unlink()

    def shrink(self) -> int:
        """Remove what was used longest ago until the bound is kept; returns the bytes that stay."""
        _written[self.directory] = 0
        entries: list[tuple[float, int, Path]] = []
        for path in Path(self.directory).glob("*/*"):
            with contextlib.suppress(OSError):
                about = path.stat()
                if path.name.startswith(_PART):
                    if about.st_mtime < time.time() - _ABANDONED_SECONDS:
                        self._remove(path)
                else:
                    entries.append((about.st_mtime, about.st_size, path))
        total = sum(size for _, size, _ in entries)
        if total > self.limit_bytes:
            for _, size, path in sorted(entries):
                self._remove(path)
                total -= size
                if total <= self.limit_bytes * _KEEP_FRACTION:
                    break
        return total
