"""The kit is proven: every wrong node is caught by its own rule, and no right one raises an alarm."""

from __future__ import annotations

import collections
import time

import pytest

from flow.testing.contract import FAILED, UNTRIED, Level, examine
from flow.testing.rules import RULES
from tests.flow.testing.zoo.right import RIGHT
from tests.flow.testing.zoo.wrong_lives import WRONG as WRONG_LIVES
from tests.flow.testing.zoo.wrong_streams import WRONG as WRONG_STREAMS

# Enough to find what is wrong, not to find the smallest case that shows it.
BRIEF = Level(0.8, 25, shrink_seconds=0.0)
EXAMPLES = 35  # of each rule that applies, in the slow test
WRONG = [*WRONG_STREAMS, *WRONG_LIVES]


@pytest.mark.parametrize(("rule", "node_type"), WRONG, ids=[f"{rule}-{each.__name__}" for rule, each in WRONG])
def test_a_wrong_node_is_caught_by_its_own_rule(rule, node_type):
    began = time.monotonic()
    (result,) = examine(node_type, rules=[rule], level=BRIEF)
    assert result.status == FAILED, result
    assert result.case is not None
    assert time.monotonic() - began < 60  # in 2 s where the machine has nothing else to do


@pytest.mark.parametrize("node_type", RIGHT, ids=[each.__name__ for each in RIGHT])
def test_a_right_node_raises_no_alarm(node_type):
    alarms = [str(result) for result in examine(node_type, level=BRIEF) if result.status in (FAILED, UNTRIED)]
    assert alarms == []


@pytest.mark.slow
@pytest.mark.soak
def test_right_nodes_raise_no_alarm_in_ten_thousand_examples():
    many = Level(1e9, EXAMPLES, least=EXAMPLES, shrink_seconds=5.0)
    examples, alarms = 0, []
    for node_type in RIGHT:
        results = list(examine(node_type, level=many, seed=1))
        examples += sum(result.examples for result in results)
        alarms += [f"{node_type.name} {result}" for result in results if result.status == FAILED]
        print(f"{node_type.__name__}: {examples} examples so far, {len(alarms)} alarms", flush=True)
    assert alarms == []
    assert examples >= 10_000


def test_each_rule_has_two_wrong_nodes():
    count = collections.Counter(rule for rule, _ in WRONG)
    assert {rule: count[rule] for rule in RULES if count[rule] < 2} == {}
    assert len(WRONG) >= 30
    assert len(RIGHT) >= 20
