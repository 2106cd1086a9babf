"""A graph as a picture: SVG text that any browser shows, in light and dark."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape as escape_markup
from itertools import pairwise

from flow.documentation import summary
from flow.graph.fold import fold
from flow.graph.hosts import host_of_worker
from flow.graph.layout import Box, Frame, Layout, Route, lay_out
from flow.graph.model import End, Graph, place, without_copy
from flow.graph.sketch import short_type
from flow.node_type import Port

MARGIN = 28.0
TITLE = 52.0
LEGEND = 44.0
RADIUS = 9.0

# For each worker the colour of its nodes: on light, on dark.
WORKERS = (
    ("#2563eb", "#60a5fa"),
    ("#d97706", "#fbbf24"),
    ("#059669", "#34d399"),
    ("#db2777", "#f472b6"),
    ("#7c3aed", "#a78bfa"),
    ("#64748b", "#94a3b8"),
)
KINDS = {"Out": "stream", "Call": "call", "Publish": "newest"}
_EDGES = {
    "stream": ("#475569", "#a3b1c6", ""),
    "call": ("#7c3aed", "#b79df8", "7 4"),
    "newest": ("#0d9488", "#2dd4bf", "1 5"),
}
_PLAIN = """
text { font-family: ui-sans-serif, system-ui, "Segoe UI", "Helvetica Neue", "DejaVu Sans", sans-serif; }
.mono { font-family: ui-monospace, "SF Mono", Menlo, Consolas, "DejaVu Sans Mono", monospace; font-size: 10px; }
.title { font-size: 17px; font-weight: 650; }
.name { font-size: 14px; font-weight: 650; }
.port, .legend { font-size: 11px; }
.label { font-size: 10.5px; paint-order: stroke; stroke-width: 4px; stroke-linejoin: round; }
.edge { fill: none; stroke-width: 1.7; stroke-linecap: round; }
.box { stroke-width: 1.4; }
.frame { stroke-width: 1; stroke-dasharray: 3 3; }
"""
_LIGHT = {
    ".paper": "fill: #ffffff",
    ".title, .name": "fill: #0f172a",
    ".port": "fill: #334155",
    ".mono, .legend": "fill: #64748b",
    ".box": "fill: #f8fafc",
    ".frame": "fill: #f1f5f9; stroke: #94a3b8",
    ".label": "stroke: #ffffff",
}
_DARK = {
    ".paper": "fill: #0d1117",
    ".title, .name": "fill: #f1f5f9",
    ".port": "fill: #cbd5e1",
    ".mono, .legend": "fill: #94a3b8",
    ".box": "fill: #161d29",
    ".frame": "fill: #131a25; stroke: #475569",
    ".label": "stroke: #0d1117",
}


def draw(graph: Graph) -> str:
    """The graph as an SVG document."""
    homes = _homes(graph)
    workers = _named(graph, list(homes))
    graph, copies = fold(graph)
    layout = lay_out(graph, copies)
    title = TITLE if graph.title or graph.paper else 0.0
    legend = _legend(workers, sorted({KINDS[graph.kind(edge)] for edge in graph.edges}, key=list(_EDGES).index))
    width = max(layout.width, legend[1], len(graph.title) * 10.0) + 2 * MARGIN
    height = layout.height + title + LEGEND + 2 * MARGIN
    shift = (width - layout.width) / 2
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height:.0f}" width="{width:.0f}" '
        f'height="{height:.0f}" role="img">',
        f"<title>{_text(graph.title or graph.path.stem)}</title>",
        f"<style>{_style(len(workers))}</style>",
        f'<rect class="paper" width="{width:.0f}" height="{height:.0f}" rx="12"/>',
        *_heading(graph),
        f'<g transform="translate({shift:.1f} {MARGIN + title:.1f})">',
        *_body(graph, layout, homes, copies),
        "</g>",
        f'<g transform="translate({MARGIN:.1f} {height - MARGIN:.1f})">{legend[0]}</g>',
        "</svg>\n",
    ]
    return "\n".join(parts)


def _homes(graph: Graph) -> dict[str, set[str]]:
    """For each worker what is drawn in its colour."""
    return {worker: {without_copy(name) for name, _ in hosted} for worker, hosted in place(graph).items()}


def _named(graph: Graph, workers: Sequence[str]) -> list[str]:
    """Workers as the legend calls them: with the host, where the graph has several."""
    if not graph.hosts:
        return list(workers)
    hosts = host_of_worker(graph)
    return [f"{worker} on {hosts[worker]}" for worker in workers]


def _body(graph: Graph, layout: Layout, homes: Mapping[str, set[str]], copies: Mapping[str, int]) -> list[str]:
    lines = [_route(graph, route) for route in layout.routes]
    labelled: set[tuple[End, bool]] = set()  # a port with several receivers says its message once
    labels = []
    for route in layout.routes:
        label = _label(graph, route, labelled)
        labels += [label] if label else []
    boxes = []
    for box in layout.boxes:
        colours = [at for at, names in enumerate(homes.values()) if box.node in names]
        boxes.append(_box(graph, box, colours, copies[box.node]))
    return [*map(_frame, layout.frames), *lines, *boxes, *labels]


def _frame(frame: Frame) -> str:
    """The outline of an included graph, with its name."""
    return (
        f'<rect class="frame" x="{frame.x:.1f}" y="{frame.y:.1f}" width="{frame.width:.1f}" '
        f'height="{frame.height:.1f}" rx="12"/>'
        f'<text class="legend" x="{frame.x + 12:.1f}" y="{frame.y + 17:.1f}">{_text(".".join(frame.band))}</text>'
    )


def _style(workers: int) -> str:
    def rules(which: int, plain: Mapping[str, str]) -> str:
        found = dict(plain)
        for name, colours in _EDGES.items():
            dashes = f"; stroke-dasharray: {colours[2]}" if colours[2] else ""
            found[f".edge.{name}"] = f"stroke: {colours[which]}{dashes}"
            found[f".head.{name}, .label.{name}"] = f"fill: {colours[which]}"
        for number in range(min(workers, len(WORKERS))):
            found[f".box.w{number}"] = f"stroke: {WORKERS[number][which]}"
            found[f".bar.w{number}"] = f"fill: {WORKERS[number][which]}"
        return "\n".join(f"{selector} {{ {said}; }}" for selector, said in found.items())

    dark = f"@media (prefers-color-scheme: dark) {{\n{rules(1, _DARK)}\n}}"
    return f"{_PLAIN}{rules(0, _LIGHT)}\n{dark}\n"


def _heading(graph: Graph) -> list[str]:
    parts = []
    if graph.title:
        parts.append(f'<text class="title" x="{MARGIN}" y="{MARGIN + 14}">{_text(graph.title)}</text>')
    if graph.paper:
        y = MARGIN + (33 if graph.title else 14)
        parts.append(f'<text class="legend" x="{MARGIN}" y="{y}">{_text(graph.paper)}</text>')
    return parts


def _box(graph: Graph, box: Box, homes: Sequence[int], copies: int) -> str:
    node = graph.nodes[box.node]
    colours = [home % len(WORKERS) for home in homes]
    parts = [f'<g transform="translate({box.x:.1f} {box.y:.1f})">', f"<title>{_text(summary(node.type.doc))}</title>"]
    parts += [
        f'<rect class="box w{colours[0]}" x="{behind}" y="{-behind}" width="{box.width:.1f}" '
        f'height="{box.height:.1f}" rx="8" opacity="0.55"/>'
        for behind in ((6, 3) if node.replicas > 1 or copies > 1 else ())  # they look like a pile
    ]
    parts.append(f'<rect class="box w{colours[0]}" width="{box.width:.1f}" height="{box.height:.1f}" rx="8"/>')
    for at, colour in enumerate(colours):  # a bar a worker: replicas of one node can live in several
        part = (box.width - 24) / len(colours)
        parts.append(
            f'<rect class="bar w{colour}" x="{12 + at * part:.1f}" y="0" width="{part:.1f}" height="3" rx="1.5"/>'
        )
    parts.append(f'<text class="name" x="12" y="23">{_text(node.name)}</text>')
    many = [f"{copies} copies"] if copies > 1 else []
    many += [f"×{node.replicas}"] if node.replicas > 1 else []
    if many:
        said = " ".join(many)
        parts.append(f'<text class="legend" x="{box.width - 12:.1f}" y="23" text-anchor="end">{said}</text>')
    parts.append(f'<text class="mono" x="12" y="38">{_text(short_type(node.type.name))}</text>')
    parts += [_port(box, node.type.ports[name]) for name in (*box.ins, *box.outs)]
    return "\n".join([*parts, "</g>"])


def _port(box: Box, port: Port) -> str:
    x, y = box.port(port.name)
    x, y = x - box.x, y - box.y
    kind = {"In": "stream", "Out": "stream", "Call": "call", "Serve": "call"}.get(port.kind, "newest")
    anchor, at = ("end", x - 11) if port.sends else ("start", 12.0)
    dot = f'<circle class="head {kind}" cx="{x:.1f}" cy="{y:.1f}" r="3"/>' if port.sends else ""
    return f'{dot}<text class="port" x="{at:.1f}" y="{y + 4:.1f}" text-anchor="{anchor}">{_text(port.name)}</text>'


def _route(graph: Graph, route: Route) -> str:
    kind = KINDS[graph.kind(route.edge)]
    x, y = route.points[-1]
    way = way_of(route)
    heads = f'<path class="head {kind}" d="M{x:.1f} {y:.1f}l-9 -4.5v9z"/>'
    return f'<g><title>{_text(_told(graph, route))}</title><path class="edge {kind}" d="{way}"/>{heads}</g>'


def _told(graph: Graph, route: Route) -> str:
    port = graph.port(route.edge.sender)
    fields = [
        f"{message.__name__}: " + "; ".join(f"{field.name} {field}" for field in message.fields)
        for message in port.messages
    ]
    return "\n".join([str(route.edge), *fields])


def way_of(route: Route) -> str:
    """An edge's line, as an SVG path that ends where its head begins."""
    x, y = route.points[-1]
    return _rounded(route.points, (x - 7, y)) if route.back else _curved(route.points, (x - 7, y), route.lead)


