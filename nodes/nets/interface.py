"""What an Atari network takes and gives, so that a graph can name any of them.

    stacks, last reward and action, first, core ──► network ──► logits, value, core

A network sees T observations of B lanes at once, whether it acts (T = 1) or learns. What it remembers
between calls is the core, (B, core_size), flat, so that whoever carries it need not know what it is.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, Protocol

from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor, nn


class Answer(NamedTuple):
    """What a network says of T observations of B lanes."""

    logits: Float[Tensor, "T B A"]
    """Of the policy."""
    value: Float[Tensor, "T B"]
    """V(x_t), discounted reward."""
    core: Float[Tensor, "B C"]
    """What to hand in with the next observation; (B, 0) if the network remembers nothing."""


class AtariNetwork(Protocol):
    """A policy and value network for 84x84 stacks. All of them are torch modules too."""

    core_size: int
    """C, numbers that a lane remembers; a zero core is a fresh one."""

    def __call__(
        self,
        stacks: UInt8[Tensor, "T B 4 84 84"],
        last_reward: Float[Tensor, "T B"],
        last_action: Int[Tensor, "T B"],
        first: Bool[Tensor, "T B"],
        core: Float[Tensor, "B C"],
    ) -> Answer:
        """Answer for T observations in a row of B lanes.

        Args:
          stacks: four grey frames, oldest first.
          last_reward: what the step into this observation gave, unclipped.
          last_action: the action of that step. Both are ignored at a first observation.
          first: the observation is the first of an episode; the core starts afresh there.
          core: as the call before returned it, or zeros.
        """
        ...


def build(name: str, actions: int, *, bf16: bool = True) -> nn.Module:
    """Make a freshly initialised network; each is an AtariNetwork.

    Args:
      name: "small" or "impala".
      actions: how many the game has, A.
      bf16: convolutions and large products in bfloat16; weights, heads and core stay float32.

    Raises:
      ValueError: no network has that name.
    """
    # Imported here: each architecture imports this file for Answer.
    from nodes.nets.impala import Impala
    from nodes.nets.small import Small

    known: dict[str, Callable[..., nn.Module]] = {"impala": Impala, "small": Small}
    if name not in known:
        raise ValueError(f"no network is named {name!r}; there are {', '.join(map(repr, known))}")
    return known[name](actions, bf16=bf16)
