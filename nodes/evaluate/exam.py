"""Examines a planner against exact play: every position of a game that is small enough to be solved.

weights, every so many updates ──► all positions ──► planner ──► moves, beside those that keep the game's value
"""

from __future__ import annotations

from typing import Annotated

import numpy as np
import trio

from flow import Array, Call, Context, Latest, Promises, Range, compute, node
from nodes.games.interface import GAMES, game_named, legal_of, observations_of
from nodes.games.messages import Plans, Positions
from nodes.games.solve import Solution, solve
from nodes.messages import Weights


@node(promises=Promises(given="nodes.given.learning:exam"))
async def exam(
    planner: Call[Positions, Plans],
    weights: Latest[Weights],
    context: Context,
    *,
    game: Annotated[str, GAMES],
    every: Annotated[int, Range(1)] = 1000,
    at_once: Annotated[int, Range(1, 65536)] = 256,
) -> None:
    """Ask for a move in every position, without noise, and count those that give value away.

    Of the positions in which there is something to lose, `blunders` is the share in which the most visited move loses
    it, and `raw_blunders` the share in which the policy without search does; `exam_blunders` is the former as a curve.
    `held` is the share of starts and sides from which the most visited moves get all there is, whatever the opponent
    does: 1 is perfect play.

    Args:
      game: one with at most 200,000 positions.
      every: updates of the weights from one exam to the next.
      at_once: positions in a question.
    """
    solution = await compute(solve, game_named(game))
    seen, legal = await compute(lambda: (observations_of(solution.positions), legal_of(solution.positions)))
    due = 0
    while True:
        try:
            await weights.wait(due - 1)
        except trio.EndOfChannel:
            return
        due = weights.version + every
        plans = [await planner(question) for question in questions(seen, legal, at_once)]
        moves = np.concatenate([each.visits.argmax(1) for each in plans])
        priors = np.concatenate([each.priors.argmax(1) for each in plans])
        found = {"blunders": blunders(solution, moves), "raw_blunders": blunders(solution, priors)}
        context.metrics.count("exams")
        for name, share in found.items():
            context.metrics.record(f"exam_{name}", share)  # a curve; its mean over exams says little
            context.metrics.gauge(name, share)
        context.metrics.gauge("held", solution.held(moves))
        context.log(f"updates {weights.version}: {found}, held {solution.held(moves):.3f}")


def questions(observations: Array, legal: Array, rows: int) -> list[Positions]:
    """All positions, so many a question."""
    cuts = range(0, len(legal), rows)
    return [
        Positions(observations[cut : cut + rows], legal[cut : cut + rows], np.zeros(len(legal[cut : cut + rows]), bool))
        for cut in cuts
    ]


def blunders(solution: Solution, moves: Array) -> float:
    """The share of positions with something to lose in which a move loses it. moves: (P,)."""
    matters = np.flatnonzero(solution.matters)
    return float(1 - solution.best[matters, moves[matters]].mean())
