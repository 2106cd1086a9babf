"""What went into an edge against what came out, read from pages."""

from __future__ import annotations

from flow.ledger import EdgeCount, Ledger, edge_counts, problems
from flow.stats import Page
from flow.tally import Tally


def page(state, node, replica):
    return Page.open(state / f"{node}-{replica}.page", node=node, replica=replica, worker="w", incarnation=0)


def test_the_ends_of_an_edge_are_summed_over_replicas(tmp_path):
    edge = "edge.actor.trajectories->replay.inserts"
    for replica in range(2):
        sent = Tally.on(page(tmp_path, "actor", replica), f"{edge}.sent")
        for _ in range(10):
            sent.add(100)
        sent.unsettled.add(replica)
    received = Tally.on(page(tmp_path, "replay", 0), f"{edge}.received")
    for _ in range(12):
        received.add(100)
    received.dropped.add(3)
    with received.waiting:
        pass
    counts = edge_counts(tmp_path)
    assert counts == {"actor.trajectories->replay.inserts": EdgeCount(20, 12, 3, 1)}
    assert counts["actor.trajectories->replay.inserts"].under_way == 5
    assert problems(counts) == []


def test_more_out_than_in_is_a_problem(tmp_path):
    received = Tally.on(page(tmp_path, "replay", 0), "edge.a.b->c.d.received")
    received.add(1)
    received.dropped.add()
    assert problems(edge_counts(tmp_path)) == ["edge a.b->c.d: 1 received and 1 dropped, but only 0 sent"]


def test_a_copy_of_a_page_that_is_late_is_no_problem_and_one_that_stays_behind_is(tmp_path):
    sender, receiver = page(tmp_path, "a", 0), page(tmp_path, "b", 0)
    sent, received = sender.counter("edge.a.out->b.in.sent"), receiver.counter("edge.a.out->b.in.received")
    ledger = Ledger(tmp_path, late=True)
    sent.add(10)
    received.add(12)  # two of which the sender's page does not tell yet
    assert ledger.problems() == []
    sent.add(5)
    received.add(8)
    assert ledger.problems() == []
    assert ledger.problems() == ["edge a.out->b.in: 20 received and 0 dropped, but only 15 sent"]
    assert Ledger(tmp_path, late=False).problems() == ledger.problems()
