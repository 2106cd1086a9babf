"""Let messages pass at most so often.

messages ──► limit(per_second=10) ──► one every 100 ms at most; whoever sends faster waits
"""

from __future__ import annotations

from typing import Annotated, TypeVar

import trio

from flow import In, Live, Message, Out, Range, Saved, node
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
      burst: messages that may go at once after a pause.
    """
    kept = saved.keep("kept", Kept(items.message_type))
    # When a message would go if all had come evenly (the "theoretical arrival time" of the leaky bucket).
    even = trio.current_time()

    async def send() -> None:
        nonlocal even
        interval = 1 / per_second.value
        await trio.sleep_until(even - (burst - 1) * interval)
        even = max(even, trio.current_time()) + interval
        await limited.send(kept[0])
        kept.drop(1)

    if len(kept):
        await send()
    async for item in items:
        kept.append(item)
        await send()
