"""What the nodes of a MuZero graph say to each other: who plays, who plans, the model, replay and the learner."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jaxtyping import AbstractDtype, Bool, Float32, Int32, Int64

from flow import Array, Message

if TYPE_CHECKING:
    from typing import Annotated as Seen  # as jaxtyping's own dtypes are to a type checker
else:

    class Seen(AbstractDtype):
        """What is observed: numbers as they are, or bytes of which 255 stands for 1."""

        dtypes = ("float32", "uint8")


BOARDS = "nodes.games.shown:boards"
"""Shows what is observed as boards."""


class Positions(Message, repeatable=True, shown=BOARDS):
    """Positions to plan a move in."""

    observations: Seen[Array, "rows ..."]
    legal: Bool[Array, "rows actions"]
    noisy: Bool[Array, "rows"]
    """Whether the root is to be explored with noise: where it is learned from, not in evaluation."""


class Plans(Message):
    """What a search found in each position."""

    visits: Int32[Array, "rows actions"]
    values: Float32[Array, "rows"]
    """ν of the root, from the view of who moves."""
    priors: Float32[Array, "rows actions"]
    """The policy without search or noise, over legal moves; 0 elsewhere."""
    version: int
    """Of the weights that evaluated the root."""


class Roots(Message, repeatable=True, shown=BOARDS):
    """Observations for the model to represent; each hidden state stays with it, in a slot that the asker names."""

    observations: Seen[Array, "rows ..."]
    planners: Int64[Array, "rows"]
    """Who asks: slots of one asker are no other's."""
    slots: Int64[Array, "rows"]


class Steps(Message):
    """Moves for the model to imagine, each from the hidden state in one slot into another.

    Not repeatable: a model that was started again has no hidden states, so the search begins again.
    """

    planners: Int64[Array, "rows"]
    parents: Int64[Array, "rows"]
    actions: Int64[Array, "rows"]
    slots: Int64[Array, "rows"]


class Evaluations(Message):
    """What the model says of hidden states, in units of reward."""

    rewards: Float32[Array, "rows"]
    """Of the move that led here, from the view of who made it; 0 at a root."""
    logits: Float32[Array, "rows actions"]
    values: Float32[Array, "rows"]
    """From the view of who moves."""
    epoch: int
    """Which start of the model keeps the hidden state: a search in which it changes has lost its tree."""
    version: int
    """Of the weights."""


class PlayedGame(Message, shown=BOARDS):
    """A whole game, by move, or a stretch of one that is too long to wait for."""

    observations: Seen[Array, "moves ..."]
    """What was seen; of a game that is seen with its history, what was new at each move."""
    actions: Int64[Array, "moves"]
    rewards: Float32[Array, "moves"]
    """Of each move, from the view of who made it."""
    values: Float32[Array, "moves"]
    """ν of the search before each move."""
    policies: Float32[Array, "moves actions"]
    """π, the shares of its visits."""
    versions: Int64[Array, "moves"]
    """Of the weights that planned each move."""
    drawn: Bool[Array, "moves"]
    """Where samples may begin: all of a whole game; of a stretch not those moves that are there for others' sake."""
    over: bool
    """The game ended with the last move; else what came after it is not known."""


class Samples(Message, shown=BOARDS):
    """Stretches of `unroll` moves to learn from; step k is after k of them. See `nodes.algo.muzero_targets`."""

    observations: Seen[Array, "rows ..."]
    actions: Int64[Array, "rows unroll"]
    rewards: Float32[Array, "rows unroll"]
    values: Float32[Array, "rows unroll+1"]
    policies: Float32[Array, "rows unroll+1 actions"]
    real: Bool[Array, "rows unroll+1"]
    """Whether the game was still on; past its end there is no policy to learn."""
    weights: Float32[Array, "rows"]
    """Importance of each stretch, 1 where draws were uniform."""
    handles: Int64[Array, "rows"]
    """Of each, for its priority."""
    versions: Int64[Array, "rows"]
    """Of the weights that planned its first move."""
