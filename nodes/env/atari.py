"""Steps Atari games and cuts what happens into unrolls.

              ╭──► policy ──► actions ──╮
    lanes of a group                 emulator (C++ threads, off the GIL)
              ╰──── observations ◄──────╯        every `steps` steps: trajectories ──►

Lanes are stepped in groups, each by a task and a thread of its own: while one group waits for its answer another is
stepped, so neither the emulator nor the policy idles.

Preprocessing is the usual one (arXiv:1709.06009 without sticky actions): every 4th frame, the larger of the last two,
grey, 84x84, four stacked; up to 30 no-ops at the start, then FIRE in games that wait for it; ale-py does it in C++.
Rewards are passed on unclipped.
"""

from __future__ import annotations

import contextlib
import itertools
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import trio

from flow import Array, Arriving, Call, Context, Out, Promises, Range, compute, node
from flow.errors import SettingError
from nodes.algo.atari_scores import SCORES, human_normalised
from nodes.atari_games import FRAME_SKIP, GAMES, require_game
from nodes.messages import Actions, Observations, Trajectories

if TYPE_CHECKING:
    from ale_py.vector_env import AtariVectorEnv

SIDE = 84
CONTEXT = 3  # frames before an observation's own that its stack holds
GROUPS = 2
LANES_MAX = 1024


@node(
    needs=("ale_py",),
    promises=Promises(
        given="nodes.given.atari:actor",
        seeded=True,
        order="by streams",
        excused={"C13": "an emulator's state is not saved: a node that is started again begins new episodes"},
    ),
)
async def actor(
    policy: Call[Observations, Actions],
    trajectories: Out[Trajectories],
    context: Context,
    *,
    game: Annotated[str, GAMES],
    lanes: Annotated[int, Range(2, LANES_MAX)] = 32,
    steps: Annotated[int, Range(1, 1000)] = 20,
    threads: Annotated[int, Range(1, 256)] = 1,
    no_ops_max: Annotated[int, Range(0, 60)] = 30,
    episode_frames_max: Annotated[int, Range(1)] = 108_000,
    sticky: Annotated[float, Range(0, 1)] = 0.0,
    life_loss_terminates: bool = True,
) -> None:
    """Play `lanes` copies of a game by a policy's advice, and send what happened in unrolls.

    Args:
      game: name of a ROM in ale-py, such as "pong".
      lanes: copies of the game, stepped in two groups.
      steps: actions in an unroll.
      threads: C++ threads that step a group.
      no_ops_max: an episode begins with 1 to so many actions that do nothing.
      episode_frames_max: emulator frames after which an episode is cut short; 108 000 are 30 minutes.
      sticky: probability that the emulator repeats the action before.
      life_loss_terminates: a lost life counts as an end in `terminated`; the episode goes on all the same.
    """
    require_game(game)
    if lanes % GROUPS:
        raise SettingError(f"lanes={lanes} must be a multiple of {GROUPS}: lanes are stepped in {GROUPS} groups")
    emulator: dict[str, object] = {
        "num_threads": threads,
        "noop_max": no_ops_max,
        "max_num_frames_per_episode": episode_frames_max,
        "repeat_action_probability": sticky,
        "reward_clipping": False,
        "use_fire_reset": True,
    }
    # Streams must be new in every start of a run directory, and later starts have later ones for whoever reads the
    # store: actors of several nodes, copies of a sweep for instance, may share one. A clock would give new ones too,
    # and another run of the same seed.
    stream = context.incarnation << 20 | context.number % (1 << 10) * LANES_MAX
    async with trio.open_nursery() as nursery:
        for number in range(GROUPS):
            size = lanes // GROUPS
            group = Group(context, game, size, steps, number, stream + number * size, life_loss_terminates)
            nursery.start_soon(group.play, policy, trajectories, emulator)


