"""Where the parts of a drawn graph lie: columns from left to right, rows within them.

    layers   by longest path over streams and calls; an edge that would close a cycle runs back, below everything
    order    by barycentre: each next to what it is tied to; a long edge holds a free row in each column it passes
    rows     each as near to its neighbours as those above and below it allow
    bands    nodes of an included graph have rows of their own, over all columns, so that a frame fits around them

Nothing here knows SVG: points in, points out.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from flow.graph.fold import frames_of, shared
from flow.graph.model import Edge, End, Graph
from flow.graph.sketch import Sketch, sketch_of

CHARACTER = 6.7  # width of a letter of a label, a little too wide rather than too narrow
LETTER = 6.0  # the same in the smaller print of edges
HEAD = 50.0  # of a box, above its ports
ROW = 20.0
GAP = 34.0  # between boxes of a column
LANE = 17.0  # between edges that run back
FREE = 14.0  # height of the row of a long edge
BEND = 60.0  # the least room for an edge to bend between two columns
TURN = 13.0  # from a box to the first edge that turns beside it
SWEEPS = 6
FRAME = 16.0  # from a frame to what is in it
FRAME_TITLE = 18.0
Band = tuple[str, ...]


@dataclass
class Box:
    """A node, or the free row that a long edge passes through (node == "")."""

    key: str
    node: str
    layer: int
    width: float
    height: float
    x: float = 0.0
    y: float = 0.0
    ins: list[str] = field(default_factory=list)
    outs: list[str] = field(default_factory=list)
    band: Band = ()

    def port(self, name: str) -> tuple[float, float]:
        """Where a port lies on the box's edge."""
        side = self.outs if name in self.outs else self.ins
        at = self.y + HEAD + ROW * (side.index(name) + 0.5)
        return (self.x + self.width if name in self.outs else self.x), at


@dataclass
class Route:
    """An edge's way. points: those it passes. back: whether it runs from right to left, below the boxes.
    lead: how far it is level before it may bend, so that it crosses no label of its column.
    """

    edge: Edge
    label: str
    points: list[tuple[float, float]]
    back: bool
    lead: float = 0.0


@dataclass
class Frame:
    """The place of an included graph."""

    band: Band
    x: float
    y: float
    width: float
    height: float


@dataclass
class Layout:
    """A whole picture's geometry."""

    boxes: list[Box]
    routes: list[Route]
    width: float
    height: float
    frames: list[Frame]


def label_width(label: str) -> float:
    """From a port to where its edge may bend, so that the edge does not run through its label."""
    return len(label) * LETTER + 16


def lay_out(graph: Graph | Sketch, copies: Mapping[str, int] | None = None) -> Layout:
    """Place a graph's boxes and edges. copies: how many nodes a box stands for."""
    sketch = graph if isinstance(graph, Sketch) else sketch_of(graph)
    layers = find_layers(sketch)
    boxes = {name: _box(sketch, name, layer, (copies or {}).get(name, 1)) for name, layer in layers.items()}
    forward = [edge for edge in sketch.edges if layers[edge.sender.node] < layers[edge.receiver.node]]
    backward = [edge for edge in sketch.edges if edge not in forward]
    chains = {edge: _chain(edge, layers, boxes) for edge in forward}
    columns: list[list[str]] = [[] for _ in range(max(layers.values(), default=-1) + 1)]
    for key, box in boxes.items():
        columns[box.layer].append(key)
    links = [pair for chain in chains.values() for pair in pairwise(chain)]
    _order(columns, links, boxes)
    leads = _leads(sketch, forward, layers)
    _set_x(columns, boxes, leads, backward)
    _set_y(columns, boxes, links)
    _order_ports(boxes, chains)
    frames = _frames(boxes)
    bottom = max([box.y + box.height for box in boxes.values()] + [frame.y + frame.height for frame in frames] + [0.0])
    routes = [_forward(sketch, edge, [boxes[key] for key in chains[edge]], leads) for edge in forward]
    routes += _backward(sketch, backward, boxes, bottom + GAP / 2)
    width = max([box.x + box.width for box in boxes.values()] + [frame.x + frame.width for frame in frames] + [0.0])
    xs = [point[0] for route in routes for point in route.points]
    height = max([bottom, *(point[1] for route in routes for point in route.points)])
    return Layout([box for box in boxes.values() if box.node], routes, max([width, *xs]), height, frames)


def find_layers(sketch: Sketch) -> dict[str, int]:
    """The column of each node: one more than the last of those before it."""
    before: dict[str, set[str]] = {name: set() for name in sketch.nodes}

    def add(edges: Iterable[Edge]) -> None:
        for edge in edges:
            if not _reaches(before, edge.sender.node, edge.receiver.node):
                before[edge.receiver.node].add(edge.sender.node)

    add(edge for edge in sketch.edges if sketch.kind(edge) == "Out" and not edge.feedback)
    add(edge for edge in sketch.edges if sketch.kind(edge) == "Call")
    # a published value moves only who would otherwise float: it flows against the streams as a rule
    floating = {name for name, those in before.items() if not those}
    leads = {name for those in before.values() for name in those}
    add(
        edge
        for edge in sketch.edges
        if sketch.kind(edge) == "Publish" and edge.receiver.node in floating and edge.receiver.node not in leads
    )
    layers: dict[str, int] = {}

    def layer(name: str) -> int:
        if name not in layers:
            layers[name] = 1 + max((layer(each) for each in before[name]), default=-1)
        return layers[name]

    return {name: layer(name) for name in sketch.nodes}


