"""`flow schema`: the JSON Schema of graph files, for editors."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from flow.graph.registry import known_types
from flow.graph.schema import graph_schema

EXAMPLE = """example:
  flow schema -o graph.schema.json

In an editor with a TOML language server, write at the top of a graph file:
  #:schema ./graph.schema.json
"""


def add(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register the command."""
    parser = subparsers.add_parser(
        "schema",
        help="print the JSON Schema of graph files, for editors",
        description="Print the JSON Schema of graph files with every node type that is found here.",
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("-o", "--output", metavar="FILE", type=Path, help="write to a file")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Print or write the schema."""
    types, broken = known_types()
    for name, reason in broken.items():
        print(f"flow schema: {name} is left out: {reason}", file=sys.stderr)
    text = json.dumps(graph_schema(types), indent=1, ensure_ascii=False)
    if arguments.output is None:
        print(text)
    else:
        arguments.output.write_text(text + "\n")
        print(f"wrote {arguments.output}, with {len(types)} node types")
    return 0
