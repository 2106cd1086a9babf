"""One example of a node's life: its settings, what comes to each port and when, and every seed.

A case is all that a rule of the contract looks at, so that a printed case shows a failure again.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from flow.message import Message

Timed = tuple[float, Message]
# Before the node begins: where the first value of a `Latest` port is.
BEFORE = -1.0


@dataclass(frozen=True)
class Case:
    """One example.

    Attributes:
      settings: of the node; those that are not here have their defaults.
      inputs: by In, Serve and Latest port, what comes there: (seconds after the start, message), in order.
      dims: sizes of named dimensions that no setting fixes; answers to the node's calls are made of them.
      most: messages after which a node that takes none is stopped.
      seed: `Context.seed`.
      schedule: seed of trio's scheduler, which decides whose turn it is.
      choices: small numbers that a rule turns into what it varies: where a stream is cut, what is spoiled.
    """

    settings: Mapping[str, Any] = field(default_factory=dict)
    inputs: Mapping[str, Sequence[Timed]] = field(default_factory=dict)
    dims: Mapping[str, int] = field(default_factory=dict)
    most: int = 4
    seed: int = 0
    schedule: int = 0
    choices: Sequence[int] = ()

    def choice(self, which: int) -> int:
        """One of the small numbers; 0 where none was drawn."""
        return self.choices[which] if which < len(self.choices) else 0

    @property
    def last(self) -> float:
        """When the last message comes."""
        return max((moment for _, moment, _ in self), default=0.0)

    def __iter__(self) -> Iterator[tuple[str, float, Message]]:
        """Port, moment and message of all inputs, in order of time."""
        rows = [(port, moment, message) for port, items in self.inputs.items() for moment, message in items]
        return iter(sorted(rows, key=lambda row: row[1]))

    def __repr__(self) -> str:
        """Short: messages of a case can be large."""
        counts = {port: len(items) for port, items in self.inputs.items()}
        return f"<case of {counts} with {dict(self.settings)}, seed {self.seed}, schedule {self.schedule}>"

    def fed(self, inputs: Mapping[str, Sequence[Timed]]) -> Case:
        """The same with other inputs at the ports named."""
        return replace(self, inputs={**self.inputs, **inputs})

    def at_once(self, ports: Sequence[str]) -> Case:
        """The same with all inputs of these ports at the start."""
        return self.fed({port: [(0.0, message) for _, message in self.inputs.get(port, ())] for port in ports})

    def before(self, moment: float) -> Case:
        """What comes before a moment."""
        return self.fed({port: [item for item in items if item[0] < moment] for port, items in self.inputs.items()})

    def after(self, moment: float) -> Case:
        """What comes from a moment on, and of each `Latest` port what is newest then: times as they were."""
        return self.fed({port: [item for item in items if item[0] >= moment] for port, items in self.inputs.items()})