@dataclass
class Group:
    """Lanes that are stepped together. first_lane and stream are those of its lane 0."""

    context: Context
    game: str
    size: int
    steps: int
    number: int
    stream: int
    life_loss_terminates: bool
    returns: Array = field(init=False)
    lengths: Array = field(init=False)
    steps_under_way: bool = False

    def __post_init__(self) -> None:
        self.returns = np.zeros(self.size, np.float64)
        self.lengths = np.zeros(self.size, np.int64)
        first = (self.context.replica * GROUPS + self.number) * self.size
        self.lane_ids = np.arange(first, first + self.size)

    async def play(
        self, policy: Call[Observations, Actions], trajectories: Out[Trajectories], emulator: dict[str, object]
    ) -> None:
        """Play until cancelled."""
        thread = f"group {self.number}"
        env = await compute(self._open, emulator, thread=thread)
        seed = self.context.seed + 1000 * self.number + 7919 * self.context.incarnation
        stacks, info = await compute(lambda: env.reset(seed=seed % (1 << 31)), thread=thread)
        observations = Observations(
            stacks,
            np.zeros(self.size, np.float32),
            np.zeros(self.size, np.int64),
            np.ones(self.size, bool),
            self.lane_ids,
        )
        # What is waiting for a step at the end of the run is let go by one more.
        last = partial(self._release, env)
        with Arriving(env.recv, thread=f"emulator {self.number}", release=last) as arriving:
            await self._play(policy, trajectories, env, observations, info["lives"], arriving)

    async def _play(
        self,
        policy: Call[Observations, Actions],
        trajectories: Out[Trajectories],
        env: AtariVectorEnv,
        observations: Observations,
        lives: Array,
        arriving: Arriving[Any],
    ) -> None:
        over = np.zeros(self.size, bool)
        unroll = Unroll(self.size, self.steps, observations, 0)
        done: tuple[Actions, Observations, Array, Array] | None = None
        for step in itertools.count():
            answer = await policy(observations)
            # The emulator's threads step from here on; what came of the step before is put down meanwhile.
            env.send(answer.actions)
            self.steps_under_way = True
            if done is not None:
                unroll.add((step - 1) % self.steps, *done[:3])
                self._count(done[1], done[3])
                if step % self.steps == 0:
                    await trajectories.send(unroll.finished(self.stream))
                    unroll = Unroll(self.size, self.steps, observations, step)
            stacks, rewards, terminated, truncated, info = await arriving.next()
            self.steps_under_way = False
            first, over = over, terminated | truncated
            rewards, actions = rewards.astype(np.float32), answer.actions
            if self.life_loss_terminates:
                terminated = terminated | (info["lives"] < lives)
            lives = info["lives"]
            if first.any():
                # The emulator ignores the action after an end, and what comes of it is a first observation.
                rewards[first], actions, terminated = 0, np.where(first, 0, actions), terminated & ~first
            observations = Observations(stacks, rewards, actions, first, self.lane_ids)
            done = answer, observations, terminated, over

    def _release(self, env: AtariVectorEnv) -> None:
        if not self.steps_under_way:
            env.send(np.zeros(self.size, np.int64))

    def _open(self, emulator: dict[str, object]) -> AtariVectorEnv:
        from ale_py.vector_env import AtariVectorEnv  # heavy, and this worker has it imported already

        with _patient_threads():
            return AtariVectorEnv(self.game, self.size, **emulator)  # type: ignore[arg-type]

    def _count(self, then: Observations, over: Array) -> None:
        metrics = self.context.metrics
        stepped = ~then.first
        metrics.count("frames", int(np.count_nonzero(stepped)) * FRAME_SKIP)
        self.returns += then.last_rewards
        self.lengths += stepped
        if not over.any():
            return
        for lane in np.flatnonzero(over):
            score = float(self.returns[lane])
            metrics.count("episodes")
            metrics.record("episode_return", score)
            metrics.record("episode_steps", float(self.lengths[lane]))
            if self.game in SCORES:
                metrics.record("human_normalised", human_normalised(self.game, score))
            self.returns[lane] = self.lengths[lane] = 0


@contextlib.contextmanager
def _patient_threads() -> Iterator[None]:
    """Threads started in here do not preempt whoever wakes them.

    The loop wakes the emulator's threads and has more to do: 4 % more steps on two cores (tools.bench.stepping).
    """
    policy = os.sched_getscheduler(0)  # of this thread; those it starts inherit it
    os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))
    try:
        yield
    finally:
        os.sched_setscheduler(0, policy, os.sched_param(0))


class Unroll:
    """An unroll being filled; see Trajectories for what each array holds."""

    def __init__(self, lanes: int, steps: int, observations: Observations, start: int) -> None:
        self.start = start
        self.began = observations
        self.frames = np.empty((lanes, CONTEXT + steps + 1, SIDE, SIDE), np.uint8)
        self.frames[:, : CONTEXT + 1] = observations.stacks
        # Small ones are gathered and put together once.
        self.first = [observations.first]
        self.actions: list[Array] = []
        self.rewards: list[Array] = []
        self.terminated: list[Array] = []
        self.logits: list[Array] = []
        self.cores: Array | None = None
        self.version = -1

    def add(self, t: int, answer: Actions, then: Observations, terminated: Array) -> None:
        """Step t: the action that was answered, and what came of it."""
        if t == 0:
            self.cores, self.version = answer.cores, answer.version
        self.actions.append(answer.actions)
        self.logits.append(answer.logits)
        self.rewards.append(then.last_rewards)
        self.terminated.append(terminated)
        self.frames[:, CONTEXT + 1 + t] = then.stacks[:, CONTEXT]
        self.first.append(then.first)

    def finished(self, stream: int) -> Trajectories:
        lanes = len(self.frames)
        assert self.cores is not None
        return Trajectories(
            self.frames,
            np.stack(self.first, axis=1),
            np.stack(self.actions, axis=1).astype(np.uint8),
            np.stack(self.rewards, axis=1),
            np.stack(self.terminated, axis=1),
            np.stack(self.logits, axis=1),
            self.began.last_rewards,
            self.began.last_actions,
            self.cores,
            np.full(lanes, self.version, np.int64),
            stream + np.arange(lanes),
            np.full(lanes, self.start, np.int64),
        )
