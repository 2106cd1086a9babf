"""Reads how a run stands from its pages: one look, of a live run or of one that ended or was killed.

No process of the run is asked and none notices. Pages hold what counters were 5 to 10 s before, so rates and
shares need no second look.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from flow.errors import RunError
from flow.histogram import BUCKETS, bounds, quantile
from flow.inspect import bottleneck
from flow.inspect.bottleneck import Shares
from flow.inspect.figures import EdgeFigures, EventLine, NodeFigures, Overview, WorkerFigures
from flow.inspect.touched import touches
from flow.logs import last_events
from flow.run_directory import RunDirectory
from flow.stats_layout import COMPUTING
from flow.stats_reader import PageReader, PageView

SHOWN_S = 10.0
"""Of a run that does not say how long a loop, or a computation, may be at one thing before that is shown."""
WINDOW_LEAST_S = 0.5
ALIVE = ("starting", "running", "waiting", "paused")
TROUBLE = {
    "hung": "hangs",
    "gone": "has no process any more",
    "failed": "failed",
    "computing": "is at one computation",
}
"""States that a run waits for whatever else it does, the worst first, and what is said of a node in one."""
DOINGS = ("busy", "starved", "blocked", "paused")
_EDGE = re.compile(r"edge\.(?P<sender>.+)->(?P<receiver>.+)\.(?P<end>sent|received)(?P<what>_\w+)?")


class Look:
    """Looks at one run, again and again if wanted. Not for several threads at once."""

    def __init__(self, run: RunDirectory) -> None:
        self.run = run
        self._readers: dict[Path, PageReader] = {}

    def now(self, *, events: int = 12) -> Overview:
        """The run as it stands.

        Args:
          events: how many of the last events to tell.
        """
        said = self.run.about()
        pid = self.run.owner()
        now = time.time()
        views, problems = self._views()
        errors = _last_errors(self.run.logs)
        shown_s = float(said.get("shown_s") or SHOWN_S)
        nodes = tuple(_node(view, pid is not None, now, errors, shown_s) for view in views)
        edges = tuple(_edges(views, now))
        started = float(said.get("started") or said.get("created") or now)
        finding = find_bottleneck(nodes, edges)
        return Overview(
            run=self.run.name,
            title=str(said.get("title", "")),
            state="running" if pid else str(said.get("outcome") or ("died" if "started" in said else "not started")),
            cause=str(said.get("cause") or ""),
            pid=pid,
            elapsed_s=max((now if pid else float(said.get("ended") or _last_beat(views, started))) - started, 0.0),
            seed=said.get("seed"),
            touched=len(touches(self.run)),
            bottleneck=finding.sentence,
            bottleneck_node=finding.node,
            nodes=nodes,
            edges=edges,
            workers=tuple(_workers(views, now)),
            events=tuple(_events(self.run.logs, events)),
            problems=tuple(problems),
        )

    def views(self) -> list[PageView]:
        """What every page says."""
        return self._views()[0]

    def close(self) -> None:
        """Unmap the pages."""
        for reader in self._readers.values():
            reader.close()
        self._readers.clear()

    def _views(self) -> tuple[list[PageView], list[str]]:
        views, problems = [], []
        try:
            paths = sorted(path for path in self.run.state.iterdir() if path.suffix == ".page" and path.name[0] != ".")
        except OSError:
            paths = []
        for path in paths:
            reader = self._readers.setdefault(path, PageReader(path))
            try:
                view = reader.read()
            except RunError as error:
                problems.append(str(error))
                continue
            if view is not None:
                views.append(view)
        return sorted(views, key=lambda view: (view.node, view.replica)), problems


def find_bottleneck(nodes: Iterable[NodeFigures], edges: Iterable[EdgeFigures]) -> bottleneck.Finding:
    """The bottleneck, or who is in the way of there being one."""
    nodes = list(nodes)
    for state, said in TROUBLE.items():
        found = next((node for node in nodes if node.state == state), None)
        if found is not None:
            since = f" for {found.stuck_s:.0f} s" if found.stuck_s else ""
            why = f": {found.last_error}" if found.last_error else ""
            return bottleneck.Finding(found.node, f"{_called(found, nodes)} {said}{since}{why}", {})
    held = [_called(node, nodes) for node in nodes if node.state == "paused"]
    if held:
        return bottleneck.Finding(None, f"paused: {', '.join(held)}", {})
    shares: dict[str, list[NodeFigures]] = {}
    for node in nodes:
        if node.busy is not None:
            shares.setdefault(node.node, []).append(node)
    means = {
        name: Shares(*(sum(getattr(one, what) or 0.0 for one in those) / len(those) for what in DOINGS[:3]))
        for name, those in shares.items()
    }
    return bottleneck.find(means, list(edges))


def _called(node: NodeFigures, nodes: Iterable[NodeFigures]) -> str:
    """Its name, with the replica where there are several."""
    return node.name if sum(other.node == node.node for other in nodes) > 1 else node.node


def _until(view: PageView, now: float) -> float:
    """The moment that a page's counters are of: now while its worker beats, else its last beat."""
    return now if now - view.beaten < 1.0 or not view.beaten else view.beaten


