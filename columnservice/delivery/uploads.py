"""Files that the service never sees: a client uploads their EventKeys, and asks by their digest.

An uploaded EventIndex is kept like any other; what a File's record needs beside it is kept as a
note of the Dataset. Knows Arrow tables of keys; no HTTP.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from columnservice import wire
from columnservice.alignment.eventindex import eventindex_path, write_eventindex
from columnservice.alignment.files import write_arrow
from columnservice.alignment.tidy import note_use
from columnservice.catalogue.store import Catalogue
from columnservice.delivery.tasks import CheckResult
from columnservice.errors import RequestError, UnknownFile
from columnservice.formats.format import merge_lumis
from columnservice.model import FileIdentity, FileRecord, Keys, LumiRange

UPLOADS = "upload"
KEY_TYPES = {"run": pa.uint32(), "lumi": pa.uint32(), "event": pa.uint64()}
_REMEDY = "Send an Arrow stream with run (uint32), lumi (uint32) and event (uint64) of all rows."


@dataclass(frozen=True)
class Upload:
    """Uploaded keys, checked.

    Attributes:
        digest: of the keys.
        keys: in row order of the file.
        witnesses: other numbers per event, to be compared with the parents.
    """

    digest: str
    keys: Keys
    witnesses: pa.RecordBatch

    @property
    def record(self) -> FileRecord:
        """The File that they stand for; it has no replica and never changes."""
        return FileRecord(
            lfn=f"upload:{self.digest}",
            url="",
            identity=FileIdentity(self.digest, 0),
            entries=len(self.keys),
            tree="",
            columnset="",
            lumis=merge_lumis(self.keys.run, self.keys.lumi),
        )


def is_digest(file: str) -> bool:
    """Whether a File is named by the digest of its keys (a UUID has dashes)."""
    return len(file) == 32 and "-" not in file


def read_upload(digest: str, stream: pa.NativeFile) -> Upload:
    """The keys of an Arrow stream.

    Raises:
        RequestError: it is not what it must be, or its keys have another digest.
    """
    try:
        table = pa.ipc.open_stream(stream).read_all().combine_chunks()
        table.validate(full=True)
    except (pa.ArrowException, OSError, ValueError):
        raise RequestError("The body is not a whole Arrow stream.", _REMEDY) from None
    found = {field.name: field.type for field in table.schema}
    wrong = [name for name, kind in KEY_TYPES.items() if found.get(name) != kind]
    if wrong or any(column.null_count for column in table.columns):
        raise RequestError(f"The stream lacks {', '.join(wrong) or 'numbers (nulls)'}.", _REMEDY)
    run, lumi, event = (_numbers(table[name]) for name in KEY_TYPES)
    keys = Keys(run, lumi, event)
    others = [name for name in found if name not in KEY_TYPES]
    for name in others:
        if not (pa.types.is_integer(found[name]) or pa.types.is_floating(found[name])):
            raise RequestError(f"{name} holds no numbers.", _REMEDY)
    values = {name: _numbers(table[name]) for name in others}
    if wire.keys_digest(keys, values) != digest:
        raise RequestError(f"The keys do not have the digest {digest}.", "Compute it anew.")
    witnesses = pa.RecordBatch.from_arrays(
        [pa.array(array) for array in values.values()], names=others
    )
    return Upload(digest, keys, witnesses)


def _numbers(column: pa.ChunkedArray) -> np.ndarray[Any, Any]:
    parts = [chunk.to_numpy(zero_copy_only=True) for chunk in column.chunks]
    kind = column.type.to_pandas_dtype()
    return np.ascontiguousarray(np.concatenate(parts) if parts else np.zeros(0, kind))


def witness_path(index_dir: Path, digest: str) -> Path:
    """Where the Witness values of an upload are kept: parents that are added are compared too."""
    return index_dir / "witnesses" / f"{digest}.arrow"


def write_upload(index_dir: Path, upload: Upload) -> Path:
    """Keep the keys as an EventIndex, and the Witness values beside; returns the latter's path."""
    write_eventindex(eventindex_path(index_dir, upload.record.identity), upload.keys)
    path = witness_path(index_dir, upload.digest)
    write_arrow(path, upload.witnesses)
    return path


def is_kept(index_dir: Path, digest: str) -> bool:
    """Whether all files of an upload are there; asking counts as a use of them.

    The Witness values are needed whenever a parent is added: keys without them are worth nothing.
    """
    paths = _files(index_dir, digest)
    for path in paths:
        note_use(path)
    return all(path.exists() for path in paths)


def is_noted(catalogue: Catalogue, digest: str) -> bool:
    """Whether any Dataset keeps an upload with this digest."""
    key = f"{UPLOADS}/{digest}"
    return any(catalogue.note(d.name, key) is not None for d in catalogue.datasets())


def forget_files(index_dir: Path, digest: str) -> None:
    """Remove the files of an upload."""
    for path in _files(index_dir, digest):
        path.unlink(missing_ok=True)


def _files(index_dir: Path, digest: str) -> tuple[Path, Path]:
    return eventindex_path(index_dir, FileIdentity(digest, 0)), witness_path(index_dir, digest)


def remember(
    catalogue: Catalogue, dataset: str, upload: Upload, result: CheckResult
) -> dict[str, Any]:
    """Keep what an upload is; returns what the client is told."""
    record = upload.record
    told = {"digest": upload.digest, "events": result.events, "with_parent": result.with_parent}
    lumis = [[r.run, r.first, r.last] for r in record.lumis]
    note = {**told, "lumis": lumis, "witnesses": [asdict(w) for w in result.witnesses]}
    catalogue.set_note(dataset, f"{UPLOADS}/{upload.digest}", note)
    return told


def recall(catalogue: Catalogue, index_dir: Path, dataset: str, digest: str) -> dict[str, Any]:
    """What is kept of an upload.

    Raises:
        UnknownFile: nothing, or its keys or Witness values are gone.
    """
    note: dict[str, Any] | None = catalogue.note(dataset, f"{UPLOADS}/{digest}")
    if note is None or not is_kept(index_dir, digest):
        raise UnknownFile(
            f"No file with the key digest {digest} in dataset {dataset!r}.",
            "Upload its EventKeys; the client does so by itself.",
        )
    return note


def record_of(catalogue: Catalogue, index_dir: Path, dataset: str, file: str) -> FileRecord:
    """The local File of a request: registered, by UUID; or uploaded, by digest.

    Raises:
        UnknownFile: there is none.
    """
    if not is_digest(file):
        return catalogue.file(dataset, file)
    note = recall(catalogue, index_dir, dataset, file)
    return FileRecord(
        lfn=f"upload:{file}",
        url="",
        identity=FileIdentity(file, 0),
        entries=note["events"],
        tree="",
        columnset="",
        lumis=tuple(LumiRange(*lumi) for lumi in note["lumis"]),
    )
