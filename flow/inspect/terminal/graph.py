"""The graph of a run drawn in letters, left to right, with what each edge carries.

    ┌ actor ─────────┐              ┌ policy ────────┐
    │ ███·····  24 % ├ 68/s 2 ─────►┤ ███████·  73 % │
    └────────────────┘              └────────────────┘

Columns by the longest way over streams and calls; an edge that would close a cycle runs back, below everything.
A long edge passes the columns between in free rows. Figures in, letters and styles out.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from flow.inspect.bottleneck import node_of
from flow.inspect.figures import EdgeFigures, NodeFigures, Overview
from flow.inspect.terminal.canvas import Canvas
from flow.view.overview import bar, figure, percent

BAR = 8
SWEEPS = 4


@dataclass
class _Box:
    """A node, or the free row of a long edge (node == "")."""

    node: str
    layer: int
    lines: list[str] = field(default_factory=list)
    ins: list[int] = field(default_factory=list)
    outs: list[int] = field(default_factory=list)
    x: int = 0
    y: int = 0
    width: int = 0

    @property
    def height(self) -> int:
        return 1 if not self.node else 2 + max(len(self.lines), len(self.ins), len(self.outs))

    def row(self, edge: int, *, leaving: bool) -> int:
        side = self.outs if leaving else self.ins
        return self.y + (0 if not self.node else 1 + side.index(edge))


def graph_rows(overview: Overview) -> list[list[tuple[str, str]]]:
    """The picture, as runs of letters and their style, a list a row.

    Styles: "node", "bottleneck", "trouble" and "paused" of boxes; "stream", "half", "full", "call" and "newest" of
    edges.
    """
    nodes = _by_name(overview.nodes)
    edges = [edge for edge in overview.edges if {node_of(edge.sender), node_of(edge.receiver)} <= nodes.keys()]
    layers = find_layers(list(nodes), edges)
    boxes: dict[str, _Box] = {
        name: _Box(name, layers[name], _lines(name, those, overview)) for name, those in nodes.items()
    }
    chains, back = _chains(edges, layers, boxes)
    columns = _columns(boxes, [link for chain in chains.values() for link in itertools.pairwise(chain)])
    gutters = _place(columns, boxes, edges, chains, back)
    _order_ports(boxes, chains, back)
    canvas = Canvas()
    for name, box in boxes.items():
        if box.node:
            _draw_box(canvas, box, _style(name, nodes[name], overview))
    _draw_edges(canvas, boxes, edges, chains, back, gutters)
    return canvas.rows()


def _by_name(nodes: Iterable[NodeFigures]) -> dict[str, list[NodeFigures]]:
    found: dict[str, list[NodeFigures]] = {}
    for node in nodes:
        found.setdefault(node.node, []).append(node)
    return found


def find_layers(nodes: Sequence[str], edges: Sequence[EdgeFigures]) -> dict[str, int]:
    """The column of each node: one more than the last of those that lead to it over streams, then calls."""
    before: dict[str, set[str]] = {name: set() for name in nodes}

    def leads(end: str, start: str) -> bool:
        seen, todo = set(), [end]
        while todo:
            name = todo.pop()
            if name == start:
                return True
            if name not in seen:
                seen.add(name)
                todo += before[name]
        return False

    for kind in ("stream", "call"):
        for edge in edges:
            begin, end = node_of(edge.sender), node_of(edge.receiver)
            if edge.kind == kind and not leads(begin, end):
                before[end].add(begin)
    layers: dict[str, int] = {}

    def layer(name: str) -> int:
        if name not in layers:
            layers[name] = 1 + max((layer(each) for each in before[name]), default=-1)
        return layers[name]

    return {name: layer(name) for name in nodes}


def _lines(name: str, those: Sequence[NodeFigures], overview: Overview) -> list[str]:
    busy = [node.busy for node in those if node.busy is not None]
    states = {node.state for node in those}
    state = states.pop() if len(states) == 1 else "/".join(sorted(states))
    mean = sum(busy) / len(busy) if busy else None
    return [f"{bar(mean or 0.0, BAR)} {percent(mean):>4}" if state == "running" else state]


def _style(name: str, those: Sequence[NodeFigures], overview: Overview) -> str:
    if any(node.state in ("failed", "hung", "gone", "computing") for node in those):
        return "trouble"
    if any(node.state == "paused" for node in those):
        return "paused"
    return "bottleneck" if name == overview.bottleneck_node else "node"


def _chains(
    edges: Sequence[EdgeFigures], layers: Mapping[str, int], boxes: dict[str, _Box]
) -> tuple[dict[int, list[str]], list[int]]:
    """Of edges that run forward the boxes they pass, and the numbers of those that run back."""
    chains: dict[int, list[str]] = {}
    back = []
    for number, edge in enumerate(edges):
        begin, end = node_of(edge.sender), node_of(edge.receiver)
        if layers[begin] >= layers[end]:
            back.append(number)
        else:
            chains[number] = [begin]
            for layer in range(layers[begin] + 1, layers[end]):
                key = f"\0{number}/{layer}"
                boxes[key] = _Box("", layer)
                chains[number].append(key)
            chains[number].append(end)
        boxes[begin].outs.append(number)
        boxes[end].ins.append(number)
    return chains, back


def _order_ports(boxes: Mapping[str, _Box], chains: Mapping[int, Sequence[str]], back: Sequence[int]) -> None:
    """In the order of what they are tied to, so that few edges cross; those that run back last, below the others."""

    def middle(key: str) -> tuple[bool, int]:
        return False, boxes[key].y + boxes[key].height // 2

    below = dict.fromkeys(back, (True, 0))
    after = {number: middle(chain[1]) for number, chain in chains.items()} | below
    before = {number: middle(chain[-2]) for number, chain in chains.items()} | below
    for box in boxes.values():
        box.outs.sort(key=after.__getitem__)
        box.ins.sort(key=before.__getitem__)


def _columns(boxes: Mapping[str, _Box], links: Sequence[tuple[str, str]]) -> list[list[str]]:
    """Who stands in each column, each next to what it is tied to (barycentres)."""
    columns: list[list[str]] = [[] for _ in range(max((box.layer for box in boxes.values()), default=-1) + 1)]
    for key, box in boxes.items():
        columns[box.layer].append(key)
    near: dict[str, list[str]] = {}
    for a, b in links:
        near.setdefault(a, []).append(b)
        near.setdefault(b, []).append(a)
    for sweep in range(SWEEPS):
        for column in columns if sweep % 2 == 0 else reversed(columns):
            place = {key: (at + 0.5) / len(other) for other in columns for at, key in enumerate(other)}
            wish = {
                key: sum(place[each] for each in near.get(key, [key])) / len(near.get(key, [key])) for key in column
            }
            column.sort(key=wish.__getitem__)
    return columns


def _place(
    columns: Sequence[Sequence[str]],
    boxes: Mapping[str, _Box],
    edges: Sequence[EdgeFigures],
    chains: Mapping[int, Sequence[str]],
    back: Sequence[int],
) -> dict[int, int]:
    """Set where each box lies; returns where the free space before each column begins (and after the last)."""
    gutters: dict[int, int] = {}
    coming = [sum(boxes[node_of(edges[number].receiver)].layer == at for number in back) for at in range(len(columns))]
    leaving = [sum(boxes[node_of(edges[number].sender)].layer == at for number in back) for at in range(len(columns))]
    x = 0
    for at, column in enumerate(columns):
        gutters[at] = x
        passing = sum(boxes[a].layer == at - 1 for chain in chains.values() for a in chain[:-1])
        labels = [len(label(edges[number])) for number, chain in chains.items() if boxes[chain[0]].layer == at - 1]
        lanes = passing + coming[at] + (leaving[at - 1] if at else 0)
        x += lanes + (max(labels, default=0) + 5 if at else 2 * bool(lanes))
        width = max(
            [4 + max(len(line) for line in [box.node, *box.lines]) for key in column if (box := boxes[key]).node],
            default=1,
        )
        y = 0
        for key in column:
            boxes[key].x, boxes[key].y, boxes[key].width = x, y, width
            y += boxes[key].height + 1
        x += width
    gutters[len(columns)] = x
    return gutters


def _draw_box(canvas: Canvas, box: _Box, style: str) -> None:
    right, bottom = box.x + box.width - 1, box.y + box.height - 1
    canvas.path([(box.x, box.y), (right, box.y), (right, bottom), (box.x, bottom), (box.x, box.y)], style)
    canvas.text(box.x + 1, box.y, f" {box.node} ", style)
    for at, line in enumerate(box.lines):
        canvas.text(box.x + 2, box.y + 1 + at, line, style)


def _draw_edges(
    canvas: Canvas,
    boxes: Mapping[str, _Box],
    edges: Sequence[EdgeFigures],
    chains: Mapping[int, Sequence[str]],
    back: Sequence[int],
    gutters: Mapping[int, int],
) -> None:
    free = {at: _first_lane(at, boxes, gutters) for at in gutters}
    bottom = max((box.y + box.height for box in boxes.values()), default=0)

    def lane(gutter: int) -> int:
        free[gutter] -= 1
        return free[gutter]

    for number, chain in chains.items():
        style = edge_style(edges[number])
        points: list[tuple[int, int]] = []
        for a, b in itertools.pairwise(chain):
            begin, end = boxes[a], boxes[b]
            y, to_y = begin.row(number, leaving=True), end.row(number, leaving=False)
            x = lane(end.layer)
            points += [(begin.x + begin.width - (1 if begin.node else 0), y), (x, y), (x, to_y)]
        last = boxes[chain[-1]]
        canvas.path([*points, (last.x, points[-1][1])], style)
        canvas.text(last.x - 1, points[-1][1], "►", style)
        first = boxes[chain[0]]
        canvas.text(first.x + first.width, points[0][1], f" {label(edges[number])} ", style)
    for depth, number in enumerate(back):
        begin, end = boxes[node_of(edges[number].sender)], boxes[node_of(edges[number].receiver)]
        style, low = edge_style(edges[number]), bottom + depth
        right = lane(begin.layer + 1) if begin.layer + 1 < len(gutters) - 1 else begin.x + begin.width + 1 + depth
        left = lane(end.layer)
        y, to_y = begin.row(number, leaving=True), end.row(number, leaving=False)
        way = [(begin.x + begin.width - 1, y), (right, y), (right, low), (left, low), (left, to_y), (end.x, to_y)]
        canvas.path(way, style)
        canvas.text(end.x - 1, to_y, "►", style)
        canvas.text(left + 2, low, f" {edges[number].sender.rpartition('.')[2]} {label(edges[number])} ", style)


def _first_lane(gutter: int, boxes: Mapping[str, _Box], gutters: Mapping[int, int]) -> int:
    """The place of a gutter's rightmost upright line, left of its arrows."""
    right = min((box.x for box in boxes.values() if box.layer == gutter), default=gutters[gutter])
    return right - 1


def label(edge: EdgeFigures) -> str:
    """`68/s 2/4`: the rate, and how many are under way of how many may be."""
    depth = f" {edge.depth}/{edge.credit}" if edge.credit else f" {edge.depth}" if edge.kind == "call" else ""
    return f"{figure(edge.rate) or '0'}/s{depth}"


def edge_style(edge: EdgeFigures) -> str:
    """Its kind; of a stream, how full it is."""
    if edge.kind != "stream":
        return edge.kind
    return "full" if edge.fill > 0.85 else "half" if edge.fill > 0.5 else "stream"