def _deltas(view: PageView, now: float) -> tuple[dict[str, int], float]:
    """What each counter grew by since the page's mark, and in how many seconds; 0 s if that is too short to tell."""
    seconds = _until(view, now) - view.marked if view.marked else 0.0
    if seconds < WINDOW_LEAST_S:
        return {}, 0.0
    return {name: max(value - view.before.get(name, 0), 0) for name, value in view.counters.items()}, seconds


def _node(view: PageView, owned: bool, now: float, errors: dict[str, str], shown_s: float) -> NodeFigures:
    deltas, seconds = _deltas(view, now)
    times = [deltas.get(f"_{doing}_us", 0) for doing in DOINGS]
    shares: list[float | None] = [each / sum(times) for each in times] if sum(times) else [None] * len(times)
    rates = {"sent": 0.0, "received": 0.0}
    for name, grew in deltas.items():
        match = _EDGE.fullmatch(name)
        if match is not None and not match["what"]:
            rates[match["end"]] += grew / seconds
    handling, answers, batches = (_merged(view, end) for end in (".handling_us", ".answer_us", ".batch_rows"))
    half, most = _half_and_most(batches)
    alive = view.state in ALIVE
    stuck = now - view.beaten if owned and alive and view.beaten and now - view.beaten > shown_s else 0.0
    state = "hung" if stuck else view.state
    last_error = errors.get(f"{view.node}-{view.replica}", "")
    computing = view.gauges.get(COMPUTING, 0.0)
    if stuck:  # what holds the loop is told of its worker: it may be at any of its nodes
        last_error = errors.get(view.worker, last_error)
    elif owned and alive and computing > shown_s and view.text:
        state, stuck, last_error = "computing", computing, view.text
    elif view.state == "failed":
        last_error = view.text
    if alive and not owned:  # no worker outlives its supervisor
        state = "ended by a kill"
    elif alive and not view.has_process(_is_alive):
        state, stuck = "gone", 0.0
    return NodeFigures(
        node=view.node,
        replica=view.replica,
        state=state,
        worker=view.worker,
        pid=view.pid,
        restarts=view.incarnation,
        busy=shares[0],
        starved=shares[1],
        blocked=shares[2],
        paused=shares[3],
        received=rates["received"],
        sent=rates["sent"],
        handling_p50_ms=_thousandth(quantile(handling, 0.5)),
        handling_p99_ms=_thousandth(quantile(handling, 0.99)),
        answer_p50_ms=_thousandth(quantile(answers, 0.5)),
        answer_p99_ms=_thousandth(quantile(answers, 0.99)),
        batch_p50=half,
        batch_max=most,
        memory=int(view.gauges.get("_memory_bytes", 0)),
        device_memory=int(view.gauges.get("_device_bytes", 0)),
        last_error=last_error,
        stuck_s=stuck,
    )


