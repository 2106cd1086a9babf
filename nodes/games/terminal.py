"""A person plays against a network in a terminal: what `flow play` calls for graphs of board games.

    board ──► a move is typed ──► is it legal? ──► the network searches ──► board ...

What is typed is a move in the game's own notation, "?" for all moves there are, or "q".
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from flow.errors import CheckpointError, MissingError, SettingError
from flow.playing import Asked
from nodes.algo.puct import Rules
from nodes.games.agent import Agent
from nodes.games.interface import ATARI, Game, Position, game_named

PLANNER = "nodes.plan.muzero:planner"
LEGAL_SHOWN = 30
HELP, QUIT = "?", ("q", "quit", "exit")
Read = Callable[[str], str]
"""Asks for a line; raises EOFError where there is none any more."""
Write = Callable[[str], None]


def play(asked: Asked) -> None:
    """Load the network of a checkpoint and play a game against it.

    Raises:
      SettingError: no board game, no planner, or no simulations.
      CheckpointError: the weights are of another network.
      MissingError: torch is not installed.
    """
    name = str(asked.settings["game"])
    if name.startswith(ATARI):
        raise SettingError(f"{asked.graph}: {name!r} is no board game; `flow play` takes games of two players")
    game = game_named(name)
    simulations, rules = _search_of(asked)
    agent = Agent(_network(asked, game), rules, simulations)
    print(f"{game.name}: {asked.checkpoint.directory}, {simulations} simulations a move; {HELP} lists moves, q ends")
    converse(agent, game, person=asked.side, rng=np.random.default_rng(asked.seed), read=input, write=print)


def _search_of(asked: Asked) -> tuple[int, Rules]:
    """How the graph's planner searches, unless the person says otherwise."""
    planners = [settings for kind, settings in asked.nodes if kind == PLANNER]
    if not planners:
        raise SettingError(f"{asked.graph}: has no node {PLANNER}, which says how the network is searched")
    (said, *_) = planners
    simulations = int(said["simulations"] if asked.simulations is None else asked.simulations)
    if simulations < 1:
        raise SettingError(f"simulations={simulations}: a search takes 1 or more; give --simulations 1 or more")
    discount = -said["discount"] if said["two_players"] else said["discount"]
    return simulations, Rules(discount, said["c1"], said["c2"], (-1.0, 1.0) if said["known_bounds"] else None)


def _network(asked: Asked, game: Game) -> Any:
    try:
        from nodes.nets.muzero import build  # torch is an extra
    except ModuleNotFoundError as error:
        raise MissingError('PyTorch is not installed; install it with: pip install "flow-research[torch]"') from error
    shape = {name: asked.settings[name] for name in ("width", "blocks", "bins")}
    network = build(
        asked.settings["network"], game.observation_shape, game.actions, **shape, action_planes=game.action_planes()
    )
    try:
        network.load_state_dict(asked.state["network"])
    except (RuntimeError, KeyError) as error:
        what = f"{game.name}, network {asked.settings['network']!r}, " + ", ".join(f"{k} {v}" for k, v in shape.items())
        raise CheckpointError(
            f"{asked.checkpoint.directory}: its weights are of another network or game than the run's graph says "
            f"({what}): {str(error).strip().splitlines()[-1].strip()}; take another checkpoint"
        ) from error
    return network


def converse(agent: Agent, game: Game, *, person: int, rng: np.random.Generator, read: Read, write: Write) -> None:
    """Play one game.

    Args:
      person: which player the person is, 0 whoever begins.
      rng: draws where a game begins that has several starts.
      read, write: the terminal.
    """
    position = game.start(rng)
    begins = position.mover
    write(str(position))
    while not position.over:
        if (position.mover == begins) == (person == 0):
            action = _typed(position, read, write)
            if action is None:
                write("you gave up")
                return
        else:
            action = _answered(agent, position, write)
        mover, position = position.mover, position.after(action)
        write(str(position))
        if position.over:
            persons = (mover == begins) == (person == 0)
            reward = position.reward if persons else -position.reward
            write("you won" if reward > 0 else "you lost" if reward < 0 else "a draw")


def _answered(agent: Agent, position: Position, write: Write) -> int:
    found = agent.search(position.observation()[None], position.legal()[None])
    (visits,), (value,) = found.visits, found.values
    action = int(visits.argmax())
    share = f"{visits[action]} of {visits.sum()} visits, value {value:+.2f}"
    write(f"it plays {position.words(action)[0]}   ({share})")
    return action


def _typed(position: Position, read: Read, write: Write) -> int | None:
    """The move that a person types, asked for until it is legal; None if the person gives up."""
    named = {action: position.words(action) for action in np.flatnonzero(position.legal()).tolist()}
    first = [words[0] for words in named.values()]
    while True:
        try:
            text = read("your move: ").strip()
        except EOFError:
            return None
        if text.lower() in QUIT:
            return None
        if text == HELP:
            write(" ".join(first))
            continue
        exact = [action for action, words in named.items() if text in words]
        # Case is let go where only one move is meant: of "b4" and "Bb4" in chess it tells a pawn from a bishop.
        alike = exact or [action for action, words in named.items() if text.lower() in map(str.lower, words)]
        if len(alike) == 1:
            return alike[0]
        write(_refusal(text, first))


def _refusal(text: str, legal: list[str]) -> str:
    shown = " ".join(legal[:LEGAL_SHOWN])
    more = f" and {len(legal) - LEGAL_SHOWN} more, {HELP} lists them" if len(legal) > LEGAL_SHOWN else ""
    return f"{text!r} is not a legal move here; legal: {shown}{more}"
