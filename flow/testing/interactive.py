"""A node driven by hand, step by step, on a clock that jumps.

    async with harness(chunker, seconds=0.5) as h:
        await h.push("recordings", Clip(...))
        chunk = await h.pull("chunks")
        await h.expect_nothing()
        state = await h.snapshot()
        await h.kill()
        await h.restore(state)                 a new start, over what still waits at its ports
        h.close("recordings")
        await h.ended()

| port    | what a test does                                            |
| In      | push(port, message), close(port)                            |
| Out     | pull(port)                                                  |
| Call    | nothing: answers are made from the type, or `answers=` does |
| Serve   | ask(port, question), close(port)                            |
| Latest  | publish(port, message), close(port)                         |
| Publish | heard(port)                                                 |

Run it in a test that trio runs (flow.testing.pytest_plugin), whose clock jumps when all tasks wait. Below `@given`
the scheduler's seed is drawn, so each example is another interleaving.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import trio
from trio.testing import wait_all_tasks_blocked

from flow.computing import current_threads
from flow.context import Context, Live, MetricsInMemory
from flow.errors import SettingError
from flow.forgotten import no_forgotten_await
from flow.host import first_cause
from flow.message import Message
from flow.node_type import NodeType, Port
from flow.saved import Packed, Saved, pack, unpack
from flow.testing.answers import Answers
from flow.testing.cases import bound_for
from flow.testing.stage import Stage

# Seconds of the virtual clock after which nothing will happen any more.
NOTHING_S = 60.0


@asynccontextmanager
async def harness(
    node_type: NodeType[Any],
    *,
    seed: int = 0,
    start: Packed | None = None,
    answers: Mapping[str, Callable[[Any], Any]] | None = None,
    directory: Path | None = None,
    **settings: Any,
) -> AsyncIterator[Harness]:
    """Start a node and hand out what lies at its ports; at the end it is killed.

    Args:
      seed: `Context.seed`. start: saved state that it begins with. answers: by Call port, what answers its questions.
      directory: `Context.directory`.
      settings: of the node; those not given have their defaults.

    Raises:
      SettingError: there is no such setting, or it does not take the value.
      whatever the node raised, when the block ends, unless `ended` has told it.
    """
    failed: Exception | None = None
    one: Harness | None = None
    async with trio.open_nursery() as nursery:
        try:
            one = Harness(node_type, nursery, settings, seed, answers or {}, directory or Path())
            await one.restore(start)
            yield one
        except Exception as error:  # raised below as it is, not in the group that a nursery makes
            failed = error
        finally:
            if one is not None:
                with trio.CancelScope(shield=True):
                    await one.kill()
            nursery.cancel_scope.cancel()
    if failed is not None:
        raise failed
    if one is not None and one.error is not None and not one.told:
        raise one.error


class Harness:
    """A node, and what lies at its ports. Made by `harness`."""

    def __init__(
        self,
        node_type: NodeType[Any],
        nursery: trio.Nursery,
        settings: Mapping[str, Any],
        seed: int,
        answers: Mapping[str, Callable[[Any], Any]],
        directory: Path,
    ) -> None:
        for name in settings:
            if name not in node_type.settings:
                known = ", ".join(node_type.settings) or "none"
                raise SettingError(f"{node_type.name} has no setting '{name}'; it has {known}")
        missing = [name for name, each in node_type.settings.items() if each.required and name not in settings]
        if missing:
            raise SettingError(f"{node_type.name} needs the setting {', '.join(missing)}")
        values = {
            name: each.accept(settings[name]) if name in settings else each.default
            for name, each in node_type.settings.items()
        }
        node_type = bound_for(node_type, values)
        self.type, self.seed, self.directory = node_type, seed, directory
        self.stage = Stage(node_type, values)
        self.metrics = MetricsInMemory()
        self.live: dict[str, Live[Any]] = {}
        self.error: BaseException | None = None
        self.told = False
        self.starts = 0
        self._nursery = nursery
        self._done = trio.Event()
        self._done.set()
        self._versions: dict[str, int] = {}
        self._pulled: dict[str, int] = {}
        for port in node_type.ports.values():
            if port.kind == "Call":
                nursery.start_soon(self._answer, port, answers.get(port.name))

    async def push(self, port: str, message: Message) -> None:
        """Send to an In; waits while the node has not taken what was sent before."""
        self._must_be(port, "In")
        await self._while_it_runs(self.stage.send, port, message)

    async def pull(self, port: str) -> Any:
        """The next message of an Out. Raises `trio.EndOfChannel` when the node has ended and nothing is left."""
        self._must_be(port, "Out")
        return await self._while_it_runs(self.stage.take, port)

    async def ask(self, port: str, question: Message) -> Any:
        """A Serve's answer."""
        self._must_be(port, "Serve")
        return await self._while_it_runs(self.stage.ask, port, question)

    async def publish(self, port: str, message: Message) -> None:
        """Give a Latest its next value; the version is counted."""
        self._must_be(port, "Latest")
        self._versions[port] = self._versions.get(port, -1) + 1
        self.stage.links[port].publish(self._versions[port], message, 0)
        await trio.lowlevel.checkpoint()

    def heard(self, port: str) -> list[Any]:
        """All that the node published, or asked, so far."""
        self._must_be(port, "Publish", "Call")
        return [event.message for event in self.stage.events if event.port == port]

    def close(self, port: str) -> None:
        """No more comes to an In, a Serve or a Latest."""
        self._must_be(port, "In", "Serve", "Latest")
        self.stage.end(port)

    async def expect_nothing(self, seconds: float = NOTHING_S) -> None:
        """Nothing is to be pulled for some time.

        Raises:
          AssertionError: something came; the text says where and what.
        """
        await trio.sleep(seconds)
        for port in self.type.ports.values():
            waiting = self.stage.mailboxes[port.name].waiting if port.kind == "Out" else ()
            if waiting:
                raise AssertionError(
                    f"{self.type.name} was expected to say nothing, but port {port.name} sent {waiting[0][0]}"
                )

    async def advance(self, seconds: float) -> None:
        """Let time pass."""
        await trio.sleep(seconds)

    def set(self, setting: str, value: Any) -> None:
        """Change a live setting."""
        if setting not in self.live:
            raise SettingError(
                f"{self.type.name} has no live setting '{setting}'; it has {', '.join(self.live) or 'none'}"
            )
        self.live[setting].value = self.type.settings[setting].accept(value)

    async def snapshot(self) -> Packed:
        """The node's saved state once it rests, as a checkpoint holds it."""
        await wait_all_tasks_blocked()
        return pack(self.saved.state())

    async def kill(self) -> None:
        """Stop the node as a kill does: what it still says as it is cancelled nobody hears."""
        self.stage.deaf = True
        self.scope.cancel()
        await self._done.wait()
        self.stage.deaf = False
        for port in self.type.ports.values():
            if port.kind == "Serve":
                self.stage.mailboxes[port.name].fail_all()

    async def restore(self, state: Packed | None = None) -> None:
        """Start the node, from saved state or afresh. What was sent to it and not taken still waits."""
        if not self._done.is_set():
            raise RuntimeError("the node still runs; kill it first")
        self.saved = Saved(unpack(state.tensors, state.rest) if state is not None else None)
        self.scope, self._done = trio.CancelScope(), trio.Event()
        self._nursery.start_soon(self._node)
        await wait_all_tasks_blocked()

    async def ended(self, seconds: float = NOTHING_S) -> None:
        """Wait until the node has returned. Raises what it raised, or `trio.TooSlowError` when it does not end."""
        with trio.fail_after(seconds):
            await self._done.wait()
        self.told = True
        if self.error is not None:
            raise self.error

    def _must_be(self, name: str, *kinds: str) -> None:
        port = self.type.ports.get(name)
        if port is None or port.kind not in kinds:
            fit = ", ".join(each.name for each in self.type.ports.values() if each.kind in kinds)
            raise SettingError(f"{self.type.name} has no {' or '.join(kinds)} port '{name}'; it has {fit or 'none'}")

    async def _while_it_runs(self, work: Callable[..., Any], *arguments: Any) -> Any:
        """Do something at a port; where it never comes about, say so, or what the node died of."""
        with trio.move_on_after(NOTHING_S):
            return await work(*arguments)
        if self.error is not None:
            self.told = True
            raise self.error
        raise trio.TooSlowError(f"{self.type.name} does nothing for {NOTHING_S:g} s, and {arguments[0]} waits for it")

    async def _node(self) -> None:
        current_threads.set(self.stage.threads)
        self.starts += 1
        keywords: dict[str, Any] = {}
        for name, setting in self.type.settings.items():
            value = self.stage.settings[name]
            keywords[name] = self.live.setdefault(name, Live(value)) if setting.live else value
        if self.type.saved_parameter:
            keywords[self.type.saved_parameter] = self.saved
        if self.type.context_parameter:
            keywords[self.type.context_parameter] = Context(
                self.type.name.rpartition(":")[2],
                seed=self.seed,
                directory=self.directory,
                incarnation=self.starts - 1,
                metrics=self.metrics,
            )
        ports = self.stage.ports()
        try:
            with no_forgotten_await(self.scope), self.scope:
                await self.type.function(*ports.values(), **keywords)
                for port in ports.values():
                    if hasattr(port, "end"):
                        port.end()
        except Exception as error:
            self.error = first_cause(error)
        finally:
            self._done.set()

    async def _answer(self, port: Port, function: Callable[[Any], Any] | None) -> None:
        answers = Answers(port, self.type.port_sizes(port.name, self.stage.settings), {}, 0, function)
        async for batch in answers.server(self.stage.mailboxes[port.name]):
            self.stage.note("asked", port.name, batch.questions)
            await answers.reply(batch)
