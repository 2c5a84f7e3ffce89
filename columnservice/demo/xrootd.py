"""One XRootD server on loopback, an origin or an XCache, for the demo and for tests.

Knows nothing of datasets, files or the column service.
"""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import struct
import tempfile
from contextlib import suppress
from pathlib import Path
from types import TracebackType

from columnservice.demo.process import Process, free_port
from columnservice.demo.xrootd_config import (
    CACHE_ENVIRONMENT,
    CacheConfig,
    OriginConfig,
    cache_config,
    origin_config,
)
from columnservice.errors import SetupError

USER = "xrootd"
"""The Unix user that xrootd changes to when root starts it (it refuses to run as root)."""

START_SECONDS = 120

_HANDSHAKE = struct.pack(">5I", 0, 0, 0, 4, 2012)
_HANDSHAKE_REPLY_BYTES = 16


def installed() -> bool:
    """Whether xrootd servers can be started here: the programs, and their user when we are root."""
    if shutil.which("xrootd") is None:
        return False
    with suppress(KeyError):
        return os.geteuid() != 0 or bool(pwd.getpwnam(USER))
    return False


def give_to_server(path: Path) -> None:
    """Make ``path``, and all below it, the server's own, when it will run as another user.

    Raises:
        SetupError: a directory above ``path`` cannot be entered by the server's user.
    """
    if os.geteuid() != 0:
        return
    user = pwd.getpwnam(USER)
    for parent in path.resolve().parents:
        stat = parent.stat()
        if not (stat.st_mode & 0o001 or (stat.st_uid == user.pw_uid and stat.st_mode & 0o100)):
            raise SetupError(
                f"the user {USER} cannot enter {parent}.", f"Run `chmod o+x {parent}`."
            )
    for one in (path, *path.rglob("*")):
        os.chown(one, user.pw_uid, user.pw_gid, follow_symlinks=False)


def answers(port: int, timeout_seconds: float = 2.0) -> bool:
    """Whether an XRootD server answers the initial handshake on loopback."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout_seconds) as s:
            s.settimeout(timeout_seconds)
            s.sendall(_HANDSHAKE)
            reply = b""
            while len(reply) < _HANDSHAKE_REPLY_BYTES:
                if not (more := s.recv(_HANDSHAKE_REPLY_BYTES - len(reply))):
                    return False
                reply += more
    except OSError:
        return False
    return reply[:4] == bytes(4)


class XrootdServer:
    """One xrootd on loopback: an origin, or with ``origin`` an XCache in front of that.

    It keeps its port and its directories over ``stop`` and ``start``; ``close`` removes what it
    created. As a context manager it starts and closes.

    Args:
        root: directory to serve (origin: holds ``store/…``; cache: its blocks). None makes one.
            When root runs this, the directory and what is in it are given to the server's user.
        origin: ``host:port`` for a cache, None for an origin.
    """

    def __init__(self, root: Path | None = None, origin: str | None = None) -> None:
        self.name = "origin" if origin is None else "xcache"
        # a short path, since Unix sockets below it may not have paths of more than 107 characters
        self.home = Path(tempfile.mkdtemp(prefix="xrd-"))
        self.root = self.home / "root" if root is None else root
        self.log = self.home / f"{self.name}.log"
        self.port = free_port()
        self._origin = origin
        self.process: Process | None = None
        (self.home / "run").mkdir()
        self.root.mkdir(parents=True, exist_ok=True)
        if origin is None:
            (self.root / "store").mkdir(exist_ok=True)

    @property
    def address(self) -> str:
        """``host:port`` for clients."""
        return f"127.0.0.1:{self.port}"

    @property
    def store(self) -> Path:
        """The directory whose files have LFNs ``/store/…``."""
        return self.root / "store"

    def url(self, path: str) -> str:
        """The URL of ``/store/<path>``."""
        return f"root://{self.address}//store/{path}"

    @property
    def config(self) -> str:
        """The text of its configuration file."""
        run, allow = self.home / "run", ("127.0.0.1",)
        if self._origin is None:
            return origin_config(OriginConfig(self.port, self.root, run, allow=allow))
        return cache_config(CacheConfig(self.port, self.root, run, self._origin, allow=allow))

    def start(self) -> XrootdServer:
        """Start it and wait until it answers.

        Raises:
            SetupError: it does not start; with the end of its log.
        """
        file = self.home / f"{self.name}.cfg"
        file.write_text(self.config)
        give_to_server(self.home)
        give_to_server(self.root)
        command = ["xrootd", "-I", "v4", "-n", self.name, "-c", str(file)]
        if os.geteuid() == 0:
            command += ["-R", USER]
        env = {} if self._origin is None else CACHE_ENVIRONMENT
        said_before = len(self._log_text())
        self.process = Process(self.name, command, self.log, env)

        def ready() -> bool:
            # the log as well, since on a port in use it is somebody else who answers
            started = f"{self.port} initialization completed" in self._log_text()[said_before:]
            return started and answers(self.port)

        try:
            self.process.wait_until(ready, START_SECONDS)
        except BaseException:
            self.stop()
            raise
        return self

    def _log_text(self) -> str:
        return self.log.read_text(errors="replace") if self.log.exists() else ""

    def put(self, source: Path, path: str | None = None) -> str:
        """Copy a file into the origin's ``/store``; returns its URL."""
        target = self.store / (path or source.name)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(source, target)
        target.chmod(0o644)
        give_to_server(self.store)
        return self.url(path or source.name)

    def freeze(self) -> None:
        """Stop it answering, with its connections open."""
        assert self.process is not None
        self.process.freeze()

    def thaw(self) -> None:
        """Let it answer again."""
        assert self.process is not None
        self.process.thaw()

    def kill(self) -> None:
        """Let it crash."""
        if self.process is not None:
            self.process.kill()
            self.process = None

    def stop(self) -> None:
        """End it; its files stay, so that it can be started again."""
        if self.process is not None:
            self.process.stop()
            self.process = None

    def close(self) -> None:
        """End it and remove what it created."""
        self.stop()
        shutil.rmtree(self.home)

    def __enter__(self) -> XrootdServer:
        try:
            return self.start()
        except BaseException:
            self.close()
            raise

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
