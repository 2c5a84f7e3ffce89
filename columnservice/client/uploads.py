"""EventKeys of files that the service has never seen, sent once per file.

Knows the paths of the API and Arrow streams; not where keys come from.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

import pyarrow as pa
from numpy.typing import NDArray

from columnservice import wire
from columnservice.client.fetching import progress
from columnservice.client.transport import Transport
from columnservice.errors import UnknownFile
from columnservice.model import Keys


def _path(dataset: str, digest: str) -> str:
    return f"/v1/datasets/{quote(dataset, safe='')}/eventindexes/{digest}"


def is_known(transport: Transport, dataset: str, digest: str) -> bool:
    """Whether the service holds the keys with this digest.

    Raises:
        TransportError: it did not answer.
    """
    try:
        transport.json(_path(dataset, digest))
    except UnknownFile:
        return False
    return True


def upload(
    transport: Transport, dataset: str, keys: Keys, witnesses: Mapping[str, NDArray[Any]]
) -> str:
    """Send the keys of all rows of a file, if the service lacks them; returns their digest.

    Args:
        transport: where the service is.
        dataset: the Dataset whose parent holds these events.
        keys: in row order of the file.
        witnesses: name → one number per event, which the service compares with the parent.

    Raises:
        WrongParent: a Witness differs.
        TransportError: the service did not answer.
    """
    arrays = {"run": keys.run, "lumi": keys.lumi, "event": keys.event}
    witnesses = {name: values for name, values in witnesses.items() if name not in arrays}
    digest = wire.keys_digest(keys, witnesses)
    if is_known(transport, dataset, digest):
        return digest
    arrays.update(witnesses)
    table = pa.table({name: pa.array(values) for name, values in arrays.items()})
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    with progress(f"{dataset} to take the keys of {len(keys)} events"):
        transport.exchange(
            "PUT",
            _path(dataset, digest),
            body=sink.getvalue().to_pybytes(),
            headers={"Content-Type": wire.MEDIA_TYPE},
        )
    return digest
