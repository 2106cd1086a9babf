"""What a node type is: an async function, its ports and settings read from its signature.

    @node
    async def chunker(recordings: In[Clip], chunks: Out[Clip], *, seconds: float = 1.0) -> None: ...

Positional parameters are ports; keyword-only parameters are settings. A parameter annotated `Context` or `Saved`
is neither: the runtime hands it in. The function itself stays callable, so a test needs no runtime.

A port may speak of any message: `items: In[M], shuffled: Out[M]` with `M = TypeVar("M", bound=Message)`. What M is
follows from what the ports are tied to (flow/generic.py).
"""

from __future__ import annotations

import copy
import functools
import inspect
import typing
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Generic, TypeVar, overload

from flow import node_files
from flow.context import Context
from flow.documentation import parameter_docs
from flow.errors import NodeTypeError
from flow.message import Message, Sizes
from flow.ports import Call, In, Latest, Out, Publish, Serve
from flow.promises import Promises
from flow.saved import Saved
from flow.setting import Setting, read_setting

NodeFunction = Callable[..., Awaitable[None]]
Binds = Callable[[Mapping[str, Any], Mapping[str, type[Message]]], Mapping[str, type[Message]]]
"""From a node's settings and the message types known for its type variables, those of others."""
Check = Callable[[Mapping[str, Any]], None]
"""Holds a node's settings to each other: raises SettingError where they cannot go together."""
F = TypeVar("F", bound=NodeFunction)


@dataclass(frozen=True)
class Play:
    """How a person plays against what a node has learned: `flow play`.

    function: "module:function", called with a `flow.playing.Asked`. same: settings in which a graph and the run that a
    checkpoint is of must agree.
    """

    function: str
    same: tuple[str, ...] = ()


# Each kind of port, and the kind at the other end of its edges.
OTHER_END = {
    "Out": "In",
    "In": "Out",
    "Call": "Serve",
    "Serve": "Call",
    "Publish": "Latest",
    "Latest": "Publish",
}
# Edges are written from these to the others: "actor.policy" = "policy.requests".
SENDING = ("Out", "Call", "Publish")
_KINDS: dict[Any, str] = {
    In: "In",
    Out: "Out",
    Call: "Call",
    Serve: "Serve",
    Publish: "Publish",
    Latest: "Latest",
}


@dataclass(frozen=True)
class Port:
    """A typed end of edges.

    messages: (M,) of a stream or a published value, (question, answer) of a call; `Message` itself where a type
    variable stands that nothing has bound. variables: the name of the type variable in each place, "" for none.
    sizes: of dimensions, in a port whose variables are bound: there a name means what it does where the message
    comes from, and this node's settings have no say.
    """

    name: str
    kind: str
    messages: tuple[type[Message], ...]
    doc: str = ""
    variables: tuple[str, ...] = ()
    sizes: Sizes | None = field(default=None, compare=False)

    @property
    def sends(self) -> bool:
        return self.kind in SENDING

    def __str__(self) -> str:
        return f"{self.kind}[{', '.join(self.spoken())}]"

    def spoken(self) -> list[str]:
        """What the port's messages are called: their types, or the variable where one is not bound."""
        variables = self.variables or ("",) * len(self.messages)
        return [
            variable if variable and message is Message else message.__name__
            for message, variable in zip(self.messages, variables, strict=True)
        ]


