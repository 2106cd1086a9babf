"""What a node type is: an async function, its ports and settings read from its signature.

    @node
    async def chunker(recordings: In[Clip], chunks: Out[Clip], *, seconds: float = 1.0) -> None: ...

Positional parameters are ports; keyword-only parameters are settings. A parameter annotated `Context` or `Saved`
is neither: the runtime hands it in. The function itself stays callable, so a test needs no runtime.
"""

from __future__ import annotations

import difflib
import functools
import importlib
import inspect
import typing
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, Literal, TypeVar, overload

from flow.context import Context, Live
from flow.documentation import parameter_docs
from flow.errors import NodeTypeError, SettingError
from flow.message import Message, Sizes
from flow.ports import Call, In, Latest, Out, Publish, Serve
from flow.saved import Saved

NodeFunction = Callable[..., Awaitable[None]]
F = TypeVar("F", bound=NodeFunction)
MISSING: Any = inspect.Parameter.empty

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
# What a graph file says of any node, beside its settings.
GRAPH_KEYS = ("run", "replicas")
_KINDS: dict[Any, str] = {
    In: "In",
    Out: "Out",
    Call: "Call",
    Serve: "Serve",
    Publish: "Publish",
    Latest: "Latest",
}


@dataclass(frozen=True)
class Range:
    """Bounds of a numeric setting, both included: `lanes: Annotated[int, Range(1, 4096)] = 32`."""

    low: float | None = None
    high: float | None = None

    def __str__(self) -> str:
        if self.low is None:
            return f"at most {self.high:g}"
        return f"at least {self.low:g}" if self.high is None else f"from {self.low:g} to {self.high:g}"

    def holds(self, value: float) -> bool:
        return (self.low is None or value >= self.low) and (self.high is None or value <= self.high)


@dataclass(frozen=True)
class Names:
    """What a text setting may say, found when it is needed: `game: Annotated[str, Names(game_names, "a game")]`.

    An empty list allows anything: what it would be read from is not installed here.
    """

    known: Callable[[], Sequence[str]]
    what: str

    def problem(self, value: str) -> str:
        """Why a value is none of the names, with the nearest that are; "" if it is one."""
        known = self.known()
        if not known or value in known:
            return ""
        near = difflib.get_close_matches(value.lower().replace(" ", "_"), known, n=3)
        hint = (
            f"did you mean {' or '.join(map(repr, near))}?" if near else f"there are {len(known)}, such as {known[0]!r}"
        )
        return f"{value!r} is not {self.what}; {hint}"


@dataclass(frozen=True)
class Port:
    """A typed end of edges. messages: (M,) of a stream or a published value, (question, answer) of a call."""

    name: str
    kind: str
    messages: tuple[type[Message], ...]
    doc: str = ""

    @property
    def sends(self) -> bool:
        return self.kind in SENDING

    def __str__(self) -> str:
        return f"{self.kind}[{', '.join(message.__name__ for message in self.messages)}]"


@dataclass(frozen=True)
class Setting:
    """A keyword-only parameter. `kind` is "int", "float", "bool", "str", "choice" or "list"."""

    name: str
    kind: str
    default: Any = MISSING
    doc: str = ""
    live: bool = False
    optional: bool = False
    bounds: Range = field(default_factory=Range)
    choices: tuple[str, ...] = ()
    items: str = ""
    names: Names | None = None

    @property
    def required(self) -> bool:
        return self.default is MISSING

    def __str__(self) -> str:
        text = f"list of {self.items}" if self.kind == "list" else self.kind
        if self.choices:
            text = "one of " + ", ".join(map(repr, self.choices))
        if self.bounds != Range():
            text += f" {self.bounds}"
        return text + (" or nothing" if self.optional else "")

    def accept(self, value: Any) -> Any:
        """The value as the node gets it.

        Raises:
          SettingError: it has another type or is out of bounds; the text holds what was found and expected.
        """
        if value is None and self.optional:
            return None
        if self.kind == "list":
            if not isinstance(value, (list, tuple)):
                raise SettingError(f"expected {self}, found {value!r}")
            return [_scalar(self, self.items, item) for item in value]
        return _scalar(self, self.kind, value)


