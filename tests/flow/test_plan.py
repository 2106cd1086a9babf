"""Which links an edge becomes, and that all processes read one plan."""

from __future__ import annotations

import collections

import msgpack
from hypothesis import given
from hypothesis import strategies as st

from flow.plan import Plan
from tests.flow.joined import Edge, Node, plan_of
from tests.flow.test_carriers import asker, publisher, reader, server, sink, source

few = st.integers(1, 4)


@given(senders=few, receivers=few, mode=st.sampled_from(["share", "copy"]))
def test_every_sender_is_joined_to_every_receiver_once(senders, receivers, mode):
    links = plan_of([Node("a", source, senders), Node("b", sink, receivers)], [Edge("a.out", "b.into", mode, 3)]).links
    assert [link.number for link in links] == list(range(senders * receivers))
    assert {(link.sender[1], link.receiver[1]) for link in links} == {
        (frm, to) for frm in range(senders) for to in range(receivers)
    }
    for sender in range(senders):
        groups = collections.Counter(link.group for link in links if link.sender[1] == sender)
        assert sorted(groups.values()) == ([receivers] if mode == "share" else [1] * receivers)
    assert {link.credit for link in links} == {3}


def test_shared_edges_of_one_port_are_one_group_and_copies_are_their_own():
    nodes = [Node("a", source), *(Node(name, sink, 2) for name in "bcd")]
    edges = [Edge("a.out", "b.into", "share"), Edge("a.out", "c.into", "share"), Edge("a.out", "d.into", "copy")]
    groups = collections.defaultdict(set)
    for link in plan_of(nodes, edges).links:
        groups[link.group].add(link.receiver[:2])
    assert sorted(map(sorted, groups.values())) == [
        [("b", 0), ("b", 1), ("c", 0), ("c", 1)],
        [("d", 0)],
        [("d", 1)],
    ]


def test_a_plan_arrives_in_another_process_as_it_was():
    nodes = [Node("a", asker, 2), Node("s", server), Node("p", publisher, settings={"x": [1, "y"]}), Node("r", reader)]
    edges = [Edge("a.model", "s.questions"), Edge("p.best", "r.best")]
    plan = plan_of(nodes, edges, {"w0": [("a", 0), ("s", 0)], "w1": [("a", 1), ("p", 0), ("r", 0)]})
    assert Plan.from_dict(msgpack.unpackb(msgpack.packb(plan.to_dict()))) == plan
    assert {link.kind for link in plan.links} == {"call", "newest"}
    assert [len(plan.links_of(worker)) for worker in ("w0", "w1")] == [2, 2]


def test_seeds_differ_between_replicas_and_not_between_runs():
    seeds = [
        [node.seed for worker in plan_of([Node("a", source, 3)], []).workers for node in worker.nodes] for _ in range(2)
    ]
    assert seeds[0] == seeds[1]
    assert len(set(seeds[0])) == 3
