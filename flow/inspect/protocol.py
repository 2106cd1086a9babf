"""What an inspector and a process of a run say to each other over a Unix socket: length-prefixed msgpack.

    server   {"flow": "control", "version": 1, "run": …, "who": "worker main", "pid": …}      first, unasked
    client   {"id": 1, "do": "pause", "node": "learner-0"}
    server   {"id": 1, "ok": {…}}   or   {"id": 1, "error": "what is wrong, and what to do"}
    server   {"tap": 3, "sample": {…}}                                                       of a tap that is open
    server   {"number": 7, "overview": {…}}               of the supervisor, to who subscribed: each is a whole picture

The socket lies in the run's runtime directory, which only its user can enter; the server also asks the kernel who
is there. Each process of a run has one: `supervisor.control`, and `NAME.control` of each worker.
"""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import msgpack

from flow.errors import ControlError
from flow.run_directory import RunDirectory

VERSION = 1
REQUEST_MAX = 16 * 1024**2
"""Bytes of a request: as large as a message that is injected may be."""
REPLY_MAX = 64 * 1024**2
SUPERVISOR = "supervisor"
_LENGTH = struct.Struct("<I")
Words = dict[str, Any]


def socket_file(run: RunDirectory, who: str) -> Path:
    """Where a process of a run listens. who: "supervisor", or a worker's name."""
    return run.sockets / f"{who}.control"


def pack(words: Words) -> bytes:
    """A frame: its length and its msgpack."""
    body: bytes = msgpack.packb(words)
    return _LENGTH.pack(len(body)) + body


class Unpacker:
    """Frames from bytes as they come. most: bytes of a frame."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._bytes = bytearray()

    def feed(self, part: bytes) -> list[Words]:
        """The frames that are whole now.

        Raises:
          ControlError: what came is too long, or is no frame.
        """
        self._bytes += part
        found = []
        while len(self._bytes) >= _LENGTH.size:
            (size,) = _LENGTH.unpack_from(self._bytes)
            if size > self._most:
                raise ControlError(f"a frame of {size} bytes came, at most {self._most} are allowed")
            if len(self._bytes) < _LENGTH.size + size:
                break
            body = bytes(self._bytes[_LENGTH.size : _LENGTH.size + size])
            del self._bytes[: _LENGTH.size + size]
            found.append(_words(body))
        return found


def _words(body: bytes) -> Words:
    try:
        words = msgpack.unpackb(body, max_map_len=10_000, max_array_len=100_000, max_ext_len=0)
    except (ValueError, msgpack.UnpackException) as error:
        raise ControlError(f"a frame that is no msgpack came: {error}") from error
    if not isinstance(words, dict):
        raise ControlError(f"a frame holds a table, found {type(words).__name__}")
    return words


def key_of(node: str, replica: int) -> str:
    """A node's replica, as the processes of a run call it."""
    return f"{node}-{replica}"


def split_address(address: str) -> tuple[str, int | None]:
    """`actor[1]` -> ("actor", 1), `actor` -> ("actor", None): all replicas.

    Raises:
      ControlError: what stands in brackets is no number.
    """
    if not address.endswith("]"):
        return address, None
    name, _, number = address[:-1].rpartition("[")
    if not name or not number.isdigit():
        raise ControlError(f"'{address}' is no node; write actor for all its replicas, actor[1] for the second")
    return name, int(number)


def split_port(address: str) -> tuple[str, int | None, str]:
    """`actor[1].trajectories` -> ("actor", 1, "trajectories"); a port is what stands behind the last dot.

    Raises:
      ControlError: there is no port in it.
    """
    node, _, last = address.rpartition(".")
    if not node or not last:
        raise ControlError(f"'{address}' names no port or setting; write NODE.NAME, as in actor.trajectories")
    return (*split_address(node), last)
