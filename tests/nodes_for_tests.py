"""Small node types with every kind of port, for tests of graphs."""

from __future__ import annotations

from typing import Annotated, Literal

from jaxtyping import Float32, UInt8

from flow import Array, Call, Context, In, Latest, Live, Message, Out, Publish, Range, Saved, Serve, node


class Frames(Message):
    """A step of several environments."""

    frames: UInt8[Array, "lanes size size"]  # grey levels
    reward: Float32[Array, "lanes"]
    """Not clipped."""
    step: int


class Pictures(Message):
    """What no environment sends."""

    frames: Float32[Array, "lanes size size"]


class Question(Message, repeatable=True):
    """What to do here?"""

    frames: UInt8[Array, "rows size size"]


class Answer(Message):
    """This."""

    actions: Float32[Array, "rows"]


class Verdict(Message):
    """Something else than an answer."""

    scores: Float32[Array, "rows"]


class Weights(Message):
    """A network's weights by name."""

    weights: dict[str, Float32[Array, "..."]]


@node
async def actor(
    policy: Call[Question, Answer],
    frames: Out[Frames],
    context: Context,
    *,
    game: str,
    lanes: Annotated[int, Range(1, 4096)] = 2,
    size: int = 4,
    speed: Live[float] = Live(1.0),
    layout: Literal["NCHW", "NHWC"] = "NHWC",
    seeds: list[int] | None = None,
    shout: bool = False,
) -> None:
    """Play games.

    Further lines are not part of the summary.

    Args:
      game: which game, in lower case.
      lanes: games played at once.
    """


@node
async def policy(requests: Serve[Question, Answer], weights: Latest[Weights], *, size: int = 4) -> None:
    """Answer questions in batches."""


@node
async def judge(requests: Serve[Question, Verdict], *, size: int = 4) -> None:
    """Answer with something else."""


@node
async def learner(frames: In[Frames], weights: Publish[Weights], saved: Saved, *, rate: float = 1e-3) -> None:
    """Learn from what comes."""


@node
async def source(frames: Out[Frames], *, lanes: int = 2, size: int = 4) -> None:
    """Send frames."""


@node
async def relay(coming: In[Frames], going: Out[Frames]) -> None:
    """Send on what comes."""


@node
async def sink(frames: In[Frames], *, lanes: int = 2, size: int = 4) -> None:
    """Receive frames."""


@node
async def gallery(pictures: In[Pictures]) -> None:
    """Show pictures."""


@node
async def reader(weights: Latest[Weights]) -> None:
    """Read weights."""


@node
async def publisher(weights: Publish[Weights]) -> None:
    """Publish weights."""


@node(needs=("torch",))
async def heavy(frames: In[Frames]) -> None:
    """Need torch."""


@node(needs=("a_package_that_is_nowhere",))
async def unable(frames: In[Frames]) -> None:
    """Need what is not there."""


async def unmarked(frames: In[Frames]) -> None:
    """Lack the decorator."""