def _half_and_most(counts: list[float]) -> tuple[float | None, float | None]:
    """The median and the largest of what a histogram counts; within one bucket the same."""
    most = float(max((bounds(at)[0] for at, count in enumerate(counts) if count > 0.01), default=0)) or None
    half = quantile(counts, 0.5)
    return (half if half is None or most is None else min(half, most)), most


def _merged(view: PageView, suffix: str) -> list[float]:
    """A node's histograms of one kind as one."""
    found = [counts for name, counts in view.histograms.items() if name.endswith(suffix)]
    return [sum(column) for column in zip(*found, strict=True)] if found else [0.0] * BUCKETS


def _thousandth(value: float | None) -> float | None:
    return None if value is None else value / 1000


def _edges(views: Iterable[PageView], now: float) -> Iterable[EdgeFigures]:
    sums: dict[tuple[str, str], dict[str, float]] = {}
    for view in views:
        deltas, seconds = _deltas(view, now)
        # A sender's end is read before a receiver's or after: what is under way may look negative for a moment.
        for name, value in (*view.counters.items(), *view.gauges.items()):
            match = _EDGE.fullmatch(name)
            if match is None:
                continue
            found = sums.setdefault((match["sender"], match["receiver"]), {})
            key = match["end"] + (match["what"] or "")
            found[key] = found.get(key, 0.0) + value
            if seconds and name in deltas:
                found[f"{key}/s"] = found.get(f"{key}/s", 0.0) + deltas[name] / seconds
    for (sender, receiver), found in sums.items():
        yield _edge(sender, receiver, found)


def _edge(sender: str, receiver: str, found: dict[str, Any]) -> EdgeFigures:
    def told(key: str) -> float:
        return float(found.get(key, 0.0))

    dropped = told("sent_dropped") + told("received_dropped")
    if "sent_credit" in found:
        kind, depth = "stream", told("sent") - told("received") - dropped - told("sent_unsettled")
    elif "sent_answered" in found:
        kind, depth = "call", told("sent") - told("sent_answered")
    else:
        kind, depth = "newest", 0.0
    return EdgeFigures(
        sender=sender,
        receiver=receiver,
        kind=kind,  # type: ignore[arg-type]
        rate=told("sent/s"),
        bytes_rate=told("sent_bytes/s"),
        depth=max(int(depth), 0),
        credit=int(told("sent_credit")),
        sender_waits=told("sent_waited_us/s") / 1e6,
        receiver_waits=told("received_waited_us/s") / 1e6,
        sent=int(told("sent")),
        received=int(told("received")),
        dropped=int(dropped),
    )


def _workers(views: Iterable[PageView], now: float) -> Iterable[WorkerFigures]:
    by_worker: dict[str, list[PageView]] = {}
    for view in views:
        by_worker.setdefault(view.worker, []).append(view)
    for worker, those in by_worker.items():
        newest = max(those, key=lambda view: view.beaten)
        deltas, seconds = _deltas(newest, now)
        yield WorkerFigures(
            name=worker,
            pid=newest.pid,
            alive=newest.has_process(_is_alive),
            cores=deltas.get("_cpu_us", 0) / 1e6 / seconds if seconds else 0.0,
            memory=int(newest.gauges.get("_memory_bytes", 0)),
            device_memory=int(newest.gauges.get("_device_bytes", 0)),
            nodes=tuple(f"{view.node}[{view.replica}]" for view in those),
        )


def _last_errors(logs: Path) -> dict[str, str]:
    """By node replica, the last thing that went wrong with it; a traceback is told by its error."""
    found = {}
    for event in last_events(logs, most=200, level="warning"):
        found[event.node] = event.summary
    return found


def _events(logs: Path, most: int) -> Iterable[EventLine]:
    for event in last_events(logs, most=most):
        yield EventLine(event.time, event.level, event.node, event.summary)


def _last_beat(views: Iterable[PageView], otherwise: float) -> float:
    return max((view.beaten for view in views if view.beaten), default=otherwise)


def _is_alive(pid: int) -> bool:
    """Whether there is such a process, and no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False
