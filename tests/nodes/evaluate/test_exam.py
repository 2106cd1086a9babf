"""The exam against exact play: what it counts of planners whose play is known."""

from __future__ import annotations

import functools

import numpy as np
import pytest

from flow.testing.harness import drive
from nodes.evaluate.exam import exam
from nodes.games.interface import game_named
from nodes.games.messages import Plans, Positions
from nodes.games.solve import Solution, solve
from nodes.messages import Weights

NOTHING = Weights({})


@functools.cache
def solved(name: str) -> Solution:
    return solve(game_named(name))


def adviser(name: str, *, wrong: bool):
    """Visits the best move of each position, or the worst; its priors are the other way round."""
    found = solved(name)
    index = {position.observation().tobytes(): at for at, position in enumerate(found.positions)}
    worst = np.where(np.isfinite(found.q), found.q, np.inf).argmin(1)
    best = found.q.argmax(1)

    def advise(asked: Positions) -> Plans:
        rows = [index[row.tobytes()] for row in asked.observations]
        assert not asked.noisy.any()
        one_hot = np.eye(asked.legal.shape[1])
        visits, priors = one_hot[(worst if wrong else best)[rows]], one_hot[(best if wrong else worst)[rows]]
        return Plans(visits.astype(np.int32), np.zeros(len(rows), np.float32), priors.astype(np.float32), 0)

    return advise


@pytest.mark.parametrize("name", ["nim", "tictactoe"])
@pytest.mark.parametrize("wrong", [False, True])
async def test_perfect_play_blunders_nowhere_and_the_worst_everywhere(name, wrong):
    result = await drive(exam, planner=adviser(name, wrong=wrong), weights=[NOTHING], game=name)
    assert result.metrics.gauges["blunders"] == float(wrong)
    assert result.metrics.gauges["raw_blunders"] == float(not wrong)
    assert (result.metrics.gauges["held"] == 1) == (not wrong)


@pytest.mark.parametrize("at_once", [1, 50, 256])
async def test_every_position_is_asked_once_however_questions_are_cut(at_once):
    result = await drive(exam, planner=adviser("nim", wrong=False), weights=[NOTHING], game="nim", at_once=at_once)
    asked = np.concatenate([question.observations for question in result.planner])
    assert len(np.unique(asked, axis=0)) == len(asked) == 119
    assert max(len(question.legal) for question in result.planner) <= at_once


async def test_an_exam_is_held_each_time_enough_updates_were_made():
    weights = [(float(n), NOTHING) for n in range(10)]  # versions 0 to 9
    result = await drive(exam, planner=adviser("nim", wrong=False), weights=weights, game="nim", every=4)
    assert result.metrics.counters["exams"] == 3  # at 0, 4 and 8
