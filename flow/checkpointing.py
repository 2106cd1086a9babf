"""When a run is checkpointed, and how a checkpoint comes to count: all of it or nothing.

    supervisor ── checkpoint, attempt 7 ──► every worker
                                            sources take their state, send barriers; the others when all came
    supervisor ◄── files, or what is in the way ── every worker
    supervisor: hashes, manifest, one rename          or: give up attempt 7, and the checkpoint before stays

An attempt is given up when a worker dies, a node is being started again, or not all of it was there in time. What was
held back behind its barriers then goes on. Where barriers did not come round in time each node's state is taken by
itself, as a second best: the manifest says so.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

import trio

from flow import checkpoints
from flow.checkpoints import Checkpoint
from flow.control import Words
from flow.processes import Process

if TYPE_CHECKING:
    from flow.supervisor import Supervisor

# What a worker may need to say that it was late.
_GRACE_S = 5.0


class Checkpointing:
    """Makes the checkpoints of one run. attempt: the number of the last one begun."""

    def __init__(self, supervisor: Supervisor) -> None:
        self._supervisor = supervisor
        self.attempt = 0
        self._answers: dict[str, Words | None] = {}
        self._one_at_a_time = trio.Lock()

    async def now_and_then(self, every_s: float) -> None:
        """Take one each so many seconds."""
        while True:
            await trio.sleep(every_s)
            if not self._supervisor.finishing.is_set():
                # A node that computes for long between two messages has as long as there is.
                await self.take(max(every_s, 10.0))

    def answered(self, worker: str, words: Words | None) -> None:
        """A worker has written its part, or is gone."""
        if words is None:
            self._answers[worker] = None  # also if it had answered: others may wait for barriers that went with it
        elif words["attempt"] == self.attempt:
            self._answers[worker] = words

    async def take(self, seconds: float, *, barriers: bool = True) -> Checkpoint | None:
        """Take every node's state into a new checkpoint; None, and a warning, when one cannot be had.

        Args:
          seconds: how long it may take until every node is where its state can be taken.
          barriers: whether all nodes' states are of one cut through the streams, or each is taken by itself.
        """
        supervisor = self._supervisor
        async with self._one_at_a_time:
            asked = [process for process in supervisor.processes.values() if process.inbox]
            # Without the state of all of them a resumed run would begin some afresh.
            missing = supervisor.epochs.keys() - {process.worker for process in asked}
            number = self._number
            if missing:
                supervisor.log.info("", f"no checkpoint {number} now: not running: {', '.join(sorted(missing))}")
                return None
            try:
                return await self._attempt(asked, seconds, barriers)
            except OSError as error:
                supervisor.log.warning("", f"no checkpoint {number}: {error}; the one before is untouched")
                return None
            finally:
                self._give_up(asked)
                checkpoints.discard(supervisor.directory.checkpoints)

    @property
    def _number(self) -> int:
        before = self._supervisor.checkpoint
        return (before.number if before is not None else 0) + 1

    async def _attempt(self, asked: list[Process], seconds: float, barriers: bool) -> Checkpoint | None:
        supervisor, began = self._supervisor, trio.current_time()
        answers, directory = await self._ask(asked, seconds, barriers)
        waited = trio.current_time() - began
        problems = [text for answer in answers for text in (answer["problems"] if answer else ["a worker is gone"])]
        if not problems:
            return self._complete(directory, [answer for answer in answers if answer], barriers, waited)
        late = all(answer is not None for answer in answers) and any(answer and answer["late"] for answer in answers)
        told = f"no checkpoint {self._number}{' by barriers' if barriers else ''}: {'; '.join(problems)}"
        if not (late and barriers) or supervisor.options.deterministic:
            supervisor.log.warning("", f"{told}; the one before is untouched")
            return None
        supervisor.log.warning("", f"{told}; taking each node's state by itself")
        self._give_up(asked)
        return await self._attempt(asked, seconds, barriers=False)

    async def _ask(self, asked: list[Process], seconds: float, barriers: bool) -> tuple[list[Words | None], Path]:
        """What each worker answers; None of one that did not."""
        supervisor = self._supervisor
        self.attempt += 1
        answers = self._answers = {}
        # A directory of its own: what a worker of an earlier attempt still writes must not get into this one.
        directory = checkpoints.begin(supervisor.directory.checkpoints, self._number, self.attempt)
        words = {"do": "checkpoint", "attempt": self.attempt, "directory": str(directory), "barriers": barriers}
        for process in asked:
            await supervisor.tell(process, **words, seconds=seconds)
        with trio.move_on_after(seconds + _GRACE_S):
            while not all(process.worker in answers for process in asked):
                if any(answer is None or answer["problems"] for answer in answers.values()) and barriers:
                    break  # it has failed, and others may wait for barriers that never come
                await supervisor.changed.park()
        return [answers.get(process.worker) for process in asked], directory

    def _give_up(self, asked: list[Process]) -> None:
        """Tell the workers that nothing is to be held back for this attempt any more."""
        for process in asked:
            self._supervisor.nursery.start_soon(self._tell_over, process, self.attempt)

    async def _tell_over(self, process: Process, attempt: int) -> None:
        await self._supervisor.tell(process, do="give up", attempt=attempt)

    def _complete(self, directory: Path, answers: list[Words], barriers: bool, waited: float) -> Checkpoint:
        supervisor = self._supervisor
        files = [name for answer in answers for name in answer["files"]]
        keys = supervisor.incarnations.keys()
        if supervisor.checkpoint is not None and not barriers:
            # A node that is being started again goes on from the checkpoint before; without its state in this one
            # it would begin anew.
            for key in sorted(keys - {name.rpartition(".")[0] for name in files}):
                files += checkpoints.carry_over(directory, supervisor.checkpoint, key)
        # Nothing is under way when all have ended.
        consistent = barriers or len(supervisor.ended) == len(keys)
        counters = {name: float(value.total) for name, value in supervisor.progress.counters.items()}
        began = time.perf_counter()
        made = checkpoints.complete(directory, files, supervisor.node_types, counters, consistent=consistent)
        supervisor.checkpoint = made
        seconds = round(time.perf_counter() - began, 3)
        supervisor.log.info("", f"checkpoint {made.number}", waited=round(waited, 3), seconds=seconds)
        return made
