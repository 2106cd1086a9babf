"""Video files handed to whoever asks, so that any number of decoders work at their own pace, and none is lost with one.

    files ──► queue ◄─► decoder, decoder, …     a file that ends its decoder twice is left out, with its name

A stream would lose what a killed decoder had before it; here a file is in one decoder's hands at a time, and it is
known which.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field
from typing import Annotated

import trio

from flow import Context, In, Promises, Range, Saved, Serve, node
from flow.kept import Kept
from nodes.video.messages import Next, Video

NONE_LEFT = Video("", "", 0, 0, "", "", 1, "", False, 1)


@dataclass
class Hands:
    """By decoder: how many starts it had, how many files it was given, and how many starts each file has ended."""

    starts: dict[str, int] = field(default_factory=dict)
    numbers: dict[str, int] = field(default_factory=dict)
    ended: dict[str, int] = field(default_factory=dict)


class Held:
    """The file in each decoder's hands, as state."""

    def __init__(self) -> None:
        self.by_decoder: dict[str, Kept[Video]] = {}

    def __getitem__(self, decoder: str) -> Kept[Video]:
        return self.by_decoder.setdefault(decoder, Kept(Video))

    def state_dict(self) -> dict[str, object]:
        return {name: kept.state_dict() for name, kept in self.by_decoder.items()}

    def load_state_dict(self, state: dict[str, dict[str, object]]) -> None:
        for name, kept in state.items():
            self[name].load_state_dict(kept)


@node(
    promises=Promises(
        given="nodes.given.video:queued",
        order="none",
        excused={
            "C13": "a question waits until there is a file; a restarted queue is asked it again, which C13 does not do",
            "C16": "each file is given once, so an answer depends on what was asked before",
        },
    )
)
async def queue(
    files: In[Video],
    work: Serve[Next, Video],
    context: Context,
    saved: Saved,
    *,
    attempts: Annotated[int, Range(1, 3)] = 2,
) -> None:
    """Answer each decoder with its next file, and at the end with one whose key is "".

    A decoder that asks after one more start was killed with a file in its hands: it gets that file again, and after
    `attempts` of them another one; the file is logged and counted as `killers`.

    Args:
      attempts: starts of a decoder that a file may cost. A run ends at the fourth restart of a node within a minute.
    """
    desk = Desk(saved, context, attempts)
    asked = work.batches(most=1)
    while True:
        # A file is in hand before a question is: who waits for a file with a question in hand loses it when killed.
        if not len(desk.waiting):
            with contextlib.suppress(trio.EndOfChannel):
                desk.waiting.append(await files.receive())
        try:
            batch = await anext(asked)
        except StopAsyncIteration:
            break
        rows = batch.questions
        batch.answer(desk.answer(str(rows.decoder[0]), int(rows.start[0]), int(rows.number[0])))
    async for video in files:
        desk.waiting.append(video)
    for video in desk.waiting:
        context.log(f"{video.path} is left out: every decoder has ended", "warning")


class Desk:
    """Who has which file. waiting: files that are to be given next."""

    def __init__(self, saved: Saved, context: Context, attempts: int) -> None:
        self.hands = saved.keep("hands", Hands())
        self.held = saved.keep("held", Held())
        self.waiting = saved.keep("waiting", Kept(Video))
        self.context, self.attempts = context, attempts

    def answer(self, decoder: str, start: int, number: int) -> Video:
        """What a decoder is to do: the same again, if no answer came; its file again, if it was killed; the next."""
        hands, kept = self.hands, self.held[decoder]
        if len(kept) and start == hands.starts[decoder] and number == hands.numbers[decoder]:
            return kept[0]
        killed = len(kept) > 0 and start > hands.starts[decoder]
        hands.starts[decoder], hands.numbers[decoder] = start, number
        if killed and not self._gives_up(kept[0]):
            return kept[0]
        kept.drop(len(kept))
        if not len(self.waiting):
            return NONE_LEFT
        kept.append(self.waiting.pop())
        return kept[0]

    def _gives_up(self, video: Video) -> bool:
        """Count a start that a file has cost; whether it may cost no more."""
        ended = self.hands.ended[video.key] = self.hands.ended.get(video.key, 0) + 1
        if ended < self.attempts:
            return False
        self.context.log(f"{video.path} is left out: its decoder was killed {ended} times while at it", "warning")
        self.context.metrics.count("killers")
        return True
