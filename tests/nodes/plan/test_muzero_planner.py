"""The planner, asked as a node, with the rules themselves as its model."""

from __future__ import annotations

import functools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flow.errors import MessageError, PeerRestarted
from flow.testing.harness import drive
from nodes.algo.puct import Rules
from nodes.algo.root import priors_of
from nodes.games.interface import game_named
from nodes.games.messages import Evaluations, Positions
from nodes.games.solve import Solution, solve
from nodes.plan.muzero import LostTree, planner
from tests.nodes.algo.random_models import Table, random_table
from tests.nodes.algo.slow_tree import Search
from tests.nodes.plan.exact_model import ExactModel, asking


@functools.cache
def solved(name: str) -> Solution:
    return solve(game_named(name))


async def planned(name: str, rows: np.ndarray, simulations: int, **more):
    """Plans for some positions of a solved game, all in one question."""
    positions = [solved(name).positions[row] for row in rows]
    model = ExactModel(positions)
    result = await drive(
        planner,
        requests=[asking(positions)],
        roots=model.roots,
        steps=model.steps,
        simulations=simulations,
        **{"kernel": "numpy", **more},
    )
    return result.requests[0], model


def halfway(name: str) -> np.ndarray:
    """Positions from which a thousand simulations see to the end, and in which there is something to lose."""
    found = solved(name)
    sizes = [
        position.observation().sum() if name == "tictactoe" else -sum(position.heaps) for position in found.positions
    ]
    rows = np.flatnonzero(found.matters & (np.array(sizes) >= (3 if name == "tictactoe" else -7)))
    return np.random.default_rng(0).choice(rows, min(len(rows), 40), replace=False)


@pytest.mark.parametrize("name", ["nim", "tictactoe"])
async def test_with_the_rules_as_its_model_a_planner_comes_to_minimax_as_simulations_grow(name):
    rows = halfway(name)
    found = [(await planned(name, rows, count, kernel="auto"))[0] for count in (9, 100, 1200)]
    blunders = [1 - solved(name).best[rows, plans.visits.argmax(1)].mean() for plans in found]
    errors = [np.abs(plans.values - solved(name).values[rows]).mean() for plans in found]
    assert blunders[0] > blunders[1] >= blunders[2] == 0
    assert errors[0] > errors[1] > errors[2]
    assert errors[2] < errors[0] / 3


@given(
    seed=st.integers(0, 999),
    simulations=st.integers(1, 40),
    discount=st.sampled_from([1.0, 0.997, 0.8]),
    two_players=st.booleans(),
    known_bounds=st.booleans(),
)
async def test_signs_discount_and_rewards_on_the_way_are_those_of_a_tree_written_from_the_equations(
    seed, simulations, discount, two_players, known_bounds
):
    rng = np.random.default_rng(seed)
    table = random_table(rng, 20, 3)
    roots = rng.integers(0, 20, 4)
    legal = rng.random((4, 3)) < 0.7
    legal[:, 1] = True
    hidden: dict[int, int] = {}

    def said(states, slots, rewards):
        hidden.update(zip(slots.tolist(), states.tolist(), strict=True))
        logits = np.log(table.prior[states])
        return Evaluations(rewards.astype(np.float32), logits, table.value[states].astype(np.float32), 0, 0)

    def steps(asked):
        before = np.array([hidden[slot] for slot in asked.parents.tolist()])
        return said(table.to[before, asked.actions], asked.slots, table.reward[before, asked.actions])

    result = await drive(
        planner,
        requests=[Positions(roots[:, None].astype(np.float32), legal, np.zeros(4, bool))],
        roots=lambda asked: said(asked.observations[:, 0].astype(int), asked.slots, np.zeros(4)),
        steps=steps,
        simulations=simulations, discount=discount, two_players=two_players, known_bounds=known_bounds, kernel="numpy",
    )  # fmt: skip
    exact = Table(table.to, table.reward.astype(np.float32), table.prior, table.value.astype(np.float32))
    exact.prior = priors_of(np.log(table.prior))
    rules = Rules(-discount if two_players else discount, bounds=(-1.0, 1.0) if known_bounds else None)
    masked = priors_of(np.log(table.prior)[roots], legal)
    for row in range(4):
        slow = Search(discount, two_players, bounds=rules.bounds)
        root = slow.run(int(roots[row]), masked[row].tolist(), exact.model, simulations)
        assert result.requests[0].visits[row].tolist() == [edge.visits for edge in root.edges]
        np.testing.assert_allclose(result.requests[0].values[row], np.mean(slow.returns), atol=1e-5)


