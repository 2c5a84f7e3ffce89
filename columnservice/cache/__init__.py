"""The cache of Pieces: what has been read and joined once is kept as mapped Arrow files.

Rooms: ``piecefile`` (one Piece as one Arrow file), ``disk`` (diskcache's index over such files),
``maps`` (the maps a process holds open, and what it has not written down yet), ``verify`` (finding
damage and orphans), ``pieces`` (the cache itself), ``inflight`` (making a thing once, however many
ask for it).
"""
