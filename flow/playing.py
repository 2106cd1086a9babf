"""Play against what a run has learned: which run and checkpoint a graph means, and whether they fit each other.

    @node(play=Play("nodes.games.terminal:play", same=("game", "width")))
    async def learner(...)

A node type that keeps something a person can play against says which function does it, and which of its settings must
be those of the run that the checkpoint is of. What a game is, flow does not know.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flow import checkpoints
from flow.checkpoints import Checkpoint
from flow.errors import CheckpointError, GraphError, RunError
from flow.graph.load import load_graph
from flow.graph.model import Graph, GraphNode
from flow.node_files import import_named
from flow.run_directory import RunDirectory, find_run, find_runs


@dataclass(frozen=True)
class Asked:
    """What a node type's play function is given.

    graph: the graph file. nodes: type and settings of each node of it. settings: of the node that is played against.
    state: its part of the checkpoint. side: 0 where the person begins. simulations: what the person said, if anything.
    """

    graph: Path
    nodes: Sequence[tuple[str, Mapping[str, Any]]]
    settings: Mapping[str, Any]
    state: Mapping[str, Any]
    checkpoint: Checkpoint
    side: int
    simulations: int | None
    seed: int


@dataclass(frozen=True)
class Choice:
    """A run's checkpoint that fits a graph, and the node of it that is played against."""

    run: RunDirectory
    checkpoint: Checkpoint
    node: GraphNode


def choose(file: Path, graph: Graph, name: str | None) -> Choice:
    """The run of that name, or the newest of this graph that has a checkpoint.

    Args:
      file: the graph's, whose runs are looked for.
      name: a run's, as of `find_run`.

    Raises:
      RunError: no such run, or none with a checkpoint.
      CheckpointError: the checkpoint is of another game or network.
    """
    node = playable(file, graph)
    if name is not None:
        run = find_run(name)
        return Choice(run, _fitting(file, node, run), node)
    problems: list[str] = []
    for run in _runs_of(file):
        try:
            return Choice(run, _fitting(file, node, run), node)
        except RunError as error:  # CheckpointError too; an older one may fit
            problems.append(str(error))
    if problems:
        raise RunError(f"no run of {file} can be played against:\n" + "\n".join(f"  {each}" for each in problems))
    raise RunError(f"no run of {file} on this machine; start one: flow run {file}")


def playable(file: Path, graph: Graph) -> GraphNode:
    """The node of a graph that a person can play against.

    Raises:
      RunError: there is none.
    """
    for node in graph.nodes.values():
        if node.type.play is not None:
            return node
    raise RunError(f"{file}: none of its nodes can be played against; `flow play` takes graphs of board games")


def begin(choice: Choice, file: Path, graph: Graph, *, side: int, simulations: int | None, seed: int) -> None:
    """Play.

    Raises:
      CheckpointError: the node's state is not in it, or is damaged.
    """
    node = choice.node
    state, _ = checkpoints.read_state(choice.checkpoint.directory, f"{node.name}-0")
    if state is None:
        raise CheckpointError(f"{choice.checkpoint.directory}: holds nothing of node {node.name}; take another run")
    assert node.type.play is not None
    module, _, function = node.type.play.function.rpartition(":")
    play: Callable[[Asked], None] = getattr(import_named(module), function)
    nodes = [(each.type.name, each.settings) for each in graph.nodes.values()]
    play(Asked(file, nodes, node.settings, state, choice.checkpoint, side, simulations, seed))


def _runs_of(file: Path) -> list[RunDirectory]:
    """Runs that were started from a graph file of that name, newest first: those of ./runs, or else of this machine."""
    runs = [run for run in find_runs() if run.called_after(file.stem)]
    here = Path("runs").absolute()
    return [run for run in runs if run.path.parent == here] or runs


def _fitting(file: Path, node: GraphNode, run: RunDirectory) -> Checkpoint:
    """A run's newest checkpoint, if it is of the same game and network as the graph."""
    if not run.graph_file.is_file():
        raise RunError(f"{run.name}: has not begun to run yet")
    try:
        theirs = load_graph(run.graph_file).nodes.get(node.name)
    except GraphError as error:
        raise CheckpointError(
            f"{run.name}: its graph is no graph any more, of another version of flow perhaps: {error.problems[0]}"
        ) from error
    if theirs is None or theirs.type.name != node.type.name:
        found = theirs.type.name if theirs is not None else "none"
        raise CheckpointError(
            f"{run.name}: is of another graph: its node '{node.name}' is {found}, in {file} it is {node.type.name}"
        )
    assert node.type.play is not None
    differing = [
        f"{name} = {theirs.settings[name]!r} in the run, {node.settings[name]!r} in {file}"
        for name in node.type.play.same
        if theirs.settings[name] != node.settings[name]
    ]
    if differing:
        raise CheckpointError(
            f"{run.name}: its checkpoint is of another game or network: {'; '.join(differing)}; play the graph that it "
            f"ran: flow play {run.graph_file} --run {run.name}"
        )
    newest, problems = checkpoints.newest(run.checkpoints)
    if newest is None:
        why = problems[0] if problems else "one is taken each minute and at the end, and by `flow checkpoint`"
        raise RunError(f"{run.name}: has no checkpoint to play against; {why}")
    return newest
