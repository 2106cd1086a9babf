"""Plays games of players in turn, any PettingZoo environment of that kind (AEC), and sends whole games.

    selfplay   tables ── Positions of all ──────────► one policy for all players ──► actions
    match      tables ── those of the first player ─► first
                      ╰─ those of the second ───────► second

Each table is a lane with a game of its own; when one is over the next begins there.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Annotated, Any, TypeVar

import numpy as np
import trio

from flow import Array, Call, Context, Message, Out, Promises, Range, compute, node
from flow.errors import MessageError, SettingError
from flow.setting import Beside, named_values
from nodes.env.tables import GAMES, Table, Turn
from nodes.experience import Actions, Game, Positions, game_of, games_bound

A = TypeVar("A", bound=Message)
G = TypeVar("G", bound=Message)
Ask = Callable[[Positions], Awaitable[dict[str, Array]]]
_EXCUSED = {"C13": "a game that is being played cannot be saved in general: new ones begin"}


@node(
    needs=("pettingzoo",),
    binds=games_bound,
    promises=Promises(
        given="nodes.given.general:self_played",
        excused=_EXCUSED,
    ),
)
async def selfplay(
    policy: Call[Positions, A],
    games: Out[G],
    context: Context,
    *,
    environment: Annotated[str, GAMES, Beside(function=True)],
    lanes: Annotated[int, Range(1, 65536)] = 1,
    moves_max: Annotated[int, Range(1)] = 10_000,
    options: list[str] | None = None,
) -> None:
    """Let one policy play all sides, and send each game when it is over.

    The policy answers with `actions`, and with what else it wants beside the moves: values, search policies, its
    weights' version. Counts `moves`, `games` and `illegal` moves; records `game_length`.

    A node that is started again begins with new games. Source: Terry et al., PettingZoo, arXiv:2009.14471.

    Args:
      environment: "classic/connect_four-v3", or "module:env", "file.py:env" for one of your own.
      lanes: games played at once.
      moves_max: moves after which a game is cut short.
      options: of the environment, each "name=value" with the value as TOML writes it: "board_size=9".
    """

    answered: type[Message] = Message  # known from the first answer

    async def columns(positions: Positions) -> dict[str, Array]:
        nonlocal answered
        answer = await policy(positions)
        answered = type(answer)
        return _columns(answer, len(positions.players))

    hall = Hall(context, environment, lanes, moves_max, named_values(options or (), "options"))
    await hall.play(columns, games, lambda: game_of(answered))


@node(
    needs=("pettingzoo",),
    promises=Promises(
        given="nodes.given.general:matched",
        excused=_EXCUSED,
    ),
)
async def match(
    first: Call[Positions, Actions],
    second: Call[Positions, Actions],
    games: Out[Game],
    context: Context,
    *,
    environment: Annotated[str, GAMES, Beside(function=True)],
    lanes: Annotated[int, Range(1, 65536)] = 1,
    moves_max: Annotated[int, Range(1)] = 10_000,
    swap: bool = True,
    options: list[str] | None = None,
) -> None:
    """Let two policies play each other, and send each game when it is over.

    Counts `moves`, `games`, `illegal` moves, and `first_won`, `second_won` and `drawn` by who got more; records
    `game_length`. In the games that are sent player 0 is who moves first, whichever policy that is.

    Args:
      environment: "classic/connect_four-v3", or "module:env", "file.py:env" for one of your own; of two players.
      lanes: games played at once.
      moves_max: moves after which a game is cut short.
      swap: in every other lane the second policy plays the first player.
      options: of the environment, each "name=value" with the value as TOML writes it: "board_size=9".
    """
    policies = (first, second)

    async def columns(positions: Positions) -> dict[str, Array]:
        sides = _sides(positions, swap)
        actions: Array = np.zeros(len(sides), np.int64)

        async def ask(side: int) -> None:
            rows = np.flatnonzero(sides == side)
            values = {name: value[rows] for name, value in vars(positions).items()}
            answer = await policies[side](Positions(**values))
            actions[rows] = _columns(answer, len(rows))["actions"]

        async with trio.open_nursery() as nursery:
            for side in np.unique(sides).tolist():
                nursery.start_soon(ask, side)
        return {"actions": actions}

    def over(lane: int, outcome: Array) -> None:
        mine, theirs = outcome[::-1] if swap and lane % 2 else outcome
        context.metrics.count("drawn" if mine == theirs else "first_won" if mine > theirs else "second_won")

    hall = Hall(context, environment, lanes, moves_max, named_values(options or (), "options"), players=2, over=over)
    await hall.play(columns, games, lambda: Game)


def _sides(positions: Positions, swap: bool) -> Array:
    """Which policy plays in each row."""
    swapped = positions.lane_ids % 2 if swap else np.zeros_like(positions.lane_ids)
    sides: Array = positions.players ^ swapped
    return sides


def _columns(answer: Message, rows: int) -> dict[str, Array]:
    """An answer's fields with a value for each row; a number goes to all.

    Raises:
      MessageError: its actions are not one number a row.
    """
    columns = {
        name: np.asarray(value) if np.ndim(value) else np.full(rows, value) for name, value in vars(answer).items()
    }
    actions = columns["actions"]
    if actions.shape != (rows,) or actions.dtype.kind not in "iu":
        raise MessageError(
            f"a game takes the number of an action, int64 (rows,); the policy answered {actions.dtype} "
            f"{('rows', *actions.shape[1:])}"
        )
    return columns


@dataclass
class Hall:
    """The tables of one node. players: how many it has to be, None for any. over: told a lane and its outcome."""

    context: Context
    environment: str
    lanes: int
    moves_max: int
    options: dict[str, Any]
    players: int | None = None
    over: Callable[[int, Array], None] = lambda lane, outcome: None
    tables: list[Table] = field(default_factory=list)
    begun: int = 0

    def open(self) -> list[Turn]:
        """Make the tables, and begin a game at each."""
        self.tables = [Table(self.environment, self.options) for _ in range(self.lanes)]
        found = self.tables[0].players
        if self.players is not None and len(found) != self.players:
            raise SettingError(
                f"{self.environment} has {len(found)} players, {', '.join(found)}, and a match is of {self.players}; "
                "use selfplay, with one policy for all"
            )
        return [self._begin(table) for table in self.tables]

    def _begin(self, table: Table) -> Turn:
        """Begin a game with a seed of its own: its number, counted over all starts of the node."""
        seed = self.context.seed + 7919 * self.context.incarnation + self.begun
        self.begun += 1
        return table.begin(seed % (1 << 31))

    def close(self) -> None:
        for table in self.tables:
            table.close()

    async def play(self, ask: Ask, games: Out[Any], game_type: Callable[[], type[Message]]) -> None:
        """Play until cancelled."""
        try:
            turns = await compute(self.open)
            answers: list[list[dict[str, Any]]] = [[] for _ in turns]
            first_lane = self.context.replica * self.lanes
            while True:
                columns = await ask(_positions(turns, first_lane))
                for lane, given in enumerate(answers):
                    given.append({name: value[lane] for name, value in columns.items()})
                self._count(turns, columns["actions"])
                turns, played = await compute(self._step, columns["actions"].tolist())
                for lane, values in played:
                    given = answers[lane]
                    values |= {name: np.stack([move[name] for move in given]) for name in given[0]}
                    answers[lane] = []
                    self._finished(first_lane + lane, values)
                    await games.send(game_type()(**values))
        finally:
            with trio.CancelScope(shield=True):
                await compute(self.close)

    def _step(self, actions: list[int]) -> tuple[list[Turn], list[tuple[int, dict[str, Any]]]]:
        """The next turn of each table, and the games that are over, with their lanes."""
        turns, played = [], []
        for lane, (table, action) in enumerate(zip(self.tables, actions, strict=True)):
            turn = table.take(action)
            if turn is None or len(table.record.rewards) >= self.moves_max:
                record = table.record
                record.turns = record.turns[: len(record.rewards)]
                values: dict[str, Any] = dict(record.columns())
                values |= {"final_observations": table.last_seen(), "terminated": table.terminated}
                played.append((lane, values))
                turn = self._begin(table)
            turns.append(turn)
        return turns, played

    def _count(self, turns: list[Turn], actions: Array) -> None:
        pairs = zip(turns, actions.tolist(), strict=True)
        illegal = sum(not (0 <= action < len(turn.legal) and turn.legal[action]) for turn, action in pairs)
        self.context.metrics.count("moves", len(turns))
        self.context.metrics.count("illegal", illegal)

    def _finished(self, lane: int, values: dict[str, Any]) -> None:
        self.context.metrics.count("games")
        self.context.metrics.record("game_length", float(len(values["players"])))
        self.over(lane, values["rewards"].sum(0))


def _positions(turns: list[Turn], first_lane: int) -> Positions:
    return Positions(
        np.stack([turn.observation for turn in turns]),
        np.stack([turn.legal for turn in turns]),
        np.array([turn.player for turn in turns]),
        np.array([turn.reward for turn in turns], np.float32),
        np.array([turn.first for turn in turns]),
        np.arange(first_lane, first_lane + len(turns)),
    )
