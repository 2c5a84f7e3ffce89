"""Writing fetched columns to a file: Arrow, Parquet, a TTree or an RNTuple; whole or not at all.

Knows replies and file formats; neither the service nor local files.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from columnservice.errors import ColumnServiceError, RequestError, SetupError

if TYPE_CHECKING:
    from columnservice.client import Reply
    from columnservice.model import Column

Write = Callable[["Reply"], None]
_REMEDY = "Name another file with --output."
Open = Callable[[Path, Sequence["Column"], str, ExitStack], Write]


@contextmanager
def output_file(
    path: Path, columns: Sequence[Column], tree: str, *, rntuple: bool = False
) -> Iterator[Write]:
    """A function that appends replies to a file, which is at ``path`` once all went well.

    Args:
        path: where; its ending decides the format (see ``SUFFIXES``). An older file there is
            replaced at the end.
        columns: what the replies hold.
        tree: name of the TTree, for ROOT; an RNTuple bears the name that stands for it.
        rntuple: write an RNTuple, not a TTree; for ROOT.

    Raises:
        RequestError: the format cannot hold one of the Columns.
        SetupError: the file cannot be written.
    """
    opened = _open_ntuple if rntuple else SUFFIXES[path.suffix]
    with whole_file(path) as beside, ExitStack() as stack:
        yield opened(beside, columns, tree, stack)


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Where to write a file, which is at ``path`` once all went well; else nothing of it stays.

    Raises:
        SetupError: it cannot be written.
    """
    beside = path.with_name(f".{path.name}.{os.getpid()}.part")
    if not path.parent.is_dir():  # uproot would make it
        raise SetupError(f"Cannot write {path}: there is no such directory.", _REMEDY)
    try:
        yield beside
        beside.replace(path)
    except ColumnServiceError:  # some are OSErrors, and none of them is about this file
        raise
    except OSError as error:
        raise SetupError(f"Cannot write {path}: {error.strerror or error}.", _REMEDY) from None
    finally:
        beside.unlink(missing_ok=True)


def _open_arrow(path: Path, _columns: Sequence[Column], _tree: str, stack: ExitStack) -> Write:
    import pyarrow as pa

    return _record_batches(stack, lambda schema: pa.ipc.new_file(str(path), schema))


def _open_parquet(path: Path, _columns: Sequence[Column], _tree: str, stack: ExitStack) -> Write:
    import pyarrow.parquet as pq

    return _record_batches(stack, lambda schema: pq.ParquetWriter(path, schema, compression="zstd"))


def _record_batches(stack: ExitStack, make: Callable[[Any], Any]) -> Write:
    """Writes through an Arrow writer that is made when the first reply tells the schema."""
    writers: list[Any] = []

    def write(reply: Reply) -> None:
        # What the schema says of the range is true of one reply only.
        table = reply.table.replace_schema_metadata(None)
        if not writers:
            writers.append(stack.enter_context(make(table.schema)))
        writers[0].write_table(table)

    return write


def _open_root(path: Path, columns: Sequence[Column], tree: str, stack: ExitStack) -> Write:
    import uproot

    from columnservice.cli.branches import branch_types, branches_of
    from columnservice.cli.fields import ttree_named

    types = branch_types(columns)
    file = stack.enter_context(uproot.recreate(path, compression=uproot.ZSTD(5)))
    made = file.mktree(ttree_named(tree), types)

    def write(reply: Reply) -> None:
        if reply.stop > reply.start:
            made.extend(branches_of(columns, reply))

    return write


def _open_ntuple(path: Path, columns: Sequence[Column], tree: str, stack: ExitStack) -> Write:
    import uproot

    from columnservice.cli.fields import field_form, fields_of, ntuple_named

    file = stack.enter_context(uproot.recreate(path, compression=uproot.ZSTD(5)))
    made = file.mkrntuple(ntuple_named(tree), field_form(columns))

    def write(reply: Reply) -> None:
        if reply.stop > reply.start:
            made.extend(fields_of(columns, reply))

    return write


SUFFIXES: dict[str, Open] = {
    ".arrow": _open_arrow,
    ".parquet": _open_parquet,
    ".root": _open_root,
}


def demand_suffix(path: Path, *, rntuple: bool = False) -> None:
    """Refuse an ending that names no format, or not the one that holds an RNTuple.

    Raises:
        RequestError: it is none of ``SUFFIXES``, or not that of ROOT.
    """
    if rntuple and path.suffix != ".root":
        raise RequestError(f"{path.name} cannot hold an RNTuple.", "End it with .root.")
    if path.suffix not in SUFFIXES:
        raise RequestError(
            f"{path.name} does not say its format.", f"End it with {', '.join(SUFFIXES)}."
        )
