"""Graph files: TOML in, a checked `Graph` out, every mistake told at once with its place and a mend."""

from flow.graph.bound import check_memory as check_memory
from flow.graph.bound import memory_bound as memory_bound
from flow.graph.load import load_graph as load_graph
from flow.graph.model import Edge as Edge
from flow.graph.model import End as End
from flow.graph.model import Graph as Graph
from flow.graph.model import GraphNode as GraphNode
from flow.graph.model import Report as Report
from flow.graph.model import place as place
from flow.graph.write import write_graph as write_graph