class NodeType(Generic[F]):
    """A node function with what its signature declares.

    name: "module:function", as a graph file writes it, or "/path/of/file.py:function". needs: packages a worker
    imports before it runs the node, "torch" for instance; a worker none of whose nodes need torch never imports it.
    binds: says what type variables are that no edge decides: those of a `map`'s function, say. promises: what
    `flow test` holds it to. check: holds its settings to each other. play: how a person plays against it.
    """

    def __init__(
        self,
        function: F,
        needs: tuple[str, ...] = (),
        binds: Binds | None = None,
        promises: Promises | None = None,
        check: Check | None = None,
        play: Play | None = None,
    ) -> None:
        self.function = function
        self.play = play
        self.needs = needs
        self.binds = binds
        self.check = check
        self.promises = promises or Promises()
        self.name = f"{node_files.name_of(function.__module__)}:{function.__qualname__}"
        self.doc = inspect.getdoc(function) or ""
        self.ports: dict[str, Port] = {}
        self.settings: dict[str, Setting] = {}
        self.context_parameter: str | None = None
        self.saved_parameter: str | None = None
        self._read_signature()
        self.promises.check(self.name, self.ports)
        functools.update_wrapper(self, function)

    def __call__(self, *ports: Any, **settings: Any) -> Awaitable[None]:
        return self.function(*ports, **settings)

    def __repr__(self) -> str:
        return f"<node type {self.name}>"

    def __eq__(self, other: object) -> bool:
        """The same function, its type variables bound alike: graphs that say the same are equal."""
        return isinstance(other, NodeType) and self.function is other.function and self.ports == other.ports

    def __hash__(self) -> int:
        return hash(self.name)

    def sizes(self, settings: Mapping[str, Any]) -> Sizes:
        """The dimension names that these settings fix: those that are integer settings of the node."""
        values = {name: settings.get(name, setting.default) for name, setting in self.settings.items()}
        return {name: value for name, value in values.items() if type(value) is int}

    def port_sizes(self, port: str, settings: Mapping[str, Any]) -> Sizes:
        """The dimension names that mean a size at a port of a node with these settings."""
        bound = self.ports[port].sizes
        return self.sizes(settings) if bound is None else bound

    def bound(self, messages: Mapping[str, type[Message]], sizes: Mapping[str, Sizes]) -> NodeType[F]:
        """The type with its type variables replaced.

        Args:
          messages: by variable; one that is not there stays open.
          sizes: by variable, those of the dimensions of its message.

        Raises:
          NodeTypeError: a port that is served in batches would get messages that are not.
        """
        result = copy.copy(self)
        result.ports = {name: _bound_port(self.name, port, messages, sizes) for name, port in self.ports.items()}
        return result

    def _read_signature(self) -> None:
        if not inspect.iscoroutinefunction(self.function):
            raise NodeTypeError(f"{self.name}: a node is an async function; write `async def`")
        try:
            hints = typing.get_type_hints(self.function, include_extras=True)
        except NameError as error:
            raise NodeTypeError(
                f"{self.name}: {error}; {node_files.import_hint(error, self.function.__module__)}"
            ) from error
        docs = parameter_docs(self.function)
        for name, parameter in inspect.signature(self.function).parameters.items():
            if name not in hints:
                is_setting = parameter.kind is inspect.Parameter.KEYWORD_ONLY
                port = "" if is_setting else f"a port is written {name}: In[M], and a setting stands behind `*`: "
                how = f"{port}{name}: int" if port else f"write {name}: int, or what else it is"
                raise NodeTypeError(f"{self.name}, parameter '{name}': has no type; {how}")
            hint, doc = hints[name], docs.get(name, "")
            if hint is Context:
                self.context_parameter = name
            elif hint is Saved:
                self.saved_parameter = name
            elif parameter.kind is inspect.Parameter.KEYWORD_ONLY:
                self.settings[name] = read_setting(self.name, name, hint, parameter.default, doc)
            else:
                self.ports[name] = _read_port(self.name, name, hint, doc)


def _read_port(owner: str, name: str, hint: Any, doc: str) -> Port:
    kind = _KINDS.get(typing.get_origin(hint))
    if kind is None:
        raise NodeTypeError(
            f"{owner}, parameter '{name}': {inspect.formatannotation(hint)} is no port; use In[M], Out[M], Call[Q, A], "
            "Serve[Q, A], Publish[M] or Latest[M], or put a setting after `*`"
        )
    messages, variables = [], []
    for message in typing.get_args(hint):
        variable = isinstance(message, TypeVar)
        if variable and message.__bound__ is not Message:
            raise NodeTypeError(
                f"{owner}, port '{name}': {message.__name__} may be anything; write "
                f'{message.__name__} = TypeVar("{message.__name__}", bound=Message)'
            )
        if not variable and not (isinstance(message, type) and issubclass(message, Message)):
            raise NodeTypeError(
                f"{owner}, port '{name}': {inspect.formatannotation(message)} is no message; "
                "make it a subclass of Message"
            )
        messages.append(Message if variable else message)
        variables.append(message.__name__ if variable else "")
    port = Port(name, kind, tuple(messages), doc, tuple(variables) if any(variables) else ())
    if kind in ("Call", "Serve") and not port.variables:
        _check_batchable(owner, port)
    return port


