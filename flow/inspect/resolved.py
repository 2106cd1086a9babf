"""What a run runs, from its directory alone: its resolved graph, and each replica as its worker gets it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from flow.errors import ControlError
from flow.graph.load import load_graph
from flow.graph.model import End, Graph, place
from flow.inspect.live import read_live
from flow.inspect.protocol import split_address
from flow.node_type import NodeType
from flow.plan import NodePlan, make_plan
from flow.run_directory import RunDirectory


@dataclass(frozen=True)
class ResolvedNode:
    """One replica of a node. settings: those changed while it ran included."""

    plan: NodePlan
    type: NodeType[Any]
    settings: dict[str, Any]


def resolved_graph(run: RunDirectory) -> Graph:
    """The graph of a run; its nodes' modules are imported."""
    return load_graph(run.graph_file)


def resolved_node(run: RunDirectory, graph: Graph, address: str) -> ResolvedNode:
    """A node's replica, the first if the address names none.

    Raises:
      ControlError: there is none.
    """
    name, replica = split_address(address)
    plan = make_plan(dict(graph.nodes), graph.edges, place(graph), seed=int(run.about().get("seed") or 0))
    wanted = (name, replica or 0)
    for worker in plan.workers:
        for node in worker.nodes:
            if (node.name, node.replica) == wanted:
                changed = read_live(run.path / "nodes" / node.key)
                return ResolvedNode(node, graph.nodes[name].type, {**node.settings, **changed})
    raise ControlError(f"{run.name} has no node '{address}'; it has {', '.join(graph.nodes)}")


def receivers_of(graph: Graph, end: End) -> list[str]:
    """The ports that hear what passes a port: those its edges lead to; itself, of one that receives."""
    return [str(edge.receiver) for edge in graph.edges if edge.sender == end] or [str(end)]
