"""An engine on a pipe: real programs that speak the protocol, well and badly."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from flow.errors import MissingError, SettingError
from flow.testing.harness import drive
from nodes.evaluate.arena import arena
from nodes.games.engine import Engine, EngineError
from nodes.games.interface import game_named
from nodes.games.opponents import opponent_named
from tests.nodes.evaluate.test_exam import NOTHING
from tests.nodes.games.test_play import needs_spiel

pytestmark = [needs_spiel, pytest.mark.real_time]
# Answers every question as told; {} is the first legal move, found by the rules.
PROGRAM = """
import sys
answer, dialect = sys.argv[1], sys.argv[2]
for line in sys.stdin:
    words = line.split()
    if words[0] == dialect:
        print("id name told\\n" + dialect + "ok", flush=True)
    elif words[0] == "isready":
        print("readyok", flush=True)
    elif words[0] == "position":
        text = " ".join(words[2:])
    elif words[0] == "go":
        if answer == "legal":
            import pyspiel
            if dialect == "uci":
                state = pyspiel.load_game("chess").new_initial_state(text)
                move = pyspiel.chess.action_to_move(state.legal_actions()[0], state.board()).to_lan()
            else:
                state = pyspiel.load_game("shogi").new_initial_state(text)
                move = state.action_to_string(state.legal_actions()[0])
            print("info nodes " + words[2] + "\\nbestmove " + move + " ponder e7e5", flush=True)
        elif answer == "silence":
            pass
        elif answer == "end":
            break
        else:
            print("bestmove " + answer, flush=True)
    elif words[0] == "quit":
        break
"""


@pytest.fixture
def command(tmp_path):
    path = tmp_path / "engine.py"
    path.write_text(PROGRAM)
    return lambda answer, dialect="uci": f"{sys.executable} {path} {answer} {dialect}"


@pytest.mark.parametrize(("name", "dialect"), [("chess", "uci"), ("shogi", "usi")])
def test_an_engine_is_told_the_position_and_its_answer_is_a_move(name, dialect, command):
    game = game_named(name)
    engine = Engine(command("legal", dialect), game, 10)
    rng = np.random.default_rng(0)
    position = game.start(rng)
    for _ in range(12):
        move = engine.move(position)
        state = position._state
        assert position._moves[move] == state.legal_actions()[0]
        position = position.after(int(rng.choice(np.flatnonzero(position.legal()))))
    engine.close()


@pytest.mark.parametrize("word", ["e2e5", "(none)", "nonsense", ""])
def test_an_illegal_move_of_an_engine_is_told_with_what_is_legal(word, command):
    engine = Engine(command(f"'{word}'"), game_named("chess"), 10)
    with pytest.raises(EngineError) as caught:
        engine.move(game_named("chess").start(np.random.default_rng(0)))
    engine.close()
    text = str(caught.value)
    assert f"answers 'bestmove {word}'".rstrip(" '") in text
    assert "rnbqkbnr/pppppppp/8/8/8/8/PPPPPPPP/RNBQKBNR w KQkq - 0 1" in text
    assert "is not a legal move; legal: a2a3 a2a4" in text


def test_an_engine_that_is_silent_or_ends_is_told(command):
    start = game_named("chess").start(np.random.default_rng(0))
    silent = Engine(command("silence"), game_named("chess"), 10, answer_s=0.3)
    with pytest.raises(EngineError, match=r"did not answer 'go nodes 10' with 'bestmove' in 0\.3 s; it is ended"):
        silent.move(start)
    ended = Engine(command("end"), game_named("chess"), 10)
    with pytest.raises(EngineError, match="ended before it answered 'go nodes 10'"):
        ended.move(start)
    ended.close()


def test_what_cannot_be_an_engine_is_refused_with_the_mend(command):
    with pytest.raises(MissingError, match="engine '/nowhere/fish' cannot be started: No such file"):
        opponent_named("engine", game_named("chess"), 10, 0, "/nowhere/fish")
    with pytest.raises(SettingError, match="needs engine, the path of a UCI or USI engine"):
        opponent_named("engine", game_named("chess"), 10, 0)
    with pytest.raises(SettingError, match="plays chess and shogi, found 'go:9'"):
        opponent_named("engine", game_named("go:9"), 10, 0, command("legal"))


async def test_an_arena_plays_an_engine_and_an_illegal_move_ends_it_with_that_cause(command):
    def plan(asked):
        from nodes.games.messages import Plans

        visits = asked.legal.astype(np.int32)
        return Plans(visits, np.zeros(len(visits), np.float32), visits.astype(np.float32), 0)

    with pytest.raises(EngineError, match="answers 'bestmove a9a9'"):
        await drive(
            arena, planner=plan, weights=[NOTHING], game="chess", opponent="engine", engine=command("a9a9"), games=2,
            opponent_simulations=5,
        )  # fmt: skip
