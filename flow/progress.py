"""How a run stands at one moment: what the views show and the reports write. Values only."""

from __future__ import annotations

from dataclasses import dataclass, field

from flow.logs import Event

COPY = "@"
"""As in names of nodes: "learner@trust=0.3" (flow/graph/members.py)."""


@dataclass(frozen=True)
class CounterProgress:
    """A counter, summed over everyone who counts under that name."""

    total: int
    rate: float
    """Per second, over the last 10 s."""
    unit: str = ""
    target: float | None = None
    """The total at which the run is done."""
    before: int = 0
    """The total when the monitor first looked: what earlier starts of the run had counted."""


@dataclass(frozen=True)
class GaugeProgress:
    """The mean of a gauge over everyone who has one of that name."""

    value: float
    unit: str = ""


@dataclass(frozen=True)
class NewValue:
    """A value of a series that came since the last poll."""

    time: float
    x: float
    """The progress counter when it came."""
    value: float


@dataclass(frozen=True)
class SeriesProgress:
    """A series, merged over everyone who writes one of that name."""

    mean: float | None
    """Of the last 100 values; None before the first."""
    spread: float
    """Standard deviation of the last 100 values."""
    count: int
    unit: str = ""
    new: tuple[NewValue, ...] = ()


@dataclass(frozen=True)
class CurvePoint:
    """Some neighbouring values of a series."""

    time: float
    x: float
    mean: float
    spread: float
    count: int


@dataclass(frozen=True)
class Curve:
    """A series over the whole run, in at most 400 points."""

    name: str
    x_name: str
    """The counter on the x axis; "seconds" when the run has none."""
    points: tuple[CurvePoint, ...] = ()


@dataclass(frozen=True)
class NodeProgress:
    """One replica of a node."""

    node: str
    replica: int
    state: str
    """As its page says; "gone" when its process is, "hung" when its loop has not turned for 10 s."""
    restarts: int = 0
    worker: str = ""
    pid: int = 0
    text: str = ""

    @property
    def name(self) -> str:
        return f"{self.node}.{self.replica}"


@dataclass(frozen=True)
class Progress:
    """How a run stands."""

    now: float
    elapsed: float
    """Seconds since the run was last started."""
    left: float | None = None
    """Seconds, as far as can be told."""
    fraction: float | None = None
    """Of the way to the first of the run's goals."""
    x_name: str = "seconds"
    x: float = 0.0
    shown: tuple[str, ...] = ()
    """Names of the metrics that a view shows, in this order."""
    counters: dict[str, CounterProgress] = field(default_factory=dict)
    gauges: dict[str, GaugeProgress] = field(default_factory=dict)
    series: dict[str, SeriesProgress] = field(default_factory=dict)
    curve: Curve | None = None
    copies: tuple[str, ...] = ()
    """The copies of a sweep, by the names that end those of their nodes and metrics: "episode_return@trust=0.3"."""
    copy_curves: tuple[Curve, ...] = ()
    """The same series as `curve` of each copy, over what that copy has done."""
    nodes: tuple[NodeProgress, ...] = ()
    faults: tuple[str, ...] = ()
    events: tuple[Event, ...] = ()

    def parted(self, metric: str) -> tuple[str, str]:
        """A metric's own name, and the copy that it is of, "" if it is of all."""
        plain, _, copy = metric.rpartition(COPY)
        return (plain, copy) if copy in self.copies else (metric, "")

    def of_copies(self, metric: str) -> list[tuple[str, str]]:
        """The copies of a sweep and the names that they have a metric under."""
        return [(copy, f"{metric}{COPY}{copy}") for copy in self.copies]
