"""What a reply rests on that was put together without waiting: its Plan and the maps of its Pieces.

As long as all of it is as it was, the same reply may be given again, byte by byte. Knows no HTTP,
and not what the bytes are.
"""

from __future__ import annotations

from dataclasses import dataclass
from weakref import ref

from columnservice.cache import PieceCache, PieceKey
from columnservice.cache.maps import OpenMap
from columnservice.delivery.plans import Planned


@dataclass(frozen=True)
class Basis:
    """What a reply rests on.

    Attributes:
        planned: its Plan; another one is made as soon as the catalogue changes.
        keys: of its Pieces.
        maps: of these, without holding them: the disk space of evicted Pieces must become free.
    """

    planned: Planned
    keys: tuple[PieceKey, ...]
    maps: tuple[ref[OpenMap], ...]

    def is_held(self, cache: PieceCache) -> bool:
        """Whether all Pieces are at hand, in the very maps that the reply was made of."""
        held = cache.held(self.keys)
        return held is not None and all(
            then() is now for then, now in zip(self.maps, held, strict=True)
        )


def basis_of(planned: Planned, cache: PieceCache) -> Basis | None:
    """What a reply made now would rest on; None where a Piece is not at hand."""
    keys = tuple(PieceKey(key) for part in planned.plan.parts for key in part.pieces())
    held = cache.held(keys)
    return None if held is None else Basis(planned, keys, tuple(ref(opened) for opened in held))
