"""The live view in a terminal: a compact panel, redrawn in place, whose last frame stays on the screen.

    ╭─ LASER on Atari ──────────── RUN ─╮
    │ how far, how long still           │   below 110 columns one above the other, above side by side
    │ metrics            learning curve │
    │ nodes              last events    │
    ╰───────────────────────────────────╯

Drawing is a pure function of a Progress; what does not fit the height is left out, events first,
then the curve, then nodes that are well.
"""

from __future__ import annotations

import contextlib
import sys
import time
from types import TracebackType
from typing import TYPE_CHECKING, Protocol, TextIO

from flow.progress import NodeProgress, Progress
from flow.view.chart import chart
from flow.view.numbers import about, clean, duration, rate, real, whole
from flow.view.plain import PlainView

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.table import Table

WIDE = 110
WIDTH_MAX = 160
COLOURS = {
    "starting": "cyan",
    "running": "green",
    "waiting": "yellow",
    "paused": "magenta",
    "ended": "dim",
    "failed": "bold red",
    "hung": "bold red",
    "gone": "bold red",
}
LEVELS = {"warning": "yellow", "error": "red"}


class View(Protocol):
    """Something that shows how a run stands, as a `with` block; `show` is called a few times a second."""

    def show(self, progress: Progress) -> None: ...

    def __enter__(self) -> View: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


def make_view(title: str, run_name: str, stream: TextIO | None = None) -> View:
    """The panel on a terminal, plain lines anywhere else."""
    stream = stream or sys.stdout
    utf8 = (getattr(stream, "encoding", "") or "").lower().replace("-", "") == "utf8"
    if not stream.isatty() or not utf8:
        return PlainView(stream)
    from rich.console import Console

    console = Console(file=stream)
    return PlainView(stream) if console.is_dumb_terminal else TerminalView(title, run_name, console)


class TerminalView:
    """The panel. `show` writes to the terminal, which can block: from trio, call it in a thread."""

    def __init__(self, title: str, run_name: str, console: Console) -> None:
        from rich.live import Live

        self._title, self._run_name, self._console = title, run_name, console
        self._live = Live(console=console, auto_refresh=False, vertical_overflow="crop")

    def show(self, progress: Progress) -> None:
        """Redraw the panel."""
        size = self._console.size
        drawn = panel(progress, self._title, self._run_name, size.width, size.height - 1)
        with contextlib.suppress(OSError):  # the terminal is gone, which is no reason to end a run
            self._live.update(drawn, refresh=True)

    def __enter__(self) -> TerminalView:
        self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with contextlib.suppress(OSError):
            self._live.stop()


