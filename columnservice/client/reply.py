"""A reply of the service, checked: whole, gapless, as long as it says, null only where it says.

Nothing leaves this room before these checks; whether the rows are the *right* ones is proven
elsewhere, by whoever has the local EventKeys.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from columnservice import wire
from columnservice.errors import ColumnServiceError, TruncatedReply, from_problem
from columnservice.model import Column, Ragged

_PROBLEM, _UNVERIFIED, _UNUSABLE_PARENTS, _PROVENANCE = (
    name.encode()
    for name in (wire.PROBLEM, wire.UNVERIFIED, wire.UNUSABLE_PARENTS, wire.PROVENANCE)
)


@dataclass(frozen=True)
class Batch:
    """One record batch: local rows ``start`` to ``stop`` and the proof of their alignment.

    Not ``verified``: nobody could be asked whether the parent files are unchanged.
    ``unusable_parents``: files of the parent Dataset that cannot be used at present.
    """

    start: int
    stop: int
    proof: str
    data: pa.RecordBatch
    verified: bool = True
    unusable_parents: int = 0


@dataclass(frozen=True)
class Reply:
    """Rows ``start`` to ``stop`` of a local File, in contiguous batches."""

    start: int
    stop: int
    batches: tuple[Batch, ...]
    schema: pa.Schema

    @property
    def has_parent(self) -> NDArray[np.bool_]:
        """Which of the rows have a parent, bool, one per row."""
        parts = [
            b.data.column(wire.HAS_PARENT).to_numpy(zero_copy_only=False) for b in self.batches
        ]
        return np.concatenate(parts) if parts else np.zeros(0, dtype=np.bool_)

    @property
    def verified(self) -> bool:
        """Whether origins confirmed that all parent files are unchanged."""
        return all(b.verified for b in self.batches)

    @property
    def unusable_parents(self) -> int:
        """How many files of the parent Dataset could not be used."""
        return max((b.unusable_parents for b in self.batches), default=0)

    @property
    def provenance(self) -> dict[str, Any]:
        """The parents and Recipes that the service says it used; empty where it does not say."""
        return deepcopy({**self.told})

    @property
    def told(self) -> Mapping[str, Any]:
        """``provenance`` to look at: replies that say the same share one."""
        return _document((self.schema.metadata or {}).get(_PROVENANCE, b""))

    @property
    def table(self) -> pa.Table:
        """All batches as one Arrow table, without a copy."""
        return pa.Table.from_batches([b.data for b in self.batches], schema=self.schema)

    def values(self, column: Column) -> Ragged:
        """A Column's values for all rows; absent events are empty lists or any number.

        With one batch these are views of the reply's bytes.

        Raises:
            ColumnServiceError: the reply lacks the Column or holds it as another type.
        """
        parts = [_decode(column, b.data) for b in self.batches]
        return parts[0] if len(parts) == 1 else concatenate(column, parts)


@lru_cache(maxsize=16)
def _document(told: bytes) -> Mapping[str, Any]:
    """What ``wire.PROVENANCE`` says; all ranges of a file are told the same."""
    document = json.loads(told) if told else {}
    return document if isinstance(document, dict) else {}


def read_reply(body: bytes | memoryview, start: int, stop: int) -> Reply:
    """The checked reply to a request for rows ``start`` to ``stop``.

    Raises:
        TruncatedReply: the body lacks its end, cannot be parsed, or does not hold these rows.
        ColumnServiceError: the service failed after it had begun to answer, and says why.
    """
    parsed = _parse(body)
    if parsed.failure is not None:
        raise parsed.failure
    if body[-len(wire.END_OF_STREAM) :] != wire.END_OF_STREAM:
        raise TruncatedReply("The reply of the column service has no end.")
    if parsed.unreadable:
        raise TruncatedReply(
            f"The reply of the column service cannot be read: {parsed.unreadable}."
        )
    at = _contiguous(parsed.batches, start)
    if at != stop:
        raise TruncatedReply(f"The reply of the column service ends at row {at} instead of {stop}.")
    return Reply(start, stop, tuple(parsed.batches), parsed.schema)


def read_beginning(body: bytes | memoryview, start: int) -> Reply | None:
    """The whole batches of a body that broke off; None where there are none.

    Raises:
        TruncatedReply: they leave rows out.
        ColumnServiceError: the service failed after it had begun to answer, and says why.
    """
    parsed = _parse(body)
    if parsed.failure is not None:
        raise parsed.failure
    if not parsed.batches:
        return None
    at = _contiguous(parsed.batches, start)
    return Reply(start, at, tuple(parsed.batches), parsed.schema)


def join(first: Reply, then: Reply) -> Reply:
    """Two replies to one request, the second for the rows that the first lacks.

    Raises:
        TruncatedReply: they hold other columns.
    """
    if first.stop != then.start or not first.schema.equals(then.schema):
        raise TruncatedReply("The second part of the reply does not continue the first.")
    return Reply(first.start, then.stop, (*first.batches, *then.batches), first.schema)


def unconfirmed(reply: Reply) -> Reply:
    """A reply that was kept, and that nobody could be asked about: none of it is verified."""
    return replace(reply, batches=tuple(replace(b, verified=False) for b in reply.batches))


def made_alike(first: Reply, then: Reply) -> bool:
    """Whether the service made both from the same parents by the same Recipes, as far as it says.

    A Recipe or definition that changes leaves the parents what they are.
    """
    one, other = first.told, then.told
    return all(one.get(part) == other.get(part) for part in ("take", "recipes", "derived"))


@dataclass(frozen=True)
class _Parsed:
    """What could be read of a body."""

    batches: list[Batch]
    schema: pa.Schema
    failure: ColumnServiceError | None = None
    unreadable: str = ""


def _parse(body: bytes | memoryview) -> _Parsed:
    """Every batch up to the end, a problem, or what cannot be read."""
    batches: list[Batch] = []
    schema: pa.Schema | None = None
    failure, unreadable = None, ""
    try:
        stream = pa.ipc.open_stream(body)
        schema = stream.schema
        for data, about in _batches(stream):
            if _PROBLEM in about:
                failure = from_problem(json.loads(about[_PROBLEM]))
                break
            if (version := about.get(b"version", wire.VERSION)) != wire.VERSION:
                failure = _other_version(version)
                break
            data.validate(full=True)
            batches.append(_batch(data, about))
    except (pa.ArrowException, OSError, ValueError, KeyError) as error:
        unreadable = (str(error).splitlines() or [""])[0]
    return _Parsed(batches, pa.schema([]) if schema is None else schema, failure, unreadable)


def _other_version(said: bytes) -> ColumnServiceError:
    return ColumnServiceError(
        f"The column service sends replies of version {said.decode(errors='replace')!r}, this "
        f"client reads version {wire.VERSION.decode()!r}.",
        "Install the columnservice package in the version of the service.",
    )


def _contiguous(batches: Sequence[Batch], start: int) -> int:
    """The row behind the last batch.

    Raises:
        TruncatedReply: they do not follow each other from ``start``.
    """
    at = start
    for batch in batches:
        if batch.start != at or batch.data.num_rows != batch.stop - batch.start:
            raise TruncatedReply(
                f"The reply of the column service has a gap at row {at}: the next batch claims "
                f"rows {batch.start} to {batch.stop} and holds {batch.data.num_rows}."
            )
        at = batch.stop
    return at


def _batches(stream: Any) -> Iterator[tuple[pa.RecordBatch, dict[bytes, bytes]]]:
    """Record batches with their own metadata, until the stream ends."""
    while True:
        try:
            data, metadata = stream.read_next_batch_with_custom_metadata()
        except StopIteration:
            return
        yield data, dict(metadata or {})


def _batch(data: pa.RecordBatch, metadata: dict[bytes, bytes]) -> Batch:
    start, stop, missing = (int(metadata[key]) for key in (b"start", b"stop", b"missing"))
    present = data.column(wire.HAS_PARENT)
    if present.null_count or present.false_count != missing:
        raise ValueError(
            f"{present.false_count} rows without a parent where {missing} are announced"
        )
    verified = _UNVERIFIED not in metadata
    unusable = int(metadata.get(_UNUSABLE_PARENTS, b"0"))
    return Batch(start, stop, metadata[b"proof"].decode(), data, verified, unusable)


def _decode(column: Column, data: pa.RecordBatch) -> Ragged:
    """One batch's values, after a look at type and nulls."""
    name = column.name if column.shape is None else column.shape
    index = data.schema.get_field_index(name)
    if index < 0:
        raise _wrong(column, "is not in it")
    array = data.column(index)
    present = data.column(wire.HAS_PARENT)
    if array.null_count != present.false_count or (
        array.null_count and not array.is_valid().equals(present)
    ):
        raise _wrong(column, "is null in other events than those without a parent")
    wrong = ""
    try:
        ragged = wire.decode_column(column, data)
    except (KeyError, AttributeError, TypeError, pa.ArrowException) as error:
        wrong = f"has another type than {column.type} ({type(error).__name__})"
    if not wrong and ragged.depth != column.depth:
        wrong = f"has another type than {column.type}"
    if not wrong:
        for member in column.members:
            if ragged.content[member.name].dtype != np.dtype(member.dtype):
                wrong = f"has another type than {column.type}"
    if not wrong and array.null_count and column.depth:
        counts = np.diff(ragged.offsets[0])
        if counts[~present.to_numpy(zero_copy_only=False)].any():
            wrong = "holds objects in events without a parent"
    if wrong:
        raise _wrong(column, wrong)
    return ragged


def _wrong(column: Column, what: str) -> ColumnServiceError:
    return ColumnServiceError(
        f"The reply of the column service is wrong: {column.name} {what}.",
        "Nothing was used. Check that client and service are of the same version.",
    )


def concatenate(column: Column, parts: Sequence[Ragged]) -> Ragged:
    """Values of consecutive row ranges as one; none gives zero rows of the Column's type."""
    offsets = []
    for axis in range(column.depth):
        counts = [np.diff(p.offsets[axis]) for p in parts]
        total = np.zeros(sum(map(len, counts)) + 1, dtype=np.int64)
        if counts:
            np.cumsum(np.concatenate(counts), out=total[1:])
        offsets.append(total)
    content: dict[str, NDArray[Any]] = {
        m.name: np.concatenate([p.content[m.name] for p in parts])
        if parts
        else np.zeros(0, dtype=np.dtype(m.dtype))
        for m in column.members
    }
    return Ragged(tuple(offsets), content)
