"""`flow check`: whether graph files can run, every mistake at once."""

from __future__ import annotations

import argparse
import json
from typing import Any

from flow.errors import GraphError
from flow.graph import Graph, check_memory, load_graph, memory_bound, place
from flow.graph.bound import readable
from flow.graph.cuts import not_as_before
from flow.graph.hosts import host_of_worker
from flow.graph.model import HOME

EXAMPLE = """example:
  flow check graphs/*.toml
  flow check graphs/laser_atari.toml --profile paper --set game=breakout
"""


def add(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register the command."""
    parser = subparsers.add_parser(
        "check",
        help="find every mistake in graph files, without running them",
        description="Find every mistake in graph files, each with its place and a mend. Says which nodes of a resumed "
        "run go on otherwise than if it had never been stopped. Runs nothing.",
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("graphs", nargs="+", metavar="GRAPH", help="graph files")
    add_variant(parser)
    parser.add_argument("--json", action="store_true", help="one JSON array, for scripts")
    parser.set_defaults(run=run)


def add_variant(parser: argparse._ActionsContainer) -> None:
    """The options that choose a variant of a graph."""
    parser.add_argument("--profile", metavar="NAME", help="one of the file's profiles")
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", dest="sets", help="change a param; can be repeated"
    )


def run(arguments: argparse.Namespace) -> int:
    """Check each file and say what was found."""
    rows = [_checked(path, arguments.profile, arguments.sets) for path in arguments.graphs]
    if arguments.json:
        print(json.dumps(rows, indent=1))
    else:
        for row in rows:
            _print(row)
    return 0 if all(row["ok"] for row in rows) else 1


def _checked(path: str, profile: str | None, sets: list[str]) -> dict[str, Any]:
    try:
        graph = load_graph(path, profile=profile, sets=sets)
        check_memory(graph)
    except GraphError as error:
        return {"file": path, "ok": False, "problems": error.problems}
    return {"file": path, "ok": True, **_facts(graph)}


def _facts(graph: Graph) -> dict[str, Any]:
    return {
        "nodes": len(graph.nodes),
        "replicas": sum(node.replicas for node in graph.nodes.values()),
        "edges": len(graph.edges),
        "workers": list(place(graph)),
        "hosts": host_of_worker(graph) if graph.hosts else {},
        "open_ports": list(graph.ports),
        "memory_bound_bytes": memory_bound(graph),
        "resumed_otherwise": not_as_before(graph),
    }


def _print(row: dict[str, Any]) -> None:
    if not row["ok"]:
        count = len(row["problems"])
        # All on one stream, so that what a pipe or a file gets is whole and in order: problems are what was asked for.
        print(f"{row['file']}: {count} problem{'s' if count > 1 else ''}")
        print("\n\n".join(row["problems"]) + "\n")
        return
    left = f", open: {', '.join(row['open_ports'])}" if row["open_ports"] else ""
    replicas = f" ({row['replicas']} replicas)" if row["replicas"] > row["nodes"] else ""
    print(
        f"{row['file']}: ok, {_count(row['nodes'], 'node')}{replicas}, {_count(row['edges'], 'edge')}, "
        f"{_count(len(row['workers']), 'worker')} ({', '.join(_placed(row))}), "
        f"edges hold at most {readable(row['memory_bound_bytes'])}{left}"
    )
    reasons: dict[str, list[str]] = {}
    for node, why in row["resumed_otherwise"].items():
        reasons.setdefault(why, []).append(node)
    for why, nodes in reasons.items():
        print(f"  if the run is resumed, {', '.join(nodes)} {'go' if nodes[1:] else 'goes'} on otherwise: {why}")


def _placed(row: dict[str, Any]) -> list[str]:
    """The workers, those that live elsewhere with their host."""
    hosts = {worker: host for worker, host in row["hosts"].items() if host != HOME}
    return [f"{worker} on {hosts[worker]}" if worker in hosts else worker for worker in row["workers"]]


def _count(number: int, thing: str) -> str:
    return f"{number} {thing}{'' if number == 1 else 's'}"
