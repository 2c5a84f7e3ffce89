"""What the template process loads, once: worker processes are forked from it, warm from birth.

The template is spawned by the service (Python's fork server) and is never more than this: it opens
no file, talks to no server and starts no Python thread, so what a fork would break is not there.
XRootD's client is left to the workers. Importing this module does the work; nothing else does.
"""

from __future__ import annotations

import gc
import signal

import numpy as np
import pyarrow as pa

import columnservice.cache.pieces
import columnservice.delivery.check
import columnservice.delivery.derive
import columnservice.delivery.materialise
import columnservice.delivery.workshop
import columnservice.formats
import columnservice.reader

# An init system sends SIGTERM to all processes at once, but running replies go on: the template
# ends with the service. Workers make a handler of their own.
signal.signal(signal.SIGTERM, signal.SIG_IGN)
columnservice.formats.compile_kernels()
pa.array(np.zeros(1))  # imports pandas, which takes a second
gc.freeze()  # collections in workers leave these pages shared
