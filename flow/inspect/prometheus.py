"""A run's pages of counters as Prometheus metrics: read when they are asked for, by this process alone.

    flow_run_…                     one of each run
    flow_node_…{node,replica}      what a node does, and how long it is at a message
    flow_edge_…{sender,receiver}   what an edge carried, holds, and who waits at it
    flow_worker_…{worker}          processors and memory of a process
    flow_user_…{node,replica}      what nodes count and record themselves

Names, units and types after https://prometheus.io/docs/practices/naming/: seconds and bytes, counters end in _total.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from wsgiref.simple_server import WSGIRequestHandler, make_server
from wsgiref.types import StartResponse, WSGIEnvironment

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily, Metric
from prometheus_client.exposition import make_wsgi_app
from prometheus_client.registry import Collector

from flow.inspect.figures import EdgeFigures, NodeFigures, Overview
from flow.inspect.overview import DOINGS, Look
from flow.run_directory import RunDirectory
from flow.stats_layout import STATES
from flow.stats_reader import PageView

NODE = ("node", "replica")
EDGE = ("sender", "receiver")
RUN_STATES = ("running", "done", "stopped", "failed", "died", "not started")
_INTERNAL = ("_", "edge.", "port.")
_ODD = re.compile(r"[^a-zA-Z0-9_]+")


@dataclass(eq=False)  # a registry tells collectors apart by identity
class RunCollector(Collector):
    """Reads a run's pages at each scrape."""

    run: RunDirectory
    look: Look = field(init=False)

    def __post_init__(self) -> None:
        self.look = Look(self.run)

    def collect(self) -> Iterator[Metric]:
        """Every metric as it is now."""
        overview, views = self.look.now(), self.look.views()
        yield from _of_run(overview)
        yield from _of_nodes(overview.nodes, views)
        yield from _of_edges(overview.edges, views)
        yield from _of_workers(overview, views)
        yield from _of_users(views)


def registry_of(run: RunDirectory) -> CollectorRegistry:
    """A registry with the metrics of one run."""
    registry = CollectorRegistry()
    registry.register(RunCollector(run))
    return registry


def _of_run(overview: Overview) -> Iterator[Metric]:
    about = {"run": overview.run, "title": overview.title, "seed": str(overview.seed)}
    yield InfoMetricFamily("flow_run", "Which run this is.", about)
    yield _gauge("flow_run_up", "1 while the run is alive.", [((), float(overview.pid is not None))])
    states = (((state,), float(state == overview.state)) for state in RUN_STATES)
    yield _gauge("flow_run_state", "1 of the state that the run is in.", states, ("state",))
    yield _gauge("flow_run_elapsed_seconds", "Since the run was last started.", [((), overview.elapsed_s)])
    yield _counter("flow_run_touches", "How often somebody changed the run by hand.", [((), overview.touched)])


def _of_nodes(nodes: Iterable[NodeFigures], views: Iterable[PageView]) -> Iterator[Metric]:
    nodes, views = list(nodes), list(views)
    yield _counter(
        "flow_node_time_seconds",
        "What the node spent its time on; the four add up.",
        (
            ((view.node, str(view.replica), doing), view.counters.get(f"_{doing}_us", 0) / 1e6)
            for view in views
            for doing in DOINGS
        ),
        (*NODE, "doing"),
    )
    every = (*STATES, "hung", "gone", "computing", "ended by a kill")
    states = (((one.node, str(one.replica), state), float(state == one.state)) for one in nodes for state in every)
    yield _gauge("flow_node_state", "1 of the state that the node is in.", states, (*NODE, "state"))
    restarts = (((one.node, str(one.replica)), one.restarts) for one in nodes)
    yield _counter("flow_node_restarts", "How often the node was started again.", restarts, NODE)
    for name, what, text in (
        ("flow_node_handling_seconds", "handling", "How long the node is at a message, of the last seconds."),
        ("flow_node_answer_seconds", "answer", "How long its questions wait for answers, of the last seconds."),
    ):
        found = (
            ((one.node, str(one.replica), quantile), value / 1000)
            for one in nodes
            for quantile, digits in (("0.5", "p50"), ("0.99", "p99"))
            if (value := getattr(one, f"{what}_{digits}_ms")) is not None
        )
        yield _gauge(name, text, found, (*NODE, "quantile"))
    rows = (((one.node, str(one.replica)), one.batch_p50) for one in nodes if one.batch_p50 is not None)
    yield _gauge("flow_node_batch_rows", "Rows of the batches it serves, median of the last seconds.", rows, NODE)


