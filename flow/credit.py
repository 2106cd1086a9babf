"""Credit: how many messages, and how many bytes, a sender may have under way.

A state machine with no I/O and no clock. The receiver grants the window when the link is made and gives back what
it takes in hand, so that memory is bounded by the window wherever a message happens to wait. A message larger than
the whole window of bytes passes alone: a bound that could block for ever is no bound.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class Window:
    """Credit of one link.

    messages, size: the most messages and bytes under way. Bytes are those of the arrays.
    """

    messages: int
    size: int
    messages_under_way: int = 0
    size_under_way: int = 0

    def fits(self, size: int) -> bool:
        """Whether a message of `size` bytes may be sent now."""
        if self.messages_under_way == 0:
            return True
        return self.messages_under_way < self.messages and self.size_under_way + size <= self.size

    def spend(self, size: int) -> None:
        """Count a message as under way."""
        self.messages_under_way += 1
        self.size_under_way += size

    def give_back(self, messages: int, size: int) -> None:
        """The receiver took messages in hand.

        Raises:
          ValueError: it gives back more than was under way, which would unbind the link.
        """
        if messages > self.messages_under_way or size > self.size_under_way:
            raise ValueError(
                f"{messages} messages of {size} bytes given back, "
                f"but {self.messages_under_way} of {self.size_under_way} were under way"
            )
        self.messages_under_way -= messages
        # A receiver that refuses a message returns its place, but cannot know its bytes.
        self.size_under_way = self.size_under_way - size if self.messages_under_way else 0

    def reset(self) -> int:
        """The receiver is another one now: nothing is under way. Returns how many messages were, which are lost."""
        lost, self.messages_under_way, self.size_under_way = self.messages_under_way, 0, 0
        return lost
