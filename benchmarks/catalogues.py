"""Finding the parents of a file in a catalogue of very many files against one of few.

Simulated intervals: every file holds about 1000 events in two or three luminosity blocks, in an
order that has nothing to do with that of registration. Asked for are the parents of some local
files, each merged from ten parents, as a request asks for them (``delivery.outline.parents_of``):
of others in each run. The small catalogue holds a part of the large one's files, so that both must
answer the same.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path

import numpy as np
import sqlalchemy as sa
from numpy.typing import NDArray

from benchmarks.measure import Options, Row, compare
from columnservice.catalogue.lumis import chunked, rows_for
from columnservice.catalogue.records import columns_to_json, file_row
from columnservice.catalogue.store import Catalogue
from columnservice.catalogue.tables import columnsets, files, lumis
from columnservice.delivery.outline import parents_of
from columnservice.model import Dataset, FileIdentity, FileRecord, LumiRange

PARENT, LAYOUT = "parent", "layout"
FILES_PER_LOCAL = 10
ASKED = 50
"""How many local files' parents are asked for in one run."""
EVENTS_PER_FILE = 1000
FILES_AT_ONCE = 50_000
Answers = dict[int, set[str]]
"""Number of a local file → UUIDs of its parents."""


def rows(options: Options) -> Iterator[Row]:
    """The row ``catalogue/files``."""
    many, few = options.size("catalogue_files"), options.size("catalogue_few")
    lumis_of = intervals(many)
    place = np.random.default_rng(2).permutation(many)
    locals_ = _locals(lumis_of, few)
    expected = [
        {_uuid(int(place[f])) for f in range(n, n + FILES_PER_LOCAL)} for n in range(len(locals_))
    ]
    made: list[Callable[[], Answers]] = []
    for size in (many, few):
        options.say(f"catalogue: registering {size} files")
        chosen = np.sort(place[:size])
        held = np.empty(many, np.int64)
        held[place] = np.arange(many)
        catalogue = _catalogue(options.scratch / f"{size}.sqlite", chosen, held, lumis_of)
        made.append(_asking(catalogue, locals_))
    yield compare(
        options,
        "catalogue/files",
        ours=made[0],
        peers={"few": made[1]},
        same=lambda ours, peer: ours == peer == {n: expected[n] for n in ours},
        input_bytes=0,
        note=f"{ASKED} local files among {many} and {few} files of {EVENTS_PER_FILE} events",
    )


def intervals(count: int) -> NDArray[np.int64]:
    """First and last block of each file, one file after the other; two or three blocks each."""
    blocks = 2 + np.random.default_rng(1).integers(0, 2, count)
    last = np.cumsum(blocks)
    return np.stack([last - blocks + 1, last], axis=1)


def _uuid(number: int) -> str:
    return f"{number:08x}-0000-4000-8000-000000000000"


def _record(number: int, ranges: tuple[LumiRange, ...], entries: int) -> FileRecord:
    url = f"root://origin.example//store/{number:08d}.root"
    identity = FileIdentity(_uuid(number), 4_000_000_000 + number)
    return FileRecord(url, url, identity, entries, "Events", LAYOUT, (entries,), ranges)


def _locals(lumis_of: NDArray[np.int64], few: int) -> list[FileRecord]:
    """Local files: all that have the blocks of ten parents next to each other in block numbers."""
    made = []
    for n in range(few - FILES_PER_LOCAL + 1):
        last = n + FILES_PER_LOCAL - 1
        blocks = LumiRange(1, int(lumis_of[n, 0]), int(lumis_of[last, 1]))
        entries = FILES_PER_LOCAL * EVENTS_PER_FILE
        made.append(_record(0xF000_0000 + n, (blocks,), entries))
    return made


def _catalogue(
    path: Path, numbers: NDArray[np.int64], held: NDArray[np.int64], lumis_of: NDArray[np.int64]
) -> Catalogue:
    """A catalogue that knows these files; ``held[number]`` is a file's place in ``lumis_of``."""
    catalogue = Catalogue(f"sqlite:///{path}")
    catalogue.migrate()
    catalogue.add_dataset(Dataset(PARENT, "miniaod"))
    # As registering does, file by file, but with many in one transaction.
    engine = sa.create_engine(f"sqlite:///{path}")
    with engine.begin() as connection:
        told = {"digest": LAYOUT, "columns": columns_to_json(())}
        connection.execute(sa.insert(columnsets), told)
    for chunk in chunked(enumerate(numbers.tolist(), 1), FILES_AT_ONCE):
        ranges = {i: (LumiRange(1, *lumis_of[held[n]].tolist()),) for i, n in chunk}
        about = [
            {"id": i, "dataset_id": 1} | file_row(_record(n, ranges[i], EVENTS_PER_FILE), ranges[i])
            for i, n in chunk
        ]
        blocks = [row for i, _ in chunk for row in rows_for(1, i, ranges[i])]
        with engine.begin() as connection:
            connection.execute(sa.insert(files), about)
            connection.execute(sa.insert(lumis), blocks)
    engine.dispose()
    return catalogue


def _asking(catalogue: Catalogue, locals_: list[FileRecord]) -> Callable[[], Answers]:
    """Asks for the parents of other files in each run; both catalogues are asked for the same."""
    order = np.random.default_rng(3).permutation(len(locals_))
    runs = count()

    def run() -> Answers:
        first = next(runs) * ASKED
        wanted = np.take(order, np.arange(first, first + ASKED), mode="wrap").tolist()
        return {
            n: {
                record.identity.uuid
                for record in parents_of(catalogue, PARENT, locals_[n], {}).records
            }
            for n in wanted
        }

    return run
