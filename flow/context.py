"""What a node can ask of the runtime by type: `Context`, and settings that change while it runs: `Live`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Generic, Literal, Protocol, TypeVar

T = TypeVar("T")
Level = Literal["info", "warning", "error"]


class Live(Generic[T]):
    """A setting that can change while the node runs: read `.value` each time it is used."""

    def __init__(self, value: T) -> None:
        self.value = value


class Metrics(Protocol):
    """Figures of a node for the terminal, TensorBoard and the inspector, kept in its stats page."""

    def count(self, name: str, n: float = 1) -> None:
        """Add to a counter, "frames" for instance; `[until]` may name it."""

    def gauge(self, name: str, value: float) -> None:
        """Set a figure that goes up and down, "replay_fill" for instance."""

    def record(self, name: str, value: float) -> None:
        """Add a value to a series, "episode_return" for instance; its mean over the last 100 is shown."""


@dataclass
class MetricsInMemory:
    """Metrics for a node called without a runtime, in a test for instance."""

    counters: dict[str, float] = field(default_factory=dict)
    gauges: dict[str, float] = field(default_factory=dict)
    series: dict[str, list[float]] = field(default_factory=dict)

    def count(self, name: str, n: float = 1) -> None:
        self.counters[name] = self.counters.get(name, 0) + n

    def gauge(self, name: str, value: float) -> None:
        self.gauges[name] = value

    def record(self, name: str, value: float) -> None:
        self.series.setdefault(name, []).append(value)


def _quiet(text: str, level: Level = "info") -> None: ...


@dataclass
class Context:
    """Who a node is in its run.

    name: "actor"; "agent.actor" in a graph that another one includes, "actor@trust=0.3" as a copy of a sweep.
    replica: its number among `replicas`. number: its number among all replicas of all nodes of the graph.
    seed: differs from replica to replica, the same in each run of a seed.
    directory: a place for files of this node that lasts as long as the run. incarnation: how many starts it has
    had before, in this run directory. log: writes an event to the run's log.
    """

    name: str
    replica: int = 0
    replicas: int = 1
    seed: int = 0
    directory: Path = field(default_factory=Path)
    incarnation: int = 0
    metrics: Metrics = field(default_factory=MetricsInMemory)
    log: Callable[..., None] = _quiet
    number: int = 0
