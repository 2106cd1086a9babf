"""Ports that speak of any message: what their type variables are, once edges tie them.

    source.clips : Out[Clip] ──► items : In[M]   shuffle   shuffled : Out[M] ──► frames : In[Audio]

M is what arrives: the type that the sender declares, with the sizes that dimensions have there. Only where nothing
arrives that is known (a node that reads a recording) is it what the receiver declares. A node may say itself what
follows from what (`node(binds=…)`): a batch of clips from clips, what a function returns from its annotation.

The supervisor and each worker solve the same nodes and edges, so all find the same.
"""

from __future__ import annotations

import functools
import types
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from flow.errors import FlowError, NodeTypeError
from flow.message import Dim, Field, Message, Sizes
from flow.node_type import NodeType

PortName = tuple[str, str]
Place = tuple[str, str, int]  # node, port, and which of the port's messages


@dataclass(frozen=True)
class Known:
    """A message type, and the sizes that its named dimensions have where it comes from."""

    message: type[Message]
    sizes: Sizes


@dataclass
class Solution:
    """types: each node's type, its variables bound. problems: by node, what stands in the way."""

    types: dict[str, NodeType[Any]]
    problems: dict[str, str] = field(default_factory=dict)


def solve(
    nodes: Mapping[str, NodeType[Any]],
    settings: Mapping[str, Mapping[str, Any]],
    edges: Iterable[tuple[PortName, PortName]],
    *,
    whole: bool = True,
) -> Solution:
    """Bind the type variables of all nodes.

    Args:
      nodes: the node types by node.
      settings: of each node.
      edges: sending port and receiving port.
      whole: whether these are all edges there will be, so that a variable which none of them decides is a problem.
        It is none while a node lacks a setting: what that node would say is not known.
    """
    generic = {name for name, found in nodes.items() if any(port.variables for port in found.ports.values())}
    if not generic:
        return Solution(dict(nodes))
    tied = list(edges)
    solver = _Solver(nodes, settings, [way for edge in tied for way in _ways(nodes, *edge)])
    solver.run(generic)
    whole = whole and not any(map(solver.lacks_settings, generic))
    solution = Solution(dict(nodes), solver.problems)
    for name in generic:
        known = {variable: found for (node, variable), found in solver.known.items() if node == name}
        try:
            solution.types[name] = nodes[name].bound(
                {variable: found.message for variable, found in known.items()},
                {variable: found.sizes for variable, found in known.items()},
            )
        except NodeTypeError as error:
            solution.problems.setdefault(name, str(error))
        ends = {port for edge in tied for node, port in edge if node == name}
        for port in (port for port in nodes[name].ports.values() if port.name in ends):
            missing = [variable for variable in port.variables if variable and variable not in known]
            if missing and whole:
                solution.problems.setdefault(
                    name,
                    f"nothing says what {missing[0]} of its port '{port.name}' is: what it is tied to takes and sends "
                    "anything too; tie a port of it to a node that declares its messages",
                )
    return solution


def _ways(nodes: Mapping[str, NodeType[Any]], sender: PortName, receiver: PortName) -> list[tuple[Place, Place]]:
    """How messages go along an edge: from the sender, and the answers to a call back to it."""
    ways = [((*sender, 0), (*receiver, 0))]
    if nodes[sender[0]].ports[sender[1]].kind == "Call":
        ways.append(((*receiver, 1), (*sender, 1)))
    return ways


@dataclass
class _Solver:
    nodes: Mapping[str, NodeType[Any]]
    settings: Mapping[str, Mapping[str, Any]]
    ways: Sequence[tuple[Place, Place]]
    known: dict[tuple[str, str], Known] = field(default_factory=dict)
    problems: dict[str, str] = field(default_factory=dict)

    def run(self, generic: set[str]) -> None:
        """Until nothing more follows: from settings, from what arrives, from what nodes say, last from receivers."""
        forward = list(self.ways)
        backward = [(to, frm) for frm, to in self.ways]
        self._ask(generic)  # what a node takes by its settings alone: what arrives has to fit that
        while self._follow(forward) or self._ask(generic) or self._follow(backward):
            pass

    def _follow(self, ways: Sequence[tuple[Place, Place]]) -> bool:
        """Bind the first variable found that a place on the other side knows."""
        for frm, to in ways:
            variable = self._variable(to)
            if variable and (to[0], variable) not in self.known and (found := self._at(frm)) is not None:
                self.known[to[0], variable] = found
                return True
        return False

    def _ask(self, generic: set[str]) -> bool:
        """Ask the nodes what follows from what is known of them."""
        learned = False
        for name in sorted(generic - self.problems.keys()):
            binds = self.nodes[name].binds
            if binds is None or self.lacks_settings(name):
                continue
            here = {variable: found for (node, variable), found in self.known.items() if node == name}
            sizes: Sizes = next(iter(here.values())).sizes if here else {}
            if len(here) > 1:  # a name may mean one size in one of them and another in the next
                here = {variable: Known(resolved(found.message, found.sizes), {}) for variable, found in here.items()}
                sizes = {}
            try:
                said = binds(self.settings[name], {variable: found.message for variable, found in here.items()})
            except FlowError as error:
                self.problems[name] = str(error)
                continue
            for variable in [variable for variable in said if variable not in here]:
                self.known[name, variable] = Known(said[variable], sizes)
                learned = True
        return learned

    def lacks_settings(self, name: str) -> bool:
        """Whether a setting is missing that the node says its types from: it was left out or wrong, which is told."""
        found = self.nodes[name]
        return found.binds is not None and not found.settings.keys() <= self.settings[name].keys()

    def _variable(self, place: Place) -> str:
        port = self.nodes[place[0]].ports[place[1]]
        return port.variables[place[2]] if port.variables else ""

    def _at(self, place: Place) -> Known | None:
        name, port, which = place
        variable = self._variable(place)
        if variable:
            return self.known.get((name, variable))
        return Known(self.nodes[name].ports[port].messages[which], self.nodes[name].sizes(self.settings[name]))


def resolved(message: type[Message], sizes: Sizes) -> type[Message]:
    """The message type with numbers in place of the names of dimensions whose sizes are known."""
    if not any(dim.name in sizes for field in message.fields for dim in field.dims):
        return message
    fields = tuple(replace(field, dims=tuple(_resolved(dim, sizes) for dim in field.dims)) for field in message.fields)
    return derived(message.__name__, fields)


def _resolved(dim: Dim, sizes: Sizes) -> Dim:
    size = dim.resolved(sizes)
    return dim if size is None else Dim(None, size)


@functools.cache
def derived(name: str, fields: tuple[Field, ...]) -> type[Message]:
    """A message type with these fields, made while the program runs; the same type for the same fields."""

    def body(namespace: dict[str, Any]) -> None:
        namespace["__annotations__"] = {each.name: Any for each in fields}
        namespace["__module__"] = __name__

    made: type[Message] = types.new_class(name, (Message,), {"fields": fields}, body)
    return made