def _bound_port(owner: str, port: Port, messages: Mapping[str, type[Message]], sizes: Mapping[str, Sizes]) -> Port:
    if not any(variable in messages for variable in port.variables):
        return port
    places = list(zip(port.variables, port.messages, strict=True))
    types = tuple(messages.get(variable, message) for variable, message in places)
    # A name that means one size in a question and another in its answer is left to be whatever arrives.
    merged: dict[str, int] = {}
    for each in (sizes.get(variable, {}) for variable, _ in places):
        merged = {**merged, **each}
        for name in [name for name in each if merged[name] != each[name]]:
            del merged[name]
    result = replace(port, messages=types, sizes=merged)
    if port.kind in ("Call", "Serve") and Message not in types:
        _check_batchable(owner, result)
    return result


def _check_batchable(owner: str, port: Port) -> None:
    """Questions are gathered along their first dimension and answers cut along it."""
    question, answer = port.messages
    wrong = [f.name for f in question.fields if f.kind != "array" or not f.dims or f.dims[0].name is None]
    if wrong or not question.fields:
        raise NodeTypeError(
            f"{owner}, port '{port.name}': questions are batched along a named first dimension, which field "
            f'{", ".join(wrong) or "(none)"} of {question.__name__} lacks; give it one, as in Float32[Array, "lanes 4"]'
        )
    names = {f.dims[0].name for f in question.fields}
    arrays = [f for f in answer.fields if f.kind == "array"]
    if len(names) != 1 or any(f.kind == "table" for f in answer.fields):
        raise NodeTypeError(
            f"{owner}, port '{port.name}': the fields of {question.__name__} must share one first dimension, found "
            f"{sorted(map(str, names))}, and {answer.__name__} must hold no tables"
        )
    if any(not f.dims or f.dims[0].name not in names for f in arrays):
        raise NodeTypeError(
            f"{owner}, port '{port.name}': each array of {answer.__name__} must begin with the dimension "
            f"{names.pop()} of {question.__name__}, since it is cut into one answer a caller"
        )


@overload
def node(function: F, /) -> NodeType[F]: ...
@overload
def node(
    *,
    needs: tuple[str, ...] = (),
    binds: Binds | None = None,
    promises: Promises | None = None,
    check: Check | None = None,
    play: Play | None = None,
) -> Callable[[F], NodeType[F]]: ...
def node(
    function: F | None = None,
    /,
    *,
    needs: tuple[str, ...] = (),
    binds: Binds | None = None,
    promises: Promises | None = None,
    check: Check | None = None,
    play: Play | None = None,
) -> NodeType[F] | Callable[[F], NodeType[F]]:
    """Declare an async function to be a node type.

    Args:
      needs: packages to import before the node starts, such as ("torch",); what is missing is named by `flow check`.
      binds: for a node whose ports speak of a type variable that its edges do not decide, or that depends on
        others: called with the settings and the types known by variable, returns types by variable. It is called
        again whenever more is known, and gives the same for the same; what it raises is told as the node's mistake.
      promises: what `flow test` holds the node to beyond its types, and what it is excused from.
      check: called with the settings by `flow check`, and to be called by the node: raises SettingError where they
        cannot go together, so that a graph that could never go on is refused before it starts.
      play: how a person plays against what it has learned.
    """
    if function is not None:
        return NodeType(function)
    return lambda decorated: NodeType(decorated, needs, binds, promises, check, play)


def load(name: str) -> NodeType[Any]:
    """The node type called "module:function" or "/path/of/file.py:function".

    Raises:
      NodeTypeError: there is no such module or function, or it is not a node.
    """
    module_name, _, function_name = name.rpartition(":")
    if not module_name or not function_name:
        raise NodeTypeError(f"'{name}' names no node type; write it as \"module:function\"")
    try:
        module = node_files.import_named(module_name)
    except ModuleNotFoundError as error:
        raise NodeTypeError(f"'{name}': there is no module '{error.name}'") from error
    except FileNotFoundError as error:
        raise NodeTypeError(f"'{name}': there is no file '{module_name}'") from error
    found = getattr(module, function_name, None)
    if not isinstance(found, NodeType):
        have = sorted(
            key
            for key, value in vars(module).items()
            if isinstance(value, NodeType) and value.name.startswith(f"{node_files.name_of(module.__name__)}:")
        )
        what = "is not marked with @node" if found is not None else "does not exist"
        raise NodeTypeError(
            f"'{name}': {function_name} {what} in {module.__file__}; node types there: {', '.join(have) or 'none'}"
        )
    return found
