"""The most memory that a graph's edges can hold, known before it starts.

An edge holds, for each pair of replicas, at most its credit in messages and its credit in bytes. A message that is
larger than the whole credit in bytes passes alone (flow/credit.py), so that one always counts.
"""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import numpy as np

from flow.errors import GraphError
from flow.graph.hosts import touches_home
from flow.graph.model import Edge, Graph
from flow.graph.problems import Problems
from flow.message import Message, Sizes


def memory_bound(graph: Graph) -> int:
    """Bytes that all edges together can hold."""
    return sum(edge_bound(graph, edge) for edge in graph.edges)


def edge_bound(graph: Graph, edge: Edge) -> int:
    """Bytes that one edge can hold: those of its arrays, over all pairs of replicas."""
    begin, end = graph.port(edge.sender), graph.port(edge.receiver)
    sender, receiver = graph.nodes[edge.sender.node], graph.nodes[edge.receiver.node]
    here = sender.type.port_sizes(edge.sender.port, sender.settings)
    there = receiver.type.port_sizes(edge.receiver.port, receiver.settings)
    size = message_size(begin.messages[0], here, end.messages[0], there)
    if begin.kind == "Call" and size is not None:
        answer = message_size(end.messages[1], there, begin.messages[1], here)
        size = None if answer is None else size + answer
    credit = 1 if begin.kind == "Publish" else edge.credit
    if size is None:
        return graph.pairs(edge) * edge.credit_bytes
    return graph.pairs(edge) * max(min(edge.credit_bytes, credit * size), size)


def message_size(sent: type[Message], sends: Sizes, wanted: type[Message], receives: Sizes) -> int | None:
    """Bytes of a message's arrays, None where a dimension is known to neither end, or the message is any."""
    if Message in (sent, wanted):
        return None
    at_receiver = {field.name: field for field in wanted.fields}
    total = 0
    for field in sent.fields:
        if field.kind == "scalar":
            continue
        if field.kind == "table" or field.any_rank:
            return None
        other = at_receiver.get(field.name)
        count = 1
        for index, dim in enumerate(field.dims):
            size = dim.resolved(sends)
            if size is None and other is not None and index < len(other.dims):
                size = other.dims[index].resolved(receives)
            if size is None:
                return None
            count *= size
        total += count * max(np.dtype(dtype).itemsize for dtype in field.dtypes)
    return total


def machine_memory() -> int:
    """Bytes of memory that this machine, or the container this process is in, has."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    try:
        limit = Path("/sys/fs/cgroup/memory.max").read_text().strip()
    except OSError:  # no control groups of version 2 here
        return memory
    return min(memory, int(limit)) if limit.isdigit() else memory


def check_memory(graph: Graph, memory: int | None = None) -> None:
    """Refuse a graph whose edges can hold more than the machine has; what lies on other hosts alone is not counted.

    Raises:
      GraphError: they can; the text names the largest edge.
    """
    memory = machine_memory() if memory is None else memory
    graph = replace(graph, edges=tuple(edge for edge in graph.edges if touches_home(graph, edge)))
    bound = memory_bound(graph)
    if bound <= memory:
        return
    problems = Problems(str(graph.path))
    largest = max(graph.edges, key=lambda edge: edge_bound(graph, edge))
    pairs = graph.pairs(largest)
    problems.add_edge(
        largest.sender,
        largest.receiver,
        f"the edges can hold {readable(bound)}, this machine has {readable(memory)}; this edge is the largest with "
        f"{readable(edge_bound(graph, largest))} over {pairs} pair{'s' if pairs > 1 else ''} of replicas; "
        "give it a smaller credit or credit_bytes",
    )
    raise GraphError(problems.found)


def readable(size: float) -> str:
    """Bytes in a unit that a reader takes in: "1.5 GiB"."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if size < 1024:
            return f"{size:.3g} {unit}"
        size /= 1024
    return f"{size:.4g} TiB"
