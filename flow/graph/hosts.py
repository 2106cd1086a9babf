"""The `[hosts]` table: which workers live on which host, and where they listen.

    [hosts]
    home = { listen = "10.0.0.1:7000-7003" }                         # where `flow run` is started; the others join here
    rig  = { listen = "10.0.0.2:7100-7119", workers = ["model"] }

Workers that no host names live at home. Without ports the system chooses them. At home the first port is the one that
hosts join at; every worker that speaks to another host takes one more, in the order of the graph's workers.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from flow.graph.compose import Reading
from flow.graph.model import HOME, MAIN_WORKER, MODEL_WORKER, Edge, Graph, GraphHost, place
from flow.graph.params import NAME, Unfilled
from flow.graph.problems import Problems, described, nearest
from flow.graph.source import Tables

KEYS = ("listen", "workers")
_EXAMPLE = '"10.0.0.2", "rig.lan:7100" or "10.0.0.2:7100-7119"'
_LABEL = r"[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?"
_LISTEN = re.compile(rf"(?P<address>{_LABEL}(\.{_LABEL})*)(:(?P<first>\d{{1,5}})(-(?P<last>\d{{1,5}}))?)?")


def read_hosts(raw: dict[str, Any], problems: Problems) -> dict[str, GraphHost]:
    """Each host, as far as it alone can be judged."""
    hosts: dict[str, GraphHost] = {}
    for name, value in raw.items():
        if not re.fullmatch(NAME, name):
            problems.add("hosts", name, "is no name of a host; use letters, digits and _, beginning with a letter")
        elif not isinstance(value, dict):
            example = '{ listen = "10.0.0.2", workers = ["model"] }'
            problems.add("hosts", name, f"expected a table, as in {example}, found {described(value)}")
        else:
            host = _read_host(name, value, problems)
            if host is not None:
                hosts[name] = host
    return hosts


def _read_host(name: str, value: dict[str, Any], problems: Problems) -> GraphHost | None:
    before = problems.told
    for key in value:
        if key not in KEYS:
            problems.unknown("hosts", name, f"a host has no '{key}'", key, KEYS)
    workers = value.get("workers", [])
    if not isinstance(workers, list) or any(type(each) is not str for each in workers):
        problems.add("hosts", name, f'expected a list of workers, as in ["model"], found {described(workers)}')
        workers = []
    elif name == HOME and "workers" in value:
        text = f"{HOME} has the workers that no other host names, so 'workers' has no effect; remove it"
        problems.add("hosts", name, text)
    elif name != HOME and not workers:
        problems.add("hosts", name, 'it has no workers; name some, as in workers = ["model"], or remove the host')
    listen = _listen(name, value.get("listen"), problems)
    if listen is None or problems.told > before:
        return None
    return GraphHost(name, *listen, tuple(workers))


def _listen(name: str, value: Any, problems: Problems) -> tuple[str, tuple[int, int] | None] | None:
    """Address and range of ports."""
    if isinstance(value, Unfilled):
        return None
    if value is None:
        text = f"it needs listen, the address at which the other hosts reach it, as in listen = {_EXAMPLE}"
        problems.add("hosts", name, text)
        return None
    match = _LISTEN.fullmatch(value) if isinstance(value, str) else None
    if match is None or not _is_address(match["address"]):
        problems.add("hosts", name, f"expected an address, as in listen = {_EXAMPLE}, found {described(value)}")
        return None
    address = match["address"]
    if address == "0.0.0.0":
        text = "0.0.0.0 is an address at which nobody can be reached; write the host's own, as `ip address` shows it"
        problems.add("hosts", name, text)
        return None
    if match["first"] is None:
        return address, None
    first = int(match["first"])
    last = int(match["last"] or first)
    if not 1 <= first <= last <= 65535:
        problems.add(
            "hosts", name, f"expected ports from 1 to 65535, the lower first, found {value.rpartition(':')[2]}"
        )
        return None
    return address, (first, last)


def _is_address(text: str) -> bool:
    """Numbers and dots alone are an address of IPv4 or a mistake; anything else is a name."""
    if not re.fullmatch(r"[\d.]+", text):
        return True
    try:
        ipaddress.IPv4Address(text)
    except ValueError:
        return False
    return True


def check_hosts(graph: Graph, tables: Tables, reading: Reading, problems: Problems) -> None:
    """Note what is wrong with the hosts of a graph together, and with edges that are compressed.

    Args:
      tables: as they were written: where a host or a worker could not be read, nothing is missing.
    """
    raw = tables.get("hosts", {})
    whole = len(raw) == len(graph.hosts)
    if whole and raw and HOME not in raw:
        text = f'there is no {HOME}, the host where flow run is started; add {HOME} = {{ listen = "10.0.0.1:7000" }}'
        problems.add("hosts", "", text)
    elif list(raw) == [HOME]:
        problems.add("hosts", "", f"there is {HOME} alone; name the other hosts, or remove the table")
    _check_workers(graph, tables.get("workers", {}), problems)
    _check_ports(graph, problems)
    loopback = {name: _is_loopback(host.address) for name, host in graph.hosts.items()}
    if len(set(loopback.values())) > 1:
        name = next(name for name, is_loopback in loopback.items() if is_loopback)
        problems.add("hosts", name, f"{graph.hosts[name].address} is reached from this host alone; write its address")
    if whole:
        _check_compressed(graph, reading)


def _is_loopback(address: str) -> bool:
    return address == "localhost" or address.startswith("127.")


def _check_workers(graph: Graph, written: Tables, problems: Problems) -> None:
    # Where nodes could not be read the default workers may be empty for that alone.
    defaults = (MAIN_WORKER, MODEL_WORKER) if problems.found else ()
    known = list(dict.fromkeys([*place(graph), *written, *defaults]))
    home_of: dict[str, str] = {}
    for name, host in graph.hosts.items():
        for worker in host.workers:
            if worker not in known:
                problems.add("hosts", name, f"there is no worker '{worker}'{nearest(worker, known)}")
            elif worker in home_of:
                twice = "named twice" if home_of[worker] == name else f"on host '{home_of[worker]}' too"
                problems.add("hosts", name, f"worker '{worker}' is {twice}; a worker lives on one host")
            home_of.setdefault(worker, name)


def _check_ports(graph: Graph, problems: Problems) -> None:
    """Two hosts of one address must not want the same port, and each needs as many as it has listeners."""
    ranged = [host for host in graph.hosts.values() if host.ports is not None]
    for at, host in enumerate(ranged):
        for other in ranged[:at]:
            assert host.ports is not None
            assert other.ports is not None
            first, last = max(host.ports[0], other.ports[0]), min(host.ports[1], other.ports[1])
            if host.address == other.address and first <= last:
                text = f"port {first} of {host.address} is listened at by host '{other.name}' too; give each its own"
                problems.add("hosts", host.name, text)
    if problems.found:
        return
    for name, listening in _listeners(graph).items():
        address, ports = graph.hosts[name].address, graph.hosts[name].ports
        if ports is None or ports[1] - ports[0] + 1 >= len(listening):
            continue
        wanted = f"{address}:{ports[0]}-{ports[0] + len(listening) - 1}"
        needs = ", ".join(worker or "hosts that join" for worker in listening)
        text = f"it has {ports[1] - ports[0] + 1} of the {len(listening)} ports that it needs (for {needs})"
        problems.add("hosts", name, f'{text}; write listen = "{wanted}"')


def _check_compressed(graph: Graph, reading: Reading) -> None:
    """To compress an edge within a host costs time and saves nothing."""
    for tie in reading.ties:
        if tie.edge.compress and not any(a != b for a, b in _pairs(graph, tie.edge)):
            text = "compress has no effect on an edge within one host; remove it"
            tie.home.problems.add_edge(tie.home.sender, tie.home.receiver, text)


def host_of_worker(graph: Graph) -> dict[str, str]:
    """The host of each worker; all are at home where the graph names no hosts."""
    named = {worker: name for name, host in graph.hosts.items() for worker in host.workers}
    return {worker: named.get(worker, HOME) for worker in place(graph)}


def touches_home(graph: Graph, edge: Edge) -> bool:
    """Whether an end of an edge is at home, so that what it holds may be."""
    return not graph.hosts or any(HOME in pair for pair in _pairs(graph, edge))


def _pairs(graph: Graph, edge: Edge) -> Iterator[tuple[str, str]]:
    """Hosts of the sender and the receiver, for each two workers that an edge ties."""
    hosts = host_of_worker(graph)
    workers: dict[str, set[str]] = {}
    for worker, hosted in place(graph).items():
        for node, _ in hosted:
            workers.setdefault(node, set()).add(worker)
    for sender in workers.get(edge.sender.node, ()):
        for receiver in workers.get(edge.receiver.node, ()):
            yield hosts[sender], hosts[receiver]


def _listeners(graph: Graph) -> dict[str, list[str]]:
    """By host the workers that listen for other hosts; "" is home's place where hosts join."""
    hosts = host_of_worker(graph)
    nodes = {worker: {node for node, _ in hosted} for worker, hosted in place(graph).items()}
    away: dict[str, set[str]] = {}  # the hosts that each node is tied to
    on = {node: {hosts[worker] for worker, those in nodes.items() if node in those} for node in graph.nodes}
    for edge in graph.edges:
        away.setdefault(edge.sender.node, set()).update(on[edge.receiver.node])
        away.setdefault(edge.receiver.node, set()).update(on[edge.sender.node])
    found: dict[str, list[str]] = {name: [""] if name == HOME else [] for name in graph.hosts}
    for worker, those in nodes.items():
        if any(away.get(node, set()) - {hosts[worker]} for node in those):
            found[hosts[worker]].append(worker)
    return found


@dataclass(frozen=True)
class Placement:
    """Where a run's workers live.

    hosts: by worker. listen: by worker the TCP endpoint that it binds, where it speaks to another host. join: the
    endpoint at home where the other hosts join, "" in a run of one host.
    """

    hosts: dict[str, str]
    listen: dict[str, str]
    join: str


def placement(graph: Graph) -> Placement:
    """Where the workers of a checked graph live."""
    if not graph.hosts:
        return Placement({}, {}, "")
    listen = {
        (host, worker): f"tcp://{graph.hosts[host].address}:{_port(graph.hosts[host], at)}"
        for host, listening in _listeners(graph).items()
        for at, worker in enumerate(listening)
    }
    workers = {worker: endpoint for (_, worker), endpoint in listen.items() if worker}
    return Placement(host_of_worker(graph), workers, listen[HOME, ""])


def _port(host: GraphHost, at: int) -> str:
    return "*" if host.ports is None else str(host.ports[0] + at)
