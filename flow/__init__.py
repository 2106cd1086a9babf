"""Machine-learning research as a graph of async nodes. These names are public; nothing else is.

They are loaded when first used: a command that only looks at runs, such as `flow ps`, needs neither numpy nor trio.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from flow.computing import Arriving as Arriving
    from flow.computing import compute as compute
    from flow.computing import sleep_until as sleep_until
    from flow.context import Context as Context
    from flow.context import Live as Live
    from flow.graph.build import Graph as Graph
    from flow.message import Array as Array
    from flow.message import Message as Message
    from flow.message import Tensor as Tensor
    from flow.node_type import NodeType as NodeType
    from flow.node_type import node as node
    from flow.ports import Call as Call
    from flow.ports import In as In
    from flow.ports import Latest as Latest
    from flow.ports import Out as Out
    from flow.ports import Publish as Publish
    from flow.ports import Serve as Serve
    from flow.promises import Promises as Promises
    from flow.saved import Saved as Saved
    from flow.setting import Names as Names
    from flow.setting import Range as Range

# Where each public name is. No submodule may have the name of one: importing it would hide the name.
_PLACES = {
    "Array": "flow.message",
    "Call": "flow.ports",
    "Context": "flow.context",
    "Graph": "flow.graph.build",
    "In": "flow.ports",
    "Latest": "flow.ports",
    "Live": "flow.context",
    "Message": "flow.message",
    "Names": "flow.setting",
    "NodeType": "flow.node_type",
    "Out": "flow.ports",
    "Promises": "flow.promises",
    "Publish": "flow.ports",
    "Range": "flow.setting",
    "Saved": "flow.saved",
    "Serve": "flow.ports",
    "Tensor": "flow.message",
    "Arriving": "flow.computing",
    "compute": "flow.computing",
    "node": "flow.node_type",
    "sleep_until": "flow.computing",
}
__all__ = sorted(_PLACES)


def __getattr__(name: str) -> Any:
    place = _PLACES.get(name)
    if place is None:
        raise AttributeError(f"flow has no public name {name!r}; it has {', '.join(_PLACES)}")
    value = getattr(importlib.import_module(place), name)
    globals()[name] = value
    return value
