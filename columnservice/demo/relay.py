"""A relay on loopback that counts every byte it passes, so that traffic is measured, not claimed.

client → relay → server. It runs as a process of its own (an XRootD client may hold the interpreter
lock while it waits, which would stop a relay in a thread), and its counters stand in a small mapped
file. Bytes are counted before they are passed on: who has received a byte sees it counted.
"""

from __future__ import annotations

import asyncio
import mmap
import shutil
import struct
import sys
import tempfile
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TypeAlias

from columnservice.demo.process import Process, free_port

_LAYOUT = struct.Struct("=3Q?")  # sent, received, connections, listening
_PIECE_BYTES = 1 << 18
_WAITING_PIECES = 64


@dataclass(frozen=True)
class Counts:
    """What has passed so far.

    Attributes:
        sent_bytes: from clients to the server.
        received_bytes: from the server to clients.
        connections: how many were made.
    """

    sent_bytes: int = 0
    received_bytes: int = 0
    connections: int = 0

    def __sub__(self, earlier: Counts) -> Counts:
        return Counts(
            self.sent_bytes - earlier.sent_bytes,
            self.received_bytes - earlier.received_bytes,
            self.connections - earlier.connections,
        )


class Relay:
    """A counting relay in front of ``target_port``; use it as a context manager or ``stop`` it.

    Args:
        target_port: the server's port on loopback.
        delay_seconds: added one way to everything that passes, in both directions.
    """

    def __init__(self, target_port: int, delay_seconds: float = 0.0) -> None:
        self.port = free_port()
        self.directory = Path(tempfile.mkdtemp(prefix="relay-"))
        counters = self.directory / "counters"
        counters.write_bytes(bytes(_LAYOUT.size))
        with counters.open("rb") as file:
            self._counters = mmap.mmap(file.fileno(), _LAYOUT.size, access=mmap.ACCESS_READ)
        told = [str(self.port), str(target_port), str(delay_seconds), str(counters)]
        command = [sys.executable, "-m", "columnservice.demo.relay", *told]
        self.process = Process("the counting relay", command, self.directory / "log")
        try:
            self.process.wait_until(lambda: bool(self._read()[3]), 120)
        except BaseException:
            self.stop()
            raise

    def _read(self) -> tuple[int, int, int, bool]:
        return _LAYOUT.unpack(self._counters[:])

    @property
    def address(self) -> str:
        """``host:port`` for clients."""
        return f"127.0.0.1:{self.port}"

    @property
    def counts(self) -> Counts:
        """What has passed until now."""
        return Counts(*self._read()[:3])

    def stop(self) -> None:
        """End it; connections break."""
        self.process.stop()
        self._counters.close()
        shutil.rmtree(self.directory)

    def __enter__(self) -> Relay:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()


_Piece: TypeAlias = tuple[float, bytes]


async def _deliver(pieces: asyncio.Queue[_Piece | None], writer: asyncio.StreamWriter) -> None:
    clock = asyncio.get_running_loop().time
    with suppress(OSError):
        while piece := await pieces.get():
            due, data = piece
            if due > clock():
                await asyncio.sleep(due - clock())
            writer.write(data)
            await writer.drain()
    writer.close()


async def _pass(
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    delay_seconds: float,
    count: Callable[[int], None],
) -> None:
    """Pass one direction until either end closes; what is under way is bounded."""
    pieces: asyncio.Queue[_Piece | None] = asyncio.Queue(_WAITING_PIECES)
    delivery = asyncio.create_task(_deliver(pieces, writer))
    clock = asyncio.get_running_loop().time
    with suppress(OSError):
        while not delivery.done() and (data := await reader.read(_PIECE_BYTES)):
            count(len(data))
            await _offer(pieces, (clock() + delay_seconds, data), delivery)
    await _offer(pieces, None, delivery)
    await delivery


async def _offer(
    pieces: asyncio.Queue[_Piece | None], piece: _Piece | None, delivery: asyncio.Task[None]
) -> None:
    """Queue a piece, but do not wait for a delivery that has ended."""
    put = asyncio.create_task(pieces.put(piece))
    await asyncio.wait((put, delivery), return_when=asyncio.FIRST_COMPLETED)
    put.cancel()


async def serve(port: int, target_port: int, delay_seconds: float, counters: mmap.mmap) -> None:
    """Relay until cancelled, counting in ``counters`` (as ``_LAYOUT`` says)."""

    def add(place: int) -> Callable[[int], None]:
        def count(number: int) -> None:
            (value,) = struct.unpack_from("=Q", counters, 8 * place)
            struct.pack_into("=Q", counters, 8 * place, value + number)

        return count

    sent, received, connected = add(0), add(1), add(2)

    async def connection(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", target_port)
        except OSError:
            writer.close()
            return
        connected(1)
        await asyncio.gather(
            _pass(reader, far_writer, delay_seconds, sent),
            _pass(far_reader, writer, delay_seconds, received),
        )

    server = await asyncio.start_server(connection, "127.0.0.1", port)
    async with server:
        struct.pack_into("=?", counters, 24, True)
        await server.serve_forever()


def main(port: str, target_port: str, delay_seconds: str, counters: str) -> None:
    """The relay process."""
    with Path(counters).open("r+b") as file:
        mapped = mmap.mmap(file.fileno(), _LAYOUT.size)
    asyncio.run(serve(int(port), int(target_port), float(delay_seconds), mapped))


if __name__ == "__main__":
    main(*sys.argv[1:])
