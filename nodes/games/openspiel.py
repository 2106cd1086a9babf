"""Any two-player board game of OpenSpiel: sequential, without chance or hidden information, paid out at its end."""

from __future__ import annotations

import difflib
import importlib.util
import re
from collections.abc import Hashable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flow.errors import MissingError, SettingError
from nodes.games.interface import OPENSPIEL, IllegalMove, Position

CONNECT_FOUR, COLUMNS = "openspiel:connect_four", "0123456"
_MARK = re.compile(r"^[xo](?=[\d(])")
MISSING_PACKAGE = 'OpenSpiel is not installed; install it with: pip install "flow-research[openspiel]"'


class OpenSpielPosition:
    """A state of OpenSpiel; `after` works on a copy."""

    def __init__(self, state: Any, game: OpenSpiel, moved: int) -> None:
        self._state, self._game, self._moved = state, game, moved
        self.over: bool = state.is_terminal()
        self.mover: int = 1 - moved if self.over else state.current_player()
        if not self.over and self.mover != 1 - moved:
            raise SettingError(
                f"{game.name}: a player moves twice in a row after {state.history_str()}; the search takes games in "
                "which players alternate"
            )

    @property
    def reward(self) -> float:
        return float(self._state.returns()[self._moved]) if self.over else 0.0

    @property
    def key(self) -> Hashable:
        return str(self._state)

    def legal(self) -> NDArray[np.bool_]:
        legal = np.zeros(self._game.actions, bool)
        legal[self._state.legal_actions()] = True
        return legal

    def observation(self) -> NDArray[np.float32]:
        """OpenSpiel's planes, or numbers, as the mover sees them, and one more that says which player moves."""
        seen = np.array(self._state.observation_tensor(self.mover), np.float32).reshape(self._game.planes)
        return np.concatenate([seen, np.full((1, *self._game.planes[1:]), self.mover, np.float32)])

    def after(self, action: int) -> OpenSpielPosition:
        if self.over or action not in self._state.legal_actions():
            raise IllegalMove(f"{self._game.name}: move {action} is not legal here:\n{self._state}")
        return OpenSpielPosition(self._state.child(action), self._game, self.mover)

    def searched_by(self, bot: Any) -> int:
        """What a bot of OpenSpiel plays here."""
        return int(bot.step(self._state))

    def words(self, action: int) -> tuple[str, ...]:
        """As OpenSpiel writes it, without the mark of who moves: "3" of "x3"."""
        whole = str(self._state.action_to_string(self.mover, action))
        return (_MARK.sub("", whole), whole)

    def __str__(self) -> str:
        board = str(self._state).rstrip()
        return f"{board}\n{COLUMNS}" if self._game.name == CONNECT_FOUR else board


class OpenSpiel:
    """The rules of one of its games.

    Args:
      name: "openspiel:" and a name of OpenSpiel, parameters in brackets: "openspiel:go(board_size=9)".

    Raises:
      SettingError: OpenSpiel has no such game, or it is not of this kind.
      MissingError: OpenSpiel is not installed.
    """

    def __init__(self, name: str) -> None:
        if importlib.util.find_spec("pyspiel") is None:
            raise MissingError(MISSING_PACKAGE)
        import pyspiel

        own = name.removeprefix(OPENSPIEL)
        known = pyspiel.registered_names()
        if own.partition("(")[0] not in known:
            near = difflib.get_close_matches(own, known, n=2)
            hint = f"did you mean {' or '.join(OPENSPIEL + each for each in near)}?" if near else f"it has {len(known)}"
            raise SettingError(f"OpenSpiel has no game {own!r}; {hint}")
        try:
            self._game = pyspiel.load_game(own)
        except pyspiel.SpielError as error:
            raise SettingError(f"OpenSpiel does not take {own!r}: {str(error).splitlines()[0]}") from None
        self._require_board_game(name)
        self.name = name
        self.actions = int(self._game.num_distinct_actions())
        self.planes = tuple(self._game.observation_tensor_shape())
        self.observation_shape = (self.planes[0] + 1, *self.planes[1:])
        self.moves_max = int(self._game.max_game_length())

    def _require_board_game(self, name: str) -> None:
        import pyspiel

        kind = self._game.get_type()
        wanted = {
            "two players": self._game.num_players() == 2,
            "moves in turn": kind.dynamics == pyspiel.GameType.Dynamics.SEQUENTIAL,
            "no chance": kind.chance_mode == pyspiel.GameType.ChanceMode.DETERMINISTIC,
            "nothing hidden": kind.information == pyspiel.GameType.Information.PERFECT_INFORMATION,
            "one's gain the other's loss": kind.utility == pyspiel.GameType.Utility.ZERO_SUM,
            "a reward at the end alone": kind.reward_model == pyspiel.GameType.RewardModel.TERMINAL,
            "an observation tensor": kind.provides_observation_tensor,
        }
        lacking = [what for what, held in wanted.items() if not held]
        if lacking:
            raise SettingError(
                f"{name}: not a game that can be searched here, it lacks: {', '.join(lacking)}; "
                "take a board game, such as openspiel:connect_four"
            )

    def start(self, rng: np.random.Generator) -> Position:
        return self.starts()[0]

    def starts(self) -> list[Position]:
        state = self._game.new_initial_state()
        return [OpenSpielPosition(state, self, 1 - state.current_player())]

    def action_planes(self) -> NDArray[np.uint8] | None:
        """OpenSpiel says nothing of where a move lies."""
        return None

    def searcher(self, simulations: int, seed: int, uct_c: float, memory_mb: int) -> Searcher:
        """OpenSpiel's own tree search with random playouts, as an opponent."""
        import pyspiel

        seed %= 1 << 31  # its seeds are of 32 bits with a sign
        evaluator = pyspiel.RandomRolloutEvaluator(1, seed)
        bot = pyspiel.MCTSBot(self._game, evaluator, uct_c, simulations, memory_mb, True, seed, False)
        return Searcher(bot)


class Searcher:
    """A bot of OpenSpiel as an opponent."""

    def __init__(self, bot: Any) -> None:
        self._bot = bot

    def move(self, position: Position) -> int:
        """See `nodes.games.opponents`."""
        assert isinstance(position, OpenSpielPosition)
        return position.searched_by(self._bot)
