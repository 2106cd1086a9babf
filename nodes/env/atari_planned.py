"""Plays Atari games by a planner's advice, and sends what happened in stretches that can be learned from.

                ╭──► planner ──► visits, values ──╮
    lanes of a group                        an action each ──► emulator (C++ threads, off the GIL)
                ╰────────── observations ◄─────────────────────────╯    every `stretch` moves: a stretch ──►

A game takes thousands of moves, too long to wait for, so it is sent in stretches. Beside its own moves a stretch has
those before that its observations show, and those after that its targets are worked out of:

    history moves │ own moves, from which samples may begin │ lookahead moves, which are the next stretch's own

Lanes are stepped in groups, each by a task of its own: while one is searched the other's emulator steps.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any

import numpy as np
import trio

from flow import Array, Call, Context, Out, Promises, Range, compute, node
from flow.errors import MessageError
from nodes.algo.atari_scores import SCORES, human_normalised
from nodes.algo.root import choose, policy_target
from nodes.atari_games import FRAME_SKIP
from nodes.games.atari import AtariTask, Emulator, atari_task
from nodes.games.interface import TASKS
from nodes.games.messages import Plans, PlayedGame, Positions


@node(
    needs=("ale_py",),
    promises=Promises(
        given="nodes.given.learning:atari_planned",
        seeded=True,
        excused={"C13": "an emulator's state is not saved: a node that is started again begins new games"},
    ),
)
async def actor(
    planner: Call[Positions, Plans],
    games: Out[PlayedGame],
    context: Context,
    *,
    game: Annotated[str, TASKS],
    lanes: Annotated[int, Range(1, 4096)] = 16,
    groups: Annotated[int, Range(1, 16)] = 1,
    stretch: Annotated[int, Range(1, 100_000)] = 200,
    lookahead: Annotated[int, Range(1, 10_000)] = 15,
    temperature: Annotated[float, Range(0)] = 1.0,
    cool_updates: list[int] | None = None,
    threads: Annotated[int, Range(1, 256)] = 1,
    no_ops_max: Annotated[int, Range(0, 60)] = 30,
    episode_frames_max: Annotated[int, Range(1)] = 108_000,
    sticky: Annotated[float, Range(0, 1)] = 0.0,
) -> None:
    """Play copies of a game by a planner's advice, and send stretches of what happened.

    Args:
      game: "atari:pong"; see `nodes.games.atari` for its options.
      lanes: copies of the game in each group.
      groups: groups that ask apart from each other: while one is planned for, the other's emulator steps.
      stretch: moves in a stretch.
      lookahead: moves after them that it also has: n of the targets and K of the unrolls together, or more.
      temperature: T of the draw among visited actions, p ~ N^(1/T).
      cool_updates: T is halved at each of these updates of the weights.
      threads: C++ threads that step a group.
      no_ops_max: a game begins with up to so many actions that do nothing.
      episode_frames_max: emulator frames after which a game is cut short; 108 000 are 30 minutes.
      sticky: probability that the emulator repeats the action before.
    """
    task = atari_task(game)
    emulator = {
        "threads": threads,
        "no_ops_max": no_ops_max,
        "frames_max": episode_frames_max,
        "sticky": sticky,
    }
    rules = Stretches(task.history, stretch, lookahead)
    context.metrics.count("games", 0)  # the first ends after minutes, and who looks for it is told that it is counted
    async with trio.open_nursery() as nursery:
        for number in range(groups):
            seeds = np.random.SeedSequence((context.seed, context.incarnation, context.replica, number))
            group = Group(task, lanes, number, rules, temperature, tuple(cool_updates or ()), seeds, context)
            nursery.start_soon(group.play, planner, games, emulator)


@dataclass(frozen=True)
class Stretches:
    """How games are cut; see the top of this file. history: moves that an observation shows."""

    history: int
    own: int
    lookahead: int


@dataclass
class Group:
    """Lanes that are stepped together; see `actor` for each."""

    task: AtariTask
    lanes: int
    number: int
    rules: Stretches
    temperature: float
    cool_updates: Sequence[int]
    seeds: np.random.SeedSequence
    context: Context

    async def play(self, planner: Call[Positions, Plans], games: Out[PlayedGame], emulator: dict[str, Any]) -> None:
        """Play until cancelled."""
        thread = f"group {self.number}"
        seed = int(self.seeds.generate_state(1)[0])
        rng = np.random.default_rng(self.seeds)
        env = await compute(lambda: Emulator(self.task, self.lanes, seed, **emulator), thread=thread)
        under_way = [UnderWay(self.rules) for _ in range(self.lanes)]
        legal, noisy = np.ones((self.lanes, self.task.actions), bool), np.ones(self.lanes, bool)
        while True:
            plans = await planner(Positions(env.observations(), legal, noisy))
            actions = choose(require_fitting(plans, legal), np.full(self.lanes, self.heat(plans.version)), rng)
            frames, policies = env.newest, policy_target(plans.visits)
            stepped = await compute(lambda actions=actions: env.step(actions), thread=thread)
            self.context.metrics.count("moves", self.lanes)
            self.context.metrics.count("frames", self.lanes * FRAME_SKIP)
            for lane, one in enumerate(under_way):
                one.add(frames[lane], int(actions[lane]), float(stepped.rewards[lane]), float(plans.values[lane]),
                        policies[lane], plans.version)  # fmt: skip
                cut = bool(stepped.truncated[lane])
                for played in one.taken(over=bool(stepped.terminated[lane]), cut=cut):
                    await games.send(played)
                if stepped.terminated[lane] or cut:
                    note_return(self.context, self.task.rom, one.score, one.moves)
                    under_way[lane] = UnderWay(self.rules)

    def heat(self, version: int) -> float:
        """T under weights of so many updates."""
        return self.temperature * 0.5 ** sum(version >= update for update in self.cool_updates)


def note_return(context: Context, rom: str, score: float, moves: int) -> None:
    """Count a game that has ended."""
    context.metrics.count("games")
    context.metrics.record("episode_return", score)
    context.metrics.record("game_moves", float(moves))
    if rom in SCORES:
        context.metrics.record("human_normalised", human_normalised(rom, score))


def require_fitting(plans: Plans, legal: Array) -> Array:
    """The visits of plans.

    Raises:
      MessageError: they are not of what was asked.
    """
    if plans.visits.shape != legal.shape:
        raise MessageError(
            f"visits have shape {plans.visits.shape}, expected {legal.shape}; give planner, model and actor the same "
            "game"
        )
    return plans.visits


@dataclass
class UnderWay:
    """A game that is being played, and its moves that were not yet sent or are still needed.

    score, moves: of the whole game so far. before: how many of the moves that are held are here for the history alone.
    """

    rules: Stretches
    score: float = 0.0
    moves: int = 0
    before: int = 0
    frames: list[Array] = field(default_factory=list)
    actions: list[int] = field(default_factory=list)
    rewards: list[float] = field(default_factory=list)
    values: list[float] = field(default_factory=list)
    policies: list[Array] = field(default_factory=list)
    versions: list[int] = field(default_factory=list)

    def add(self, frame: Array, action: int, reward: float, value: float, policy: Array, version: int) -> None:
        """A move: what was new to see, what was done, what it gave, and what the search said."""
        self.frames.append(frame)
        self.actions.append(action)
        self.rewards.append(reward)
        self.values.append(value)
        self.policies.append(policy)
        self.versions.append(version)
        self.score += reward
        self.moves += 1

    def taken(self, *, over: bool, cut: bool) -> list[PlayedGame]:
        """Stretches that can be sent now. over: the game has ended by its rules. cut: its time was up."""
        own, ahead = self.rules.own, self.rules.lookahead
        held = len(self.actions) - self.before
        if over:
            return [self._stretch(held, over=True)]
        if cut:  # what would have followed is not known, so what looks ahead to it is not learned
            return [self._stretch(held - ahead, over=False)] if held > ahead else []
        if held < own + ahead:
            return []
        sent = self._stretch(own, over=False)
        left = max(0, self.before + own - self.rules.history)
        self.before = self.before + own - left
        for each in (self.frames, self.actions, self.rewards, self.values, self.policies, self.versions):
            del each[:left]
        return [sent]

    def _stretch(self, own: int, *, over: bool) -> PlayedGame:
        drawn = np.zeros(len(self.actions), bool)
        drawn[self.before : self.before + own] = True
        return PlayedGame(
            np.stack(self.frames),
            np.array(self.actions, np.int64),
            np.array(self.rewards, np.float32),
            np.array(self.values, np.float32),
            np.stack(self.policies),
            np.array(self.versions, np.int64),
            drawn,
            over,
        )
