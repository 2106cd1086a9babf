"""Steps any Gymnasium environment by a policy's advice, and sends what happened.

              ╭── Observations ──► policy ── actions ──╮
    lanes of a group                              environment (a thread)
              ╰──────────── what is seen now ◄─────────╯      every `steps` steps: transitions ──►

An episode that ends is followed by the next at once; its last observation is kept, as what followed its last action.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Any, TypeVar

import numpy as np
import trio

from flow import Array, Call, Context, Message, Out, Promises, Range, compute, node
from flow.errors import SettingError
from nodes.env.lanes import ENVIRONMENTS, Lanes, Stepped
from nodes.experience import Observations, transitions_bound, transitions_of

A = TypeVar("A", bound=Message)
T = TypeVar("T", bound=Message)


@node(
    needs=("gymnasium",),
    binds=transitions_bound,
    promises=Promises(
        given="nodes.given.learning:cartpole",
        seeded=True,
        excused={"C13": "an environment's state cannot be saved in general: it begins new episodes"},
    ),
)
async def actor(
    policy: Call[Observations, A],
    transitions: Out[T],
    context: Context,
    *,
    environment: Annotated[str, ENVIRONMENTS],
    lanes: Annotated[int, Range(1, 65536)] = 1,
    steps: Annotated[int, Range(1, 100_000)] = 1,
    groups: Annotated[int, Range(1, 16)] = 1,
    options: list[str] | None = None,
    vector: bool = False,
    float32: bool = True,
    clip: bool = True,
) -> None:
    """Act in `lanes` copies of an environment by a policy's advice, and send every transition.

    The policy answers with `actions`, and with what else it wants beside them in the transitions: log-probabilities,
    values, its weights' version. Counts `steps` and `episodes`; records `episode_return` and `episode_length`.

    A node that is started again begins with new episodes: an environment's state cannot be saved in general.
    Source: Towers et al., Gymnasium, arXiv:2407.17032.

    Args:
      environment: as `gymnasium.make` takes it: "CartPole-v1", or "package:Name-v0" where another package registers it.
      lanes: copies of the environment.
      steps: consecutive transitions of each lane in a message.
      groups: in how many groups the lanes are stepped; while one waits for its answer another is stepped.
      options: of the environment, each "name=value" with the value as TOML writes it: "is_slippery=false".
      vector: use the environment's own vector form, where it has one, instead of stepping lane by lane.
      float32: send observations that are float64 as float32.
      clip: clip actions to the space's bounds before the environment gets them; transitions hold them unclipped.
    """
    if lanes % groups:
        raise SettingError(f"lanes={lanes} must be a multiple of groups={groups}, so that all groups are of one size")
    size = lanes // groups
    async with trio.open_nursery() as nursery:
        for number in range(groups):
            first_lane = context.replica * lanes + number * size
            group = Group(context, environment, np.arange(first_lane, first_lane + size), steps, f"group {number}")

            def make() -> Lanes:
                return Lanes(environment, size, options or [], vector=vector, float32=float32, clip=clip)

            nursery.start_soon(group.play, make, policy, transitions)


@dataclass
class Group:
    """Lanes that are stepped together, by a thread of their own."""

    context: Context
    environment: str
    lane_ids: Array
    steps: int
    thread: str
    returns: Array = field(init=False)
    lengths: Array = field(init=False)

    def __post_init__(self) -> None:
        self.returns = np.zeros(len(self.lane_ids), np.float64)
        self.lengths = np.zeros(len(self.lane_ids), np.int64)

    @property
    def seed(self) -> int:
        """Of lane 0: another for each node, replica, group and start; lane n has n more."""
        seed = self.context.seed + 7919 * self.context.incarnation + int(self.lane_ids[0])
        return seed % (1 << 31)

    async def play(self, make: Any, policy: Call[Observations, Any], transitions: Out[Any]) -> None:
        """Play until cancelled."""
        env: Lanes = await compute(make, thread=self.thread)
        try:
            await self._play(env, policy, transitions)
        finally:
            with trio.CancelScope(shield=True):
                await compute(env.close, thread=self.thread)

    async def _play(self, env: Lanes, policy: Call[Observations, Any], transitions: Out[Any]) -> None:
        size = len(self.lane_ids)
        seen = await compute(env.reset, self.seed, thread=self.thread)
        rewards, first = np.zeros(size, np.float32), np.ones(size, bool)
        unrolls = Unrolls(self.lane_ids, self.steps)
        while True:
            answer = await policy(Observations(seen, rewards, first, self.lane_ids))
            stepped = await compute(env.step, answer.actions, thread=self.thread)
            unrolls.add(seen, first, answer, stepped)
            seen, first = stepped.seen, stepped.first
            rewards = np.where(first, 0, stepped.rewards).astype(np.float32)
            self._count(stepped)
            for message in unrolls.full():
                await transitions.send(message)

    def _count(self, stepped: Stepped) -> None:
        metrics = self.context.metrics
        metrics.count("steps", int(stepped.taken.sum()))
        self.returns += np.where(stepped.taken, stepped.rewards, 0)
        self.lengths += stepped.taken
        for lane in np.flatnonzero(stepped.terminated | stepped.truncated):
            metrics.count("episodes")
            metrics.record("episode_return", float(self.returns[lane]))
            metrics.record("episode_length", float(self.lengths[lane]))
            self.returns[lane] = self.lengths[lane] = 0


class Unrolls:
    """Transitions of each lane until there are `steps` of them.

    Lanes of a vector that resets in a step of its own fall behind the others there, so each fills at its own pace.
    """

    def __init__(self, lane_ids: Array, steps: int) -> None:
        self.lane_ids = lane_ids
        self.steps = steps
        self._columns: dict[str, Array] = {}
        self._filled = np.zeros(len(lane_ids), np.int64)
        self._type: Any = None  # known from the first answer

    def add(self, seen: Array, first: Array, answer: Message, stepped: Stepped) -> None:
        """What came of an answer, in the lanes where a step was taken."""
        if self._type is None:
            self._type = transitions_of(type(answer), self.steps)
        rows = np.flatnonzero(stepped.taken)
        at = self._filled[rows]
        for name, value in {
            **vars(answer),
            "observations": seen,
            "rewards": stepped.rewards,
            "next_observations": stepped.followed,
            "terminated": stepped.terminated,
            "truncated": stepped.truncated,
            "first": first,
        }.items():
            values = np.broadcast_to(value, (len(self.lane_ids),)) if np.ndim(value) == 0 else np.asarray(value)
            column = self._columns.get(name)
            if column is None:
                shape = (len(self.lane_ids), self.steps, *values.shape[1:])
                column = self._columns[name] = np.zeros(shape, values.dtype)
            column[rows, at] = values[rows]
        self._filled[rows] += 1

    def full(self) -> list[Message]:
        """A message of the lanes that are full, if any is; they begin again."""
        rows = np.flatnonzero(self._filled == self.steps)
        if not len(rows) or self._type is None:
            return []
        self._filled[rows] = 0
        # A copy of each column: what is sent is read-only, and the columns are filled again.
        values: dict[str, Any] = {name: column[rows] for name, column in self._columns.items()}
        return [self._type(**values, lane_ids=self.lane_ids[rows])]
