"""The inspector's end of a control socket: plain blocking calls, no loop.

with connect(run, "main") as worker:
    worker.ask("pause", node="learner-0")
"""

from __future__ import annotations

import socket
import time
from collections import deque
from collections.abc import Iterator
from types import TracebackType
from typing import Any

from flow.errors import ControlError
from flow.inspect.protocol import REPLY_MAX, VERSION, Unpacker, Words, pack, socket_file
from flow.run_directory import RunDirectory

ANSWER_S = 15.0
"""Longer than any request takes that a process has begun with."""
CONNECT_S = 5.0


class Connection:
    """A connection to one process of a run."""

    def __init__(self, stream: socket.socket, who: str) -> None:
        self.who = who
        self.hello: Words = {}
        self._stream = stream
        self._unpacker = Unpacker(REPLY_MAX)
        self._heard: deque[Words] = deque()
        self._samples: deque[Words] = deque()
        self._number = 0

    def ask(self, what: str, *, seconds: float = ANSWER_S, **arguments: Any) -> Words:
        """The answer to a request.

        Raises:
          ControlError: it was refused, or nobody answered within `seconds`.
        """
        self._number += 1
        number = self._number
        self._send(pack({"id": number, "do": what, **arguments}))
        end = time.monotonic() + seconds
        while True:
            words = self.hear(end - time.monotonic())
            if words is None:
                raise ControlError(
                    f"{self.who} did not answer '{what}' within {seconds:g} s: its loop is held up; "
                    "`flow stack` shows by what"
                )
            if "id" not in words:
                self._samples.append(words)
            elif words["id"] in (number, None):
                if "error" in words:
                    raise ControlError(str(words["error"]))
                answer: Words = words["ok"]
                return answer

    def samples(self, seconds: float) -> Iterator[Words]:
        """What comes unasked, of open taps and of a subscription; ends when nothing came for `seconds`."""
        while True:
            words = self._samples.popleft() if self._samples else self.hear(seconds)
            if words is None:
                return
            if "id" not in words:
                yield words

    def has_heard(self) -> bool:
        """Whether something was heard that nobody has taken yet."""
        return bool(self._samples or self._heard)

    def hear(self, seconds: float) -> Words | None:
        """The next frame; None when none came in time.

        Raises:
          ControlError: the process is gone.
        """
        end = time.monotonic() + seconds
        while not self._heard:
            self._stream.settimeout(max(end - time.monotonic(), 0.0))  # 0: take what is there
            try:
                part = self._stream.recv(1 << 18)
            except (TimeoutError, BlockingIOError):
                return None
            except OSError as error:
                raise ControlError(f"{self.who} is gone: {error.strerror}") from error
            if not part:
                raise ControlError(f"{self.who} closed the connection: it ended, or was asked too much")
            self._heard.extend(self._unpacker.feed(part))
        return self._heard.popleft()

    def _send(self, frame: bytes) -> None:
        self._stream.settimeout(CONNECT_S)
        try:
            self._stream.sendall(frame)
        except OSError as error:
            raise ControlError(f"{self.who} is gone: {error.strerror}") from error

    def fileno(self) -> int:
        """For `select`: readable when a frame may have come."""
        return self._stream.fileno()

    def close(self) -> None:
        self._stream.close()

    def __enter__(self) -> Connection:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def connect(run: RunDirectory, who: str, seconds: float = CONNECT_S) -> Connection:
    """Connect to a process of a live run.

    Args:
      who: "supervisor", or a worker's name.
      seconds: for it to say hello.

    Raises:
      ControlError: the run is over, or the process does not answer or speaks another version.
    """
    if run.owner() is None:
        raise ControlError(f"{run.name} is over; what it left can be read: flow top {run.name} --once")
    stream = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    stream.settimeout(CONNECT_S)
    named = f"{who} of {run.name}"
    try:
        stream.connect(str(socket_file(run, who)))
    except OSError as error:
        stream.close()
        raise ControlError(
            f"{named} cannot be reached ({error.strerror}): it is starting, or is being started again; try again"
        ) from error
    connection = Connection(stream, named)
    try:
        hello = connection.hear(seconds)
        if hello is None:
            raise ControlError(f"{named} does not say hello within {seconds:g} s: its loop is held up")
        if hello.get("version") != VERSION:
            raise ControlError(
                f"{named} speaks version {hello.get('version')} of the control protocol, this flow version {VERSION}; "
                "use the flow that the run was started with"
            )
    except ControlError:
        connection.close()
        raise
    connection.hello = hello
    return connection
