"""What opens above the first screen: a node, what passes a port, a text, a question, the keys."""

from __future__ import annotations

import time
from typing import ClassVar

from rich.text import Text
from textual import work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical, VerticalScroll
from textual.screen import ModalScreen
from textual.widgets import Footer, Input, OptionList, Static
from textual.worker import get_current_worker

from flow.errors import FlowError
from flow.inspect.protocol import Words, key_of, split_address
from flow.inspect.samples import read_sample
from flow.inspect.session import Session
from flow.logs import last_events
from flow.run_directory import RunDirectory
from flow.view.numbers import clean
from flow.view.sample import sample_lines

CLOSE: list[BindingType] = [Binding("escape,q", "dismiss", "close")]
SAMPLE_BYTES, SAMPLES_HZ = 64 * 1024, 4.0
KEYS = """
 enter    open the node under the cursor: its settings, ports, log
 p        peek: what passes a port of it, and what waits there
 space    pause it between two messages, or let it go on
 n        let a paused node take one message
 e        change a live setting
 r        restart it, with its state
 x        stack: where its tasks wait and what its threads compute
 t        take a trace of ten seconds, a timeline for https://ui.perfetto.dev
 c        take a checkpoint of the run
 m        show the next metric
 ] [      what lies further right of a wide graph, and back
 q        detach; the run goes on as it is

 In the graph: green, yellow and red streams are empty, half full and full; blue are calls (the number is how many
 wait for an answer), cyan are published values. Busy, starved and blocked are shares of a node's time in the last
 5 to 10 seconds. What you change is written to the run's logs/touched.log.
"""


class TextScreen(ModalScreen[None]):
    """Lines to read."""

    BINDINGS: ClassVar[list[BindingType]] = CLOSE

    def __init__(self, title: str, lines: list[str]) -> None:
        super().__init__()
        self._title, self._lines = title, lines

    def compose(self) -> ComposeResult:
        with VerticalScroll(classes="dialog") as box:
            box.border_title = self._title
            yield Static(Text("\n".join(self._lines)), id="text")
        yield Footer()  # of this page: the keys of what lies below do nothing here

    def show(self, lines: list[str]) -> None:
        """Put other lines in their place."""
        self.query_one("#text", Static).update(Text("\n".join(lines)))


class Help(TextScreen):
    """The keys."""

    def __init__(self) -> None:
        super().__init__("keys", KEYS.splitlines())


class NodeScreen(TextScreen):
    """A node: what it is, its settings and ports, its last events. Of a run that is over, the events alone."""

    def __init__(self, run: RunDirectory, address: str) -> None:
        super().__init__(address, ["asking …"])
        self._run, self._address = run, address

    def on_mount(self) -> None:
        self.load()

    @work(thread=True)
    def load(self) -> None:
        """Ask its worker."""
        node, replica = split_address(self._address)
        try:
            with Session(self._run) as session:
                lines = described(session.ask(session.replicas(self._address)[0], "describe"))
        except FlowError as error:
            lines = [str(error)]
        key = key_of(node, replica or 0)
        events = [event for event in last_events(self._run.logs, most=500) if event.node == key][-20:]
        lines += ["", "events", *(f"  {clean(event.line())}" for event in events)]
        self.app.call_from_thread(self.show, lines)


def described(told: Words) -> list[str]:
    """What a worker says of a node, as lines."""
    lines = [
        f"{told['type']}  {'paused' if told['paused'] else ''}",
        *f"{told['doc']}".splitlines()[:1],
        "",
        "settings",
    ]
    width = max((len(each["name"]) for each in told["settings"]), default=0)
    for each in told["settings"]:
        marks = ("  live" if each["live"] else "") + ("  changed by hand" if each["changed"] else "")
        lines.append(
            f"  {each['name']:<{width}}  {each['value']!r:<12}  {each['takes']}{marks}  {each['doc']}".rstrip()
        )
    lines += ["", "ports"]
    for each in told["ports"]:
        lines.append(f"  {each['name']}  {each['kind']}[{', '.join(each['messages'])}]  {each['doc']}".rstrip())
        lines += [f"    {field}" for field in each["fields"]]
    return lines


