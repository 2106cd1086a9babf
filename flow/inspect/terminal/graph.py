"""The graph of a run drawn in letters, left to right, with what each edge carries.

    ┌ actor ─────────┐              ┌ policy ────────┐
    │ ███·····  24 % ├ 68/s 2 ─────►┤ ███████·  73 % │
    └────────────────┘              └────────────────┘

Columns by the longest way over streams and calls; an edge that would close a cycle runs back, below everything.
A long edge passes the columns between in free rows. Lines cross and never lie on each other (lanes.py): each can be
followed. Figures in, letters and styles out.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from flow.inspect.bottleneck import node_of
from flow.inspect.figures import EdgeFigures, NodeFigures, Overview
from flow.inspect.terminal.canvas import Canvas
from flow.inspect.terminal.lanes import Rows, Way, find_ways
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
    _stack(columns, boxes)
    _order_ports(boxes, chains, back)
    gutters = _spread(columns, boxes, edges, chains, back)
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


def _stack(columns: Sequence[Sequence[str]], boxes: Mapping[str, _Box]) -> None:
    """Set the row of each box."""
    for column in columns:
        y = 0
        for key in column:
            boxes[key].y = y
            y += boxes[key].height + 1


@dataclass
class _Gutter:
    """The free space before a column, or after the last. x: of its first lane. ways: of the edges that pass it."""

    ways: dict[int, Way]
    x: int = 0


def _spread(
    columns: Sequence[Sequence[str]],
    boxes: Mapping[str, _Box],
    edges: Sequence[EdgeFigures],
    chains: Mapping[int, Sequence[str]],
    back: Sequence[int],
) -> list[_Gutter]:
    """Set where each column lies; returns the space before each, and after the last."""
    lines: list[dict[int, Rows]] = [{} for _ in range(len(columns) + 1)]
    labels = [0] * (len(columns) + 1)
    for number, chain in chains.items():
        for a, b in itertools.pairwise(chain):
            rows = boxes[a].row(number, leaving=True), boxes[b].row(number, leaving=False)
            lines[boxes[b].layer][number] = rows
        gutter = boxes[chain[0]].layer + 1
        labels[gutter] = max(labels[gutter], len(label(edges[number])) + 2)
    for number in back:
        begin, end = boxes[node_of(edges[number].sender)], boxes[node_of(edges[number].receiver)]
        lines[begin.layer + 1][_leaving(number)] = begin.row(number, leaving=True), None
        lines[end.layer][number] = None, end.row(number, leaving=False)
    below = range(_bottom(boxes), _bottom(boxes) + len(back))
    gutters, x = [], 0
    for at, those in enumerate(lines):
        ways, lanes = find_ways(those, below)
        gutters.append(_Gutter(ways, x + labels[at] + 1))
        x += labels[at] + lanes + 3 if those else 2 * bool(at)
        if at < len(columns):
            column = [boxes[key] for key in columns[at]]
            wide = [4 + max(len(line) for line in [box.node, *box.lines]) for box in column if box.node]
            for box in column:
                box.x, box.width = x, max(wide, default=1)
            x += max(wide, default=1)
    return gutters


def _leaving(number: int) -> int:
    """An edge that runs back is two lines, which may be in one gutter: the number of the one at its sender."""
    return -1 - number


def _bottom(boxes: Mapping[str, _Box]) -> int:
    return max((box.y + box.height for box in boxes.values()), default=0)


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
    gutters: Sequence[_Gutter],
) -> None:
    for number, chain in chains.items():
        points: list[tuple[int, int]] = []
        for a, b in itertools.pairwise(chain):
            begin, end = boxes[a], boxes[b]
            y, to_y = begin.row(number, leaving=True), end.row(number, leaving=False)
            points += [
                (begin.x + begin.width - (1 if begin.node else 0), y),
                *_turns(gutters[end.layer], number, y, to_y),
            ]
        _draw_edge(canvas, edges[number], [*points, (boxes[chain[-1]].x, points[-1][1])])
        first = boxes[chain[0]]
        canvas.text(first.x + first.width, points[0][1], f" {label(edges[number])} ", edge_style(edges[number]))
    lanes = []
    for low, number in enumerate(back, _bottom(boxes)):
        begin, end = boxes[node_of(edges[number].sender)], boxes[node_of(edges[number].receiver)]
        right, left = (
            gutter.x + (gutter.ways[line].first or 0)
            for gutter, line in ((gutters[begin.layer + 1], _leaving(number)), (gutters[end.layer], number))
        )
        y, to_y = begin.row(number, leaving=True), end.row(number, leaving=False)
        way = [(begin.x + begin.width - 1, y), (right, y), (right, low), (left, low), (left, to_y), (end.x, to_y)]
        _draw_edge(canvas, edges[number], way)
        lanes += [(right, low), (left, low)]
    for low, number in enumerate(back, _bottom(boxes)):
        crossed = sorted(x for x, down_to in lanes if down_to >= low)
        ends = [x for x, down_to in lanes if down_to == low]
        _label_below(canvas, edges[number], low, [x for x in crossed if min(ends) <= x <= max(ends)])


def _turns(gutter: _Gutter, number: int, y: int, to_y: int) -> list[tuple[int, int]]:
    """The corners of an edge in the space between two columns."""
    way = gutter.ways[number]
    if way.first is None:
        return []
    x = gutter.x + way.first
    if way.second is None:
        return [(x, y), (x, to_y)]
    return [(x, y), (x, way.row), (gutter.x + way.second, way.row), (gutter.x + way.second, to_y)]


def _draw_edge(canvas: Canvas, edge: EdgeFigures, points: list[tuple[int, int]]) -> None:
    canvas.path(points, edge_style(edge))
    x, y = points[-1]
    canvas.text(x - 1, y, "►", edge_style(edge))


def _label_below(canvas: Canvas, edge: EdgeFigures, y: int, uprights: Sequence[int]) -> None:
    """Write on the row on which an edge runs back, between the lines that cross it there."""
    spaces = [(x + 2, to_x - 2) for x, to_x in itertools.pairwise(uprights)]
    port, said = edge.sender.rpartition(".")[2], label(edge)
    wanted = len(f" {port} {said} ")
    begin, end = next(
        (each for each in spaces if each[1] - each[0] >= wanted), max(spaces, key=lambda each: each[1] - each[0])
    )
    kept = max(end - begin - len(said) - 3, 0)
    text = f" {port[:kept]} {said} " if kept else f" {said} "
    canvas.text(begin, y, text[: max(end - begin, 0)], edge_style(edge))


def label(edge: EdgeFigures) -> str:
    """`68/s 2/4`: the rate, and how many are under way of how many may be."""
    depth = f" {edge.depth}/{edge.credit}" if edge.credit else f" {edge.depth}" if edge.kind == "call" else ""
    return f"{figure(edge.rate) or '0'}/s{depth}"


def edge_style(edge: EdgeFigures) -> str:
    """Its kind; of a stream, how full it is."""
    if edge.kind != "stream":
        return edge.kind
    return "full" if edge.fill > 0.85 else "half" if edge.fill > 0.5 else "stream"
