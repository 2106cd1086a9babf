"""What the supervisor makes of its workers' answers to a checkpoint: all of it or nothing."""

from __future__ import annotations

import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import trio

from flow import checkpoints
from flow.checkpointing import Checkpointing
from flow.supervisor import Options

Say = Callable[[dict[str, Any]], dict[str, Any] | None]


class Quiet:
    def __init__(self):
        self.warnings = []

    def info(self, *text, **more): ...

    def warning(self, node, text):
        self.warnings.append(text)


class Boss:
    """What a supervisor's checkpoints look at. workers: what each answers; None is its death, {} no answer."""

    def __init__(self, folder: Path, workers: dict[str, Say], **options: Any):
        self.workers = workers
        self.processes = {name: types.SimpleNamespace(worker=name, inbox="there") for name in workers}
        self.epochs = dict.fromkeys(workers, 0)
        self.checkpoint = None
        self.node_types = {"learner": "l:l", "actor": "a:a"}
        self.incarnations = {"learner-0": 0, "actor-0": 0}
        self.ended: set[str] = set()
        self.progress = types.SimpleNamespace(counters={})
        self.directory = types.SimpleNamespace(checkpoints=folder)
        self.options = Options(**options)
        self.log = Quiet()
        self.changed = trio.lowlevel.ParkingLot()
        self.told: list[tuple[str, str, int]] = []
        self.checkpointing = Checkpointing(self)  # type: ignore[arg-type]

    async def tell(self, process, **words):
        self.told.append((process.worker, words["do"], words["attempt"]))
        if words["do"] == "checkpoint":
            answer = self.workers[process.worker](words)
            if answer != {}:
                full = {"attempt": words["attempt"], "late": False, "problems": [], **answer} if answer else None
                self.checkpointing.answered(process.worker, full)
                self.changed.unpark_all()

    async def take(self, **how):
        async with trio.open_nursery() as self.nursery:
            return await self.checkpointing.take(5.0, **how)


def writes(**states: str) -> Say:
    def say(words):
        for name, content in states.items():
            (Path(words["directory"]) / f"{name}-0.msgpack").write_text(content)
        return {"files": [f"{name}-0.msgpack" for name in states]}

    return say


def has(problem: str, **more: Any) -> Say:
    return lambda words: {"files": [], "problems": [problem], **more}


async def test_all_parts_make_one_checkpoint_and_the_workers_hear_that_it_is_over(tmp_path):
    boss = Boss(tmp_path, {"a": writes(actor="one"), "b": writes(learner="two")})
    made = await boss.take()
    assert made.consistent
    assert (made.directory / "actor-0.msgpack").read_text() == "one"
    assert (made.directory / "learner-0.msgpack").read_text() == "two"
    assert checkpoints.newest(tmp_path) == (made, [])
    assert sorted(told for told in boss.told if told[1] == "give up") == [("a", "give up", 1), ("b", "give up", 1)]


async def test_a_worker_that_dies_ends_the_attempt_at_once_and_the_checkpoint_before_stays(tmp_path):
    boss = Boss(tmp_path, {"a": writes(actor="one"), "b": writes(learner="two")})
    first = await boss.take()
    boss.workers |= {"a": lambda words: {}, "b": lambda words: None}  # a waits for b's barriers
    began = trio.current_time()
    assert await boss.take() is None
    assert trio.current_time() == began
    assert boss.checkpoint == first == checkpoints.newest(tmp_path)[0]
    assert ("a", "give up", 2) in boss.told
    assert not list(tmp_path.glob("*.part"))
    assert "the one before is untouched" in boss.log.warnings[0]


async def test_what_belongs_to_an_earlier_attempt_does_not_count(tmp_path):
    boss = Boss(tmp_path, {"a": writes(actor="one"), "b": has("actor-0: it is being started again")})
    assert await boss.take() is None

    def late_answer(words):
        boss.checkpointing.answered("a", {"attempt": 1, "files": ["stale"], "problems": [], "late": False})
        return writes(learner="two")(words)

    boss.workers["b"] = late_answer
    made = await boss.take()
    assert sorted(path.name for path in made.directory.iterdir()) == [
        "actor-0.msgpack",
        "learner-0.msgpack",
        "manifest.json",
    ]


async def test_where_barriers_are_late_states_are_taken_one_by_one_and_the_manifest_says_so(tmp_path):
    def say(words):
        if words["barriers"]:
            return has("learner-0: no barrier came on a->b for 5 s", late=True)(words)
        return writes(learner="two")(words)

    boss = Boss(tmp_path, {"a": writes(actor="one"), "b": say})
    made = await boss.take()
    assert not made.consistent
    assert not checkpoints.newest(tmp_path)[0].consistent
    assert boss.log.warnings == [
        "no checkpoint 1 by barriers: learner-0: no barrier came on a->b for 5 s; taking each node's state by itself"
    ]
    strict = Boss(tmp_path / "strict", {"a": writes(actor="one"), "b": say}, deterministic=True)
    assert await strict.take() is None


async def test_a_node_that_waits_to_be_started_again_keeps_its_state(tmp_path):
    boss = Boss(tmp_path, {"a": writes(learner="old", actor="one")})
    await boss.take(barriers=False)
    boss.workers["a"] = writes(actor="two")  # the learner is away
    made = await boss.take(barriers=False)
    assert not made.consistent
    assert (made.directory / "learner-0.msgpack").read_text() == "old"
    assert (made.directory / "actor-0.msgpack").read_text() == "two"


async def test_when_all_have_ended_nothing_is_under_way_and_it_is_consistent_without_barriers(tmp_path):
    boss = Boss(tmp_path, {"a": writes(learner="old", actor="one")})
    boss.ended = {"learner-0", "actor-0"}
    assert (await boss.take(barriers=False)).consistent
