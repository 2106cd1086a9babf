"""The bottleneck: in any acyclic graph that is as fast as its slowest node, that node is named."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flow.inspect.bottleneck import Shares, find
from flow.inspect.figures import EdgeFigures


def edge(sender, receiver, kind="stream", sender_waits=0.0, receiver_waits=0.0):
    return EdgeFigures(f"{sender}.out", f"{receiver}.in", kind, 1.0, 0.0, 0, 4, sender_waits, receiver_waits, 10, 10, 0)


@st.composite
def planted(draw):
    """A connected acyclic graph and a slow node, with the figures of a steady state: each handles every message.

    Returns shares by node, edges, and the slow node's name.
    """
    count = draw(st.integers(2, 9))
    parents = {at: draw(st.sets(st.integers(0, at - 1), min_size=1, max_size=2)) for at in range(1, count)}
    slow = draw(st.integers(0, count - 1))
    cost = {at: draw(st.floats(0.01, 0.6)) for at in range(count)} | {slow: 1.0}
    after = {at: {child for child, those in parents.items() if at in those} for at in range(count)}

    def reaches(begin):
        found, todo = set(), {begin}
        while todo:
            at = todo.pop()
            if at not in found:
                found.add(at)
                todo |= after[at]
        return found

    # Who leads to the slow node waits for it to take; the others wait for who is late because of it.
    late = set(reaches(slow))
    ahead = {at for at in range(count) if slow in reaches(at)} - {slow}
    blocked = {at: (next(c for c in after[at] if c == slow or c in ahead)) for at in ahead}
    shares, edges = {}, {}
    for at in range(count):
        rest = 1 - cost[at]
        shares[f"n{at}"] = Shares(cost[at], 0.0 if at in blocked else rest, rest if at in blocked else 0.0)
        for parent in parents.get(at, ()):
            edges[parent, at] = [0.0, 0.0]
    for at, child in blocked.items():
        edges[at, child][0] = 1 - cost[at]
    for at in set(range(count)) - ahead - {slow}:
        first = next((p for p in parents.get(at, ()) if p in late), None) or next(iter(parents.get(at, ())), None)
        if first is not None:
            edges[first, at][1] = 1 - cost[at]
    return shares, [edge(f"n{a}", f"n{b}", "stream", *waits) for (a, b), waits in edges.items()], f"n{slow}"


@given(case=planted())
def test_the_slow_node_is_named(case):
    shares, edges, slow = case
    sole_source = {name for name in shares if all(not one.receiver.startswith(f"{name}.") for one in edges)}
    found = find(shares, edges)
    # What waits without leading to or from the slow node has nobody to blame but a source beside it.
    assert found.blame[slow] > 0 or not sole_source
    assert found.node == slow, found
    assert slow in found.sentence


@given(case=planted(), data=st.data())
def test_neither_order_nor_the_length_of_the_waits_matters_and_all_blame_is_given(case, data):
    shares, edges, _ = case
    found = find(shares, edges)
    assert sum(found.blame.values()) == pytest.approx(1, abs=1e-3)
    again = find(
        dict(data.draw(st.permutations(list(shares.items())))),
        [
            edge(one.sender[:-4], one.receiver[:-3], one.kind, 7 * one.sender_waits, 7 * one.receiver_waits)
            for one in data.draw(st.permutations(edges))
        ],
    )
    assert again.node == found.node
    assert again.blame == pytest.approx(found.blame)


def test_a_slow_server_is_named_and_two_that_take_turns_are_both():
    asks = edge("actor", "policy", "call", 0.9, 0.05)
    found = find({"actor": Shares(0.1, 0.9, 0), "policy": Shares(0.95, 0.05, 0)}, [asks])
    assert found.sentence == "policy is the bottleneck: busy 95 % of its time; actor waits for it 90 %"
    turns = edge("actor", "policy", "call", 0.5, 0.5)
    found = find({"actor": Shares(0.5, 0.5, 0), "policy": Shares(0.5, 0.5, 0)}, [turns])
    assert "wait for each other in turn, busy 50 % and 50 %" in found.sentence


def test_when_all_wait_or_none_does_no_node_is_blamed():
    stuck = [edge("a", "b", "stream", 1.0), edge("b", "a", "stream", 1.0)]
    found = find({"a": Shares(0, 0, 1), "b": Shares(0, 0, 1)}, stuck)
    assert (found.node, found.sentence) == (None, "nothing moves: a waits for b, b waits for a")
    busy = find({"a": Shares(1, 0, 0), "b": Shares(0.95, 0.05, 0)}, [edge("a", "b")])
    assert (busy.node, "processors are the limit" in busy.sentence) == (None, True)
    assert find({}, []).node is None


def test_a_name_with_dots_is_a_node():
    asks = edge("agent@rate=1e-4.actor", "agent@rate=1e-4.policy", "call", 0.9, 0.05)
    shares = {"agent@rate=1e-4.actor": Shares(0.1, 0.9, 0), "agent@rate=1e-4.policy": Shares(0.95, 0.05, 0)}
    assert find(shares, [asks]).node == "agent@rate=1e-4.policy"


@given(
    chain=st.lists(st.floats(0.3, 0.9), min_size=1, max_size=5),
    last=st.floats(0.95, 1.0),
)
def test_who_is_blocked_by_a_busier_node_is_not_named_but_the_last_of_these(chain, last):
    """The actor waits for a replay, which is busy most of its time and for the rest blocked by the learner."""
    busy = [*sorted(chain), last]
    shares = {f"n{at}": Shares(share, 0.0, 1 - share) for at, share in enumerate(busy)}
    waits = [edge(f"n{at}", f"n{at + 1}", "stream", 1 - share) for at, share in enumerate(busy[:-1])]
    if len(set(busy)) == len(busy) and min(busy) < 0.9 and max(busy[:-1]) <= 0.94:
        found = find(shares, waits)
        assert found.node == f"n{len(busy) - 1}"
        assert found.sentence.startswith(f"n{len(busy) - 1} is the bottleneck")


def test_replay_blocked_by_a_learner_that_is_always_busy_is_not_the_bottleneck():
    shares = {
        "actor": Shares(0.1, 0.0, 0.9),
        "shaping": Shares(0.05, 0.0, 0.95),
        "replay": Shares(0.83, 0.0, 0.17),
        "learner": Shares(0.99, 0.01, 0.0),
    }
    edges = [
        edge("actor", "shaping", "stream", 0.9),
        edge("shaping", "replay", "stream", 0.95),
        edge("replay", "learner", "stream", 0.17),
    ]
    assert find(shares, edges).sentence == (
        "learner is the bottleneck: busy 99 % of its time; replay is blocked by it 17 %"
    )


def test_a_node_that_sleeps_holds_up_those_before_it_and_blames_nobody():
    shares = {"source": Shares(0.01, 0.0, 0.99), "limit": Shares(0.02, 0.98, 0.0), "sink": Shares(0.01, 0.99, 0.0)}
    edges = [edge("source", "limit", "stream", 0.99, 0.001), edge("limit", "sink", "stream", 0.0, 0.99)]
    assert find(shares, edges).node == "limit"
