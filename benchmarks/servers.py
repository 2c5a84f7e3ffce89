"""Servers that users would write themselves: pyarrow's Flight, and a stream of FastAPI.

``python -m benchmarks.servers flight|plain PORT FILE``: serves row ranges of an Arrow file, which
is memory-mapped, in the batches of the file or in smaller ones. Each is what its own documentation
shows.
"""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Iterator

import pyarrow as pa


def _part(table: pa.Table, start: int, stop: int, most: int) -> pa.Table:
    """Rows of a table, in batches of so many at most; 0: as they are."""
    part = table.slice(start, stop - start)
    return pa.Table.from_batches(part.to_batches(max_chunksize=most or None), part.schema)


def flight(table: pa.Table, port: int) -> None:
    from pyarrow import flight as fl

    class Server(fl.FlightServerBase):  # type: ignore[misc]
        def do_get(self, _: object, ticket: fl.Ticket) -> fl.RecordBatchStream:
            return fl.RecordBatchStream(_part(table, *json.loads(ticket.ticket)))

    Server(f"grpc://127.0.0.1:{port}").serve()


def plain(table: pa.Table, port: int) -> None:
    import uvicorn
    from fastapi import FastAPI
    from fastapi.responses import StreamingResponse

    app = FastAPI()

    @app.get("/data")
    def data(start: int, stop: int, most: int) -> StreamingResponse:
        part = _part(table, start, stop, most)

        def body() -> Iterator[bytes]:
            sink = io.BytesIO()
            with pa.ipc.new_stream(sink, part.schema) as writer:
                for batch in part.to_batches():
                    writer.write_batch(batch)
                    yield sink.getvalue()
                    sink.seek(0)
                    sink.truncate()
            yield sink.getvalue()

        return StreamingResponse(body(), media_type="application/vnd.apache.arrow.stream")

    uvicorn.run(app, host="127.0.0.1", port=port, log_level="warning")


if __name__ == "__main__":
    kind, port, path = sys.argv[1:]
    {"flight": flight, "plain": plain}[kind](
        pa.ipc.open_file(pa.memory_map(path)).read_all(), int(port)
    )
