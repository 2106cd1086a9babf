"""What the nodes of a split module say of it: which module, and where it is cut. The same at each of its shards."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from flow.errors import NodeTypeError, SettingError
from flow.graph.registry import find_function
from flow.setting import named_values

if TYPE_CHECKING:
    from nodes.nets.split import Shard


@dataclass(frozen=True)
class Cut:
    """A module, and which of its shards a node is.

    Attributes:
      module: what makes it, "module:Class"; an nn.Sequential, or a module with a method `blocks()`.
      arguments: each "name=value".
      split: where each shard begins; balanced if there is none.
      shards: how many there are, where they are balanced.
      balance: by what, "parameters" or "flops".
      shape: of one row of its input, where flops are counted.
      seed: of its parameters and of dropout.
      shard: which of them this is, from 0; -1 is the last.
    """

    module: str
    arguments: list[str] | None
    split: list[int] | None
    shards: int
    balance: str
    shape: list[int] | None
    seed: int
    shard: int

    def made(self, parts: int = 1) -> tuple[Shard, list[int]]:
        """The shard, with the parameters that the whole module is made with, and where all shards begin.

        The whole is made in the host's memory, of which the shard's part alone stays.

        Args:
          parts: into which batches are cut; blocks that would see a difference are refused.

        Raises:
          SettingError: there is no such module, or it cannot be cut so.
        """
        from nodes.nets import programs, split  # this worker has torch imported already; others never do

        try:
            constructor = find_function(self.module, "class")
        except NodeTypeError as error:
            raise SettingError(f"module = {error}") from error
        arguments = named_values(self.arguments or [], "arguments")
        with split.seeded(str(self.seed)):
            blocks = split.blocks_of(programs.built(self.module, constructor, arguments))
        split.require_parts(blocks, parts)
        if self.split:
            begins = list(self.split)
            split.require_split(begins, len(blocks))
        else:
            begins = split.balanced(split.costs(blocks, self.balance, tuple(self.shape or ())), self.shards)
        count = len(begins)
        shard = count - 1 if self.shard < 0 else self.shard
        if shard >= count:
            raise SettingError(f"shard={shard}: split = {begins} has {count} shards, the last of which is {count - 1}")
        end = [*begins, len(blocks)][shard + 1]
        return split.Shard(blocks[begins[shard] : end], begins[shard], self.seed), begins
