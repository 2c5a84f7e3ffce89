"""A crew without processes, for tests of what the service does around its tasks."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from columnservice.cache.pieces import PieceCache
from columnservice.catalogue.store import Catalogue
from columnservice.delivery.house import make_home
from columnservice.delivery.registration import Registrar
from columnservice.delivery.tools import Tools
from columnservice.reader import FilePool
from columnservice.settings import Settings


class Inline:
    """Does every task at once, in the thread of who asks; tasks on files wait for ``open_gate``."""

    def __init__(self, tools: Tools) -> None:
        self._tools = tools
        self.open_gate = threading.Event()
        self.open_gate.set()
        self.files: list[str] = []

    def submit(self, work: Callable[..., Any], task: Any) -> Future[Any]:
        return self._done(work, self._tools, task)

    def run(self, work: Callable[..., Any], *args: Any) -> Future[Any]:
        self.files.append(str(args[0]))
        self.open_gate.wait(60)
        return self._done(work, *args)

    def _done(self, work: Callable[..., Any], *args: Any) -> Future[Any]:
        future: Future[Any] = Future()
        try:
            future.set_result(work(*args))
        except Exception as error:
            future.set_exception(error)
        return future

    def result(self, future: Future[Any]) -> Any:
        return future.result()


@contextmanager
def registry(home: Path, root: Path) -> Iterator[tuple[Registrar, Catalogue, Inline]]:
    """A registrar whose tasks run in this process, over a fresh catalogue."""
    settings = Settings(home=home, allowed_roots=(root,))
    make_home(settings)
    catalogue = Catalogue(settings.catalogue_url)
    catalogue.migrate()
    cache = PieceCache(settings.cache_dir, settings.cache_limit_bytes)
    crew = Inline(Tools(FilePool(4), cache, settings.index_dir))
    registrar = Registrar(settings, catalogue, crew)  # type: ignore[arg-type]
    try:
        yield registrar, catalogue, crew
    finally:
        crew.open_gate.set()
        registrar.stop()
        cache.close()
        catalogue.close()
