"""How every node and every edge of a run stands. Values only; `flow top --json` prints them as they are."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

EdgeKind = Literal["stream", "call", "newest"]


@dataclass(frozen=True)
class NodeFigures:
    """One replica of a node. Shares and rates are of the last 5 to 10 s, quantiles fade with a half-life of 5 s."""

    node: str
    replica: int
    state: str
    """As its page says; "gone" when its process is, "hung" when its loop has not turned for long, "computing" when a
    thread of it has been at one computation for as long (a third of `flow run --stall`, so 10 s)."""
    worker: str
    pid: int
    restarts: int
    busy: float | None
    """Of its time, from 0 to 1; the four shares add up to 1. None of a node that was not there long enough."""
    starved: float | None
    blocked: float | None
    paused: float | None
    received: float
    """Messages and questions a second, over all its ports."""
    sent: float
    handling_p50_ms: float | None
    """From taking a message, or a batch, to asking for the next, waits to send what it makes of it included; of a
    source, from one send to the next."""
    handling_p99_ms: float | None
    answer_p50_ms: float | None
    """How long its questions wait for their answers."""
    answer_p99_ms: float | None
    batch_p50: float | None
    """Rows of the batches it serves; each figure is off by at most an eighth, and this one never above the next."""
    batch_max: float | None
    memory: int
    """Bytes that are resident of its worker, without pages of files; shared with the other nodes of that worker."""
    device_memory: int
    """Bytes that torch holds of a GPU in its worker."""
    last_error: str
    """Of a node that failed its error, else what its log warns of last: an error, or what was done to it by hand."""
    stuck_s: float = 0.0
    """How long its loop has not turned, if it hangs, or its computation has gone on."""

    @property
    def name(self) -> str:
        return f"{self.node}[{self.replica}]"


@dataclass(frozen=True)
class EdgeFigures:
    """One edge, over all replicas of its ends."""

    sender: str
    """`node.port`"""
    receiver: str
    kind: EdgeKind
    rate: float
    """Messages a second that were sent."""
    bytes_rate: float
    depth: int
    """Of a stream, messages sent and not yet taken; of a call, questions not yet answered; else 0."""
    credit: int
    """Of a stream, how many may be under way; 0 of other kinds."""
    sender_waits: float
    """Tasks of the sender that wait here on average: for credit, or for an answer."""
    receiver_waits: float
    """Tasks of the receiver that wait here on average, for something to come."""
    sent: int
    received: int
    dropped: int

    @property
    def name(self) -> str:
        return f"{self.sender} -> {self.receiver}"

    @property
    def fill(self) -> float:
        """Of a stream, how full it is, from 0 to 1."""
        return min(self.depth / self.credit, 1.0) if self.credit else 0.0


@dataclass(frozen=True)
class WorkerFigures:
    """One process of a run."""

    name: str
    pid: int
    alive: bool
    cores: float
    """Processors it kept busy, on average."""
    memory: int
    device_memory: int
    nodes: tuple[str, ...]


@dataclass(frozen=True)
class EventLine:
    """Something that happened in a run."""

    time: float
    level: str
    node: str
    text: str


@dataclass(frozen=True)
class Overview:
    """A whole run at one moment."""

    run: str
    title: str
    state: str
    """running, done, stopped, failed, or died when nobody wrote how it ended."""
    cause: str
    pid: int | None
    elapsed_s: float
    """Since it was last started."""
    seed: int | None
    touched: int
    """How often somebody changed it while it ran."""
    bottleneck: str
    bottleneck_node: str | None
    nodes: tuple[NodeFigures, ...] = ()
    edges: tuple[EdgeFigures, ...] = ()
    workers: tuple[WorkerFigures, ...] = ()
    events: tuple[EventLine, ...] = ()
    problems: tuple[str, ...] = field(default=())
    """Pages that could not be read."""
