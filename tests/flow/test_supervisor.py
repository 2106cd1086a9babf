"""What the supervisor makes of its workers' answers to a checkpoint."""

from __future__ import annotations

import types

from flow import checkpoints
from flow.supervisor import Supervisor


class Quiet:
    def __init__(self):
        self.warnings = []

    def info(self, *text, **more): ...

    def warning(self, node, text):
        self.warnings.append(text)


def supervisor():
    """One that has started no process: only what completing a checkpoint looks at."""
    made = object.__new__(Supervisor)
    made.checkpoint = None
    made.node_types = {"learner": "l:l", "actor": "a:a"}
    made.incarnations = {"learner-0": 0, "actor-0": 0}
    made.progress = types.SimpleNamespace(counters={})
    made.log = Quiet()
    return made


def take(boss, folder, number, states, problems=()):
    directory = checkpoints.begin(folder, number)
    for name, content in states.items():
        (directory / name).write_text(content)
    return boss._complete(directory, [{"files": list(states), "problems": list(problems)}])


def test_a_node_that_waits_to_be_started_again_keeps_its_state(tmp_path):
    boss = supervisor()
    take(boss, tmp_path, 1, {"learner-0.msgpack": "old", "actor-0.msgpack": "one"})
    made = take(boss, tmp_path, 2, {"actor-0.msgpack": "two"})  # the learner is away
    assert (made.directory / "learner-0.msgpack").read_text() == "old"
    assert (made.directory / "actor-0.msgpack").read_text() == "two"
    assert checkpoints.newest(tmp_path) == (made, [])


def test_a_checkpoint_with_a_problem_is_none_and_the_one_before_stays(tmp_path):
    boss = supervisor()
    first = take(boss, tmp_path, 1, {"learner-0.msgpack": "old"})
    assert take(boss, tmp_path, 2, {}, ["learner-0 was not at rest for 5 s"]) is None
    assert boss._complete(checkpoints.begin(tmp_path, 2), [None]) is None
    assert boss.checkpoint == first
    assert boss.log.warnings == [
        "no checkpoint 000002: learner-0 was not at rest for 5 s; the one before is untouched",
        "no checkpoint 000002: a worker did not answer; the one before is untouched",
    ]