def _reaches(before: Mapping[str, set[str]], end: str, start: str) -> bool:
    """Whether a way leads from start to end, so that an edge from end to start would close a cycle."""
    seen, todo = set(), [end]
    while todo:
        name = todo.pop()
        if name == start:
            return True
        if name not in seen:
            seen.add(name)
            todo += before[name]
    return False


def _box(sketch: Sketch, name: str, layer: int, copies: int) -> Box:
    node = sketch.nodes[name]
    ins, outs = list(node.ins), list(node.outs)
    rows = max(len(ins), len(outs))
    beside = max((len(each) for each in ins), default=0) + max((len(each) for each in outs), default=0)
    badge = (5 if node.replicas > 1 else 0) + (9 if copies > 1 else 0)
    letters = max(len(name) * 1.25 + badge, len(node.caption) * 0.93, beside + 3)
    width, height = max(116.0, letters * CHARACTER + 26), HEAD + ROW * rows + 8
    return Box(name, name, layer, width, height, ins=ins, outs=outs, band=frames_of(name))


def _chain(edge: Edge, layers: Mapping[str, int], boxes: dict[str, Box]) -> list[str]:
    """The boxes that an edge passes, with a free row in each column between."""
    begin, end = edge.sender.node, edge.receiver.node
    chain = [begin]
    for layer in range(layers[begin] + 1, layers[end]):
        key = f"{edge}/{layer}"
        boxes[key] = Box(key, "", layer, 0.0, FREE, band=shared(frames_of(begin), frames_of(end)))
        chain.append(key)
    return [*chain, end]


def _order(columns: list[list[str]], links: Sequence[tuple[str, str]], boxes: Mapping[str, Box]) -> None:
    """Sort each column by band, and within it by where its neighbours in the next one stand, to and fro."""
    before: dict[str, list[str]] = {}
    after: dict[str, list[str]] = {}
    for a, b in links:
        after.setdefault(a, []).append(b)
        before.setdefault(b, []).append(a)
    for sweep in range(SWEEPS):
        beside = before if sweep % 2 == 0 else after
        for column in columns if sweep % 2 == 0 else reversed(columns):
            place = {key: (at + 0.5) / len(other) for other in columns for at, key in enumerate(other)}
            wish = {
                key: sum(place[each] for each in near) / len(near) if (near := beside.get(key)) else place[key]
                for key in column
            }
            column.sort(key=lambda key: (boxes[key].band, wish[key]))


def _leads(sketch: Sketch, forward: Sequence[Edge], layers: Mapping[str, int]) -> dict[int, float]:
    """For each column the room that its longest label takes."""
    leads: dict[int, float] = {}
    for edge in forward:
        layer = layers[edge.sender.node]
        leads[layer] = max(leads.get(layer, 0.0), label_width(sketch.label(edge)))
    return leads


def _set_x(
    columns: list[list[str]], boxes: dict[str, Box], leads: Mapping[int, float], backward: Sequence[Edge]
) -> None:
    x = 0.0
    for layer, column in enumerate(columns):
        width = max(boxes[key].width for key in column)
        for key in column:
            box = boxes[key]
            box.x = x + (width - box.width) / 2 if box.node else x
            box.width = box.width or width
        leaving = sum(boxes[edge.sender.node].layer == layer for edge in backward)
        coming = sum(boxes[edge.receiver.node].layer == layer + 1 for edge in backward)
        x += width + leads.get(layer, 0.0) + BEND + LANE / 2 * (leaving + coming)


def _set_y(columns: list[list[str]], boxes: dict[str, Box], links: Sequence[tuple[str, str]]) -> None:
    """Rows, band by band from the top."""
    bottom, before = 0.0, Band()
    for at, band in enumerate(sorted({box.band for box in boxes.values()})):
        mine = [[key for key in column if boxes[key].band == band] for column in columns]
        inside = {key for column in mine for key in column}
        _set_y_of(mine, boxes, [(a, b) for a, b in links if a in inside and b in inside])
        around = len(shared(before, band))
        closed, opened = len(before) - around, len(band) - around
        top = bottom + (GAP if at else 0.0) + closed * FRAME + opened * (FRAME + FRAME_TITLE)
        for key in inside:
            boxes[key].y += top
        bottom, before = max(boxes[key].y + boxes[key].height for key in inside), band


