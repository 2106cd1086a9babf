"""Where a checkpoint cuts the streams into one port: a state machine with no I/O and no clock.

    link 1   a b │ c d        what is before the barrier is taken before the node's state is, what is behind it waits
    link 2   e │ f
    link 3   g h i │          feedback: nobody waits for its barrier; what comes before it, once the state is taken,
                              is written into the checkpoint

A barrier travels on a link between two messages. Its number is that of an attempt at a checkpoint; a higher one means
that those before it were given up.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field

from flow.message import Message

Taken = Callable[[int, int], None]
"""Told how many messages of how many bytes a node took in hand: the carrier returns that much credit."""

Entry = tuple[int, Message, int, Taken, int]
"""Link, message, bytes, who is told that it was taken, and its sequence number."""

Logged = tuple[int, Message]
"""A message that was under way on a link as the checkpoint was made."""


# Attempts follow one another, so a barrier of a much later one is none: no stranger can hold up a stream by it.
AHEAD_MAX = 16


def _nothing() -> None:
    return


@dataclass
class Barriers:
    """The barriers of one In port.

    links, feedback: all that lead there, and those whose barrier is not waited for. changed: told when one came.
    number: of the attempt under way, 0 between two. over: of the last that is not under way any more.
    behind, held: links whose barrier came, and what came behind it. open, log: once the node's state was taken, links
    whose barrier is still to come, and what came before it.
    """

    links: set[int] = field(default_factory=set)
    feedback: set[int] = field(default_factory=set)
    changed: Callable[[], None] = _nothing
    number: int = 0
    over: int = 0
    behind: set[int] = field(default_factory=set)
    held: list[Entry | int] = field(default_factory=list)
    open: set[int] = field(default_factory=set)
    log: list[Logged] = field(default_factory=list)
    was_cut: bool = False

    def came(self, link: int, number: int) -> list[Entry | int]:
        """A barrier came on a link. Returns what waited for another attempt, which was given up."""
        if not self.over < number <= self.over + AHEAD_MAX or link not in self.links:
            return []
        given_up = self.begin(number) if number > self.number else []
        if self.was_cut:
            self.open.discard(link)
        else:
            self.behind.add(link)
        return given_up

    def begin(self, number: int) -> list[Entry | int]:
        """An attempt begins here. Returns what waited for the one before."""
        given_up = self.give_up(self.number)
        self.number = number
        return given_up

    def keeps(self, entry: Entry) -> bool:
        """Whether a message that comes waits behind the barrier of its link; where it has to be, it is logged."""
        link = entry[0]
        if link in self.behind:
            self.held.append(entry)
            return True
        if link in self.open:
            self.log.append((link, entry[1]))
        return False

    def keeps_end(self, link: int) -> bool:
        """The same of the end of a link."""
        if link in self.behind:
            self.held.append(link)
            return True
        self.open.discard(link)
        return False

    def stops(self, ended: Collection[int]) -> bool:
        """Whether all links whose barrier is waited for have sent it, or have ended."""
        return all(link in self.behind or link in ended for link in self.links - self.feedback)

    def missing(self, ended: Collection[int]) -> set[int]:
        """Links whose barrier is waited for and has not come."""
        return self.links - self.feedback - self.behind - set(ended)

    def takes_part(self, number: int) -> bool:
        """Whether this attempt can still be made: it was not given up, and no later one has begun."""
        return self.over < number and self.number in (0, number)

    def cut(self, waiting: Iterable[Logged], ended: Collection[int]) -> list[Entry | int]:
        """The node's state is taken now. Returns what is not held back any more.

        Args:
          waiting: what came before its barrier and was not taken.
        """
        self.was_cut = True
        self.log = list(waiting)
        self.open = self.links - self.behind - set(ended)
        return self._release()

    def finish(self) -> list[Logged]:
        """Nothing is open any more: what was logged."""
        log, self.log = self.log, []
        self.give_up(self.number)
        return log

    def give_up(self, number: int) -> list[Entry | int]:
        """This attempt and all before it are not under way any more. Returns what is not held back any more."""
        self.over = max(self.over, number)
        if self.number > number:
            return []
        self.number, self.was_cut = 0, False
        self.open, self.log = set(), []
        return self._release()

    def let_go(self, link: int) -> list[Entry | int]:
        """A sender speaks for the first time, or was started again, and with it its stream.

        What is to be logged is logged on: its barrier is still to come, or else the attempt is given up.
        """
        mine = [item for item in self.held if _link_of(item) == link]
        self.held = [item for item in self.held if _link_of(item) != link]
        self.behind.discard(link)
        return mine

    def let_all_go(self) -> list[Entry | int]:
        """The node has ended: nothing is held back for it. What is open is logged on."""
        return self._release()

    def _release(self) -> list[Entry | int]:
        released, self.held = self.held, []
        self.behind = set()
        return released


def _link_of(item: Entry | int) -> int:
    return item if isinstance(item, int) else item[0]
