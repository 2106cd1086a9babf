"""What any environment says, and what a policy answers: nothing here knows which environment it is.

    environment ── Observations ──► policy          rows of lanes that wait for an action
                ◄── an answer ─────                 `actions`, and whatever else it wants to keep with them
                ── transitions ──► replay, learner  what came of it, with all that the answer held

The type of the transitions follows from the answer's: a policy that answers with log-probabilities or values finds
them beside the step that they belong to, and the environment's node knows of neither.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from jaxtyping import Bool, Float32, Int64, Shaped

from flow import Array, Message
from flow.errors import SettingError
from flow.generic import derived
from flow.message import Dim, Field


class Observations(Message, repeatable=True):
    """What a group of lanes sees now, and how each got there."""

    observations: Shaped[Array, "rows ..."]
    """As the environment's space holds them; composite spaces flattened to a vector."""
    last_rewards: Float32[Array, "rows"]
    """What the step into this observation gave; 0 at a first observation."""
    first: Bool[Array, "rows"]
    """This is the first observation of an episode."""
    lane_ids: Int64[Array, "rows"]
    """Which lane of all lanes of the graph; a policy with memory keeps it by lane."""


class Actions(Message):
    """The least that a policy answers; further fields travel with the transitions."""

    actions: Shaped[Array, "rows ..."]


class Transitions(Message):
    """Steps of `rows` lanes, `steps` of each one after the other. Each entry is a step that was taken.

    Where an episode ends, its last observation is in `next_observations`, and the next entry of the lane begins
    the next episode. A return goes on behind `truncated` (a time limit says nothing of the value of where one is) and
    not behind `terminated`.
    """

    observations: Shaped[Array, "rows steps ..."]
    actions: Shaped[Array, "rows steps ..."]
    rewards: Float32[Array, "rows steps"]
    next_observations: Shaped[Array, "rows steps ..."]
    """What followed the action; at the end of an episode its last observation."""
    terminated: Bool[Array, "rows steps"]
    """The episode is over, and nothing follows."""
    truncated: Bool[Array, "rows steps"]
    """The episode was cut short here."""
    first: Bool[Array, "rows steps"]
    """The observation was the first of its episode."""
    lane_ids: Int64[Array, "rows"]


class Positions(Message, repeatable=True):
    """What the players of several games see whose turn it is, one row a game."""

    observations: Shaped[Array, "rows ..."]
    """As the player sees it, composite spaces flattened to a vector."""
    legal: Bool[Array, "rows actions"]
    """Which actions may be taken."""
    players: Int64[Array, "rows"]
    """Whose turn it is, counted from 0 in the order of the environment's agents."""
    last_rewards: Float32[Array, "rows"]
    """What the player got since its last turn; 0 at its first."""
    first: Bool[Array, "rows"]
    """The game has just begun."""
    lane_ids: Int64[Array, "rows"]
    """Which game of all that are played at once; a policy with memory keeps it by lane and player."""


class Game(Message):
    """A whole game, one entry a move."""

    observations: Shaped[Array, "moves ..."]
    """As the player saw it whose turn it was."""
    legal: Bool[Array, "moves actions"]
    players: Int64[Array, "moves"]
    """Whose move it was, counted from 0."""
    actions: Shaped[Array, "moves ..."]
    rewards: Float32[Array, "moves players"]
    """What each player got for the move; a player's outcome is the sum."""
    final_observations: Shaped[Array, "players ..."]
    """As each player saw the end."""
    terminated: bool
    """The game is over by its rules; else it was cut short, and its outcome is open."""


_ROWS = Dim("rows", 0)
# A scalar of an answer is said of all its rows, so that each step has it.
_SCALAR_DTYPES: dict[type, str] = {int: "int64", float: "float64", bool: "bool"}


def transitions_of(answer: type[Message], steps: int) -> type[Message]:
    """The transitions of a policy that answers so: `Transitions`, and of each further field its value at each step.

    Raises:
      SettingError: the answer has no actions, or a field that cannot be kept.
    """
    size = Dim(None, steps)
    own = [
        replace(field, dims=tuple(size if dim.name == "steps" else dim for dim in field.dims))
        for field in Transitions.fields
    ]
    return _with_answer("Transitions", own, answer, (_ROWS, size))


def game_of(answer: type[Message]) -> type[Message]:
    """The games of players that answer so: `Game`, and of each further field its value at each move.

    Raises:
      SettingError: the answer has no actions, or a field that cannot be kept.
    """
    return _with_answer("Game", list(Game.fields), answer, (Dim("moves", 0),))


def _with_answer(name: str, own: list[Field], answer: type[Message], leading: tuple[Dim, ...]) -> type[Message]:
    """A type with the fields of an answer beside its own, each with `leading` in place of the answer's rows."""
    fields = {field.name: field for field in answer.fields}
    if "actions" not in fields:
        raise SettingError(
            f"the policy answers with {answer.__name__}, which has no field `actions`, only "
            f"{', '.join(fields) or 'nothing'}; name what is to be done `actions`"
        )
    kept = {each: _answered(field, leading) for each, field in fields.items()}
    for field in own:
        if field.name in kept and field.name != "actions":
            text = f"the policy's answer has a field '{field.name}', which {name.lower()} have"
            raise SettingError(f"{text}; give it another name")
    actions = kept.pop("actions")
    typed = [replace(actions, doc=field.doc) if field.name == "actions" else field for field in own]
    return derived(name, (*typed, *kept.values()))


def _answered(field: Field, leading: tuple[Dim, ...]) -> Field:
    if field.kind == "array":
        return replace(field, dims=(*leading, *field.dims[1:]), library="numpy")
    if field.kind == "scalar" and field.scalar in _SCALAR_DTYPES:
        return Field(field.name, "array", field.doc, (_SCALAR_DTYPES[field.scalar],), leading)
    raise SettingError(
        f"the policy's answer has a field '{field.name}', {field}, which transitions cannot hold; "
        "answer with arrays and numbers"
    )


def transitions_bound(settings: Mapping[str, Any], known: Mapping[str, type[Message]]) -> Mapping[str, type[Message]]:
    """For `node(binds=…)` of an environment: T, its transitions, follow from A, its policy's answers."""
    return {"T": transitions_of(known["A"], settings["steps"])} if "A" in known else {}


def games_bound(settings: Mapping[str, Any], known: Mapping[str, type[Message]]) -> Mapping[str, type[Message]]:
    """For `node(binds=…)` of a game: G, whole games, follow from A, its players' answers."""
    return {"G": game_of(known["A"])} if "A" in known else {}