def _set_y_of(columns: list[list[str]], boxes: dict[str, Box], links: Sequence[tuple[str, str]]) -> None:
    near: dict[str, list[str]] = {}
    for a, b in links:
        near.setdefault(a, []).append(b)
        near.setdefault(b, []).append(a)
    for column in columns:
        _stack(column, boxes, dict.fromkeys(column, 0.0))
    for sweep in range(SWEEPS):
        for column in columns if sweep % 2 == 0 else reversed(columns):
            middle = {key: boxes[key].y + boxes[key].height / 2 for each in columns for key in each}
            wish = {
                key: sum(middle[each] for each in those) / len(those) if (those := near.get(key)) else middle[key]
                for key in column
            }
            _stack(column, boxes, wish)
    mine = [boxes[key] for column in columns for key in column]
    top = min((box.y for box in mine), default=0.0)
    for box in mine:
        box.y -= top


def _frames(boxes: Mapping[str, Box]) -> list[Frame]:
    """A frame around each included graph, the outer before the inner."""
    frames = []
    for band in sorted({box.band[:depth] for box in boxes.values() for depth in range(1, len(box.band) + 1)}):
        inside = [box for box in boxes.values() if box.band[: len(band)] == band and box.node]
        deepest = max(len(box.band) for box in inside) - len(band)
        top = min(box.y - (len(box.band) - len(band)) * (FRAME + FRAME_TITLE) for box in inside)
        bottom = max(box.y + box.height + (len(box.band) - len(band)) * FRAME for box in inside)
        pad = FRAME * 0.6 * (deepest + 1)
        left, right = min(box.x for box in inside) - pad, max(box.x + box.width for box in inside) + pad
        frames.append(
            Frame(band, left, top - FRAME - FRAME_TITLE, right - left, bottom - top + 2 * FRAME + FRAME_TITLE)
        )
    return frames


def _stack(column: Sequence[str], boxes: Mapping[str, Box], wish: Mapping[str, float]) -> None:
    """Put a column's boxes where they wish to be, in their order and without touching: as groups that push apart."""
    groups: list[tuple[float, list[str]]] = []  # top, and who stands in it

    def best(keys: list[str]) -> float:
        at, total = 0.0, 0.0
        for key in keys:
            total += wish[key] - boxes[key].height / 2 - at
            at += boxes[key].height + GAP
        return total / len(keys)

    for key in column:
        groups.append((best([key]), [key]))
        while len(groups) > 1 and groups[-2][0] + _tall(groups[-2][1], boxes) > groups[-1][0]:
            _, last = groups.pop()
            _, first = groups.pop()
            groups.append((best([*first, *last]), [*first, *last]))
    for top, keys in groups:
        for key in keys:
            boxes[key].y = top
            top += boxes[key].height + GAP


def _tall(keys: Sequence[str], boxes: Mapping[str, Box]) -> float:
    return sum(boxes[key].height + GAP for key in keys)


def _order_ports(boxes: Mapping[str, Box], chains: Mapping[Edge, Sequence[str]]) -> None:
    """Put a box's ports in the order of what they are tied to, so that edges do not cross before they leave.

    Those of edges that run back come last: below them nothing is in the way.
    """
    wish: dict[End, float] = {}
    for edge, chain in chains.items():
        after, before = boxes[chain[1]], boxes[chain[-2]]
        wish[edge.sender] = after.y + after.height / 2
        wish[edge.receiver] = before.y + before.height / 2
    for box in boxes.values():
        box.ins.sort(key=lambda name: wish.get(End(box.node, name), float("inf")))
        box.outs.sort(key=lambda name: wish.get(End(box.node, name), float("inf")))


def _forward(sketch: Sketch, edge: Edge, chain: Sequence[Box], leads: Mapping[int, float]) -> Route:
    start = chain[0].port(edge.sender.port)
    points = [start]
    for free in chain[1:-1]:
        middle = free.y + free.height / 2
        points += [(free.x, middle), (free.x + free.width, middle)]
    points.append(chain[-1].port(edge.receiver.port))
    return Route(edge, sketch.label(edge), points, back=False, lead=leads[chain[0].layer])


def _backward(sketch: Sketch, edges: Sequence[Edge], boxes: Mapping[str, Box], top: float) -> list[Route]:
    """Ways below everything; the shortest lies highest, so that they nest."""
    routes = []
    turns: dict[tuple[str, int], int] = {}
    span = sorted(edges, key=lambda edge: boxes[edge.sender.node].layer - boxes[edge.receiver.node].layer)
    for lane, edge in enumerate(span):
        begin, end = boxes[edge.sender.node], boxes[edge.receiver.node]
        y = top + LANE * lane + 8
        right = _turn(turns, "right", begin, boxes)
        left = _turn(turns, "left", end, boxes)
        start, stop = begin.port(edge.sender.port), end.port(edge.receiver.port)
        points = [start, (right, start[1]), (right, y), (left, y), (left, stop[1]), stop]
        routes.append(Route(edge, sketch.label(edge), points, back=True))
    return routes


def _turn(turns: dict[tuple[str, int], int], side: str, box: Box, boxes: Mapping[str, Box]) -> float:
    count = turns[side, box.layer] = turns.get((side, box.layer), -1) + 1
    column = [each for each in boxes.values() if each.layer == box.layer]
    if side == "right":
        return max(each.x + each.width for each in column) + TURN + LANE / 2 * count
    return min(each.x for each in column) - TURN - LANE / 2 * count
