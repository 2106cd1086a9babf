"""Tables at which games of players in turn are played: PettingZoo's environments of agents that take turns (AEC).

begin ──► whose turn, what that player sees, what it may do ──► take ──► … ──► a whole game
"""

from __future__ import annotations

import functools
import importlib.util
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from flow import Array, Names
from flow.errors import MissingError, NodeTypeError, SettingError
from flow.graph.registry import find_function


@functools.cache
def game_names() -> tuple[str, ...]:
    """The environments that PettingZoo itself brings, such as "classic/chess-v6"; none if it is not installed.

    Read from its files without importing it, so that checking a graph stays quick.
    """
    spec = importlib.util.find_spec("pettingzoo")
    if spec is None or not spec.submodule_search_locations:
        return ()
    files = Path(spec.submodule_search_locations[0]).glob("*/*_v[0-9]*.py")
    return tuple(sorted(f"{path.parent.name}/{path.stem.replace('_v', '-v')}" for path in files))


class GameNames(Names):
    """Names of games; one of the user's own, "module:env" or "file.py:env", is looked for when it is made."""

    def problem(self, value: str) -> str:
        text = "" if ":" in value else super().problem(value)
        return text and f'{text} (write "module:env" for one of your own)'


GAMES = GameNames(game_names, "an environment of PettingZoo")


@dataclass(frozen=True)
class Turn:
    """What the player sees whose turn it is. reward: what it got since its last turn."""

    player: int
    observation: Array
    legal: Array
    reward: float
    first: bool


@dataclass
class Record:
    """A game as it was played so far, one entry a move."""

    turns: list[Turn] = field(default_factory=list)
    rewards: list[Array] = field(default_factory=list)

    def columns(self) -> dict[str, Array]:
        """observations, legal, players and rewards, each with a first dimension of moves."""
        return {
            "observations": np.stack([turn.observation for turn in self.turns]),
            "legal": np.stack([turn.legal for turn in self.turns]),
            "players": np.array([turn.player for turn in self.turns]),
            "rewards": np.stack(self.rewards),
        }


class Table:
    """One game after the other in an environment of agents that take turns.

    Raises:
      SettingError: it is none, its actions are not numbered, or its players see arrays of different shapes.
    """

    def __init__(self, environment: str, options: dict[str, Any]) -> None:
        self.name = environment
        self._env = _made(environment, options)
        self.players: list[str] = list(self._env.possible_agents)
        self._places = {name: number for number, name in enumerate(self.players)}
        self.actions = self._check_spaces()
        self.record = Record()

    def _check_spaces(self) -> int:
        from gymnasium import spaces

        found = [self._env.action_space(player) for player in self.players]
        if any(not isinstance(space, spaces.Discrete) or space != found[0] for space in found):
            raise SettingError(f"{self.name}: each player has to have the same numbered actions, found {found}")
        seen = [_observed(self._env.observation_space(player)) for player in self.players]
        if any(not space.is_np_flattenable for space in seen):
            raise SettingError(f"{self.name} shows {seen[0]}: graphs and sequences are no tensors")
        shapes = {_flat(space).shape for space in seen}
        if len(shapes) > 1:
            raise SettingError(f"{self.name}: its players have to see arrays of one shape, found {shapes}")
        return int(found[0].n)

    def begin(self, seed: int) -> Turn:
        """Begin a game, and give the first turn."""
        self._env.reset(seed=seed)
        self.record = Record()
        return self._turn()

    def take(self, action: int) -> Turn | None:
        """Make a move; the next turn, None when the game is over for all."""
        self._env.step(action)
        self.record.rewards.append(self._rewards())
        # A player who is out has to be let go before the others may go on.
        while self._env.agents and self._is_out(self._env.agent_selection) and not self._is_over():
            self._env.step(None)
        return None if self._is_over() else self._turn()

    @property
    def terminated(self) -> bool:
        """Whether the game is over by its rules."""
        return self._is_over() and not any(self._env.truncations.values())

    def last_seen(self) -> Array:
        """What each player sees now, (players, …)."""
        return np.stack([self._seen(player, self._env.observe(player)) for player in self.players])

    def close(self) -> None:
        self._env.close()

    def _turn(self) -> Turn:
        player = self._env.agent_selection
        observation, reward, _, _, info = self._env.last()
        mask = observation.get("action_mask") if isinstance(observation, dict) else None
        mask = info.get("action_mask") if mask is None else mask
        legal = np.ones(self.actions, bool) if mask is None else np.array(mask, bool)
        first = not self.record.turns
        turn = Turn(self._places[player], self._seen(player, observation), legal, float(reward), first)
        self.record.turns.append(turn)
        return turn

    def _seen(self, player: str, observation: Any) -> Array:
        from gymnasium import spaces

        space = self._env.observation_space(player)
        inner = _observed(space)
        if inner is not space:
            observation = observation["observation"]
        if isinstance(inner, (spaces.Dict, spaces.Tuple)):
            observation = spaces.flatten(inner, observation)
        array: Array = np.array(observation)
        return array.astype(np.float32) if array.dtype == np.float64 else array

    def _rewards(self) -> Array:
        return np.array([self._env.rewards.get(player, 0) for player in self.players], np.float32)

    def _is_out(self, player: str) -> bool:
        return bool(self._env.terminations.get(player) or self._env.truncations.get(player))

    def _is_over(self) -> bool:
        return all(self._is_out(player) for player in self._env.agents)


def _observed(space: Any) -> Any:
    """The space of what is seen, without the mask of legal actions beside it."""
    from gymnasium import spaces

    if isinstance(space, spaces.Dict) and "observation" in space.spaces:
        return space["observation"]
    return space


def _flat(space: Any) -> Any:
    """The space as it is sent: composite ones as one vector."""
    from gymnasium import spaces

    return spaces.flatten_space(space) if isinstance(space, (spaces.Dict, spaces.Tuple)) else space


def _made(environment: str, options: dict[str, Any]) -> Any:
    import pettingzoo
    from pettingzoo.env_registry.exceptions import PettingZooRegistryError

    try:
        if ":" in environment:
            made = find_function(environment, "env")(**options)
        else:
            made = pettingzoo.make("aec", environment, **options)
    except NodeTypeError as error:
        raise SettingError(f"environment = {error}") from error
    except PettingZooRegistryError as error:
        raise MissingError(f"{environment} cannot be made: {error}") from error
    except TypeError as error:
        raise SettingError(f"{environment} does not take the options {options}: {error}") from error
    if not isinstance(made, pettingzoo.AECEnv):
        raise SettingError(f"{environment} makes a {type(made).__name__}, no pettingzoo.AECEnv of players in turn")
    return made
