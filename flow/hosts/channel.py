"""What home and a host that joined say to each other: words that arrive once and in order, though the link be cut.

    RECORD n    words, the n-th of this end           BEAT n    this end has said n; is there anything?
    ACK n       all before n have come                AGAIN n   they have, and what was said since has not
    BYE n       the end, and why; 1 where something is wrong

ZeroMQ forgets what it had taken when a connection is cut. So each record is kept until the other end has said that it
has it, as `carrier/tcp.py` does it for messages. Every beat is answered, so that each end knows whether the other one
hears it. No socket and no clock in here.
"""

from __future__ import annotations

import struct
from collections import deque
from collections.abc import Callable
from enum import IntEnum
from typing import Any

import msgpack
import trio

from flow.control import Words

FORMAT = 1
HEAD = struct.Struct("<BB6xQ")
# Who says more than the other end takes waits; so much is a few milliseconds of a fast network.
KEPT_BYTES_MAX = 4 << 20
WORDS_BYTES_MAX = 64 << 20
CHUNK = 256 << 10
ACK_EVERY = 16


class Said(IntEnum):
    """What a message is."""

    RECORD = 0
    BEAT = 1
    ACK = 2
    AGAIN = 3
    BYE = 4


def begins(head: Any) -> bool:
    """Whether what came is the first that an end says: a record of number 0, or a beat that tells of it."""
    if len(head) != HEAD.size:
        return False
    _, kind, number = HEAD.unpack(head)
    return bool((kind == Said.RECORD and number == 0) or (kind == Said.BEAT and number <= 1))


class Channel:
    """One end.

    transmit: sends frames now, or returns False; what it does not take is offered again at the next beat. over: why it
    is the end, "" while it is not; wrong: whether something is wrong.
    """

    def __init__(self, transmit: Callable[[list[bytes]], bool]) -> None:
        self.over, self.wrong = "", False
        self._transmit = transmit
        self._kept: deque[bytes] = deque()
        self._kept_bytes = 0
        self._first = self._next = 0  # the number of what is kept first, and of what is sent next
        self._expected = self._asked = self._unsaid = 0
        self._room = trio.lowlevel.ParkingLot()

    @property
    def is_behind(self) -> bool:
        """Whether much of what was said has not come to the other end yet."""
        return self._kept_bytes > 4 * CHUNK

    async def say(self, **words: Any) -> None:
        """Say something when there is room. Raises `trio.BrokenResourceError` when it is over."""
        await trio.lowlevel.checkpoint_if_cancelled()
        while self._kept_bytes > KEPT_BYTES_MAX and not self.over:
            await self._room.park()
        await trio.lowlevel.cancel_shielded_checkpoint()
        self.say_nowait(**words)

    def say_nowait(self, **words: Any) -> None:
        """Say something short that must not wait. Raises `trio.BrokenResourceError` when it is over."""
        if self.over:
            raise trio.BrokenResourceError(self.over)
        body: bytes = msgpack.packb(words)
        self._kept.append(body)
        self._kept_bytes += len(body)
        self._send()

    def beat(self) -> None:
        """To be called a few times a second."""
        self._send()
        self._say(Said.BEAT, self._next)

    def bye(self, why: str, *, wrong: bool) -> None:
        """Say that this is the end."""
        self._transmit([HEAD.pack(FORMAT, Said.BYE, int(wrong)), why.encode()])
        self.close(why, wrong=wrong)

    def close(self, why: str, *, wrong: bool) -> None:
        """It is the end: nobody waits any more."""
        if not self.over:
            self.over, self.wrong = why or "it ended", wrong
        self._room.unpark_all()

    def take(self, frames: list[Any]) -> Words | None:
        """Take in what came; returns the words of a record, when they are the next ones.

        Raises:
          ValueError: the bytes are none of this protocol.
        """
        if len(frames[0]) != HEAD.size:
            raise ValueError(f"a head of {len(frames[0])} bytes, expected {HEAD.size}")
        version, kind, number = HEAD.unpack(frames[0])
        if version != FORMAT or kind not in Said.__members__.values() or len(frames) != (2 if kind in (0, 4) else 1):
            raise ValueError(f"format {version}, kind {kind} and {len(frames)} frames are not known")
        if kind == Said.RECORD:
            return self._take_record(number, frames[1])
        if kind == Said.BYE:
            self.close(bytes(frames[1][:4000]).decode(errors="replace"), wrong=bool(number))
        elif kind == Said.BEAT:
            self._asked = self._expected
            self._say(Said.AGAIN if self._expected < number else Said.ACK, self._expected)
        else:
            self._has_come(number, again=kind == Said.AGAIN)
        return None

    def _take_record(self, number: int, body: Any) -> Words | None:
        if number > self._expected and self._asked != self._expected:
            self._asked = self._expected
            self._say(Said.AGAIN, self._expected)
        if number != self._expected:
            return None
        if len(body) > WORDS_BYTES_MAX:
            raise ValueError(f"words of {len(body)} bytes, at most {WORDS_BYTES_MAX} are allowed")
        words = msgpack.unpackb(body, strict_map_key=False)
        if not isinstance(words, dict):
            raise ValueError(f"expected a table, found {type(words).__name__}")
        self._expected += 1
        self._unsaid += 1
        if self._unsaid >= ACK_EVERY or len(body) >= CHUNK // 2:
            self._unsaid = 0
            self._say(Said.ACK, self._expected)
        return words

    def _has_come(self, number: int, *, again: bool) -> None:
        if not self._first <= number <= self._first + len(self._kept):
            return  # old, or of one that counts otherwise
        while self._first < number:
            self._kept_bytes -= len(self._kept.popleft())
            self._first += 1
        self._next = number if again else max(self._next, number)
        self._room.unpark_all()
        self._send()

    def _send(self) -> None:
        """Send what was not sent yet, as far as it is taken."""
        while self._next < self._first + len(self._kept):
            if not self._transmit([HEAD.pack(FORMAT, Said.RECORD, self._next), self._kept[self._next - self._first]]):
                return
            self._next += 1

    def _say(self, kind: Said, number: int) -> None:
        self._transmit([HEAD.pack(FORMAT, kind, number)])
