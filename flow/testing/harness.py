"""Drive one node in a test: feed its inputs, gather what it says.

    result = await drive(chunker, recordings=[Clip(...), Clip(...)], seconds=0.5)
    result.chunks                  every message of that Out port

| port    | what the test gives                          | what the result holds                  |
| In      | a list of messages                           | nothing                                |
| Out     | nothing, or at how many messages to stop     | the messages                           |
| Call    | a plain or async function: question → answer | the questions                          |
| Serve   | a list of questions, asked at once           | their answers, in the questions' order |
| Latest  | a list of values                             | nothing                                |
| Publish | nothing, or at how many values to stop       | `Published(version, message)`          |

Anything in a list may be `(seconds, message)`: it then comes that long after the start. Values of a `Latest` that
have no time are there before the start. Settings are given by name; so is the state of a node that keeps some, under
the name of its `Saved` parameter. Edges hold one message, so that a node that relies on a buffer stops here.
Blocking work given to `compute` runs in the loop: the same seed gives the same run, and no thread is started.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NamedTuple

import trio

from flow.computing import InTheLoop, current_threads
from flow.context import Context, Live, MetricsInMemory
from flow.errors import SettingError
from flow.forgotten import no_forgotten_await
from flow.message import Message
from flow.node_type import NodeType, Port
from flow.ports import Call, In, Latest, Out, Publish, Serve
from flow.saved import Saved, pack, unpack
from flow.testing.memory_ports import Ends, call, newest, publish_to, stream

# A node that does nothing for so long will never do anything. A test's clock jumps there at once.
STUCK_S = 3600.0


class Published(NamedTuple):
    """A value that a node published."""

    version: int
    message: Any


class Driven:
    """What a node said, by port: `result.chunks`. metrics: what it counted. saved: its state when it ended."""

    def __init__(self, said: dict[str, list[Any]], metrics: MetricsInMemory) -> None:
        self._said = said
        self.metrics = metrics
        self.saved: dict[str, Any] = {}

    def __getattr__(self, port: str) -> list[Any]:
        if port.startswith("_") or port not in self._said:
            raise AttributeError(f"the node has no port '{port}' to hear; it has {', '.join(self._said) or 'none'}")
        return self._said[port]


async def drive(node_type: NodeType[Any], /, **given: Any) -> Driven:
    """Run a node on what is given until it ends, its outputs reached a given number, or it fails.

    Raises:
      whatever the node raises, or a function given for one of its Call ports.
      trio.TooSlowError: the node waits for ever; a note says at which ports something is left over.
    """
    return await _Drive(node_type, given).run()


@dataclass
class _Drive:
    type: NodeType[Any]
    given: dict[str, Any]
    said: dict[str, list[Any]] = field(default_factory=dict)
    ports: dict[str, Any] = field(default_factory=dict)
    helpers: list[Callable[[], Any]] = field(default_factory=list)
    watched: list[tuple[str, Callable[[], int]]] = field(default_factory=list)
    error: BaseException | None = None

    def __post_init__(self) -> None:
        known = {*self.type.ports, *self.type.settings, self.type.saved_parameter, self.type.context_parameter}
        for name in self.given:
            if name not in known:
                raise SettingError(
                    f"{self.type.name} has no port or setting '{name}'; it has {', '.join(sorted(filter(None, known)))}"
                )
        self.settings = {
            name: self.given.get(name, setting.default)
            for name, setting in self.type.settings.items()
            if name in self.given or not setting.required
        }
        self.over = trio.CancelScope()
        self.nodes_scope = trio.CancelScope()
        self.metrics = MetricsInMemory()
        for port in self.type.ports.values():
            make = getattr(self, f"_{port.kind.lower()}")
            ends = Ends(self.type.name, port.name, self.type.port_sizes(port.name, self.settings))
            self.ports[port.name] = make(port, self.given.get(port.name), ends)

    async def run(self) -> Driven:
        keywords: dict[str, Any] = {
            name: Live(value) if self.type.settings[name].live else value for name, value in self.settings.items()
        }
        saved = Saved(self._restored())
        if self.type.saved_parameter:
            keywords[self.type.saved_parameter] = saved
        if self.type.context_parameter:
            context = self.given.get(self.type.context_parameter) or Context(self.type.name)
            context.metrics = self.metrics
            keywords[self.type.context_parameter] = context
        with self.over:
            async with trio.open_nursery() as nursery:
                for helper in self.helpers:
                    nursery.start_soon(self._guard, helper)
                nursery.start_soon(self._guard, lambda: self._node(keywords))
                nursery.start_soon(self._guard, self._watch)
        if self.error is not None:
            raise self.error
        result = Driven(self.said, self.metrics)
        if state := saved.state():  # as a checkpoint holds it: a copy, and what cannot be saved says so here
            packed = pack(state)
            result.saved = unpack(packed.tensors, packed.rest)
        return result

    def _restored(self) -> dict[str, Any] | None:
        state = self.given.get(self.type.saved_parameter) if self.type.saved_parameter else None
        return state or None

    async def _guard(self, work: Callable[[], Any]) -> None:
        """Keep the first error as it was raised, not in a group, and stop everything."""
        try:
            await work()
        except trio.Cancelled:
            raise
        except BaseException as error:
            if self.error is None:
                self.error = error
            self.over.cancel()

    async def _node(self, keywords: dict[str, Any]) -> None:
        current_threads.set(InTheLoop(self.type.name))
        with no_forgotten_await(self.nodes_scope), self.nodes_scope:
            await self.type.function(*self.ports.values(), **keywords)
        for port in self.ports.values():
            if hasattr(port, "end"):
                port.end()
        # Readers still take what was sent; whoever feeds the node has nobody to feed.
        while any(isinstance(self.ports[name], Out) and left() for name, left in self.watched):
            await trio.lowlevel.checkpoint()
        self.over.cancel()

    async def _watch(self) -> None:
        await trio.sleep(STUCK_S)
        error = trio.TooSlowError(f"{self.type.name} waits for ever")
        left = [f"{name}: {count()} left over" for name, count in self.watched if count()]
        error.add_note("; ".join(left) or "nothing is left over at its ports: it waits for what was not given")
        raise error

    def _enough(self, port: Port, most: int | None) -> None:
        if most is not None and len(self.said[port.name]) >= most:
            self.nodes_scope.cancel()

    def _in(self, port: Port, given: Any, ends: Ends) -> In[Any]:
        out, into = stream(port.messages[0], ends=ends)
        items = _timed(port, given)
        left = [len(items)]

        async def feed() -> None:
            for moment, message in items:
                await trio.sleep_until(self.began + moment)
                await out.send(message)
                left[0] -= 1
            out.end()

        self.helpers.append(feed)
        self.watched.append((port.name, lambda: left[0]))
        return into

    def _out(self, port: Port, most: int | None, ends: Ends) -> Out[Any]:
        out, into = stream(port.messages[0], ends=ends)
        said = self.said[port.name] = []

        async def gather() -> None:
            async for message in into:
                if most is None or len(said) < most:
                    said.append(message)
                self._enough(port, most)

        self.helpers.append(gather)
        self.watched.append((port.name, lambda: len(into._mailbox.waiting)))
        return out

    def _call(self, port: Port, answer: Callable[[Any], Any] | None, ends: Ends) -> Call[Any, Any]:
        if answer is None:
            raise SettingError(f"{ends.node}, port {port.name}: give a function that answers its questions")
        asking, serve = call(*port.messages, most=64, ends=ends)
        asked = self.said[port.name] = []

        async def answer_each() -> None:
            # One group a batch, never padded: the function sees the question as it was asked.
            async for batch in serve.batches(most=1, buckets=()):
                asked.append(batch.questions)
                answered = answer(batch.questions)
                batch.answer(await answered if inspect.isawaitable(answered) else answered)

        self.helpers.append(answer_each)
        return asking

    def _serve(self, port: Port, given: Any, ends: Ends) -> Serve[Any, Any]:
        items = _timed(port, given)
        asking, serve = call(*port.messages, most=max(1, len(items)), ends=ends)
        answers: dict[int, Any] = {}
        self.said[port.name] = []

        async def ask(index: int, moment: float, question: Message) -> None:
            await trio.sleep_until(self.began + moment)
            answers[index] = await asking(question)

        async def ask_all() -> None:
            try:
                async with trio.open_nursery() as nursery:
                    for index, (moment, question) in enumerate(items):
                        nursery.start_soon(self._guard, partial(ask, index, moment, question))
            finally:
                self.said[port.name] += [answers[index] for index in sorted(answers)]
            asking.end()

        self.helpers.append(ask_all)
        self.watched.append((port.name, lambda: len(items) - len(answers)))
        return serve

    def _latest(self, port: Port, given: Any, ends: Ends) -> Latest[Any]:
        publish, latest = newest(port.messages[0], ends=ends)
        items = _timed(port, given)

        async def values() -> None:
            for version, (moment, message) in enumerate(items):
                if not isinstance(given[version], tuple):
                    continue
                await trio.sleep_until(self.began + moment)
                await publish.publish(message, version)
            publish.end()

        for version, (_, message) in enumerate(items):
            if not isinstance(given[version], tuple):
                publish.publish_nowait(message, version)
        self.helpers.append(values)
        return latest

    def _publish(self, port: Port, most: int | None, ends: Ends) -> Publish[Any]:
        said = self.said[port.name] = []

        def tell(version: int, message: Message) -> None:
            if most is None or len(said) < most:
                said.append(Published(version, message))
            self._enough(port, most)

        return publish_to(port.messages[0], tell, ends)

    @property
    def began(self) -> float:
        if not hasattr(self, "_began"):
            self._began = trio.current_time()
        return self._began


def _timed(port: Port, given: Iterable[Any] | None) -> list[tuple[float, Any]]:
    return [item if isinstance(item, tuple) else (0.0, item) for item in given or ()]