def panel(progress: Progress, title: str, run_name: str, width: int, height: int = 40) -> RenderableType:
    """The whole view of one moment, at most `height` lines high where that is possible at all."""
    from rich import box
    from rich.console import Group
    from rich.panel import Panel
    from rich.table import Table
    from rich.text import Text

    width = min(width, WIDTH_MAX)
    inner = width - 4
    metrics, room = _metrics(progress), height - 5
    parts: list[RenderableType] = [_head(progress, inner), Text("")]
    if width >= WIDE:
        left = (inner - 3) // 2
        nodes = _nodes(progress, room - metrics.row_count - 1)
        grid = Table.grid(padding=(0, 3, 0, 0))
        grid.add_column(width=left)
        grid.add_column(width=inner - left - 3)
        right = _curve(progress, inner - left - 3, min(14, room - 1))
        events = _events(progress, min(6, room - len(right) - 1))
        grid.add_row(Group(metrics, Text(""), nodes), Group(*right, Text(""), *events))
        parts.append(grid)
    else:
        room -= metrics.row_count + 1
        nodes = _nodes(progress, max(room, 2))
        room -= nodes.row_count + 2
        curve = _curve(progress, inner, min(10, room))
        room -= len(curve) + bool(curve)
        events = _events(progress, min(4, room - 1))
        parts += [metrics, Text(""), nodes]
        parts += [Text(""), *curve] if curve else []
        parts += [Text(""), *events] if events else []
    name = Text(clean(title)[: inner // 2] or "run", "bold")
    subtitle = Text(clean(run_name)[-(inner // 2) :], "dim") if width >= 40 else None
    return Panel(
        Group(*parts),
        box=box.ROUNDED,
        title=name,
        title_align="left",
        subtitle=subtitle,
        subtitle_align="right",
        width=width,
        border_style="dim" if not progress.faults else "yellow",
    )


def _head(progress: Progress, width: int) -> Table:
    """The bar, the fraction, elapsed and left."""
    from rich.progress_bar import ProgressBar
    from rich.table import Table
    from rich.text import Text

    times = Text(f"elapsed {duration(progress.elapsed)}")
    if progress.left is not None:
        times.append("   left ", "dim").append(about(progress.left), "bold")
    grid = Table.grid(padding=(0, 2, 0, 0))
    if progress.fraction is None or width < len(times) + 24:
        grid.add_row(times)
        return grid
    grid.add_column(ratio=1)
    grid.add_column(justify="right", no_wrap=True)
    grid.add_column(justify="right", no_wrap=True)
    grid.expand = True
    bar = ProgressBar(total=1.0, completed=progress.fraction, finished_style="green")
    grid.add_row(bar, Text(f"{100 * progress.fraction:3.0f} %", "bold"), times)
    return grid


def _metrics(progress: Progress) -> Table:
    """One line a metric: name, value, and what says more of it."""
    from rich.table import Table
    from rich.text import Text

    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(style="cyan", no_wrap=True, overflow="ellipsis", max_width=24)
    table.add_column(justify="right", no_wrap=True, style="bold")
    table.add_column(no_wrap=True, overflow="ellipsis")
    for name in progress.shown:
        if name in progress.counters:
            counter = progress.counters[name]
            more = Text(rate(counter.rate).rjust(10))
            if counter.target is not None:
                more.append(f"   of {whole(counter.target)}", "dim")
            table.add_row(clean(name), whole(counter.total), more)
        elif name in progress.gauges:
            gauge = progress.gauges[name]
            table.add_row(clean(name), real(gauge.value), Text(f" {clean(gauge.unit)}", "dim"))
        elif name in progress.series:
            series = progress.series[name]
            value = "-" if series.mean is None else real(series.mean)
            of = f"of {whole(series.count)}" if series.count > 100 else ""
            more = Text(f"± {real(series.spread)}".rjust(10), "dim")
            more.append(f"   last {min(series.count, 100)} {of}")
            table.add_row(clean(name), value, more if series.count else "")
    return table


def _nodes(progress: Progress, most: int) -> Table:
    """One line a node; replicas that are alike share one, and those in trouble come first."""
    from rich.table import Table
    from rich.text import Text

    rows = sorted(_grouped(progress.nodes), key=lambda row: row[1] not in ("failed", "hung", "gone"))
    most = max(most - 1, 1)
    hidden = len(rows) - most + 1 if len(rows) > most else 0
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True, overflow="ellipsis", max_width=24)
    table.add_column(no_wrap=True)
    table.add_column(justify="right", no_wrap=True)
    table.add_column(no_wrap=True, overflow="ellipsis", max_width=12, style="dim")
    table.add_column(no_wrap=True, overflow="ellipsis", ratio=1)
    table.add_row(*(Text(word, "dim") for word in ("node", "state", "restarts", "worker", "doing")))
    for name, state, restarts, worker, text in rows[: len(rows) - hidden]:
        count = Text(str(restarts), "yellow") if restarts else Text("-", "dim")
        table.add_row(clean(name), Text(state, COLOURS.get(state, "")), count, clean(worker), clean(text))
    if hidden:
        table.add_row(Text(f"and {hidden} more", "dim"))
    return table


def _grouped(nodes: tuple[NodeProgress, ...]) -> list[tuple[str, str, int, str, str]]:
    """Name, state, restarts, worker and text of each line of the table."""
    groups: dict[tuple[str, str], list[NodeProgress]] = {}
    for node in nodes:
        groups.setdefault((node.node, node.state), []).append(node)
    rows = []
    for (name, state), members in groups.items():
        alone = sum(other.node == name for other in nodes) == 1
        numbers = sorted(member.replica for member in members)
        if numbers == list(range(numbers[0], numbers[-1] + 1)) and len(numbers) > 1:
            label = f"{name} {numbers[0]}-{numbers[-1]}"
        else:
            label = f"{name} {','.join(map(str, numbers))}" if not alone else name
        workers = dict.fromkeys(member.worker for member in members if member.worker)
        text = next((member.text for member in members if member.text), "")
        rows.append((label, state, sum(member.restarts for member in members), " ".join(workers), text))
    return rows


def _curve(progress: Progress, width: int, height: int) -> list[RenderableType]:
    """The learning curve, with its name above."""
    from rich.text import Text

    lines = chart(progress.curve, width, height - 1) if progress.curve else []
    if not progress.curve or not lines:
        return []
    rows = len(lines) - 2
    drawn: list[RenderableType] = [Text(clean(progress.curve.name), "bold cyan", no_wrap=True)]
    for at, line in enumerate(lines):
        text = Text(line, no_wrap=True)
        text.stylize("dim")
        if at < rows:
            text.stylize("not dim green", 10)
        drawn.append(text)
    return drawn


def _events(progress: Progress, most: int) -> list[RenderableType]:
    """The last events; faults that a node still has come before them."""
    from rich.text import Text

    lines = [Text(clean(fault), "bold red") for fault in progress.faults if "restarted" not in fault]
    for event in progress.events:
        line = Text(time.strftime("%H:%M:%S ", time.localtime(event.time)), "dim")
        line.append(clean(f"{event.node}  {event.text}"), LEVELS.get(event.level, ""))
        lines.append(line)
    for line in lines:
        line.no_wrap, line.overflow = True, "ellipsis"
    return list(lines[-most:]) if most > 0 else []
