"""Who may join: the secret is kept and checked, and a host that does not fit is told why."""

from __future__ import annotations

import io
import os
import sys

import pytest

from flow.carrier.curve import KeyPair
from flow.errors import ControlError
from flow.hosts import fit
from flow.hosts.secret import JoinSecret, parse_secret, read_secret
from flow.plan import NodePlan, Plan, WorkerPlan


def test_a_secret_is_what_it_was_when_it_is_read_and_only_its_user_can_read_it(tmp_path, monkeypatch):
    secret = JoinSecret(KeyPair.make().public, KeyPair.make())
    path = tmp_path / "join.secret"
    path.write_text("an older one")
    path.chmod(0o644)
    secret.write(path)
    assert path.stat().st_mode & 0o777 == 0o600
    assert read_secret(str(path)) == secret
    monkeypatch.setattr(sys, "stdin", io.StringIO(path.read_text()))
    assert read_secret("-") == secret
    assert secret.own.secret.decode() not in repr(secret)


def test_a_secret_that_others_can_read_is_refused(tmp_path):
    path = tmp_path / "join.secret"
    JoinSecret(KeyPair.make().public, KeyPair.make()).write(path)
    os.chmod(path, 0o640)
    with pytest.raises(ControlError, match=r"others can read this secret \(mode 0640\).*chmod 600"):
        read_secret(str(path))


def test_a_secret_that_is_not_there_says_where_it_comes_from(tmp_path):
    with pytest.raises(ControlError, match=r"No such file.*into the run's directory as join\.secret"):
        read_secret(str(tmp_path / "none"))


@pytest.mark.parametrize("text", ["", "hello", "a" * 87, "ü" * 88, "AAAA"])
def test_what_is_no_secret_is_told(text):
    with pytest.raises(ControlError, match=r"standard input: expected the secret of a run, a line of 88"):
        parse_secret(text, "standard input")


HOME = {"flow": "0.1.0", "format": "3.1", "python": "3.11", "torch": "2.6.0"}


@pytest.mark.parametrize(
    ("there", "torch", "told"),
    [
        (HOME, True, ""),
        ({**HOME, "torch": "2.5.0"}, False, ""),
        ({**HOME, "torch": "2.5.0"}, True, "torch is 2.6.0 at home and 2.5.0 there; install the same torch on both"),
        ({**HOME, "python": "3.12"}, False, "python is 3.11 at home and 3.12 there; install the same python on both"),
        ({**HOME, "flow": "0.2.0"}, True, "flow is 0.1.0 at home and 0.2.0 there; install the same flow on both"),
        ({**HOME, "format": "4.1"}, True, "the format of messages is 3.1 at home and 4.1 there; install the same flow"),
        ({"flow": "0.1.0"}, False, "the format of messages is 3.1 at home and not installed there"),
    ],
)
def test_versions_that_do_not_work_together_are_named(there, torch, told):
    found = fit.differing(HOME, there, torch=torch)
    assert found.startswith(told)
    assert bool(found) == bool(told)


def plan_of(*types, needs=()):
    nodes = tuple(NodePlan(f"n{at}", 0, 1, name, {}, 0) for at, name in enumerate(types))
    return Plan((WorkerPlan("w", nodes, needs, "rig"),), ())


def test_a_host_that_has_all_that_is_needed_lacks_nothing(tmp_path):
    file = tmp_path / "own.py"
    file.write_text("x = 1\n")
    plan = plan_of("tests.nodes_for_tests:source", f"{file}:thing", needs=("numpy",))
    modules = fit.node_modules(plan)
    assert fit.missing(modules, plan, "rig") == []
    file.write_text("x = 2\n")
    assert fit.missing(modules, plan, "rig") == [
        f"the file {file} of a node differs from the one at home; copy it again"
    ]
    file.unlink()
    assert "is not there; copy it to the same place" in fit.missing(modules, plan, "rig")[0]


def test_what_a_host_lacks_is_told_at_once():
    plan = plan_of("nowhere.at_all:source", "tests.nowhere:sink", needs=("no_such_package",))
    found = fit.missing(fit.node_modules(plan), plan, "rig")
    assert [text.split("'")[1] for text in found] == ["nowhere.at_all", "tests.nowhere", "no_such_package"]
    assert fit.missing({}, plan, "another host, which needs no package") == []
