"""Playing against a person: moves by name, the conversation, and that the agent searches as the planner does."""

from __future__ import annotations

import importlib.util

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flow.errors import SettingError
from nodes.algo.puct import Rules
from nodes.games.agent import Agent, Found
from nodes.games.interface import game_named
from nodes.games.openspiel import MISSING_PACKAGE
from nodes.games.solve import solve
from nodes.games.terminal import converse

SPIEL = importlib.util.find_spec("pyspiel") is not None
needs_spiel = pytest.mark.skipif(not SPIEL, reason=MISSING_PACKAGE)
OF_SPIEL = ("openspiel:connect_four", "openspiel:othello", "go:5", "chess", "shogi")
GAMES = ["nim", "tictactoe", *(pytest.param(name, marks=needs_spiel) for name in OF_SPIEL)]


class First:
    """An agent that makes the first legal move."""

    def search(self, observation, legal):
        return Found(legal.astype(np.int32), np.zeros(len(legal)), legal.astype(np.float32))


class Person:
    """Types what it is told to; says what was written in between."""

    def __init__(self, lines) -> None:
        self.lines, self.written, self.prompts = list(lines), [], 0

    def read(self, prompt: str) -> str:
        self.prompts += 1
        if not self.lines:
            raise EOFError
        return self.lines.pop(0)

    def write(self, text: str) -> None:
        self.written.append(text)


def after(name: str, seed: int, moves: int):
    rng = np.random.default_rng(seed)
    position = game_named(name).start(rng)
    for _ in range(moves):
        legal = np.flatnonzero(position.legal())
        later = position.after(int(rng.choice(legal)))
        if later.over:
            break
        position = later
    return position


@pytest.mark.parametrize("name", GAMES)
@given(seed=st.integers(0, 99), moves=st.integers(0, 30))
def test_every_legal_move_has_a_name_of_its_own_and_typing_it_makes_it(name, seed, moves):
    from nodes.games.terminal import _typed

    position = after(name, seed, moves)
    legal = np.flatnonzero(position.legal()).tolist()
    spoken = [word for action in legal for word in set(position.words(action))]
    assert len(set(spoken)) == len(spoken)
    for action in legal:
        for word in position.words(action):
            person = Person([word])
            assert _typed(position, person.read, person.write) == action
            assert not person.written


@pytest.mark.parametrize("name", GAMES)
def test_a_board_is_drawn_a_row_a_line(name):
    position = after(name, 0, 0)
    assert len(str(position).splitlines()) >= 3
    for action in np.flatnonzero(position.legal()).tolist():
        assert str(position.after(action)) != str(position)


@needs_spiel
def test_chess_is_drawn_as_a_board_with_capitals_for_white():
    lines = str(game_named("chess").start(np.random.default_rng(0))).splitlines()
    assert lines[0] == "8 r n b q k b n r"
    assert lines[7] == "1 R N B Q K B N R"
    assert lines[8] == "  a b c d e f g h"


@needs_spiel
def test_case_is_let_go_where_one_move_alone_is_meant():
    from nodes.games.terminal import _typed

    start = game_named("chess").start(np.random.default_rng(0))
    for word, meant in (("E4", "e4"), ("nf3", "Nf3"), ("G1F3", "Nf3")):
        person = Person([word])
        action = _typed(start, person.read, person.write)
        assert action is not None
        assert start.words(action)[0] == meant


@needs_spiel
def test_an_illegal_move_is_answered_with_what_was_found_and_what_is_legal_and_asked_again():
    person = Person(["e5", "", "?", "e4"])
    converse(First(), game_named("chess"), person=0, rng=np.random.default_rng(0), read=person.read, write=person.write)
    legal = "Nc3 Na3 Nh3 Nf3 a3 a4 b3 b4 c3 c4 d3 d4 e3 e4 f3 f4 g3 g4 h3 h4"
    assert person.written[1] == f"'e5' is not a legal move here; legal: {legal}"
    assert person.written[2].startswith("'' is not a legal move here; legal: Nc3")
    assert person.written[3] == legal
    assert "P" in person.written[4].splitlines()[4]  # the pawn is on e4
    assert person.written[5].startswith("it plays ")
    assert person.written[-1] == "you gave up"


@needs_spiel
def test_more_legal_moves_than_a_line_holds_are_counted():
    person = Person(["zz"])
    converse(First(), game_named("go:9"), person=0, rng=np.random.default_rng(0), read=person.read, write=person.write)
    assert person.written[1].endswith(" and 52 more, ? lists them")


@pytest.mark.parametrize("side", [0, 1])
def test_who_wins_is_said_from_the_persons_view(side):
    found = solve(game_named("nim"))
    # The person plays perfectly from a start that is won for who plays second or first; the other plays the first move.
    for seed in range(60):
        start = game_named("nim").start(np.random.default_rng(seed))
        value = found.values[found.index[start.key]]
        if (value > 0) != (side == 0):
            continue
        position, script, turn = start, [], 0
        while not position.over:
            if turn == side:
                action = int(found.q[found.index[position.key]].argmax())
                script.append(position.words(action)[0])
            else:
                action = int(np.flatnonzero(position.legal())[0])
            position, turn = position.after(action), 1 - turn
        person = Person(script)
        converse(
            First(), game_named("nim"), person=side, rng=np.random.default_rng(seed), read=person.read,
            write=person.write,
        )  # fmt: skip
        assert person.written[-1] == "you won"
        return
    pytest.fail("no such start")


@pytest.mark.filterwarnings("ignore:The given NumPy array is not writable")  # the harness freezes what it hands on
async def test_the_agent_searches_as_the_planner_does():
    torch = pytest.importorskip("torch", reason='needs PyTorch: pip install "flow-research[torch]"')
    from flow.testing.harness import drive
    from nodes.games.messages import Positions
    from nodes.nets.muzero import build
    from nodes.plan.muzero import planner
    from nodes.serve.muzero import Served

    torch.manual_seed(1)
    network = build("mlp", (15,), 12, width=16)
    served = Served((15,), 12, "mlp", 16)
    served.network.load_state_dict(network.state_dict())
    positions = [after("nim", seed, 2) for seed in range(6)]
    seen, legal = np.stack([p.observation() for p in positions]), np.stack([p.legal() for p in positions])
    result = await drive(
        planner,
        requests=[Positions(seen, legal, np.zeros(6, bool))],
        roots=lambda asked: served.roots(asked, len(asked.slots)),
        steps=lambda asked: served.steps(asked, len(asked.slots)),
        simulations=30,
    )
    agent = Agent(network, Rules(-1.0), 30)
    for rows in (slice(0, 6), slice(2, 3)):
        found = agent.search(seen[rows], legal[rows])
        np.testing.assert_array_equal(found.visits, result.requests[0].visits[rows])
        np.testing.assert_allclose(found.values, result.requests[0].values[rows], atol=1e-5)
        np.testing.assert_allclose(found.priors, result.requests[0].priors[rows], atol=1e-6)
    with pytest.raises(SettingError, match="simulations=0: a search takes 1 or more"):
        Agent(network, Rules(-1.0), 0).search(seen, legal)
