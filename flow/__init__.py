"""Machine-learning research as a graph of async nodes. These names are public; nothing else is."""

from flow.compute import compute as compute
from flow.context import Context as Context
from flow.context import Live as Live
from flow.message import Array as Array
from flow.message import Message as Message
from flow.message import Tensor as Tensor
from flow.node import Names as Names
from flow.node import NodeType as NodeType
from flow.node import Range as Range
from flow.node import node as node
from flow.ports import Call as Call
from flow.ports import In as In
from flow.ports import Latest as Latest
from flow.ports import Out as Out
from flow.ports import Publish as Publish
from flow.ports import Serve as Serve
from flow.saved import Saved as Saved
