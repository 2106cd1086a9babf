"""One node's part of a checkpoint that is consistent across the graph, and a worker's answer to who asks for one.

A node's state is taken when
  - a barrier has come on every stream into it, or the stream has ended, and what came before was taken,
  - every task of it that took a message has come back for the next one, and none of its computing goes on.
Then barriers go out on all its streams, in the same step, so that what it sends later is behind them. A node that no
stream leads to begins: its state is taken when it next rests.

A node that waits for one stream while another has not come to its barrier (one that pairs two streams) would wait for
ever. There its state is taken at once, and what comes on the other before its barrier is written beside it; so it is
on an edge with feedback, whose barrier comes round only when the node has sent its own.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import trio

from flow import saved
from flow.barrier import Logged
from flow.control import Words
from flow.errors import CheckpointError
from flow.mailbox import StreamMailbox
from flow.message import Message
from flow.saved import Packed

if TYPE_CHECKING:
    from flow.host import Host
    from flow.worker import Worker

BESIDE = "beside"


@dataclass(frozen=True)
class Part:
    """A node's part of a checkpoint. None where there is nothing.

    state: what it keeps. beside: what the runtime keeps for it: messages under way to it, and what it draws from.
    """

    state: Packed | None
    beside: Packed | None = None


class Snapshot:
    """Takes the part of one node, for one attempt."""

    def __init__(self, host: Host, number: int) -> None:
        self._host, self._number = host, number
        self._streams: dict[str, StreamMailbox] = host.assembly.streams_into(host.plan)
        self._stage = "before"  # then "cut", "done"
        self._state: Packed | None = None
        self._generators: dict[str, Any] | None = None
        self._error: CheckpointError | None = None
        self._done = trio.Event()

    async def take(self) -> Part:
        """The node's part, once it can be had.

        Raises:
          CheckpointError: the node is being started again, or keeps something that cannot be saved.
        """
        host = self._host
        if host.ended:
            return Part(host.state)
        if host.failed or not host.running:
            raise CheckpointError("it is being started again")
        host.snapshot, host.rest.at_each_rest = self, self.look
        for mailbox in self._streams.values():
            mailbox.barriers.changed = self.look
        try:
            self.look()
            await self._done.wait()
        finally:
            host.snapshot = host.rest.at_each_rest = None
            for mailbox in self._streams.values():
                mailbox.barriers.changed = _nothing
        if self._error is not None:
            raise self._error
        return Part(self._state, self._beside())

    def look(self) -> None:
        """Something changed: take the state, or be done, if it is time."""
        if self._stage == "before" and self._may_cut():
            self._cut()
        if self._stage == "cut" and not any(mailbox.barriers.open for mailbox in self._streams.values()):
            self._finish()

    def node_ended(self, state: Packed | None) -> None:
        """The node ended: if its state was not taken before, it is the last one that counts."""
        if self._stage == "before":
            self._state = state
            self._finish()

    def fail(self, error: CheckpointError) -> None:
        """There will be no state of the node, unless it was taken before."""
        if self._stage == "before":
            self._error = error
            self._finish()

    def waits_for(self) -> str:
        """What it waits for, in words."""
        if self._stage == "cut":
            open_ = sorted({self._edge(link) for each in self._streams.values() for link in each.barriers.open})
            return f"barriers did not come round on {', '.join(open_)}"
        late = sorted(
            {self._edge(link) for each in self._streams.values() for link in each.barriers.missing(each.ended)}
        )
        return f"no barrier came on {', '.join(late)}" if late else "it was not between two messages"

    def _edge(self, link: int) -> str:
        return self._host.assembly.plan.links[link].edge

    def _finish(self) -> None:
        self._stage = "done"
        self._done.set()

    def _may_cut(self) -> bool:
        rest, streams = self._host.rest, self._streams.values()
        if not rest.now or not rest.empty_handed:
            return False
        if any(not mailbox.barriers.takes_part(self._number) for mailbox in streams):
            return False  # given up already
        if all(mailbox.is_over for mailbox in streams):
            return True
        return bool(rest.takes) and (
            all(mailbox.before_cut for mailbox in streams) or any(mailbox.is_stuck for mailbox in streams)
        )

    def _cut(self) -> None:
        """In one step of the loop: the state, the streams into the node, and the barriers on those out of it."""
        try:
            self._state = self._host.pack()
            self._generators = self._host.generators.state_dict() if self._host.generators is not None else None
        except CheckpointError as error:
            self.fail(error)
            return
        self._stage = "cutting"  # what is let go may call us
        for mailbox in self._streams.values():
            mailbox.cut(self._number)
        for link in self._host.assembly.links_out_of(self._host.plan):
            link.barrier(self._number)
        self._stage = "cut"

    def _beside(self) -> Packed | None:
        logs = {port: mailbox.barriers.finish() for port, mailbox in self._streams.items()}
        found = {port: [_plain(each) for each in log] for port, log in logs.items() if log}
        return saved.pack({"under_way": found, "generators": self._generators}) if found or self._generators else None


def _nothing() -> None:
    return


def _plain(logged: Logged) -> dict[str, Any]:
    link, message = logged
    return {"link": link, "fields": {each.name: getattr(message, each.name) for each in type(message).fields}}


def put_back(host: Host, directory: Path) -> None:
    """Give a node what was under way to it as the checkpoint was made, and what it drew from.

    Raises:
      CheckpointError: it cannot be read, or is not what the streams carry.
    """
    beside = saved.read(directory, _file(host.plan.key)) or {"under_way": {}, "generators": None}
    if host.generators is not None:
        host.generators.load_state_dict(beside["generators"])
    streams = host.assembly.streams_into(host.plan)
    for port, log in beside["under_way"].items():
        try:
            made: type[Message] = host.type.ports[port].messages[0]
            streams[port].restore([(each["link"], made(**each["fields"])) for each in log])
        except (KeyError, TypeError) as error:
            raise CheckpointError(
                f"{directory}: what was under way to {host.plan.key} does not fit it: {error}"
            ) from error


def _file(key: str) -> str:
    return f"{key}.{BESIDE}"


async def answer(worker: Worker, words: Words) -> None:
    """Write the part of every node of a worker; say which files, or what was in the way.

    words: `attempt`, its number; `barriers`, whether they cut the streams, or each node's state is taken by itself.
    """
    directory = Path(words["directory"])
    files: list[str] = []
    problems: list[str] = []
    late: list[str] = []

    async def one(host: Host) -> None:
        key, part = host.plan.key, Part(None)
        snapshot = Snapshot(host, words["attempt"])
        with trio.move_on_after(words["seconds"]) as scope:
            try:
                part = await snapshot.take() if words["barriers"] else Part(await host.take_state())
            except CheckpointError as error:
                problems.append(f"{key}: {error}")
                return
        if scope.cancelled_caught:
            late.append(key)
            why = snapshot.waits_for() if words["barriers"] else "it was not at rest"
            problems.append(f"{key}: {why} for {words['seconds']:g} s")
            return
        for packed, name in ((part.state, key), (part.beside, _file(key))):
            if packed is not None:
                try:
                    files.extend(await worker.write_state(packed, directory, name))
                except OSError as error:
                    problems.append(f"{key}: {error}")

    async with trio.open_nursery() as nursery:
        for host in worker.hosts.values():
            nursery.start_soon(one, host)
    await worker.line.say(say="checkpointed", attempt=words["attempt"], files=files, problems=problems, late=bool(late))


def give_up(hosts: dict[str, Host], number: int) -> None:
    """This attempt and all before it are over: nothing is held back for them."""
    for host in hosts.values():
        for mailbox in host.assembly.streams_into(host.plan).values():
            mailbox.give_up(number)
