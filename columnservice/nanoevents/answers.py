"""How a call of ``tree.arrays`` gets its remote Columns: all in one request, then as if cached.

Knows uproot's array cache and the names in expressions; neither Arrow nor HTTP.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, MutableMapping
from typing import Any

import uproot
from uproot.interpretation.library import _regularize_library

from columnservice.errors import RequestError
from columnservice.nanoevents.remotebranch import entry_range

_WORDS = re.compile(r"[\w.]+")
"""The parts of an expression that may be names of branches."""


class Answers(MutableMapping[str, Any]):
    """uproot's array cache for one call of ``arrays``, which also knows the remote branches.

    uproot asks its array cache for a branch before it reads baskets, so that expressions, cuts,
    aliases and groupings work on remote branches as they do on local ones.
    """

    def __init__(
        self, tree: Any, inner: Any, library: Any, ak_add_doc: Any, start: Any, stop: Any
    ) -> None:
        if isinstance(inner, str) and inner == "inherit":
            inner = tree.file.array_cache
        elif inner is not None and not isinstance(inner, MutableMapping):
            inner = uproot.cache.LRUArrayCache(inner)
        self._inner: Any = {} if inner is None else inner
        self._tree, self._library, self._ak_add_doc = tree, library, ak_add_doc
        self._rows = entry_range(tree.num_entries, start, stop)
        tail = f"{self._rows[0]}-{self._rows[1]}:{_regularize_library(library).name}"
        tree_key = tree.cache_key  # put together anew each time
        self._remote = {
            f"{tree_key}:{b.name}:{b.interpretation.cache_key}:{tail}": b
            for b in tree.columnservice_branches.values()
        }
        self._ready: dict[str, Any] = {}

    def expect(self, names: list[str]) -> None:
        """Fetch these in one request."""
        if names:
            self._ready.update(
                self._tree.columnservice_friend.read(names, *self._rows, explicit=True)
            )

    def __getitem__(self, key: str) -> Any:
        branch = self._remote.get(key)
        if branch is None:
            return self._inner[key]
        if branch.name not in self._ready:
            self.expect([branch.name])
        return branch.present(
            self._ready[branch.name], self._rows[0], self._library, self._ak_add_doc
        )

    def __setitem__(self, key: str, value: Any) -> None:
        if key not in self._remote:
            self._inner[key] = value

    def __delitem__(self, key: str) -> None:
        del self._inner[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._inner)

    def __len__(self) -> int:
        return len(self._inner)


def remote_names(
    tree: Any, expressions: Any, cut: str | None, filters: dict[str, Any], aliases: Any
) -> list[str]:
    """The remote branches that a call of ``arrays`` will want, as far as names tell."""
    remote = tree.columnservice_branches
    if not remote:
        return []
    texts: list[str] = [cut or ""]
    if expressions is None:
        wanted = {name for name, branch in tree.iteritems(**filters) if name in remote}
    else:
        listed = [expressions] if isinstance(expressions, str) else list(expressions)
        texts += [e if isinstance(e, str) else e[0] for e in listed]
        wanted = set()
    texts += (aliases or {}).values()
    for text in texts:
        wanted |= remote.keys() & {text, *_WORDS.findall(text)}
    return [name for name in remote if name in wanted]


def refuse_everything() -> None:
    """Stop ``tree.arrays()`` without any selection.

    Raises:
        RequestError: always.
    """
    raise RequestError(
        "This would fetch every column that the service offers.",
        "Name the columns: in the call, or with columns=… in service.nanoevents().",
    )
