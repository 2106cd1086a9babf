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
    from rich.text import Text

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
TROUBLE = ("failed", "hung", "gone")
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
    wide, room = width >= WIDE, height - 5
    left = (inner - 3) * 11 // 20 if wide else inner
    metrics = _metrics(progress, left, room - 4)
    parts: list[RenderableType] = [_head(progress, inner), Text("")]
    if wide:
        nodes = _nodes(progress, left, room - metrics.row_count - 1)
        grid = Table.grid(padding=(0, 3, 0, 0))
        grid.add_column(width=left)
        grid.add_column(width=inner - left - 3)
        right = _curve(progress, inner - left - 3, min(14, room - 1))
        events = _events(progress, min(6, room - len(right) - 1))
        grid.add_row(Group(metrics, Text(""), nodes), Group(*right, Text(""), *events))
        parts.append(grid)
    else:
        room -= metrics.row_count + 1
        nodes = _nodes(progress, inner, max(room, 3))
        room -= nodes.row_count + 2
        curve = _curve(progress, inner, min(10, room))
        room -= len(curve) + bool(curve)
        events = _events(progress, min(4, room - 1))
        parts += [metrics, Text(""), nodes]
        parts += [Text(""), *curve] if curve else []
        parts += [Text(""), *events] if events else []
    name = Text(clean(title)[: inner // 2] or "run", "not dim bold")
    subtitle = Text(clean(run_name)[-(inner // 2) :], "dim") if width >= 40 else None
    return Panel(
        Group(*parts),
        box=box.ROUNDED,
        title=name,
        title_align="left",
        subtitle=subtitle,
        subtitle_align="right",
        width=width,
        border_style="red" if any(node.state in TROUBLE for node in progress.nodes) else "dim",
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
    bar = ProgressBar(total=1.0, completed=progress.fraction, complete_style="green", finished_style="green")
    grid.add_row(bar, Text(f"{100 * progress.fraction:3.0f} %", "bold"), times)
    return grid


def _metrics(progress: Progress, width: int, most: int) -> Table:
    """One line a metric: name, value, and what says more of it, which gives way where it is narrow."""
    from rich.cells import cell_len
    from rich.table import Table
    from rich.text import Text

    names, most = list(progress.shown), max(most, 2)
    if len(names) > most and progress.curve is not None:  # of copies only how well each does
        names = [
            name for name in names if progress.parted(name)[1] == "" or progress.parted(name)[0] == progress.curve.name
        ]
    rows = [(clean(_label(progress, name)), *_metric(progress, name)) for name in names]
    hidden = len(rows) - most + 1 if len(rows) > most else 0
    rows = rows[: len(rows) - hidden]
    value_width = max((len(value) for _, value, _ in rows), default=0)
    last = f"and {hidden} more" if hidden else ""
    name_width = min(
        max([len(last), *(cell_len(name) for name, _, _ in rows)]),
        46 if progress.copies else 24,
        width - value_width - 4,
    )
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(width=max(name_width, 1), style="cyan", no_wrap=True)
    table.add_column(width=value_width, justify="right", no_wrap=True, style="bold")
    table.add_column(width=max(width - name_width - value_width - 4, 1), no_wrap=True)
    for name, value, more in rows:
        more.overflow = "ellipsis"
        table.add_row(Text(name, overflow="ellipsis"), value, more)
    if hidden:
        table.add_row(Text(last, "dim"))
    return table


def _label(progress: Progress, name: str) -> str:
    """A metric's name; a copy of a sweep stands below what all of them have."""
    copy = progress.parted(name)[1]
    return f"  {copy}" if copy else name


def _metric(progress: Progress, name: str) -> tuple[str, Text]:
    """The value of a metric, and what says more of it."""
    from rich.text import Text

    more = Text()
    if name in progress.counters:
        counter = progress.counters[name]
        more.append(rate(counter.rate).rjust(10))
        if counter.target is not None:
            more.append(f"   of {whole(counter.target)}", "dim")
        return whole(counter.total), more
    if name in progress.gauges:
        gauge = progress.gauges[name]
        return real(gauge.value), more.append(f" {clean(gauge.unit)}", "dim")
    series = progress.series.get(name)
    if series is None or series.mean is None:
        return "-", more
    more.append(f"± {real(series.spread)}".rjust(10), "dim")
    more.append(f"   last {min(series.count, 100)}", "dim")
    if series.count > 100:
        more.append(f" of {whole(series.count)}", "dim")
    return real(series.mean), more


def _nodes(progress: Progress, width: int, most: int) -> Table:
    """One line a node; replicas that are alike share one, and those in trouble come first."""
    from rich.cells import cell_len
    from rich.table import Table
    from rich.text import Text

    rows = sorted(_grouped(progress.nodes), key=lambda row: row[1] not in TROUBLE)
    most = max(most - 1, 2)
    hidden = len(rows) - most + 1 if len(rows) > most else 0
    shown = [("node", "state", "restarts", "worker", "doing"), *rows[: len(rows) - hidden]]
    # rich would shorten all columns alike; what a node does is the one to give way, then its worker.
    widths = [min(max(cell_len(clean(str(row[at]))) for row in shown), 24) for at in range(4)]
    last = f"and {hidden} more" if hidden else ""
    widths[0] = max(widths[0], len(last))
    doing = width - sum(widths) - 8
    if doing < 12:
        doing, widths[3] = max(doing + widths[3], 0), 0
    table = Table.grid(padding=(0, 2, 0, 0))
    for at, column in enumerate([*widths, doing]):
        table.add_column(width=column, no_wrap=True, justify="right" if at == 2 else "left")
    for name, state, restarts, worker, text in shown:
        head = name == "node" and restarts == "restarts"
        cells = [name, state, str(restarts or "-"), worker if widths[3] else "", text]
        styles = ["dim"] * 5 if head else ["", COLOURS.get(state, ""), "yellow" if restarts else "dim", "dim", ""]
        table.add_row(
            *(Text(clean(cell), style, overflow="ellipsis") for cell, style in zip(cells, styles, strict=True))
        )
    if hidden:
        table.add_row(Text(last, "dim"))
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
        line = Text()
        line.append(time.strftime("%H:%M:%S  ", time.localtime(event.time)), "dim")
        line.append(clean(f"{event.node}  {event.summary}"), LEVELS.get(event.level, ""))
        lines.append(line)
    for line in lines:
        line.no_wrap, line.overflow = True, "ellipsis"
    return list(lines[-most:]) if most > 0 else []
