"""Plain functions as nodes use them: what they take and give, read from their annotations.

def scale(clip: Clip) -> Clip                      one for one
def loud(clip: Clip) -> bool                       of a filter
def speech(clip: Clip) -> Clip | None              nothing is sent for None
def pieces(clip: Clip) -> list[Clip]               several; an Iterator is asked for one after the other
def scale(clip: Clip, *, gain: float) -> Clip      with what the setting `arguments` gives
"""

from __future__ import annotations

import collections.abc
import functools
import inspect
import types
import typing
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from flow import Message
from flow.errors import NodeTypeError, SettingError
from flow.graph.registry import find_function
from flow.message import as_library, conformed
from flow.setting import named_values

_MANY = (list, tuple, collections.abc.Iterator, collections.abc.Iterable, collections.abc.Sequence)


@dataclass(frozen=True)
class Plain:
    """A function of one message.

    takes: what it is declared to take. gives: what it is declared to return, None where that is no message. many:
    whether it returns several.
    """

    function: Callable[[Any], Any]
    takes: type[Message]
    gives: type[Message] | None
    many: bool = False
    returns: Any = None

    def __call__(self, message: Message) -> list[Any]:
        """What it returns of a message, as a list: of no message for None, and of all where it returns several."""
        result = self.function(as_library(conformed(message, self.takes)))
        if self.many:
            return list(result)
        return [] if result is None else [result]


def read_function(name: str, arguments: Sequence[str] = ()) -> Plain:
    """The function that a setting names, with its types.

    Raises:
      SettingError: there is none, or its signature does not say what it takes and gives.
    """
    try:
        function = find_function(name)
    except NodeTypeError as error:
        raise SettingError(f"function = {error}") from error
    given = named_values(arguments, "arguments")
    try:
        hints = typing.get_type_hints(function if inspect.isroutine(function) else type(function).__call__)
        signature = inspect.signature(function)
    except (NameError, TypeError, ValueError) as error:
        raise SettingError(
            f"function = {name!r}: its annotations cannot be read: {error}; import what they name at the top of the "
            "module, outside `if TYPE_CHECKING`"
        ) from error
    if inspect.iscoroutinefunction(function):
        raise SettingError(f"function = {name!r} is async; write `def`, or make it a node of its own with @node")
    takes = _taken(name, signature, hints, given)
    gives, many = _given(hints.get("return"))
    bare = functools.partial(function, **given) if given else function
    return Plain(bare, takes, gives, many, hints.get("return"))


def _taken(name: str, signature: inspect.Signature, hints: dict[str, Any], given: dict[str, Any]) -> type[Message]:
    shown = f"{name.rpartition(':')[2]}{signature}"
    positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    first = next(iter(signature.parameters.values()), None)
    taken = None if first is None or first.kind not in positional else hints.get(first.name)
    if first is None or not (isinstance(taken, type) and issubclass(taken, Message)):
        raise SettingError(
            f"function = {name!r}: its first parameter has to be a message; found {shown}, "
            "write it as in `def scale(clip: Clip) -> Clip`"
        )
    others = [each for each in signature.parameters.values() if each is not first]
    known = [each.name for each in others if each.kind not in (each.VAR_POSITIONAL, each.VAR_KEYWORD)]
    needed = [each.name for each in others if each.name in known and each.default is each.empty]
    open_ended = any(each.kind is each.VAR_KEYWORD for each in others)
    if missing := [each for each in needed if each not in given]:
        raise SettingError(
            f'function = {name!r} needs {missing[0]}, too: {shown}; give it as in arguments = ["{missing[0]}=…"]'
        )
    if unknown := [each for each in given if each not in known and not open_ended]:
        raise SettingError(f"function = {name!r} takes no argument '{unknown[0]}': {shown}; remove it from arguments")
    return taken


def _given(hint: Any) -> tuple[type[Message] | None, bool]:
    """The message that a function returns, None if it is no message, and whether it returns several."""
    parts = typing.get_args(hint)
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        kept = [part for part in parts if part is not type(None)]
        return _given(kept[0]) if len(kept) == 1 else (None, False)
    if typing.get_origin(hint) in _MANY and parts:
        return _given(parts[0])[0], True
    return (hint, False) if isinstance(hint, type) and issubclass(hint, Message) else (None, False)