class PortScreen(ModalScreen[None]):
    """What passes a port of a node, as it passes; the port is chosen from a list."""

    BINDINGS: ClassVar[list[BindingType]] = CLOSE
    CSS = "#ports { height: auto; max-height: 10; }"

    def __init__(self, run: RunDirectory, address: str) -> None:
        super().__init__()
        self._run, self._address = run, address

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog") as box:
            box.border_title = f"ports of {self._address}"
            yield OptionList(id="ports")
            with VerticalScroll():
                yield Static("asking …", id="text")
        yield Footer()

    def on_mount(self) -> None:
        self.load()

    def _show(self, lines: list[str]) -> None:
        self.query_one("#text", Static).update(Text("\n".join(lines)))

    def _list(self, ports: list[str]) -> None:
        options = self.query_one(OptionList)
        options.add_options(ports)
        options.focus()
        self._show(["choose a port"])

    @work(thread=True)
    def load(self) -> None:
        """Ask which ports there are."""
        try:
            with Session(self._run) as session:
                (replica,) = session.replicas(self._address)
                told = session.ask(replica, "describe")
        except FlowError as error:
            self.app.call_from_thread(self._show, [str(error)])
            return
        self.app.call_from_thread(self._list, [f"{port['name']}  {port['kind']}" for port in told["ports"]])

    def on_option_list_option_selected(self, chosen: OptionList.OptionSelected) -> None:
        name, _, kind = str(chosen.option.prompt).partition("  ")
        self._show(["waiting for a message …"])
        self.follow(name, kind)

    @work(thread=True, exclusive=True, group="tap")
    def follow(self, port: str, kind: str) -> None:
        """Show what passes, and what waits, until another port is chosen or the screen is closed."""
        worker = get_current_worker()

        def left() -> bool:
            return worker.is_cancelled

        try:
            with Session(self._run) as session:
                replicas = session.replicas(self._address)
                queued: list[str] = []
                wanted = {"hz_max": SAMPLES_HZ, "most_bytes": SAMPLE_BYTES}
                while not left():
                    if kind in ("In", "Serve", "Latest"):
                        queued = self._queued(session, port)
                    if kind == "Latest":
                        self.app.call_from_thread(self._show, queued)
                        time.sleep(1 / SAMPLES_HZ)
                        continue
                    for one, sample in session.tap(replicas, port, seconds=1.0, count=4, **wanted):
                        if worker.is_cancelled:
                            return
                        self.app.call_from_thread(
                            self._show, [*sample_lines(f"{one.name}.{port}", sample), "", *queued]
                        )
        except FlowError as error:
            self.app.call_from_thread(self._show, [str(error)])

    def _queued(self, session: Session, port: str) -> list[str]:
        (replica,) = session.replicas(self._address)
        told = session.ask(replica, "peek", port=port, count=1, most_bytes=SAMPLE_BYTES)
        lines = [f"{told['depth']} wait here" + (", the next:" if told["messages"] else "")]
        now = {"number": 0, "time": time.time(), "skipped": 0, "dropped": 0, "what": "waiting"}
        for message in told["messages"]:
            lines += sample_lines(port, read_sample({**now, **message}))[1:]
        return lines


class Ask(ModalScreen[str | None]):
    """A line to type."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "dismiss", "close")]
    CSS = "#ask { height: auto; border: round $accent; background: $surface; padding: 0 1; }"

    def __init__(self, question: str) -> None:
        super().__init__()
        self._question = question

    def compose(self) -> ComposeResult:
        with Vertical(id="ask"):
            yield Static(Text(self._question))
            yield Input()
        yield Footer()

    def on_input_submitted(self, event: Input.Submitted) -> None:
        self.dismiss(event.value)
