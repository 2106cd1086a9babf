"""What a port of any kind knows of itself: its place, its message types, and what is measured and watched at it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from flow.errors import MessageError
from flow.handling import Handling
from flow.message import Message, Sizes, check, signature
from flow.stats import Histogram

if TYPE_CHECKING:
    from flow.inspect.watch import Watch

SIGNATURES_MAX = 256


class Rest(Protocol):
    """Told when a task of the node waits on a port: between two messages a node is at rest."""

    def __enter__(self) -> object: ...
    def __exit__(self, *exc: object) -> None: ...


class NeverResting:
    """For ports made in a test, where nobody takes the node's state."""

    def __enter__(self) -> None: ...
    def __exit__(self, *exc: object) -> None: ...


@dataclass
class Measures:
    """What is timed and counted at a port, where a page is there to keep it.

    handling: how long the node is at a message, of a port that sets its pace: one it takes from or, of a source, one
    it sends to. answer_us: how long answers take. batch_rows: how large batches are.
    """

    handling: Handling | None = None
    answer_us: Histogram | None = None
    batch_rows: Histogram | None = None


@dataclass
class PortSpec:
    """What each port knows of itself.

    checked: whether messages are held to their type as they enter and leave. watch: what it does for an inspector.
    aligned: whether arrays that come are made to begin at a multiple of 64 bytes, for a run that is to repeat.
    """

    node: str
    name: str
    messages: tuple[type[Message], ...]
    sizes: Sizes = field(default_factory=dict)
    checked: bool = True
    rest: Rest = field(default_factory=NeverResting)
    measures: Measures = field(default_factory=Measures)
    watch: Watch | None = None
    aligned: bool = False
    # Signatures of messages that were found good: a stream repeats few of them.
    good: set[object] = field(default_factory=set, repr=False, compare=False)

    def check(self, message: Message, which: int = 0) -> None:
        if not self.checked:
            return
        known = signature(message)
        if known is not None and (which, known) in self.good:
            return
        try:
            check(message, self.messages[which], self.sizes)
        except MessageError as error:
            raise MessageError(f"node {self.node}, port {self.name}: {error}") from None
        if known is not None and len(self.good) < SIGNATURES_MAX:
            self.good.add((which, known))


def spec_of(port: Any) -> PortSpec:
    """What a port of any kind knows of itself."""
    spec: PortSpec = port._spec
    return spec
