"""A small synthetic pair with many Partitions, and a judge of what the service says about it.

The judge reads the parents whole by plain uproot and puts rows in order by the generator's truth.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from columnservice import wire
from columnservice.demo.blocks import Sample
from columnservice.demo.generate import Pair, generate
from columnservice.errors import TruncatedReply, from_problem
from columnservice.model import Column, Ragged
from tests.support.truth import Parent, expected


@dataclass(frozen=True)
class Answer:
    """The Arrow stream of a request, read to its end.

    Attributes:
        columns: name → values of all rows.
        present: which rows have a parent.
    """

    columns: dict[str, Ragged]
    present: NDArray[np.bool_]


@dataclass(frozen=True)
class JudgedPair:
    """Files on disk and the truth about them."""

    pair: Pair

    @property
    def events(self) -> int:
        return self.pair.sample.events

    @cached_property
    def _parents(self) -> list[Parent]:
        return [Parent(path, self.pair.parent_format) for path in self.pair.parents]

    @cached_property
    def take(self) -> list[tuple[int, int]]:
        """(parent, row) of each local row."""
        truth = self.pair.truth
        return list(zip(truth.parent_file.tolist(), truth.parent_row.tolist(), strict=True))

    @cached_property
    def _expected(self) -> dict[str, Ragged]:
        return {}

    def right(self, name: str) -> Ragged:
        """A column of all local rows, by a direct read."""
        if name not in self._expected:
            self._expected[name] = expected(self._parents, name, self.take)
        return self._expected[name]

    def demand_right(self, answer: Answer) -> None:
        """All columns of all rows equal a direct read, bit by bit."""
        assert answer.present.tolist() == [parent >= 0 for parent, _ in self.take]
        for name, got in answer.columns.items():
            want = self.right(name)
            assert [o.tolist() for o in got.offsets] == [o.tolist() for o in want.offsets], name
            assert {m: v.tobytes() for m, v in got.content.items()} == {
                m: v.tobytes() for m, v in want.content.items()
            }, name


def judged_pair(folder: Path, events: int = 600, parents: int = 3, seed: int = 1) -> JudgedPair:
    """Write a CMS-like pair; 7 of its events have no parent."""
    folder.mkdir(parents=True, exist_ok=True)
    sample = Sample(events=events, parents=parents, missing=7, seed=seed)
    return JudgedPair(generate("cms", folder, sample))


def answer_of(data: bytes, columns: Sequence[Column]) -> Answer:
    """Read an Arrow stream whole.

    Raises:
        ColumnServiceError: the problem that stands in it.
        TruncatedReply: it has no end.
    """
    batches = []
    try:
        reader = pa.ipc.open_stream(pa.py_buffer(data))
        while True:
            batch, metadata = reader.read_next_batch_with_custom_metadata()
            if metadata is not None and wire.PROBLEM in metadata:
                raise from_problem(json.loads(metadata[wire.PROBLEM]))
            batches.append(batch)
    except StopIteration:
        pass
    except pa.ArrowInvalid:
        raise TruncatedReply("the reply is not whole") from None
    if data[-8:] != wire.END_OF_STREAM:
        raise TruncatedReply("the reply has no end")
    table = {c.name: [wire.decode_column(c, batch) for batch in batches] for c in columns}
    present = [b.column("hasParent").to_numpy(zero_copy_only=False) for b in batches]
    return Answer({name: joined(parts) for name, parts in table.items()}, np.concatenate(present))


def joined(parts: Sequence[Ragged]) -> Ragged:
    """One Ragged after the other."""
    offsets = []
    for level in range(parts[0].depth):
        lengths = np.concatenate([np.diff(part.offsets[level]) for part in parts])
        offsets.append(np.concatenate(([0], np.cumsum(lengths))).astype(np.int64))
    members = parts[0].content
    content = {m: np.concatenate([part.content[m] for part in parts]) for m in members}
    return Ragged(tuple(offsets), content)
