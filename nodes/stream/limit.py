"""Let messages pass at most so often.

messages ──► limit(per_second=10) ──► one every 100 ms at most; whoever sends faster waits
"""

from __future__ import annotations

from typing import Annotated, TypeVar

import trio

from flow import In, Live, Message, Out, Range, Saved, node, sleep_until
from flow.kept import Kept

M = TypeVar("M", bound=Message)


@node
async def limit(
    items: In[M],
    limited: Out[M],
    saved: Saved,
    *,
    per_second: Live[Annotated[float, Range(1e-6, 1e6)]],
    burst: Annotated[int, Range(1)] = 1,
) -> None:
    """Pass messages on, in any stretch of t seconds at most `burst` + t·`per_second` of them.

    Args:
      per_second: messages a second in the long run; can be changed while it runs.
      burst: messages that may go at once after a pause of the input; 1 spaces all of them evenly, more lets an input
        that comes in clumps keep the rate over a stretch of `burst` messages.

    A wake-up that comes late (a machine with other work on it, a rate above that of its timer) does not lower the rate:
    each message has its due time, and those that are due go at once.
    """
    kept = saved.keep("kept", Kept(items.message_type))
    # When a message would go if all had come evenly (the "theoretical arrival time" of the leaky bucket).
    even = sent = trio.current_time()
    late = 0.0  # how long after it was due the last message went

    async def send() -> None:
        nonlocal even, sent, late
        interval, now = 1 / per_second.value, trio.current_time()
        # When it would have come if no wake-up had been late; time without input makes up for being late.
        late = max(late - (now - sent), 0.0)
        came = now - late
        due = max(came, even - (burst - 1) * interval)
        if due > now:
            await sleep_until(due)
        late = trio.current_time() - due
        even = max(even, due) + interval
        await limited.send(kept[0])
        kept.drop(1)
        sent = trio.current_time()

    if len(kept):
        await send()
    async for item in items:
        kept.append(item)
        await send()
