"""How Columns are made, as the service tells it: digests of Recipes, down to branches.

A list of Columns tells it when an analysis begins, every reply tells it of its own values; here the
two are compared. Knows names and digests; neither HTTP nor arrays.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from columnservice.errors import ProvenanceChanged, TransportError
from columnservice.model import digest_of

_KEPT_CHARACTERS = 12
"""Of each digest, since a list of thousands travels to every process of an analysis."""

_MOST_NAMED = 3


def behind(names: Iterable[str], inputs: Mapping[str, Iterable[str]]) -> tuple[str, ...]:
    """Some Columns, and all that they are computed from, each once.

    Args:
        names: of the Columns.
        inputs: name of a computed Column → names of what it is computed from.
    """
    found = dict.fromkeys(names)
    waiting = list(found)
    while waiting:
        more = [n for n in inputs.get(waiting.pop(), ()) if n not in found]
        found.update(dict.fromkeys(more))
        waiting += more
    return tuple(found)


def some_of(names: list[str]) -> str:
    """Names for a message, not too many."""
    rest = len(names) - _MOST_NAMED
    return ", ".join(names[:_MOST_NAMED]) + (f" and {rest} more" if rest > 0 else "")


@dataclass(frozen=True)
class Makings:
    """How the Columns of a Dataset were made when it was asked for them.

    Attributes:
        recipes: Column name → digests of how it is made, one for each layout of the files that it
            is read from; exactly one where it is computed. Empty where the service does not say.
        inputs: name of a computed Column → names of what it is computed from.
        parents: a digest that changes with the files of the parent Dataset.
    """

    recipes: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    inputs: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    parents: str = ""
    _versions: dict[str, str] = field(default_factory=dict, init=False, compare=False, repr=False)
    _later: dict[str, frozenset[str]] = field(
        default_factory=dict, init=False, compare=False, repr=False
    )

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> Makings:
        """What the service's list of Columns tells."""
        columns = document["columns"]
        recipes = {c["name"]: _short(c["recipes"]) for c in columns if "recipes" in c}
        inputs = {c["name"]: tuple(c["inputs"]) for c in columns if "inputs" in c}
        return cls(recipes, inputs, str(document.get("parents", "")))

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Makings:
        """What ``to_json`` made the document of."""
        recipes, inputs = (
            {name: tuple(texts) for name, texts in document[part].items()}
            for part in ("recipes", "inputs")
        )
        return cls(recipes, inputs, document["parents"])

    def to_json(self) -> dict[str, Any]:
        """As a JSON document."""
        return {"recipes": self.recipes, "inputs": self.inputs, "parents": self.parents}

    def anew(self) -> Makings:
        """The same for another analysis, which learns of later lists by itself."""
        return Makings(dict(self.recipes), dict(self.inputs), self.parents)

    def only(self, names: Iterable[str]) -> Makings:
        """The same of some Columns, and of what they are computed from."""
        wanted = behind(names, self.inputs)
        return Makings(
            {n: self.recipes[n] for n in wanted if n in self.recipes},
            {n: self.inputs[n] for n in wanted if n in self.inputs},
            self.parents,
        )

    def version(self, name: str) -> str:
        """A digest of all that decides a Column's values: its Recipes, inputs and parents."""
        if name not in self._versions:
            made = [(n, self.recipes.get(n, ())) for n in behind([name], self.inputs)]
            self._versions[name] = digest_of("made", self.parents, made)
        return self._versions[name]

    def changed(self, names: Iterable[str], told: Mapping[str, Any]) -> list[str]:
        """The Columns among some, and those below them, that a reply made otherwise.

        Counts that were not asked for come with their lists, and their Recipe does not.

        Args:
            names: of Columns in the reply.
            told: ``Reply.provenance``.
        """
        now = told.get("recipes", {})
        return [
            name
            for name in behind(names, told.get("derived", {}))
            if name in self.recipes
            and name in now
            and not {*_short(now[name])} <= self._known(name)
        ]

    def _known(self, name: str) -> frozenset[str]:
        return self._later.get(name) or frozenset(self.recipes[name])

    def _learn(self, now: Makings) -> None:
        """Take over what was added to a later list, for Columns that lost nothing in it."""
        for name in self.recipes.keys() & now.recipes.keys():
            computed = name in self.inputs or name in now.inputs
            if not computed and self._known(name) <= {*now.recipes[name]}:
                self._later[name] = frozenset(now.recipes[name])

    def demand_same(
        self,
        names: Iterable[str],
        told: Mapping[str, Any],
        where: str,
        remedy: str,
        ask: Callable[[], Makings],
    ) -> None:
        """Refuse what is made otherwise than the list of Columns said.

        A layout of files that became known after the list is no change: files of a manifest are
        opened by the first request for them. Where such a one may be the reason, the list is asked
        for once more, and what it has gained is remembered here.

        Args:
            names: of Columns in a reply.
            told: ``Reply.provenance``.
            where: the file and Dataset, for the message.
            remedy: what to do.
            ask: fetches what the list says now.

        Raises:
            ProvenanceChanged: it is.
        """
        names = list(names)
        changed = self.changed(names, told)
        if changed and not any(n in self.inputs or n in told.get("derived", {}) for n in changed):
            with suppress(TransportError):  # then nobody says that it is the same
                self._learn(ask())
            changed = self.changed(names, told)
        if changed:
            verb = "is" if len(changed) == 1 else "are"
            raise ProvenanceChanged(
                f"{where}: {some_of(changed)} {verb} made otherwise now than when this began.",
                remedy,
            )


def _short(digests: Iterable[str]) -> tuple[str, ...]:
    return tuple(sorted({digest[:_KEPT_CHARACTERS] for digest in digests}))