def _curved(points: Sequence[tuple[float, float]], end: tuple[float, float], lead: float) -> str:
    """A line that leaves and comes level: straight beside its label and where it passes a column."""
    (x, y), *rest = [*points[:-1], end]
    way = f"M{x:.1f} {y:.1f}"
    points = [(x + lead, y), *rest]
    for at, ((x0, y0), (x1, y1)) in enumerate(pairwise(points)):
        way += f"L{x0:.1f} {y0:.1f}"
        if at % 2 == 0 and abs(y1 - y0) >= 0.5:
            bend = (x1 - x0) * 0.5
            way += f"C{x0 + bend:.1f} {y0:.1f} {x1 - bend:.1f} {y1:.1f} {x1:.1f} {y1:.1f}"
    return f"{way}L{end[0]:.1f} {end[1]:.1f}"


def _rounded(points: Sequence[tuple[float, float]], end: tuple[float, float]) -> str:
    """A line of level and upright pieces with round corners."""
    points = [*points[:-1], end]
    way = f"M{points[0][0]:.1f} {points[0][1]:.1f}"
    for before, corner, after in zip(points, points[1:], points[2:], strict=False):
        a, b = _toward(corner, before), _toward(corner, after)
        way += f"L{a[0]:.1f} {a[1]:.1f}Q{corner[0]:.1f} {corner[1]:.1f} {b[0]:.1f} {b[1]:.1f}"
    return f"{way}L{end[0]:.1f} {end[1]:.1f}"


