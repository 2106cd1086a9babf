"""MuZero on three-heap Nim in one thread: the pieces of the graph, called in turn, so that a seed gives one result.

32 games of self-play ──► 4,000 games ──► 100 updates ──► ...        and exhaustive evaluation of what was learned
"""

from __future__ import annotations

import argparse
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from nodes.algo.muzero_targets import Beyond, Record, record, unrolled
from nodes.algo.puct import Rules, Trees, kernel_named
from nodes.algo.root import policy_target, priors_of, with_noise
from nodes.env.board import Lanes
from nodes.games.interface import Game, Position, legal_of, observations_of
from nodes.games.messages import Evaluations, Plans, PlayedGame, Roots, Samples, Steps
from nodes.games.solve import Solution
from nodes.learn.muzero import Student
from nodes.plan.muzero import plans_of
from nodes.serve.muzero import Served

RULES = Rules(-1.0)
LANES, BATCH, KEPT_GAMES, UPDATES_A_ROUND = 32, 128, 4000, 100


@dataclass(frozen=True)
class Asked:
    """What a claim on Nim is asked for. picture: where to draw one."""

    seeds: list[int]
    rounds: int
    picture: Path | None


def ask(name: str, description: str | None, *, rounds: int, a_round: str, picture: str) -> Asked:
    """Read the command line of a claim on Nim, and keep torch to one thread.

    Args:
      name: of the script. a_round: what a round is. picture: what is drawn.
    """
    parser = argparse.ArgumentParser(
        prog=f"python -m tools.claims.{name}",
        description=description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    parser.add_argument("--rounds", type=int, default=rounds, help=f"of {a_round} [%(default)d]")
    parser.add_argument("-o", "--output", type=Path, help=f"write {picture} to this PNG")
    options = parser.parse_args()
    torch.set_num_threads(1)  # the network is small: more threads wait for each other
    return Asked(options.seeds, options.rounds, options.output)


@dataclass(frozen=True)
class Training:
    """How an agent learns. Numbers as in the pilot of the claim; unroll and simulations are what it varies.

    games: played in a round, before its updates. refreshed: stored games that are planned anew after them.
    """

    seed: int
    rounds: int = 150
    games: int = LANES
    refreshed: int = 0
    simulations: int = 25
    unroll: int = 5
    beyond: Beyond = "zero"
    learning_rate: float = 3e-3
    weight_decay: float = 1e-5


class Simulator(Protocol):
    """What a search asks: a hidden state a node, in slots."""

    def root(self, positions: list[Position], slots: NDArray[np.int64]) -> Evaluations: ...

    def step(self, parents: NDArray[np.int64], actions: NDArray[np.int64], slots: NDArray[np.int64]) -> Evaluations: ...


class Learned:
    """The learned model."""

    def __init__(self, served: Served) -> None:
        self.served = served

    def root(self, positions: list[Position], slots: NDArray[np.int64]) -> Evaluations:
        return self.served.roots(Roots(observations_of(positions), np.zeros_like(slots), slots), len(slots))

    def step(self, parents: NDArray[np.int64], actions: NDArray[np.int64], slots: NDArray[np.int64]) -> Evaluations:
        return self.served.steps(Steps(np.zeros_like(slots), parents, actions, slots), len(slots))


class TrueRules:
    """The rules, with policy and values of the network at each real position; what is over stays so, worth nothing."""

    def __init__(self, served: Served) -> None:
        self.served = served
        self._at: dict[int, Position] = {}

    def root(self, positions: list[Position], slots: NDArray[np.int64]) -> Evaluations:
        return self._evaluated(positions, slots, np.zeros(len(slots), np.float32))

    def step(self, parents: NDArray[np.int64], actions: NDArray[np.int64], slots: NDArray[np.int64]) -> Evaluations:
        before = [self._at[slot] for slot in parents.tolist()]
        after = [
            position if position.over else position.after(action)
            for position, action in zip(before, actions.tolist(), strict=True)
        ]
        paid = [0.0 if was.over else now.reward for was, now in zip(before, after, strict=True)]
        return self._evaluated(after, slots, np.array(paid, np.float32))

    def _evaluated(
        self, positions: list[Position], slots: NDArray[np.int64], rewards: NDArray[np.float32]
    ) -> Evaluations:
        self._at.update(zip(slots.tolist(), positions, strict=True))
        said = self.served.roots(Roots(observations_of(positions), np.zeros_like(slots), slots), len(slots))
        over = np.array([position.over for position in positions])
        # What is over stays so whatever is done, which keeps the tree behind it shallow.
        logits = np.where(legal_of(positions) | over[:, None], said.logits, -np.inf).astype(np.float32)
        return Evaluations(rewards, logits, np.where(over, 0, said.values).astype(np.float32), 0, 0)


def plan(
    simulator: Simulator, positions: list[Position], simulations: int, noise: np.random.Generator | None = None
) -> Plans:
    """Search positions; with noise at their roots if a generator is given."""
    slots = np.arange(len(positions), dtype=np.int64) * (simulations + 1)
    root = simulator.root(positions, slots)
    plain = priors_of(root.logits, legal_of(positions))
    everyone = np.ones(len(positions), bool)
    priors = plain if noise is None else with_noise(plain, everyone, 0.3, 0.25, noise)
    trees = Trees(priors, simulations, RULES, kernel_named("auto"))
    while not trees.full:
        parents, actions = trees.select()
        said = simulator.step(slots + parents, actions.astype(np.int64), slots + trees.size)
        trees.expand(said.rewards, priors_of(said.logits), said.values)
    return plans_of(trees, plain, root.version)


def train(game: Game, training: Training, watch: Callable[[int, Served], None] | None = None) -> Served:
    """Learn from self-play alone; the network as it is served.

    Args:
      watch: called after each round with the moves played so far.
    """
    rng = np.random.default_rng(training.seed)
    shape = game.observation_shape
    student = Student(shape, game.actions, "mlp", 64, 0, 0, "cpu", "adam", training.weight_decay, 1.0, training.seed)
    served = Served(shape, game.actions, "mlp", 64, 0, 0)
    served.load(student.weights(), 0)
    learned = Learned(served)
    lanes = Lanes(game, min(training.games, LANES), 1.0, game.moves_max, rng)
    kept: deque[tuple[PlayedGame, Record]] = deque(maxlen=KEPT_GAMES)
    moves = 0
    for number in range(training.rounds):
        fresh = 0
        while fresh < training.games:
            plans = plan(learned, [one.position for one in lanes.under_way], training.simulations, rng)
            moves += len(lanes.under_way)
            for played in lanes.move(plans):
                kept.append((played, _record(played, training)))
                fresh += 1
        if training.refreshed:
            _refresh(game, kept, learned, training, rng)
        games = list(kept)
        ends = np.cumsum([len(played.actions) for played, _ in games])
        for _ in range(UPDATES_A_ROUND):
            student.update(_sample(games, ends, training.unroll, rng), training.learning_rate)
        served.load(student.weights(), number + 1)
        if watch is not None:
            watch(moves, served)
    return served


def _refresh(
    game: Game,
    kept: deque[tuple[PlayedGame, Record]],
    learned: Learned,
    training: Training,
    rng: np.random.Generator,
) -> None:
    """Plan some stored games anew: what the search that plays says of their positions today takes the place of what it
    said."""
    drawn = rng.choice(len(kept), min(training.refreshed, len(kept)), replace=False).tolist()
    lines = [_line(game, kept[at][0]) for at in drawn]
    plans = plan(learned, [position for line in lines for position in line], training.simulations, rng)
    policies, begin = policy_target(plans.visits), 0
    for at, line in zip(drawn, lines, strict=True):
        end = begin + len(line)
        anew = replace(kept[at][0], policies=policies[begin:end], values=plans.values[begin:end])
        kept[at] = anew, _record(anew, training)
        begin = end


def _line(game: Game, played: PlayedGame) -> list[Position]:
    """The positions of a game, each before its move."""
    position = next(each for each in game.starts() if np.array_equal(each.observation(), played.observations[0]))
    line = []
    for action in played.actions.tolist():
        line.append(position)
        position = position.after(action)
    return line


def _record(played: PlayedGame, training: Training) -> Record:
    return record(
        played.actions,
        played.rewards,
        played.policies,
        played.values,
        discount=-1.0,
        steps=len(played.actions),
        unroll=training.unroll,
        beyond=training.beyond,
    )


def _sample(
    kept: list[tuple[PlayedGame, Record]], ends: NDArray[np.int64], unroll: int, rng: np.random.Generator
) -> Samples:
    """Positions drawn uniformly among all that are kept. ends: how many there are up to the end of each game."""
    drawn = rng.integers(0, ends[-1], BATCH)
    games = np.searchsorted(ends, drawn, side="right").tolist()
    starts = [int(at - (ends[game - 1] if game else 0)) for at, game in zip(drawn, games, strict=True)]
    stretch = unrolled([kept[game][1] for game in games], starts, unroll, rng)
    seen = np.stack([kept[game][0].observations[start] for game, start in zip(games, starts, strict=True)])
    nothing = np.zeros(BATCH, np.int64)
    return Samples(
        seen,
        stretch.actions,
        stretch.rewards,
        stretch.values,
        stretch.policies,
        stretch.real,
        np.ones(BATCH, np.float32),
        nothing,
        nothing,
    )


def blunders(solution: Solution, moves: NDArray[np.int64]) -> float:
    """The share of won positions in which a move gives the win away.

    Args:
      moves: one for each won position, in the solution's order.
    """
    best = solution.best[solution.won]
    return float(1 - best[np.arange(len(moves)), moves].mean())


def raw_blunders(solution: Solution, served: Served) -> float:
    """Of the policy without search: the legal move of the largest prior."""
    positions = [solution.positions[index] for index in np.flatnonzero(solution.won)]
    said = Learned(served).root(positions, np.arange(len(positions)))
    return blunders(solution, priors_of(said.logits, legal_of(positions)).argmax(1))


def search_blunders(solution: Solution, simulator: Simulator, simulations: int) -> float:
    """Of the most visited move."""
    positions = [solution.positions[index] for index in np.flatnonzero(solution.won)]
    return blunders(solution, plan(simulator, positions, simulations).visits.argmax(1))