async def test_alone_a_player_keeps_what_it_is_paid_and_against_another_gives_it_away():
    # Each of two actions leads back here; the second pays 1, and nothing else is ever worth anything.
    def said(asked, rewards):
        rows = len(asked.slots)
        return Evaluations(
            rewards.astype(np.float32), np.zeros((rows, 2), np.float32), np.zeros(rows, np.float32), 0, 0
        )

    values = {}
    for two_players in (False, True):
        result = await drive(
            planner,
            requests=[Positions(np.zeros((1, 1), np.float32), np.ones((1, 2), bool), np.zeros(1, bool))],
            roots=lambda asked: said(asked, np.zeros(1)),
            steps=lambda asked: said(asked, asked.actions == 1),
            simulations=400, discount=0.5, two_players=two_players, kernel="numpy",
        )  # fmt: skip
        plans = result.requests[0]
        assert plans.visits[0, 1] > 300
        values[two_players] = plans.values[0]
    # 1 + γ + γ² + … alone; 1 - γ + γ² - … where the other is paid as well. Visits to the worse action cost some of it.
    assert values[False] == pytest.approx(1 / (1 - 0.5), abs=0.2)
    assert values[True] == pytest.approx(1 / (1 + 0.5), abs=0.2)


async def test_a_plan_does_not_depend_on_who_else_asks_nor_on_how_many_searches_run():
    rows = np.arange(0, 119, 7)
    together, _ = await planned("nim", rows, 40)
    positions = [solved("nim").positions[row] for row in rows]
    model = ExactModel(positions)
    alone = await drive(
        planner,
        requests=[asking([position]) for position in positions],
        roots=model.roots,
        steps=model.steps,
        simulations=40,
        kernel="numpy",
        searches=3,
        positions_max=2,
    )
    np.testing.assert_array_equal(np.concatenate([plans.visits for plans in alone.requests]), together.visits)
    np.testing.assert_array_equal(np.concatenate([plans.values for plans in alone.requests]), together.values)


async def test_a_simulation_is_one_question_for_all_positions():
    _, model = await planned("nim", np.arange(30), 17)
    assert model.asked == [30] * 17


async def test_searches_at_once_use_slots_of_their_own():
    positions = [solved("nim").positions[row] for row in range(6)]
    model = ExactModel(positions)
    taken: list[tuple[int, ...]] = []

    def steps(asked):
        taken.append(tuple(asked.slots))
        return model.steps(asked)

    await drive(
        planner,
        requests=[asking(positions[n : n + 2]) for n in (0, 2, 4)],
        roots=model.roots,
        steps=steps,
        simulations=3,
        searches=3,
        positions_max=2,
        kernel="numpy",
    )
    assert len({slot for slots in taken for slot in slots}) == sum(map(len, taken)) == 18


async def test_noise_is_put_on_roots_that_want_it_alone():
    positions = [solved("tictactoe").positions[0]] * 2
    model = ExactModel(positions)
    question = asking(positions)
    question = type(question)(question.observations, question.legal, np.array([False, True]))
    result = await drive(
        planner,
        requests=[question],
        roots=model.roots,
        steps=model.steps,
        simulations=30,
        noise_share=1.0,
        noise_alpha=0.1,
        kernel="numpy",
    )
    plans = result.requests[0]
    plain, _ = await planned("tictactoe", np.array([0]), 30)
    np.testing.assert_array_equal(plans.visits[0], plain.visits[0])
    assert plans.visits[1].max() > 2 * plans.visits[0].max()
    np.testing.assert_allclose(plans.priors, 1 / 9, rtol=1e-5)
    assert plans.version == 7


async def test_a_search_begins_again_when_the_model_is_started_again_in_its_middle():
    position = solved("nim").positions[0]
    model = ExactModel([position])

    def steps(asked):
        if len(model.asked) == 3:  # the hidden states are gone, and another start answers
            model.epoch = 1
        if len(model.asked) == 20:
            model.asked.append(1)
            raise PeerRestarted("gone")
        return model.steps(asked)

    result = await drive(
        planner, requests=[asking([position])], roots=model.roots, steps=steps, simulations=10, kernel="numpy"
    )
    plain, _ = await planned("nim", np.array([0]), 10)
    np.testing.assert_array_equal(result.requests[0].visits, plain.visits)
    assert len(model.asked) > 10


async def test_a_model_of_several_replicas_is_refused_with_the_mend():
    position = solved("nim").positions[0]
    model = ExactModel([position])

    def steps(asked):
        model.epoch += 1
        return model.steps(asked)

    with pytest.RaisesGroup(pytest.RaisesExc(LostTree, match="set replicas = 1 for it")):
        await drive(
            planner, requests=[asking([position])], roots=model.roots, steps=steps, simulations=10, kernel="numpy"
        )


async def test_a_position_without_a_legal_move_is_refused_by_its_row():
    question = asking([solved("nim").positions[row] for row in range(3)])
    question.legal[1] = False
    model = ExactModel(solved("nim").positions)
    with pytest.RaisesGroup(pytest.RaisesExc(MessageError, match="row 1 of a question has no legal move")):
        await drive(planner, requests=[question], roots=model.roots, steps=model.steps, simulations=2, kernel="numpy")
