"""The live inspector: the graph, every node, the bottleneck, events and curves; keys look closer and change things.

What is shown comes from pages alone. Only a key that asks the run for something opens a connection, in a thread of
its own, so that a process that does not answer holds up nothing here either.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

from rich.text import Text
from textual import work
from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, VerticalScroll
from textual.widgets import DataTable, Footer, Static
from textual.worker import get_current_worker

from flow.errors import FlowError, RunError
from flow.inspect import timeline as timelines
from flow.inspect.figures import Overview
from flow.inspect.live import value_of
from flow.inspect.overview import Look
from flow.inspect.session import Replica, Session
from flow.inspect.terminal.curves import Curves
from flow.inspect.terminal.graph import graph_rows
from flow.inspect.terminal.screens import Ask, Help, NodeScreen, PortScreen, TextScreen
from flow.run_directory import RunDirectory
from flow.view.numbers import clean
from flow.view.overview import NODE_HEADER, event_line, headline, node_cells

REFRESH_S = 0.5
TRACE_S = 10.0
STYLES = {
    "node": "bold",
    "bottleneck": "bold yellow",
    "trouble": "bold red",
    "paused": "bold magenta",
    "stream": "green",
    "half": "yellow",
    "full": "red",
    "call": "blue",
    "newest": "cyan",
}
LEVELS = {"warning": "yellow", "error": "red"}


class Inspector(App[None]):
    """The inspector of one run."""

    CSS = """
    #head { height: auto; padding: 0 1; background: $panel; }
    #graph-pane { height: auto; max-height: 50%; padding: 0 1; overflow-x: auto; }
    #graph { width: auto; }
    #nodes { height: 1fr; min-height: 5; }
    #below { height: 14; }
    #events { width: 1fr; height: 100%; padding: 0 1; border: round $panel; }
    #curve { width: 1fr; height: 100%; padding: 0 1; border: round $panel; }
    ModalScreen { align: center middle; }
    .dialog { width: 90%; height: 90%; padding: 0 1; border: round $accent; background: $surface; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "open", "open node"),
        Binding("p", "ports", "peek"),
        Binding("space", "pause", "pause/resume"),
        Binding("n", "step", "step"),
        Binding("e", "edit", "set"),
        Binding("r", "restart", "restart"),
        Binding("x", "stack", "stack"),
        Binding("t", "trace", "trace"),
        Binding("c", "checkpoint", "checkpoint"),
        Binding("m", "metric", "next curve"),
        Binding("right_square_bracket", "along(20)", "graph right", show=False),
        Binding("left_square_bracket", "along(-20)", "graph left", show=False),
        Binding("question_mark", "help", "help"),
        Binding("q", "quit", "detach"),
    ]

    def __init__(self, run: RunDirectory) -> None:
        super().__init__()
        self.title = f"flow inspect {run.name}"
        self.inspected = run
        self.overview: Overview | None = None
        self.lost: RunError | None = None
        """Why the run can no longer be looked at: its directory is gone."""
        self._look = Look(run)
        self._curves = Curves(run)
        self._keys: list[tuple[str, int]] = []
        self._said = ""

    def compose(self) -> ComposeResult:
        yield Static(id="head")
        with VerticalScroll(id="graph-pane", can_focus=False):
            yield Static(id="graph")
        yield DataTable(id="nodes", cursor_type="row", zebra_stripes=True)
        with Horizontal(id="below"):
            yield Static(id="events")
            yield Static(id="curve")
        yield Footer()

    def on_mount(self) -> None:
        table = self.query_one(DataTable)
        for name in NODE_HEADER:
            table.add_column(name, key=name)
        table.focus()
        self.refresh_figures()
        self.set_interval(REFRESH_S, self.refresh_figures)

    def refresh_figures(self) -> None:
        """Look at the run and show it."""
        if not self.query("#head"):  # the screen is being made, or is going
            return
        try:
            self.overview = overview = self._look.now()
        except RunError as error:
            self.lost = error
            self.exit()
            return
        lines = headline(overview)
        head = Text("\n".join(lines))
        head.stylize("bold", 0, len(lines[0]))
        rows = graph_rows(overview)
        width = max((sum(len(letters) for letters, _ in row) for row in rows), default=0)
        pane = self.query_one("#graph-pane")
        if width > pane.scroll_x + pane.size.width > 0:
            head.append("\nthe graph goes on to the right: ] shows more of it, [ goes back", "dim")
        if self._said:
            head.append(f"\n{self._said}", "italic")
        self.query_one("#head", Static).update(head)
        picture = Text(no_wrap=True)
        for row in rows:
            for letters, style in row:
                picture.append(letters, STYLES.get(style, ""))
            picture.append("\n")
        self.query_one("#graph", Static).update(picture)
        self._show_nodes(overview)
        events = Text(no_wrap=True, overflow="ellipsis")
        for event in overview.events[-12:]:
            events.append(f"{event_line(event)}\n", LEVELS.get(event.level, ""))
        self.query_one("#events", Static).update(events)
        pane = self.query_one("#curve", Static)
        pane.update(Text("\n".join(self._curves.lines(pane.content_size.width, pane.content_size.height))))

    def _show_nodes(self, overview: Overview) -> None:
        table = self.query_one(DataTable)
        keys = [(node.node, node.replica) for node in overview.nodes]
        rows = [node_cells(node, overview) for node in overview.nodes]
        if keys != self._keys:
            row = table.cursor_row
            table.clear()
            for (name, replica), cells in zip(keys, rows, strict=True):
                table.add_row(*cells, key=f"{name}[{replica}]")
            self._keys = keys
            table.move_cursor(row=row)
            return
        for (name, replica), cells in zip(keys, rows, strict=True):
            for column, cell in zip(NODE_HEADER, cells, strict=True):
                if table.get_cell(f"{name}[{replica}]", column) != cell:
                    table.update_cell(f"{name}[{replica}]", column, cell, update_width=True)

    @property
    def chosen(self) -> str | None:
        """The address of the node under the cursor."""
        row = self.query_one(DataTable).cursor_row
        if not 0 <= row < len(self._keys):
            return None
        name, replica = self._keys[row]
        return f"{name}[{replica}]"

    def say(self, text: str) -> None:
        """Tell the user what came of a key."""
        self._said = clean(text)
        self.notify(text, markup=False)

    @work(thread=True)
    def ask(self, what: Callable[[Session, Replica], str], then: Callable[[str], None] | None = None) -> None:
        """Ask the run for something about the chosen node, away from the screen."""
        address = self.chosen
        if address is None:
            return
        try:
            with Session(self.inspected) as session:
                (replica,) = session.replicas(address)
                told = what(session, replica)
        except FlowError as error:
            self.call_from_thread(self.say, str(error))
            return
        self.call_from_thread(then or self.say, told)

    def action_pause(self) -> None:
        chosen, overview = self.chosen, self.overview
        held = overview is not None and any(one.name == chosen and one.state == "paused" for one in overview.nodes)
        what = "resume" if held else "pause"

        def pause(session: Session, replica: Replica) -> str:
            told = session.ask(replica, what)
            return f"{replica.name}: {'goes on' if held else 'paused'} after {told['messages']} messages"

        self.ask(pause)

    def action_step(self) -> None:
        def step(session: Session, replica: Replica) -> str:
            told = session.ask(replica, "step", count=1)
            return f"{replica.name}: {told['passed']} message passed, {told['messages']} in all"

        self.ask(step)

    def action_restart(self) -> None:
        def restart(session: Session, replica: Replica) -> str:
            return f"{replica.name}: started again, its restart {session.ask(replica, 'restart')['restarts']}"

        self.ask(restart)

    def action_checkpoint(self) -> None:
        def checkpoint(session: Session, replica: Replica) -> str:
            return f"checkpoint {session.ask_supervisor('checkpoint')['number']} is written"

        self.ask(checkpoint)

    @work(thread=True, exclusive=True, group="trace")
    def action_trace(self) -> None:
        """Take a timeline of the whole run into its directory, for Perfetto."""
        worker = get_current_worker()
        self.app.call_from_thread(self.say, f"a trace is taken for {TRACE_S:g} s …")
        try:
            timeline = timelines.take(self.inspected, TRACE_S, over=lambda: worker.is_cancelled)
            path = timelines.new_file(self.inspected)
            timeline.write(path)
        except (FlowError, OSError) as error:
            self.call_from_thread(self.say, str(error))
            return
        if not worker.is_cancelled:
            self.call_from_thread(self.say, f"{path}: open it at https://ui.perfetto.dev")

    def action_stack(self) -> None:
        chosen = self.chosen

        def show(text: str) -> None:
            self.push_screen(TextScreen(f"where {chosen} is now", text.splitlines()))

        self.ask(lambda session, replica: "\n".join(session.stack(replica)), show)

    def action_open(self) -> None:
        if self.chosen is not None:
            self.push_screen(NodeScreen(self.inspected, self.chosen))

    def on_data_table_row_selected(self) -> None:
        self.action_open()

    def action_ports(self) -> None:
        if self.chosen is not None and self.overview is not None:
            self.push_screen(PortScreen(self.inspected, self.chosen))

    def action_edit(self) -> None:
        chosen = self.chosen
        if chosen is not None:
            self.push_screen(Ask(f"a live setting of {chosen} and its value, as in: learning_rate 1e-4"), self._set)

    def _set(self, said: str | None) -> None:
        name, _, value = (said or "").strip().partition(" ")
        if not name:
            return

        def change(session: Session, replica: Replica) -> str:
            told = session.ask(replica, "set", name=name, value=value_of(value.strip()))
            what = f"{replica.name}.{name}: {told['before']!r} -> {told['value']!r}"
            return f"{what}, for certain from message {told['holds_from']} on"

        self.ask(change)

    def action_along(self, columns: int) -> None:
        """Show what of a wide graph lies further right, or left."""
        self.query_one("#graph-pane").scroll_relative(x=columns, animate=False)
        self.refresh_figures()

    def action_metric(self) -> None:
        self._curves.next()
        self.refresh_figures()

    def action_help(self) -> None:
        self.push_screen(Help())

    def on_unmount(self) -> None:
        self._look.close()
        self._curves.close()
