"""How each Column of a Dataset is made, as a digest: what a client compares replies with.

A Column that is read has one for each layout of its files, a computed one exactly one. Another
digest means other values. Asks the catalogue; opens no file.
"""

from __future__ import annotations

from collections.abc import Mapping

from columnservice.catalogue.columns import columns_of
from columnservice.catalogue.layouts import recipes_of
from columnservice.catalogue.store import Catalogue
from columnservice.formats.decode import DECODE_VERSION
from columnservice.model import REFERENCE_PREFIX, Column, Derivation, Recipe, digest_of


def making(column: Column, how: Recipe | Derivation) -> str:
    """A digest of all that decides a Column's values, but for those of its inputs.

    Args:
        column: as the Dataset offers it.
        how: its Recipe in one layout, or its Derivation.
    """
    version = 0 if isinstance(how, Derivation) else DECODE_VERSION
    return digest_of("making", column.type, column.shape, version, how.digest)


def makings_of(catalogue: Catalogue, dataset: str) -> Mapping[str, tuple[str, ...]]:
    """Column name → its digests, in order; of all Columns that can be delivered.

    Raises:
        UnknownDataset: there is none of that name.
    """
    here = catalogue.dataset(dataset)
    names = (here.name,) if here.parent is None else (here.name, here.parent)

    def make() -> Mapping[str, tuple[str, ...]]:
        local = _by_name(recipes_of(catalogue, here.name))
        remote = {} if here.parent is None else _by_name(recipes_of(catalogue, here.parent))
        found: dict[str, tuple[str, ...]] = {}
        for offered in columns_of(catalogue, dataset):
            column = offered.column
            if offered.derivation is not None:
                found[column.name] = (making(column, offered.derivation),)
            elif offered.recipe is not None:
                known = local if column.origin == "local" else remote
                recipes = known.get(column.name.removeprefix(REFERENCE_PREFIX), ())
                found[column.name] = tuple(sorted(making(column, r) for r in recipes))
        return found

    return catalogue.derived("makings", names, make)


def parents_state(catalogue: Catalogue, dataset: str) -> str:
    """A digest of what the readable Files of a Dataset's parent are; empty where there is none.

    No count of changes: such a one would begin anew with a new catalogue, and repeat.

    Raises:
        UnknownDataset: there is none of that name.
    """
    parent = catalogue.dataset(dataset).parent
    return "" if parent is None else catalogue.identities(parent)


def _by_name(layouts: Mapping[str, Mapping[str, Recipe]]) -> Mapping[str, Mapping[Recipe, None]]:
    """Column name → its Recipes in all layouts, each once."""
    found: dict[str, dict[Recipe, None]] = {}
    for recipes in layouts.values():
        for name, recipe in recipes.items():
            found.setdefault(name, {})[recipe] = None
    return found
