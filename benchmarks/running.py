"""Running rooms: each in a process of its own that sends its rows back as it makes them.

Knows processes and pipes; not what is measured, nor how rows are shown.
"""

from __future__ import annotations

import importlib
import multiprocessing
import os
import tempfile
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from multiprocessing.connection import Connection
from pathlib import Path

from benchmarks.measure import Options, Row
from benchmarks.registry import Room


class RoomFailed(Exception):
    """A room ended without all its rows; says why."""


def rows_of(module: str, options: Options) -> Iterator[Row]:
    """The rows of a room that are asked for, made in this process.

    Raises:
        RoomFailed: it made not all of them.
    """
    missing = set(options.targets)
    for row in importlib.import_module(module).rows(options):
        if row.name in missing:
            missing.discard(row.name)
            yield row
    if missing:
        raise RoomFailed(f"{module} made no row {', '.join(sorted(missing))}.")


def _serve(connection: Connection, module: str, options: Options) -> None:
    try:
        with tempfile.TemporaryDirectory(prefix="columnservice-bench-") as scratch:
            told = replace(
                options, scratch=Path(scratch), say=lambda text: connection.send(("step", text))
            )
            for row in rows_of(module, told):
                connection.send(("row", row))
        connection.send(("end", None))
    except BaseException:
        connection.send(("failed", traceback.format_exc()))


@contextmanager
def _environment(told: dict[str, str]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in told}
    os.environ.update(told)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def run(room: Room, options: Options, step: Callable[[str], None]) -> Iterator[Row]:
    """The rows of a room, made in a fresh process.

    Args:
        room: the room.
        options: as for the room; ``scratch`` and ``say`` are set in the process.
        step: told what the room says of its progress.

    Raises:
        RoomFailed: with the traceback of what went wrong there.
    """
    context = multiprocessing.get_context("spawn")
    receiving, sending = context.Pipe(duplex=False)
    process = context.Process(target=_serve, args=(sending, room.module, options))
    with _environment(dict(room.environment)):
        process.start()
    sending.close()
    try:
        while True:
            kind, value = receiving.recv()
            if kind == "end":
                break
            if kind == "failed":
                raise RoomFailed(value)
            if kind == "row":
                yield value
            else:
                step(value)
    except EOFError:
        process.join()
        raise RoomFailed(f"{room.module} died with exit code {process.exitcode}.") from None
    finally:
        process.join()
