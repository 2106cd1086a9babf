"""The graph of a run as the page draws it: where boxes and edges lie, and the lines between them, as SVG paths.

From pages and the text of the resolved graph alone: no module of a node is imported, so it is there at once and also
where what the run needed is no longer installed.
"""

from __future__ import annotations

import tomllib
from typing import Any

from flow.graph.draw import way_of
from flow.graph.layout import lay_out
from flow.graph.model import Edge, End, without_copy
from flow.graph.sketch import Sketch, SketchNode
from flow.inspect.bottleneck import node_of
from flow.inspect.figures import Overview
from flow.run_directory import RunDirectory

KINDS = {"stream": "Out", "call": "Call", "newest": "Publish"}
CAPTION = "100 % busy  9.99k ms"
"""What a box says at the longest: its place is kept."""
LABEL = "99.9k/s 64/64"
Shape = tuple[tuple[str, ...], tuple[tuple[str, str, str], ...]]


def shape_of(overview: Overview) -> Shape:
    """What the picture depends on: nodes and edges, the copies of a sweep as one."""
    nodes = dict.fromkeys(without_copy(node.node) for node in overview.nodes)
    edges = {(_folded(edge.sender), _folded(edge.receiver)): edge.kind for edge in overview.edges}
    return tuple(nodes), tuple((*ends, kind) for ends, kind in sorted(edges.items()))


def picture(run: RunDirectory, overview: Overview) -> dict[str, Any]:
    """Boxes, edges and frames, in the units of an SVG view box."""
    layout = lay_out(_sketch(run, overview))
    edges = [
        {
            "sender": str(route.edge.sender),
            "receiver": str(route.edge.receiver),
            "way": way_of(route),
            "head": route.points[-1],
            "label": (route.points[2][0] - 14, route.points[2][1] - 4) if route.back else _beside(route.points[0]),
            "back": route.back,
        }
        for route in layout.routes
    ]
    boxes = [
        {
            "node": box.node,
            "x": box.x,
            "y": box.y,
            "width": box.width,
            "height": box.height,
            "ins": [(name, *box.port(name)) for name in box.ins],
            "outs": [(name, *box.port(name)) for name in box.outs],
        }
        for box in layout.boxes
    ]
    frames = [
        {"name": ".".join(each.band), "x": each.x, "y": each.y, "width": each.width, "height": each.height}
        for each in layout.frames
    ]
    return {"width": layout.width, "height": layout.height, "boxes": boxes, "edges": edges, "frames": frames}


def written_graph(run: RunDirectory) -> dict[str, Any]:
    """The tables of the run's graph file; empty where there is none that can be read."""
    try:
        return tomllib.loads(run.graph_file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}


def _sketch(run: RunDirectory, overview: Overview) -> Sketch:
    names, found = shape_of(overview)
    written = _edges_in_order(written_graph(run).get("edges", {}))
    order = {ends: at for at, ends in enumerate(written)}
    edges, kinds = [], {}
    for sender, receiver, kind in sorted(found, key=lambda each: order.get(each[:2], len(order))):
        if {node_of(sender), node_of(receiver)} <= set(names):
            ends = [End(*end.rpartition(".")[::2]) for end in (sender, receiver)]
            edges.append(Edge(ends[0], ends[1], feedback=written.get((sender, receiver), False)))
            kinds[ends[0]] = KINDS[kind]
    nodes = {}
    for name in names:
        ins = dict.fromkeys(edge.receiver.port for edge in edges if edge.receiver.node == name)
        outs = dict.fromkeys(edge.sender.port for edge in edges if edge.sender.node == name)
        replicas = sum(without_copy(node.node) == name for node in overview.nodes)
        nodes[name] = SketchNode(tuple(ins), tuple(outs), CAPTION, replicas)
    return Sketch(nodes, tuple(edges), kinds, dict.fromkeys(kinds, LABEL))


def _edges_in_order(table: dict[str, Any]) -> dict[tuple[str, str], bool]:
    """Each edge as the file has it, and whether it may close a cycle."""
    found = {}
    for sender, told in table.items():
        for one in told if isinstance(told, list) else [told]:
            receivers = one.get("to", ()) if isinstance(one, dict) else one
            for receiver in receivers if isinstance(receivers, list) else [receivers]:
                feedback = isinstance(one, dict) and bool(one.get("feedback"))
                found[_folded(str(sender)), _folded(str(receiver))] = feedback
    return found


def _folded(end: str) -> str:
    """A port's address without the copy: `learner@trust=0.3.weights` -> `learner.weights`."""
    node, _, port = end.rpartition(".")
    return f"{without_copy(node)}.{port}"


def _beside(point: tuple[float, float]) -> tuple[float, float]:
    return point[0] + 9, point[1] - 5
