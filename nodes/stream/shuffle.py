"""Bring a stream into another order, within bounds and the same for the same seed.

    0 1 2 3 4 5 6 …  ──► shuffle(size=3) ──►  1 0 3 2 5 4 …

As in tf.data's and webdataset's shuffle a buffer is drawn from at random. There a message may stay in it for ever;
here the oldest goes when it has waited long enough, so that nothing moves `size` places or more.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, TypeVar

import numpy as np

from flow import Context, In, Message, Out, Promises, Range, Saved, node
from flow.kept import Kept

M = TypeVar("M", bound=Message)


@dataclass
class Progress:
    """ages: when each message in the buffer came, counted in messages. drawn: which one goes next, -1 if none is."""

    came: int = 0
    sent: int = 0
    drawn: int = -1
    ages: list[int] | None = None


@node(promises=Promises(given="nodes.given.general:shuffled", seeded=True))
async def shuffle(
    items: In[M],
    shuffled: Out[M],
    context: Context,
    saved: Saved,
    *,
    size: Annotated[int, Range(1)],
    seed: int | None = None,
) -> None:
    """Send all that comes in another order; each message moves by fewer than `size` places, either way.

    What is in the buffer is saved, and so is the dice: a run that is resumed goes on in the same order.

    Args:
      size: messages in the buffer; 1 leaves the order as it is.
      seed: of the order; the run's seed decides if it is not given.
    """
    kept = saved.keep("kept", Kept(items.message_type))
    dice = saved.keep("dice", np.random.default_rng(context.seed if seed is None else seed))
    progress = saved.keep("progress", Progress(ages=[]))
    ages = progress.ages = progress.ages or []

    async def send_one() -> None:
        if progress.drawn < 0:
            # Message n is due as number n + size - 1 at the latest; each has a turn of its own, so none is missed.
            due = ages[0] + size - 1 <= progress.sent
            progress.drawn = 0 if due else int(dice.integers(len(kept)))
        await shuffled.send(kept[progress.drawn])
        kept.pop(progress.drawn)
        ages.pop(progress.drawn)
        progress.sent, progress.drawn = progress.sent + 1, -1

    if len(kept) >= size:
        await send_one()
    async for item in items:
        kept.append(item)
        ages.append(progress.came)
        progress.came += 1
        if len(kept) >= size:
            await send_one()
    while len(kept):
        await send_one()
