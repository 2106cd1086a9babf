"""State machines for nodes with memory: a model stands beside the node, and rules feed, kill and restore it.

    class Counting(NodeMachine):
        node = counter
        ports = {"items": messages(Item)}

        def model(self, state, port, message):               what the node should say, and its state after it
            return state + 1, [("counts", Count(state + 1))]

    TestCounting = Counting.TestCase

Hypothesis draws the steps: a message is fed, the state is taken, the node is killed and restored. After every step
what the node said is held to what the model says; a restored node goes on from the state that was taken last, and what
it took since is fed again, as a run does that resumes.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from flow.message import Message
from flow.node_type import NodeType
from flow.saved import Packed
from flow.testing.case import Case
from flow.testing.compare import message_difference
from flow.testing.trial import How, Record, play

Said = tuple[str, Message]


class NodeMachine(RuleBasedStateMachine):
    """Subclass it, and give `node`, `ports`, `first` and `model`.

    Attributes:
      node: the node type. ports: by In port, a strategy for its messages. settings: of the node.
      first: the model's state before the first message.
    """

    node: ClassVar[NodeType[Any]]
    ports: ClassVar[Mapping[str, st.SearchStrategy[Any]]]
    settings: ClassVar[Mapping[str, Any]] = {}
    first: Any = None

    def model(self, state: Any, port: str, message: Any) -> tuple[Any, list[Said]]:
        """The model's state after a message, and what the node should have said to which port."""
        raise NotImplementedError("say what the node should do: return the new state, and [(port, message), ...]")

    @initialize()
    def begin(self) -> None:
        """A fresh node, and a model that has seen nothing."""
        self.since: list[tuple[str, Any]] = []  # fed since the state was taken
        self.taken: Packed | None = None
        self.state = copy.deepcopy(self.first)  # of the model, when the state was taken

    @rule(data=st.data())
    def feed(self, data: st.DataObject) -> None:
        """One more message, to one of the ports."""
        port = data.draw(st.sampled_from(sorted(self.ports)))
        self.since.append((port, data.draw(self.ports[port])))
        self._compare()

    @rule()
    def snapshot(self) -> None:
        """The state is taken; the node goes on."""
        record = self._played(How(snapshot_at=len(self.since) + 0.5, ends=False))
        assert record.state_error is None, f"the state cannot be saved: {record.state_error}"
        for port, message in self.since:
            self.state, _ = self.model(self.state, port, message)
        self.taken, self.since = record.snapshot, []

    @precondition(lambda self: self.since)
    @rule(step=st.integers(1, 40))
    def kill(self, step: int) -> None:
        """The node is killed at some step, and starts again from the state that was taken last."""
        self._played(How(cancel_at=step))
        self._compare()

    def _played(self, how: How) -> Record:
        """The node from the state that was taken last, fed what came since."""
        inputs: dict[str, list[tuple[float, Any]]] = {port: [] for port in self.ports}
        for moment, (port, message) in enumerate(self.since):
            inputs[port].append((float(moment), message))
        case = Case(settings=dict(self.settings), inputs=inputs)
        record = play(self.node, case, replace(how, start=self.taken))
        assert record.error is None or record.cancelled, f"the node failed: {record.error!r}"
        return record

    def _compare(self) -> None:
        said = self._played(How()).said()
        state = self.state
        expected: dict[str, list[Message]] = {}
        for port, message in self.since:
            state, outs = self.model(copy.deepcopy(state), port, message)
            for out, wanted in outs:
                expected.setdefault(out, []).append(wanted)
        for port in sorted({*said, *expected}):
            have, want = said.get(port, []), expected.get(port, [])
            assert len(have) == len(want), f"port {port}: {len(have)} messages, the model says {len(want)}"
            for index, (one, other) in enumerate(zip(have, want, strict=True)):
                where = message_difference(one[1] if isinstance(one, tuple) else one, other)
                assert not where, f"port {port}, message {index}: {where}; the second is the model's"
