"""Messages that a node holds back, as state that outlives a restart."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Generic, TypeVar

from flow.message import Message

M = TypeVar("M", bound=Message)


class Kept(Generic[M]):
    """A row of messages of one type. A node takes one off when it has been sent on, so that none is lost or doubled.

    Between two messages is where state is taken, and a send waits before it sends: what is to be sent has to be
    here still.
    """

    def __init__(self, message_type: type[M]) -> None:
        self.message_type = message_type
        self.messages: list[M] = []

    def __len__(self) -> int:
        return len(self.messages)

    def __iter__(self) -> Iterator[M]:
        return iter(self.messages)

    def __getitem__(self, index: int) -> M:
        return self.messages[index]

    def append(self, message: M) -> None:
        self.messages.append(message)

    def pop(self, index: int = 0) -> M:
        return self.messages.pop(index)

    def drop(self, count: int) -> None:
        """Let go of the first `count`."""
        del self.messages[:count]

    def state_dict(self) -> dict[str, Any]:
        return {
            "messages": [{f.name: getattr(each, f.name) for f in type(each).fields} for each in self.messages],
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.messages = [self.message_type(**values) for values in state["messages"]]
