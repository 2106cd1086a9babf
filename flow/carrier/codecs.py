"""With what an edge between two hosts can be compressed; `flow check` needs no more than this, and no sockets."""

from __future__ import annotations

import functools
import importlib.util

CODECS = ("lz4", "zstd")
INSTALL = "pip install 'flow-research[zstd]'"


@functools.cache
def is_installed(codec: str) -> bool:
    """Whether messages can be packed so here."""
    return codec != "zstd" or importlib.util.find_spec("zstandard") is not None
