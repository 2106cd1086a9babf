"""How a run stands as lines of plain text: what `flow top` prints."""

from __future__ import annotations

import time
from collections.abc import Sequence

from flow.inspect.figures import EdgeFigures, EventLine, NodeFigures, Overview
from flow.inspect.touched import touched_text
from flow.view.numbers import clean, duration

BAR = 8
# fmt: off
NODE_HEADER = (
    "NODE", "STATE", "BUSY", "STARVED", "BLOCKED", "IN/S", "OUT/S", "P50 ms", "P99 ms", "BATCH P50", "RESTARTS",
    "WORKER", "MEMORY", "LAST EVENT",
)
EDGE_HEADER = (
    "EDGE", "KIND", "RATE", "BYTES/S", "DEPTH", "FILL", "SENDER WAITS", "RECEIVER WAITS", "DROPPED",
)
# fmt: on


def overview_lines(overview: Overview) -> list[str]:
    """The whole page, headline first."""
    lines = [*headline(overview), ""]
    lines += table(NODE_HEADER, [node_cells(each, overview) for each in overview.nodes])
    lines += ["", *table(EDGE_HEADER, [edge_cells(each) for each in overview.edges])]
    if overview.events:
        lines += ["", "EVENTS"]
        lines += [event_line(event) for event in overview.events]
    return lines + [clean(problem) for problem in overview.problems]


def event_line(event: EventLine) -> str:
    """When, how bad, who, what."""
    clock = time.strftime("%H:%M:%S", time.localtime(event.time))
    return f"{clock}  {event.level:<7}  {clean(event.node) or '-':<12}  {clean(event.text)[:120]}"


def headline(overview: Overview) -> list[str]:
    """What run it is, how it stands, and what it waits for."""
    parts = [overview.run, overview.state, duration(overview.elapsed_s)]
    if overview.seed is not None:
        parts.append(f"seed {overview.seed}")
    parts.append(touched_text(overview.touched))
    live = [worker for worker in overview.workers if worker.alive]
    if live:
        parts.append(f"cpu {sum(worker.cores for worker in live):.1f} cores")
        parts.append(f"memory {size(sum(worker.memory for worker in live))}")
        held = sum(worker.device_memory for worker in live)
        parts += [f"GPU {size(held)}"] if held else []
    lines = ["  ".join(clean(part) for part in parts), f"bottleneck  {clean(overview.bottleneck)}"]
    return [*lines, f"cause  {clean(overview.cause)}"] if overview.cause else lines


def node_cells(node: NodeFigures, overview: Overview) -> tuple[str, ...]:
    """A node's line of the table."""
    alone = sum(other.node == node.node for other in overview.nodes) == 1
    batch = f"{node.batch_p50:.0f}, most {node.batch_max:.0f}" if node.batch_p50 and node.batch_max else ""
    timed = node.handling_p50_ms is not None
    p50, p99 = (node.handling_p50_ms, node.handling_p99_ms) if timed else (node.answer_p50_ms, node.answer_p99_ms)
    return (
        clean(node.node if alone else node.name),
        node.state + (f" {node.stuck_s:.0f} s" if node.stuck_s else ""),
        *(percent(share) for share in (node.busy, node.starved, node.blocked)),
        figure(node.received),
        figure(node.sent),
        *(figure(each) for each in (p50, p99)),
        batch,
        str(node.restarts or ""),
        clean(node.worker),
        size(node.memory) if node.memory else "",
        clean(node.last_error)[:60],
    )


def edge_cells(edge: EdgeFigures) -> tuple[str, ...]:
    """An edge's line of the table."""
    depth = f"{edge.depth}/{edge.credit}" if edge.credit else f"{edge.depth}" if edge.kind == "call" else ""
    return (
        clean(edge.name),
        edge.kind,
        f"{figure(edge.rate)}/s",
        size(edge.bytes_rate),
        depth,
        bar(edge.fill, BAR) if edge.credit else "",
        percent(edge.sender_waits) if edge.kind != "newest" else "",
        percent(edge.receiver_waits),
        str(edge.dropped or ""),
    )


def bar(share: float, width: int) -> str:
    """A bar that a share of 1 fills."""
    filled = min(max(round(share * width), 0), width)
    return "█" * filled + "·" * (width - filled)


def percent(share: float | None) -> str:
    """`97%`; more than all is more than one task."""
    return "" if share is None else f"{100 * share:.0f}%"


def figure(value: float | None) -> str:
    """Three digits: `1.92k`, `31.0`, `0.24`; nothing for 0."""
    if not value:
        return ""
    if value >= 1000:
        return f"{value / 1000:.3g}k" if value < 1e6 else f"{value / 1e6:.3g}M"
    return f"{value:.3g}"


def size(bytes_: float) -> str:
    """`212M`, `3.1G`."""
    for unit, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if bytes_ >= unit:
            return f"{bytes_ / unit:.3g}{letter}"
    return f"{bytes_:.0f}" if bytes_ >= 1 else ""


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Columns, those of figures to the right; a column that is empty in all rows is left out."""
    kept = [at for at in range(len(header)) if at == 0 or any(row[at] for row in rows)]
    widths = {at: max(len(line[at]) for line in [header, *rows]) for at in kept}
    lines = []
    for line in [header, *rows]:
        cells = [line[at].rjust(widths[at]) if _is_figure(rows, at) else line[at].ljust(widths[at]) for at in kept]
        lines.append("  ".join(cells).rstrip())
    return lines


def _is_figure(rows: Sequence[Sequence[str]], at: int) -> bool:
    return all(not row[at] or row[at][0].isdigit() for row in rows)
