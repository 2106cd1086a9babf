"""What valid settings and inputs of a node are, where its types and ranges cannot say.

@node(promises=Promises(given="my_nodes.given:player"))    in the node's module: a name, loaded by `flow test`

def player() -> Given:                                      in my_nodes/given.py
    return Given(settings={"game": "pong"}, messages={"moves": messages(Move, square=st.integers(0, 8))})
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from hypothesis import strategies as st

from flow.errors import NodeTypeError
from flow.message import Message
from flow.node_type import NodeType

Settings = Mapping[str, Any]


@dataclass(frozen=True)
class Given:
    """Strategies in the place of those that types give.

    Attributes:
      settings: by setting, a value or a strategy.
      messages: by In, Serve or Latest port, a strategy for one message, or a function of the settings that gives it.
      streams: by port, the same for the whole list of messages, where one depends on those before.
      answers: by Call port, a function of the settings that gives the function which answers a question.
      variables: for a node whose ports speak of any message, what its type variables may be.
    """

    settings: Settings = field(default_factory=dict)
    messages: Mapping[str, Any] = field(default_factory=dict)
    streams: Mapping[str, Any] = field(default_factory=dict)
    answers: Mapping[str, Callable[[Settings], Callable[[Any], Any]]] = field(default_factory=dict)
    variables: tuple[Mapping[str, type[Message]], ...] = ()

    def strategy(self, kind: str, port: str, settings: Settings) -> st.SearchStrategy[Any] | None:
        """The strategy for a port's "messages" or "streams", None where there is none."""
        found = getattr(self, kind).get(port)
        if found is None or isinstance(found, st.SearchStrategy):
            return found
        strategy: st.SearchStrategy[Any] = found(settings)
        return strategy


def given_of(node_type: NodeType[Any]) -> Given:
    """What a node's promises name; nothing where they name nothing.

    Raises:
      NodeTypeError: there is no such function, or it gives something else.
    """
    where = node_type.promises.given
    if not where:
        return Given()
    module, _, name = where.partition(":")
    try:
        found = getattr(importlib.import_module(module), name)()
    except (ImportError, AttributeError, TypeError) as error:
        raise NodeTypeError(
            f"{node_type.name}, promises: given={where!r} gives nothing: {error}; it names a function without "
            "parameters that returns a flow.testing.Given, in a module that can be imported from here"
        ) from error
    if not isinstance(found, Given):
        raise NodeTypeError(f"{node_type.name}, promises: {where} returns a {type(found).__name__}, not a Given")
    return found
