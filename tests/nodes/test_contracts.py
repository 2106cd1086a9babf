"""Every node type of this repository keeps the contract; what it is excused from stands at the node, with a reason."""

from __future__ import annotations

import importlib.util

import pytest

from flow.errors import MissingError
from flow.graph.registry import known_types
from flow.testing.contract import FAILED, UNTRIED, Level, examine
from flow.testing.reproduce import source

# A few examples of each rule. `flow test NODE --level full` tries hundreds.
BRIEF = Level(0.5, 6, least=1, shrink_seconds=0.5)
TYPES, BROKEN = known_types()
# Each start of one of these loads an emulator or a network, some hundred milliseconds on a busy core.
SLOW = (
    "nodes.env.atari:actor",
    "nodes.env.atari_planned:actor",
    "nodes.evaluate.atari:returns",
    "nodes.learn.laser:learner",
    "nodes.learn.recogniser:learner",
    "nodes.learn.recogniser:scorer",
    "nodes.learn.replayer:replayer",
    "nodes.serve.policy:policy",
)


def test_all_nodes_can_be_loaded():
    assert BROKEN == {}
    assert set(SLOW) <= set(TYPES)


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.slow] if name in SLOW else []) for name in sorted(TYPES)]
)
def test_a_node_keeps_the_contract(name):
    node_type = TYPES[name]
    for package in node_type.needs:
        if importlib.util.find_spec(package) is None:
            pytest.skip(f"needs {package}")
    try:
        results = list(examine(node_type, level=BRIEF))
    except MissingError as error:
        pytest.skip(str(error))
    alarms = [
        f"{result}\n{source(node_type, result) if result.case is not None else ''}"
        for result in results
        # So few examples may say nothing of a rule; that all are refused may not be.
        if result.status == FAILED or (result.status == UNTRIED and "refused" in result.text)
    ]
    assert alarms == [], "\n".join(alarms)


def test_every_excuse_is_of_a_rule_that_there_is():
    from flow.testing.rules import RULES

    assert [(name, rule) for name, found in TYPES.items() for rule in found.promises.excused if rule not in RULES] == []
