"""Processes of the demo and of the tests: each in its own group, and never left behind.

Knows nothing of what the processes do.
"""

from __future__ import annotations

import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from columnservice.demo import guard
from columnservice.errors import SetupError

STOPPING_SECONDS = 60.0
"""How long the threads of a process may take until SIGSTOP has reached them all."""


FREE_PORTS = range(10_240, 32_000)
"""Below the ports that Linux gives to connections and to those who ask for any port."""


def free_port() -> int:
    """A TCP port on loopback that nobody listens on, and that the system gives to nobody else.

    Raises:
        SetupError: none was found.
    """
    for port in random.sample(FREE_PORTS, 100):
        with socket.socket() as s, suppress(OSError):
            s.bind(("127.0.0.1", port))
            return port
    raise SetupError("no TCP port is free on loopback.")


def _thread_states(pid: int) -> list[str]:
    """The state letter of each thread, as proc(5) lists them ("T" is stopped)."""
    states = []
    for stat in Path(f"/proc/{pid}/task").glob("*/stat"):
        with suppress(FileNotFoundError, ProcessLookupError):  # a thread that has just ended
            states.append(stat.read_text().rpartition(")")[2].split()[0])
    return states


class Process:
    """A command that ends at the latest when this Python process ends, unless ``release``d.

    Args:
        name: for messages.
        command: program and arguments; no shell is involved.
        log: file that its output is appended to.
        env: environment variables on top of this process's own.

    Raises:
        SetupError: the program cannot be started.
    """

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        log: Path,
        env: Mapping[str, str] | None = None,
    ) -> None:
        self.name = name
        self.log = log
        arguments = [sys.executable, "-I", "-S", guard.__file__, str(log), *command]
        with log.open("ab", buffering=0) as errors:
            self._guard = subprocess.Popen(  # noqa: S603 (commands are ours)
                arguments,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                env={**os.environ, **(env or {})},
                start_new_session=True,
            )
        assert self._guard.stdout is not None
        line = self._guard.stdout.readline()
        if not line.strip():
            self.stop()
            raise SetupError(f"{name} could not be started: {self.last_words()}")
        self.pid = int(line)

    @property
    def guard_pid(self) -> int:
        """Pid whose SIGTERM ends the command and all that it started."""
        return self._guard.pid

    def alive(self) -> bool:
        """Whether the command runs (a frozen one does)."""
        return self._guard.poll() is None

    def last_words(self, lines: int = 12) -> str:
        """The end of its log."""
        text = self.log.read_text(errors="replace") if self.log.exists() else ""
        return "\n".join(text.splitlines()[-lines:])

    def wait_until(self, ready: Callable[[], bool], seconds: float) -> None:
        """Wait until ``ready()``.

        Raises:
            SetupError: the command ended, or ``seconds`` passed; with the end of its log.
        """
        deadline = time.monotonic() + seconds
        while not ready():
            if not self.alive():
                raise SetupError(f"{self.name} ended while starting:\n{self.last_words()}")
            if time.monotonic() > deadline:
                raise SetupError(
                    f"{self.name} was not ready after {seconds:.0f} s:\n{self.last_words()}"
                )
            time.sleep(0.02)

    def freeze(self) -> None:
        """SIGSTOP, until all its threads stand still: connections stay open, nothing answers."""
        os.kill(self.pid, signal.SIGSTOP)
        # the signal is only queued by then: a thread on another processor may yet answer somebody
        deadline = time.monotonic() + STOPPING_SECONDS
        while not all(state in "TtZX" for state in _thread_states(self.pid)):
            if time.monotonic() > deadline:
                raise SetupError(f"{self.name} did not stop for SIGSTOP.")
            time.sleep(0.001)

    def thaw(self) -> None:
        """SIGCONT."""
        os.kill(self.pid, signal.SIGCONT)

    def kill(self) -> None:
        """SIGKILL to the command and all that it started: a crash."""
        with suppress(ProcessLookupError):
            os.killpg(self._guard.pid, signal.SIGKILL)
        self._forget()

    def stop(self) -> None:
        """End it in order: SIGTERM, and SIGKILL after some seconds; nothing when it has ended."""
        if self._guard.stdin is not None and not self._guard.stdin.closed:
            self._guard.stdin.close()
        try:
            self._guard.wait(guard.GRACE_SECONDS + 5)
        except subprocess.TimeoutExpired:
            self.kill()
        self._forget()

    def release(self) -> None:
        """Let it live on when this Python process ends; ``kill guard_pid`` then stops it."""
        assert self._guard.stdin is not None
        self._guard.stdin.write(guard.KEEP)
        self._guard.stdin.close()
        self._guard.returncode = 0  # it is nobody's child any more: no warning when we leave

    def _forget(self) -> None:
        self._guard.wait()
        for pipe in (self._guard.stdin, self._guard.stdout):
            if pipe is not None and not pipe.closed:
                pipe.close()
