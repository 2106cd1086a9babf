"""Pass every message through a plain function.

    clips ──► map(function = "sound.py:scale") ──► what `scale(clip: Clip) -> Clip` returns of each

A step that keeps nothing between two messages needs no node of its own: a function is easier to write and to test.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, TypeVar

from flow import In, Message, Out, Promises, Saved, compute, node
from flow.errors import SettingError
from flow.kept import Kept
from flow.setting import Beside
from nodes.stream.functions import Plain, read_function

M = TypeVar("M", bound=Message)
N = TypeVar("N", bound=Message)


@dataclass
class Progress:
    """How many of the messages that the function returned of the one in hand are sent."""

    sent: int = 0


def _types(settings: Mapping[str, Any], known: Mapping[str, type[Message]]) -> Mapping[str, type[Message]]:
    plain = _read(settings["function"], settings["arguments"])
    assert plain.gives is not None
    return {"M": plain.takes, "N": plain.gives}


def _read(function: str, arguments: list[str] | None) -> Plain:
    plain = read_function(function, arguments or ())
    if plain.gives is None:
        raise SettingError(
            f"function = {function!r}: it has to say which message it returns, found {plain.returns!r}; write "
            "`-> Clip`, `-> Clip | None` or `-> list[Clip]`"
        )
    return plain


@node(binds=_types, promises=Promises(given="nodes.given.streams:mapped"))
async def map(  # noqa: A001
    items: In[M],
    mapped: Out[N],
    saved: Saved,
    *,
    function: Annotated[str, Beside(function=True)],
    arguments: list[str] | None = None,
    threaded: bool = False,
) -> None:
    """Send what a function returns of each message, in order; nothing for None, and each item of a list.

    The function's annotations are the ports' types: `def scale(clip: Clip) -> Clip`. It should depend on its message
    alone: where a run is resumed, it is called again for the message that was in hand.

    Args:
      function: "module:function", or "file.py:function" with a file beside the graph.
      arguments: further ones, each "name=value" with the value as TOML writes it: "gain=0.5".
      threaded: call it in a thread of the node's own; for one that takes more than a millisecond, or waits.
    """
    plain = _read(function, arguments)
    kept = saved.keep("kept", Kept(items.message_type))
    progress = saved.keep("progress", Progress())

    async def send() -> None:
        results = await compute(plain, kept[0]) if threaded else plain(kept[0])
        for result in results[progress.sent :]:
            await mapped.send(result)
            progress.sent += 1
        kept.drop(1)
        progress.sent = 0

    if len(kept):
        await send()
    async for item in items:
        kept.append(item)
        await send()