_SCALAR_TYPES: dict[str, type] = {"int": int, "float": float, "bool": bool, "str": str, "choice": str}


def _scalar(setting: Setting, kind: str, value: Any) -> Any:
    wanted = _SCALAR_TYPES[kind]
    if kind == "float" and type(value) is int:
        value = float(value)
    if kind == "int" and type(value) is float and value.is_integer():
        value = int(value)  # 2e6 is a float in TOML, and how people write a number of frames
    if type(value) is not wanted or (setting.choices and value not in setting.choices):
        raise SettingError(f"expected {setting}, found {value!r}")
    if setting.names is not None and isinstance(value, str) and (problem := setting.names.problem(value)):
        raise SettingError(problem)
    if isinstance(value, (int, float)) and not setting.bounds.holds(value):
        raise SettingError(f"expected {setting}, found {value!r}")
    return value


class NodeType(Generic[F]):
    """A node function with what its signature declares.

    name: "module:function", as a graph file writes it. needs: packages a worker imports before it runs the node,
    "torch" for instance; a worker none of whose nodes need torch never imports it.
    """

    def __init__(self, function: F, needs: tuple[str, ...] = ()) -> None:
        self.function = function
        self.needs = needs
        self.name = f"{function.__module__}:{function.__qualname__}"
        self.doc = inspect.getdoc(function) or ""
        self.ports: dict[str, Port] = {}
        self.settings: dict[str, Setting] = {}
        self.context_parameter: str | None = None
        self.saved_parameter: str | None = None
        self._read_signature()
        functools.update_wrapper(self, function)

    def __call__(self, *ports: Any, **settings: Any) -> Awaitable[None]:
        return self.function(*ports, **settings)

    def __repr__(self) -> str:
        return f"<node type {self.name}>"

    def sizes(self, settings: dict[str, Any]) -> Sizes:
        """The dimension names that these settings fix: those that are integer settings of the node."""
        values = {name: settings.get(name, setting.default) for name, setting in self.settings.items()}
        return {name: value for name, value in values.items() if type(value) is int}

    def _read_signature(self) -> None:
        if not inspect.iscoroutinefunction(self.function):
            raise NodeTypeError(f"{self.name}: a node is an async function; write `async def`")
        try:
            hints = typing.get_type_hints(self.function, include_extras=True)
        except NameError as error:
            raise NodeTypeError(
                f"{self.name}: {error}; import the name at the top of the module, outside `if TYPE_CHECKING`"
            ) from error
        docs = parameter_docs(self.function)
        for name, parameter in inspect.signature(self.function).parameters.items():
            if name not in hints:
                raise NodeTypeError(f"{self.name}, parameter '{name}': has no type; annotate it, as in {name}: In[M]")
            hint, doc = hints[name], docs.get(name, "")
            if hint is Context:
                self.context_parameter = name
            elif hint is Saved:
                self.saved_parameter = name
            elif parameter.kind is inspect.Parameter.KEYWORD_ONLY:
                self.settings[name] = _read_setting(self.name, name, hint, parameter.default, doc)
            else:
                self.ports[name] = _read_port(self.name, name, hint, doc)


def _read_port(owner: str, name: str, hint: Any, doc: str) -> Port:
    kind = _KINDS.get(typing.get_origin(hint))
    if kind is None:
        raise NodeTypeError(
            f"{owner}, parameter '{name}': {inspect.formatannotation(hint)} is no port; use In[M], Out[M], Call[Q, A], "
            "Serve[Q, A], Publish[M] or Latest[M], or put a setting after `*`"
        )
    messages = typing.get_args(hint)
    for message in messages:
        if not (isinstance(message, type) and issubclass(message, Message)):
            raise NodeTypeError(
                f"{owner}, port '{name}': {inspect.formatannotation(message)} is no message; "
                "make it a subclass of Message"
            )
    port = Port(name, kind, messages, doc)
    if kind in ("Call", "Serve"):
        _check_batchable(owner, port)
    return port


