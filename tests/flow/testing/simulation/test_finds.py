"""The simulator finds what is wrong: mistakes planted into the runtime, and nodes that are wrong."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from flow.testing.simulation.many import Request, Runner, simulate
from tests.flow.testing.simulation import planted, wrong_nodes

FIVE = Path(__file__).with_name("five_nodes.toml")
MOST_RUNS = 300
KILL, RAISE = ("kill",), ("raise",)

GRAPH = """
title = "A wrong node between right ones"
[nodes.numbers]
run = "tests.flow.testing.simulation.wrong_nodes:numbers"
[nodes.wrong]
run = "tests.flow.testing.simulation.wrong_nodes:{wrong}"
[nodes.sink]
run = "tests.flow.testing.simulation.wrong_nodes:sink"
[edges]
"numbers.out" = {{ to = "wrong.into", credit = 4 }}
"wrong.out" = {{ to = "sink.into", credit = 2 }}
[workers]
first = ["numbers"]
rest = ["wrong", "sink"]
"""


@pytest.fixture
def graph_of(tmp_path):
    def write(wrong):
        path = tmp_path / f"{wrong}.toml"
        path.write_text(GRAPH.format(wrong=wrong))
        return path

    return write


def found(request: Request) -> set[str]:
    outcome = simulate(request)
    return {violation.rule for failure in outcome.failures for violation in failure.result.violations}


# Each with the rules that it breaks, of which one is enough, what has to go wrong for it to show, and where.
PLANTED = {
    "link_drops_on_peer_restart": ({"stands still", "lost", "malformed"}, KILL, "three"),
    "sequence_goes_on_over_a_restart": ({"malformed"}, KILL, "three"),
    "window_is_not_reset_on_peer_restart": ({"credit leaked", "stands still"}, KILL, "three"),
    "end_is_not_said_again_on_peer_restart": ({"stands still"}, KILL, "three"),
    "credit_of_the_dead_counts": ({"malformed"}, KILL, "five"),
    "held_credit_is_forgotten": ({"credit leaked", "stands still"}, (), "three"),
    "outbox_outlives_its_peer": ({"malformed", "lost", "stands still", "credit leaked"}, KILL, "three"),
    "credit_is_lost_when_a_message_is_taken_at_once": ({"credit leaked", "lost"}, (), "three"),
    "mailbox_reorders": ({"reordered"}, (), "three"),
    "mailbox_does_not_wake_its_reader": ({"stands still"}, (), "three"),
    "mailbox_doubles": ({"doubled", "from nowhere"}, (), "three"),
    "no_window": ({"over the window"}, (), "three"),
    "questions_to_the_dead_are_not_asked_again": ({"stands still"}, KILL, "five"),
    "failed_node_leaves_its_callers_waiting": ({"stands still"}, RAISE, "five"),
    "newest_value_is_kept_back": ({"kept back"}, (), "five"),
    "ended_node_keeps_its_mailbox_open": ({"lost", "credit leaked"}, (), "five"),
    "failed_node_closes_nothing_of_its_own": ({"stands still"}, (), "three"),
}


@pytest.mark.parametrize("mistake", PLANTED)
def test_a_mistake_planted_into_the_runtime_is_found(mistake, monkeypatch, graph_of):
    getattr(planted, mistake)(monkeypatch)
    expected, kinds, where = PLANTED[mistake]
    graph = FIVE if where == "five" else graph_of("passes")
    rules = found(Request(graph, runs=MOST_RUNS, kinds=kinds, failures=1))
    assert rules & expected, f"found {rules or 'nothing'}"


WRONG = {
    "rolls_dice_of_all": "not the same run",
    "rolls_dice_of_numpy": "not the same run",
    "looks_at_the_clock": "not the same run",
    "never_ends": "stands still",
    "spins_for_ever": "stands still",
    "fails_on_a_number": "node failed",
    "leaves_a_file_open": "left open",
}


@pytest.mark.parametrize("wrong", WRONG)
def test_a_wrong_node_is_found(wrong, graph_of):
    try:
        assert WRONG[wrong] in found(Request(graph_of(wrong), runs=10))
    finally:
        for file in wrong_nodes.left_open:
            os.close(file)
        wrong_nodes.left_open.clear()


def test_a_node_whose_output_is_not_the_same_twice_is_named(graph_of):
    outcome = simulate(Request(graph_of("rolls_dice_of_all"), runs=1))
    assert "wrong.out->sink.into" in outcome.failures[0].result.violations[0].text


def test_a_node_that_loses_what_it_took_is_found_by_the_graphs_own_check(graph_of):
    check = "tests.flow.testing.simulation.wrong_nodes:all_arrived"
    wrong, right = graph_of("loses_when_cancelled"), graph_of("passes")
    assert found(Request(wrong, runs=MOST_RUNS, kinds=("late", "hang"), check=check, failures=1)) == {"check"}
    assert found(Request(right, runs=60, kinds=("late", "hang"), check=check)) == set()


def test_a_failing_seed_is_shrunk_to_the_faults_that_it_takes(monkeypatch, graph_of):
    planted.end_is_not_said_again_on_peer_restart(monkeypatch)
    request = Request(graph_of("passes"), runs=1, kinds=("kill", "late", "hang"))
    drawn = Runner(request)
    # from 50 on, since of those before none shows the mistake
    several = (seed for seed in range(50, 50 + MOST_RUNS) if len({fault.kind for fault in drawn.faults(seed)}) > 1)
    failures = (failure for seed in several for failure in simulate(replace(request, seed=seed)).failures)
    failure = next(failures)
    assert len(failure.faults) > 1
    assert [fault.kind for fault in failure.result.faults] == ["kill"]
