"""What a record of a trace holds, for who writes it and who reads it."""

from __future__ import annotations

import struct
from enum import IntEnum

RECORD = struct.Struct("<iiiiqqqqii")
"""kind, track, name, flow; start, end, sequence, link; a, b. What each kind means by the last: see `Kind`."""
NO_LINK = -1


class Kind(IntEnum):
    """What a record is of. name is an index of `Recorder.names`."""

    TAKE = 0
    """A task waits for a message. name: the port."""
    HANDLE = 1
    """It has one in hand. name: the port; link, sequence: which; a: rows of a batch, b: name of why it ended there."""
    SEND = 2
    """It sends one, waits for credit included."""
    BLOCKED = 3
    """It waits for credit."""
    ASK = 4
    """It waits for an answer."""
    ANSWER = 5
    """It answers a batch. a: rows."""
    COMPUTE = 6
    """It waits for a thread. name: the function."""
    RUN = 7
    """A thread computes. name: the function."""
    MAKE = 8
    """A source is between two messages. name: the port of the next."""
    PUBLISH = 9
    READ = 10
    """It sees a published value for the first time."""
    LEFT = 11
    """A message leaves for another node, at `start`: flow, link, sequence say which."""
    CAME = 12
    """It is taken."""


class Flow(IntEnum):
    """What goes from node to node."""

    MESSAGE = 0
    QUESTION = 1
    ANSWER = 2
    VALUE = 3
