"""Pass on the messages of which a plain function says yes.

clips ──► filter(function = "sound.py:loud") ──► those of which `loud(clip: Clip) -> bool` is true
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, TypeVar

from flow import Context, In, Message, Out, Promises, Saved, compute, node
from flow.errors import SettingError
from flow.kept import Kept
from flow.message import misfits
from flow.setting import Beside
from nodes.stream.functions import Plain, read_function

M = TypeVar("M", bound=Message)


def _checked(settings: Mapping[str, Any], known: Mapping[str, type[Message]]) -> Mapping[str, type[Message]]:
    plain = _read(settings["function"], settings["arguments"])
    if "M" in known and (wrong := misfits(known["M"], {}, plain.takes, {})):
        raise SettingError(
            f"function = {settings['function']!r} takes {plain.takes.__name__}, which {known['M'].__name__} is not: "
            f"{'; '.join(wrong)}; declare what it takes with fields that are sent"
        )
    return {}


def _read(function: str, arguments: list[str] | None) -> Plain:
    plain = read_function(function, arguments or ())
    if plain.returns is not bool:
        raise SettingError(
            f"function = {function!r}: it has to return a bool, found {plain.returns!r}; write `-> bool`"
        )
    return plain


@node(binds=_checked, promises=Promises(given="nodes.given.streams:filtered"))
async def filter(  # noqa: A001
    items: In[M],
    passed: Out[M],
    context: Context,
    saved: Saved,
    *,
    function: Annotated[str, Beside(function=True)],
    arguments: list[str] | None = None,
    threaded: bool = False,
) -> None:
    """Pass on each message of which a function returns true, in order; the others are counted as `filtered`.

    The function declares the fields that it looks at: `def loud(clip: Clip) -> bool`; a message may have more, and
    goes on with all.

    Args:
      function: "module:function", or "file.py:function" with a file beside the graph.
      arguments: further ones, each "name=value" with the value as TOML writes it: "least=0.5".
      threaded: call it in a thread of the node's own; for one that takes more than a millisecond, or waits.
    """
    plain = _read(function, arguments)
    kept = saved.keep("kept", Kept(items.message_type))

    async def look() -> None:
        (keeps,) = await compute(plain, kept[0]) if threaded else plain(kept[0])
        if keeps:
            await passed.send(kept[0])
        else:
            context.metrics.count("filtered")
        kept.drop(1)

    if len(kept):
        await look()
    async for item in items:
        kept.append(item)
        await look()
