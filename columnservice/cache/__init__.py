"""The cache of Pieces: what has been read and joined once is kept as mapped Arrow files.

Rooms: ``piece`` (what a Piece is called), ``piecefile`` (one Piece as one Arrow file), ``disk``
(what may stand in diskcache's index), ``shelf`` (the index), ``opening`` (how it is opened),
``writing`` (how Pieces get there), ``maps`` (what a process keeps in memory: open maps, and what it
has not written down yet), ``held`` (whether those maps are to be served still), ``verify`` (finding
damage and orphans), ``pieces`` (the cache itself), ``inflight`` (making a thing once, however many
ask for it).
"""

from __future__ import annotations

from columnservice.cache.inflight import Inflight
from columnservice.cache.piece import CacheStats, PieceKey
from columnservice.cache.pieces import PieceCache
from columnservice.cache.verify import VerifyReport

__all__ = ["CacheStats", "Inflight", "PieceCache", "PieceKey", "VerifyReport"]
