"""The cache of Pieces: what has been read and joined once is kept as mapped Arrow files.

Rooms: ``piecefile`` (one Piece as one Arrow file), ``disk`` (what may stand in diskcache's index),
``shelf`` (the index), ``maps`` (the maps a process holds open, and what it has not written down
yet), ``verify`` (finding damage and orphans), ``pieces`` (the cache itself), ``inflight`` (making a
thing once, however many ask for it).
"""

from __future__ import annotations

from columnservice.cache.inflight import Inflight
from columnservice.cache.pieces import CacheStats, PieceCache, PieceKey
from columnservice.cache.verify import VerifyReport

__all__ = ["CacheStats", "Inflight", "PieceCache", "PieceKey", "VerifyReport"]
