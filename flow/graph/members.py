"""What a graph file can tie and place: its nodes, each of which may stand for several of the whole graph.

    [nodes.policy]                      in laser.toml           policy
    [nodes.policy]                      included as `agent`     agent.policy
    [nodes.policy], swept over trust                            policy@trust=0.1, policy@trust=0.3
    [nodes.agent] graph = "…", swept                            agent.policy@trust=0.1, …

The name of a copy ends it, so that what stands before the @ is the same for all copies, and ports follow the last dot.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from flow.graph.model import COPY, Edge, End
from flow.graph.problems import Problems
from flow.node_type import Port


@dataclass(frozen=True)
class Naming:
    """How the names of one file become those of the whole graph.

    copy: of which copy, "" outside of sweeps. around: the file that includes this one, and the table that does.
    """

    prefix: str = ""
    copy: str = ""
    around: tuple[str, str] = ("", "")

    def full(self, name: str, copy: str = "") -> str:
        labels = ",".join(label for label in (self.copy, copy) if label)
        path = f"{self.prefix}.{name}" if self.prefix else name
        return f"{path}{COPY}{labels}" if labels else path

    def within(self, name: str, copy: str, file: str) -> Naming:
        """Of a graph that this one, in `file`, includes as `name`."""
        labels = ",".join(label for label in (self.copy, copy) if label)
        return Naming(f"{self.prefix}.{name}" if self.prefix else name, labels, (file, f"nodes.{name}"))


@dataclass(frozen=True)
class Joint:
    """A port as a file can name it. ends: by the copy of the sweep (sweep, copy), "" and "" outside of sweeps.

    tied: it has an edge within the included file, so that it needs none outside.
    """

    port: Port
    ends: tuple[tuple[str, str, End], ...]
    tied: bool = False


@dataclass
class Member:
    """A node of a file.

    what: what it is, as an error says it: its node type or its file. settings: what it can be told besides ports.
    places: what an entry of a worker can name of it, itself and nodes within, and the nodes of the whole graph that
    this stands for, with their replicas. graph: the file that it includes.
    """

    name: str
    what: str
    joints: dict[str, Joint] = field(default_factory=dict)
    settings: frozenset[str] = frozenset()
    places: dict[str, dict[str, int]] = field(default_factory=dict)
    graph: str = ""


Members = Mapping[str, Member]


@dataclass(frozen=True)
class Home:
    """Where something of the whole graph is written: problems of that file, and how it is called there.

    params: of a node's settings, those that are params of its file, by setting. around: as in Naming.
    """

    problems: Problems
    table: str = ""
    sender: str = ""
    receiver: str = ""
    params: Mapping[str, str] = field(default_factory=dict)
    around: tuple[str, str] = ("", "")


@dataclass
class Tie:
    """An edge of the whole graph, with where it is written. silent: it does not say a mode."""

    edge: Edge
    home: Home
    silent: bool


@dataclass
class Untied:
    """A port without an edge. level: the ports that could be written at its place, by what is written."""

    end: End
    text: str
    port: Port
    problems: Problems
    level: dict[str, End]
