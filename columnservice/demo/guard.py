"""Runs one command and ends it, and all that it started, as soon as the starter of this guard ends.

Run as a script, ``python -I -S guard.py LOG COMMAND…``; it imports nothing of ours. It prints the
command's pid, then its exit code when it ends. Its standard input is the life line: end of file
means that the starter is gone, however it went; the byte ``k`` means that the command shall be kept
when the starter leaves. A pipe is used because Linux forgets a parent-death signal when a process
changes its user, as ``xrootd -R`` does.
"""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys

KEEP = b"k"
GRACE_SECONDS = 5.0
LOOK_EVERY_SECONDS = 0.2


def watch(child: subprocess.Popen[bytes]) -> None:
    """Return when the command has ended or the life line is cut."""
    lifeline = [0]
    while child.poll() is None:
        readable, _, _ = select.select(lifeline, [], [], LOOK_EVERY_SECONDS)
        if readable and os.read(0, 1) != KEEP:
            return
        if readable:
            lifeline = []


def end(child: subprocess.Popen[bytes]) -> None:
    """Ask the command to stop, then insist; a frozen one is woken to be able to obey."""
    if child.poll() is None:
        child.terminate()
        child.send_signal(signal.SIGCONT)
        try:
            child.wait(GRACE_SECONDS)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()


def main(log: str, *command: str) -> None:
    """Run ``command`` with its output appended to ``log``."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    with open(log, "ab", buffering=0) as output:  # noqa: PTH123 (pathlib costs start-up time)
        child = subprocess.Popen(  # noqa: S603 (the command is the starter's, not a user's)
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=output
        )
    os.write(1, b"%d\n" % child.pid)
    try:
        watch(child)
    finally:
        end(child)
        try:
            os.write(1, b"%d\n" % child.returncode)
        finally:
            os.killpg(0, signal.SIGKILL)  # what the command started and left, and this guard


if __name__ == "__main__":
    main(*sys.argv[1:])