def _of_edges(edges: Iterable[EdgeFigures], views: Iterable[PageView]) -> Iterator[Metric]:
    edges, views = list(edges), list(views)

    def summed(what: str) -> Iterator[tuple[tuple[str, ...], float]]:
        for edge in edges:
            slot = f"edge.{edge.sender}->{edge.receiver}.{what}"
            yield (edge.sender, edge.receiver), sum(view.counters.get(slot, 0) for view in views)

    for name, what, text in (
        ("flow_edge_messages_sent", "sent", "Messages that were sent."),
        ("flow_edge_messages_received", "received", "Messages that were taken."),
        ("flow_edge_sent_bytes", "sent_bytes", "Bytes of the arrays that were sent."),
    ):
        yield _counter(name, text, summed(what), EDGE)
    dropped = (((edge.sender, edge.receiver), edge.dropped) for edge in edges)
    yield _counter("flow_edge_messages_dropped", "Messages known to be lost, or replaced by newer ones.", dropped, EDGE)
    for name, what, text in (
        ("flow_edge_sender_wait_seconds", "sent_waited_us", "How long its senders waited: for credit, or an answer."),
        ("flow_edge_receiver_wait_seconds", "received_waited_us", "How long its receivers waited for a message."),
    ):
        yield _counter(name, text, ((labels, value / 1e6) for labels, value in summed(what)), EDGE)
    depths = (((edge.sender, edge.receiver), edge.depth) for edge in edges)
    yield _gauge("flow_edge_depth_messages", "Sent and not yet taken; of a call, not yet answered.", depths, EDGE)
    credit = (((edge.sender, edge.receiver), edge.credit) for edge in edges if edge.credit)
    yield _gauge("flow_edge_credit_messages", "How many may be under way.", credit, EDGE)


def _of_workers(overview: Overview, views: Iterable[PageView]) -> Iterator[Metric]:
    used: dict[str, int] = {}
    for view in views:
        used[view.worker] = max(used.get(view.worker, 0), view.counters.get("_cpu_us", 0))
    cpu = (((worker,), value / 1e6) for worker, value in used.items())
    yield _counter("flow_worker_cpu_seconds", "Processor time of the worker.", cpu, ("worker",))
    memory = (((each.name,), each.memory) for each in overview.workers)
    yield _gauge(
        "flow_worker_resident_memory_bytes", "Resident memory of it, without pages of files.", memory, ("worker",)
    )
    device = (((each.name,), each.device_memory) for each in overview.workers)
    yield _gauge("flow_worker_device_memory_bytes", "Memory that torch holds of a GPU.", device, ("worker",))


def _of_users(views: Iterable[PageView]) -> Iterator[Metric]:
    """What nodes count themselves: counters, gauges, and the last value of series."""
    found: dict[tuple[str, str], list[tuple[tuple[str, ...], float]]] = {}
    for view in views:
        labels = (view.node, str(view.replica))
        lasts = {name: series.values[-1] for name, series in view.series.items() if series.values}
        told: list[tuple[str, Mapping[str, float]]] = [
            ("counter", view.counters),
            ("gauge", view.gauges),
            ("gauge", lasts),
        ]
        for kind, values in told:
            for name, value in values.items():
                if not name.startswith(_INTERNAL):
                    found.setdefault((kind, name), []).append((labels, value))
    taken: set[str] = set()
    for (kind, name), told_by in sorted(found.items()):
        plain = f"flow_user_{_ODD.sub('_', name).removesuffix('_total')}"
        while plain in taken:  # two names that differ only in what a metric's may not hold
            plain += "_"
        taken.add(plain)
        made = _counter if kind == "counter" else _gauge
        yield made(plain, f"{name!r}, as its nodes tell it.", told_by, NODE)


def _gauge(
    name: str, text: str, values: Iterable[tuple[tuple[str, ...], float]], labels: tuple[str, ...] = ()
) -> Metric:
    family = GaugeMetricFamily(name, text, labels=labels)
    for label, value in values:
        family.add_metric(label, value)
    return family


def _counter(
    name: str, text: str, values: Iterable[tuple[tuple[str, ...], float]], labels: tuple[str, ...] = ()
) -> Metric:
    family = CounterMetricFamily(name, text, labels=labels)
    for label, value in values:
        family.add_metric(label, value)
    return family


class _Quiet(WSGIRequestHandler):
    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 (its name there)
        """A line a scrape would be all that a terminal shows."""


def serve(run: RunDirectory, host: str, port: int) -> None:
    """Serve a run's metrics at /metrics until interrupted, to who names this very address.

    A page in a browser may send requests here under a name of its own that leads to this machine; its Host is another.

    Raises:
      OSError: the address cannot be had.
    """
    app = make_wsgi_app(registry_of(run))
    with make_server(host, port, lambda environ, begin: [], handler_class=_Quiet) as server:
        port = server.server_port
        names = {f"{name}:{port}" for name in (host, "localhost", "127.0.0.1", "[::1]")}

        def guarded(environ: WSGIEnvironment, begin: StartResponse) -> Iterable[bytes]:
            if environ.get("HTTP_HOST") not in names:
                begin("403 Forbidden", [("Content-Type", "text/plain")])
                return [f"ask for {host}:{port} by its own name\n".encode()]
            if environ.get("PATH_INFO") not in ("/", "/metrics"):
                begin("404 Not Found", [("Content-Type", "text/plain")])
                return [b"metrics are at /metrics\n"]
            answer: Iterable[bytes] = app(environ, begin)
            return answer

        server.set_app(guarded)
        print(f"metrics of {run.name} at http://{host}:{port}/metrics, until Ctrl-C", flush=True)
        server.serve_forever()
