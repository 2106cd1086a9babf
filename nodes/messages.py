"""Messages that families of nodes exchange: what an Atari actor, a policy, replay and a learner say to each other."""

from __future__ import annotations

from jaxtyping import Bool, Float32, Int64, UInt8

from flow import Array, Message


class Observations(Message, repeatable=True):
    """What a group of lanes sees now, and how each got there."""

    stacks: UInt8[Array, "rows 4 84 84"]
    """The last four grey frames, oldest first; black from before the episode."""
    last_rewards: Float32[Array, "rows"]
    """What the step into this observation gave, unclipped; 0 at a first observation."""
    last_actions: Int64[Array, "rows"]
    """The action of that step; 0 at a first observation."""
    first: Bool[Array, "rows"]
    """This is the first observation of an episode."""
    lane_ids: Int64[Array, "rows"]
    """Which lane of all lanes of the graph; a policy with memory keeps it by lane."""


class Actions(Message):
    """What to do in each lane, and what the policy thought."""

    actions: Int64[Array, "rows"]
    logits: Float32[Array, "rows actions"]
    """Of the policy that drew the action."""
    cores: Float32[Array, "rows core"]
    """The policy's memory before this observation; no columns if it has none."""
    version: int
    """Of the weights."""


class Trajectories(Message):
    """Unrolls of equal length, one a lane: `steps` actions, and the observations before and after each.

    Frames are single; the three before observation 0 come first, so that stacks can be rebuilt. Where an episode
    ends, its last observation is in the unroll, the action chosen there is ignored by the emulator, and the next
    observation is the first of the next episode: a row that leads into a first observation is no transition.
    """

    frames: UInt8[Array, "rows steps+4 84 84"]
    first: Bool[Array, "rows steps+1"]
    """Observation t is the first of an episode."""
    actions: UInt8[Array, "rows steps"]
    rewards: Float32[Array, "rows steps"]
    """Unclipped."""
    terminated: Bool[Array, "rows steps"]
    """Nothing follows the step: the game was over, or a life was lost where that counts. A time limit does not."""
    logits: Float32[Array, "rows steps actions"]
    """Of the policy that acted."""
    last_rewards: Float32[Array, "rows"]
    """As in Observations, of observation 0."""
    last_actions: Int64[Array, "rows"]
    cores: Float32[Array, "rows core"]
    """The memory of the policy before observation 0."""
    versions: Int64[Array, "rows"]
    """Of the weights that acted at observation 0."""
    streams: Int64[Array, "rows"]
    """Which lane of which start of which actor; unique in a run directory."""
    starts: Int64[Array, "rows"]
    """Which step of its stream observation 0 is."""


class Weights(Message):
    """A network's parameters and buffers by name."""

    tensors: dict[str, Float32[Array, "..."]]


class Priorities(Message):
    """How much there was to learn from what replay sent: how often it draws it from now on."""

    handles: Int64[Array, "items"]
    """As replay sent them. One whose data has gone since says so, and changes nothing."""
    priorities: Float32[Array, "items"]
    """0 or more; the error of what was learned, in size."""