def _check_batchable(owner: str, port: Port) -> None:
    """Questions are gathered along their first dimension and answers cut along it."""
    question, answer = port.messages
    wrong = [f.name for f in question.fields if f.kind != "array" or f.any_rank or not f.dims or f.dims[0].name is None]
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
    if any(f.any_rank or not f.dims or f.dims[0].name not in names for f in arrays):
        raise NodeTypeError(
            f"{owner}, port '{port.name}': each array of {answer.__name__} must begin with the dimension "
            f"{names.pop()} of {question.__name__}, since it is cut into one answer a caller"
        )


def _read_setting(owner: str, name: str, hint: Any, default: Any, doc: str) -> Setting:
    if name in GRAPH_KEYS:
        raise NodeTypeError(f"{owner}, setting '{name}': a graph file uses this word for itself; give it another name")
    bounds, live, optional = Range(), False, False
    names: Names | None = None
    if typing.get_origin(hint) is Live:
        live, hint = True, typing.get_args(hint)[0]
        default = default.value if isinstance(default, Live) else default
    if typing.get_origin(hint) is typing.Annotated:
        hint, *extras = typing.get_args(hint)
        bounds = next((extra for extra in extras if isinstance(extra, Range)), bounds)
        names = next((extra for extra in extras if isinstance(extra, Names)), None)
    parts = [part for part in typing.get_args(hint) if part is not type(None)]
    if len(parts) < len(typing.get_args(hint)) and len(parts) == 1:
        optional, hint = True, parts[0]
    common: dict[str, Any] = {
        "default": default,
        "doc": doc,
        "live": live,
        "optional": optional,
        "bounds": bounds,
        "names": names,
    }
    if typing.get_origin(hint) is Literal:
        setting = Setting(name, "choice", choices=typing.get_args(hint), **common)
    elif typing.get_origin(hint) is list and typing.get_args(hint)[0] in (int, float, bool, str):
        setting = Setting(name, "list", items=typing.get_args(hint)[0].__name__, **common)
    elif hint in (int, float, bool, str):
        setting = Setting(name, hint.__name__, **common)
    else:
        raise NodeTypeError(
            f"{owner}, setting '{name}': {inspect.formatannotation(hint)} cannot be written in a graph file; use "
            "int, float, bool, str, Literal, list[...] of those, each also in Annotated[..., Range(low, high)] or Live"
        )
    if default is not MISSING:
        try:
            setting.accept(default)
        except SettingError as error:
            raise NodeTypeError(f"{owner}, setting '{name}': its default does not fit: {error}") from error
    return setting


@overload
def node(function: F, /) -> NodeType[F]: ...
@overload
def node(*, needs: tuple[str, ...]) -> Callable[[F], NodeType[F]]: ...
def node(function: F | None = None, /, *, needs: tuple[str, ...] = ()) -> NodeType[F] | Callable[[F], NodeType[F]]:
    """Declare an async function to be a node type.

    Args:
      needs: packages to import before the node starts, such as ("torch",); what is missing is named by `flow check`.
    """
    if function is not None:
        return NodeType(function)
    return lambda decorated: NodeType(decorated, needs)


def load(name: str) -> NodeType[Any]:
    """The node type called "module:function".

    Raises:
      NodeTypeError: there is no such module or function, or it is not a node.
    """
    module_name, _, function_name = name.partition(":")
    if not module_name or not function_name:
        raise NodeTypeError(f"'{name}' names no node type; write it as \"module:function\"")
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        raise NodeTypeError(f"'{name}': there is no module '{error.name}'") from error
    found = getattr(module, function_name, None)
    if not isinstance(found, NodeType):
        have = sorted(
            key
            for key, value in vars(module).items()
            if isinstance(value, NodeType) and value.name.startswith(module_name)
        )
        what = "is not marked with @node" if found is not None else "does not exist"
        raise NodeTypeError(
            f"'{name}': {function_name} {what} in {module.__file__}; node types there: {', '.join(have) or 'none'}"
        )
    return found
