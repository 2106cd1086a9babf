"""Graphs out of several files, for tests."""

import copy
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from flow.graph import load_graph
from tests.flow.graph.graph_files import text_of

TYPES = "tests.nodes_for_tests:"


@contextmanager
def files(**texts):
    """A folder with graph files, by name."""
    with TemporaryDirectory() as directory:
        for name, text in texts.items():
            (Path(directory) / f"{name}.toml").write_text(text, encoding="utf-8")
        yield Path(directory)


def loaded(main, **others):
    texts = {name: text if isinstance(text, str) else text_of(text) for name, text in others.items()}
    with files(main=main if isinstance(main, str) else text_of(main), **texts) as folder:
        return load_graph(folder / "main.toml")


def split(raw, inner):
    """Two files that together say what one does: nodes of the first in the second, and where edges cross, ports."""
    outer = copy.deepcopy(raw)
    part = {
        "params": {"lanes": 1},
        "nodes": {name: outer["nodes"].pop(name) for name in inner},
        "edges": {},
        "ports": {},
    }
    outer["nodes"]["box"] = {"graph": "part.toml"}

    def seen(text, inside):
        node, _, port = text.partition(".")
        if inside or node not in inner:
            return text
        part["ports"][f"{node}_{port}"] = text
        return f"box.{node}_{port}"

    edges, outer["edges"] = outer["edges"], {}
    for key, value in edges.items():
        for edge in value if isinstance(value, list) else [value]:
            inside = {key.partition(".")[0], edge["to"].partition(".")[0]} <= set(inner)
            told = {**edge, "to": seen(edge["to"], inside)}
            (part if inside else outer)["edges"].setdefault(seen(key, inside), []).append(told)
    if any("lanes" in node for node in part["nodes"].values()):
        outer["nodes"]["box"]["lanes"] = "{lanes}"
    else:
        del part["params"]
    outer["workers"] = {
        worker: [f"box.{entry}" if entry.partition("[")[0] in inner else entry for entry in entries]
        for worker, entries in outer["workers"].items()
    }
    return outer, part


SWEPT = f"""
[params]
rate = 0.5
lanes = 2

[nodes.actor]
run = "{TYPES}actor"
game = "pong"
lanes = "{{lanes}}"
replicas = 2

[nodes.policy]
run = "{TYPES}policy"

[nodes.learner]
run = "{TYPES}learner"
rate = "{{rate}}"

[nodes.store]
run = "{TYPES}sink"
lanes = 2

[edges]
"actor.policy" = "policy.requests"
"actor.frames" = [{{ to = "learner.frames", mode = "copy" }}, {{ to = "store.frames", mode = "copy" }}]
"learner.weights" = "policy.weights"

[workers]
play = ["actor[0]", "policy", "store"]
"""


def swept(axes, more=""):
    grid = ", ".join(f"{name} = {values}" for name, values in axes.items())
    nodes = '["actor", "policy", "learner"]'
    return f"{SWEPT}\n[sweep.agents]\nnodes = {nodes}\ngrid = {{ {grid} }}\n{more}"


INNER = f"""
[params]
lanes = 2

[nodes.actor]
run = "{TYPES}actor"
game = "pong"
lanes = "{{lanes}}"

[nodes.policy]
run = "{TYPES}policy"

[edges]
"actor.policy" = "policy.requests"

[ports]
frames = "actor.frames"
weights = "policy.weights"

[workers]
play = ["actor", "policy"]

[until]
frames = 3

[profiles.wide.params]
lanes = 64
"""
OUTER = f"""
[params]
rate = 0.1

[nodes.agent]
graph = "inner.toml"
profile = "wide"

[nodes.learner]
run = "{TYPES}learner"
rate = "{{rate}}"

[edges]
"agent.frames" = "learner.frames"
"learner.weights" = "agent.weights"
"""