def _toward(corner: tuple[float, float], other: tuple[float, float]) -> tuple[float, float]:
    dx, dy = other[0] - corner[0], other[1] - corner[1]
    length = max(abs(dx), abs(dy))
    share = min(RADIUS, length / 2) / length if length else 0.0
    return corner[0] + dx * share, corner[1] + dy * share


def _label(graph: Graph, route: Route, labelled: set[tuple[End, bool]]) -> str:
    key = (route.edge.sender, route.back)
    if key in labelled:
        return ""
    labelled.add(key)
    kind = KINDS[graph.kind(route.edge)]
    if route.back:  # on the level piece below, near the end it starts from
        x, y, anchor = route.points[2][0] - 14, route.points[2][1] - 4, "end"
    else:
        x, y, anchor = route.points[0][0] + 9, route.points[0][1] - 5, "start"
    return f'<text class="label {kind}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{_text(route.label)}</text>'


def _legend(workers: Sequence[str], kinds: Sequence[str]) -> tuple[str, float]:
    """What colours and dashes mean, on one line; and its width."""
    x = 0.0
    parts = []
    for number, worker in enumerate(workers):
        parts.append(f'<rect class="bar w{number % len(WORKERS)}" x="{x:.1f}" y="-9" width="10" height="10" rx="3"/>')
        parts.append(f'<text class="legend" x="{x + 16:.1f}" y="0">worker {_text(worker)}</text>')
        x += 16 + (len(worker) + 7) * 6.4 + 18
    for kind in kinds:
        said = {"stream": "stream", "call": "call and answer", "newest": "newest value"}[kind]
        parts.append(f'<path class="edge {kind}" d="M{x:.1f} -4h30"/>')
        parts.append(f'<text class="legend" x="{x + 38:.1f}" y="0">{said}</text>')
        x += 38 + len(said) * 6.4 + 18
    return "".join(parts), x


def _text(text: str) -> str:
    """Text as XML holds it: markup escaped, and without the control characters that XML forbids."""
    return escape_markup("".join(c for c in text if c == "\n" or (c.isprintable() and c not in "\ufffe\uffff")))
