"""Which node a run waits for, from how its nodes spend their time. Figures in, a sentence out.

    source ──► resize ──► learner        source   blocked 95 %, on resize
    95 % blocked  100 % busy  90 % starved   learner  starved 90 %, for resize        the blame: resize

Follow a moment of waiting to whom it waits for: a blocked node for its receiver, a starved one for its sender or
for the server it asked. That one is busy, and the moment is its; or waits itself, and the moment goes on. A moment
of each node is followed until it comes to rest, by the shares of time as probabilities (an absorbing Markov chain);
the node where most come to rest is what the run waits for, or a busier one behind it that holds it up.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from flow.inspect.figures import EdgeFigures

STEPS_MAX = 500
REST = 1e-6
BUSY = 0.9
"""From this share on a node that works is never called idle."""
IN_TURN = 1.5
"""The first of two that wait for each other bears at most this much more blame than the second."""
IDLE = 0.05


@dataclass(frozen=True)
class Shares:
    """How a node spends its time; the three add up to at most 1, what is missing is paused."""

    busy: float
    starved: float
    blocked: float


@dataclass(frozen=True)
class Finding:
    """What was found. node: the bottleneck, None if there is none. blame: of each node, 1 in all."""

    node: str | None
    sentence: str
    blame: Mapping[str, float]


def node_of(end: str) -> str:
    """The node of a port: what stands before its last dot."""
    return end.rpartition(".")[0]


def find(nodes: Mapping[str, Shares], edges: Sequence[EdgeFigures]) -> Finding:
    """The bottleneck of a run.

    Args:
      nodes: by name, the mean over a node's replicas.
      edges: those between them.
    """
    if not nodes:
        return Finding(None, "no node has run for long enough to tell", {})
    blame, lost = _blame(nodes, edges)
    first, *others = sorted(nodes, key=lambda name: (-blame[name], name))
    if nodes[first].busy < IDLE and lost > 0.5:
        return Finding(None, _standstill(nodes, edges), blame)
    if all(shares.busy >= BUSY for shares in nodes.values()) and others:
        return Finding(None, "no node waits for another: each is busy, the processors are the limit", blame)
    last = _downstream(first, nodes, edges)
    if last != first:
        return Finding(last, _sentence(last, nodes, edges), blame)
    second = others[0] if others else None
    if second is not None and blame[first] < IN_TURN * blame[second] and _ask_each_other(first, second, edges):
        sentence = (
            f"{first} and {second} wait for each other in turn, busy {_percent(nodes[first].busy)} and "
            f"{_percent(nodes[second].busy)}: neither alone is the bottleneck"
        )
        return Finding(first, sentence, blame)
    return Finding(first, _sentence(first, nodes, edges), blame)


def _blame(nodes: Mapping[str, Shares], edges: Sequence[EdgeFigures]) -> tuple[dict[str, float], float]:
    """Of each node how much comes to rest there, and how much never did."""
    ways = {name: _ways(name, nodes, edges) for name in nodes}
    rested = dict.fromkeys(nodes, 0.0)
    moving = dict.fromkeys(nodes, 1.0 / len(nodes))
    for _ in range(STEPS_MAX):
        still = dict.fromkeys(nodes, 0.0)
        for name, amount in moving.items():
            gone = 0.0
            for other, share in ways[name].items():
                still[other] += amount * share
                gone += share
            rested[name] += amount * (1.0 - gone)
        moving = still
        if sum(moving.values()) < REST:
            break
    return rested, sum(moving.values())


def _downstream(name: str, nodes: Mapping[str, Shares], edges: Sequence[EdgeFigures]) -> str:
    """The node that holds up the one most blamed: the last of those that block one another and are ever busier.

    Who leads to a node bears blame for it while it works, though it could work no faster than what comes behind takes.
    """
    while True:
        blocking = {node_of(edge.receiver) for edge in edges if edge.kind == "stream" and node_of(edge.sender) == name}
        ways = _ways(name, nodes, edges) if nodes[name].blocked >= IDLE else {}
        holding = [
            other
            for other, share in ways.items()
            if other in blocking and share >= IDLE and nodes[other].busy > nodes[name].busy
        ]
        if not holding:
            return name
        name = max(holding, key=lambda other: ways[other])


def _ways(name: str, nodes: Mapping[str, Shares], edges: Sequence[EdgeFigures]) -> dict[str, float]:
    """Whom a node waits for, each with the share of the node's time; what is missing to 1 is its own."""
    starving: dict[str, float] = {}
    blocking: dict[str, float] = {}
    for edge in edges:
        begin, end = node_of(edge.sender), node_of(edge.receiver)
        if begin not in nodes or end not in nodes:
            continue
        if begin == name and edge.kind != "newest":
            found = blocking if edge.kind == "stream" else starving
            found[end] = found.get(end, 0.0) + edge.sender_waits
        if end == name:
            starving[begin] = starving.get(begin, 0.0) + edge.receiver_waits
    ways: dict[str, float] = {}
    for waits, share in ((starving, nodes[name].starved), (blocking, nodes[name].blocked)):
        # A node that sleeps waits longer than its edges know: for that nobody else is to blame.
        total = max(sum(waits.values()), share)
        for other, wait in waits.items() if total > 0 else ():
            ways[other] = ways.get(other, 0.0) + share * wait / total
    return ways


def _ask_each_other(first: str, second: str, edges: Sequence[EdgeFigures]) -> bool:
    pairs = {(node_of(edge.sender), node_of(edge.receiver)) for edge in edges if edge.kind == "call"}
    return (first, second) in pairs or (second, first) in pairs


def _sentence(name: str, nodes: Mapping[str, Shares], edges: Sequence[EdgeFigures]) -> str:
    """Its busy share, and who waits for it most."""
    waiting: dict[str, tuple[float, str]] = {}
    for other in nodes:
        share = _ways(other, nodes, edges).get(name, 0.0)
        if other != name and share >= IDLE:
            blocks = any(
                edge.kind == "stream" and (node_of(edge.sender), node_of(edge.receiver)) == (other, name)
                for edge in edges
            )
            waiting[other] = (share, "is blocked by it" if blocks else "waits for it")
    said = f"{name} is the bottleneck: busy {_percent(nodes[name].busy)} of its time"
    if not waiting:
        return said
    most = sorted(waiting, key=lambda other: -waiting[other][0])[:2]
    return said + "; " + ", ".join(f"{other} {waiting[other][1]} {_percent(waiting[other][0])}" for other in most)


def _standstill(nodes: Mapping[str, Shares], edges: Sequence[EdgeFigures]) -> str:
    waits = []
    for name in nodes:
        ways = _ways(name, nodes, edges)
        if ways:
            waits.append(f"{name} waits for {max(ways, key=ways.__getitem__)}")
    return "nothing moves: " + (", ".join(waits) or "all nodes wait")


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"
