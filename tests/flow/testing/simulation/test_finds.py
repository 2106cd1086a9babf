"""The simulator finds what is wrong: mistakes planted into the runtime, and nodes that are wrong."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from flow.testing.simulation.faults import USUAL
from flow.testing.simulation.many import Request, simulate
from tests.flow.testing.simulation import planted, wrong_nodes

FIVE = Path(__file__).with_name("five_nodes.toml")
MOST_RUNS = 300

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


# Of several rules that a mistake may break it is enough that one is named.
KILL, RAISE = ("kill",), ("raise",)
PLANTED = {
    "link_drops_on_peer_restart": ({"lost", "malformed"}, KILL),
    "sequence_goes_on_over_a_restart": ({"malformed"}, KILL),
    "window_is_not_reset_on_peer_restart": ({"credit leaked", "stands still"}, KILL),
    "end_is_not_said_again_on_peer_restart": ({"stands still"}, KILL),
    "credit_of_the_dead_counts": ({"malformed"}, KILL),
    "held_credit_is_forgotten": ({"credit leaked", "stands still"}, USUAL),
    "credit_is_lost_when_a_message_is_taken_at_once": ({"credit leaked", "stands still", "lost", "ledger"}, USUAL),
    "mailbox_reorders": ({"reordered"}, USUAL),
    "mailbox_does_not_wake_its_reader": ({"stands still"}, USUAL),
    "mailbox_doubles": ({"doubled", "from nowhere"}, USUAL),
    "no_window": ({"over the window"}, USUAL),
    "outbox_outlives_its_peer": ({"malformed", "lost", "altered", "wrong answer", "reordered", "credit leaked"}, KILL),
    "answers_of_a_restarted_server_go_to_anyone": ({"wrong answer"}, USUAL),
    "questions_to_the_dead_are_not_asked_again": ({"stands still"}, KILL),
    "failed_node_leaves_its_callers_waiting": ({"stands still"}, RAISE),
    "newest_value_is_kept_back": ({"kept back"}, USUAL),
    "ended_node_keeps_its_mailbox_open": ({"lost", "stands still", "credit leaked"}, USUAL),
    "failed_node_closes_nothing_of_its_own": ({"stands still"}, USUAL),
}


@pytest.mark.parametrize("mistake", PLANTED)
def test_a_mistake_planted_into_the_runtime_is_found(mistake, monkeypatch):
    getattr(planted, mistake)(monkeypatch)
    expected, kinds = PLANTED[mistake]
    rules = found(Request(FIVE, runs=MOST_RUNS, kinds=kinds, failures=1))
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


def test_a_failing_seed_is_shrunk_to_the_faults_that_it_takes(monkeypatch):
    planted.end_is_not_said_again_on_peer_restart(monkeypatch)
    outcome = simulate(Request(FIVE, seed=20, runs=MOST_RUNS, kinds=("kill", "late"), failures=1))
    shrunk = [failure.result.faults for failure in outcome.failures]
    assert shrunk
    assert all([fault.kind for fault in faults] == ["kill"] for faults in shrunk)
