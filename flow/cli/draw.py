"""`flow draw`: a graph as a picture."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from flow.cli.check import add_variant
from flow.graph import load_graph
from flow.graph.draw import draw

EXAMPLE = """example:
  flow draw graphs/laser_atari.toml -o laser.svg
"""


def add(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register the command."""
    parser = subparsers.add_parser(
        "draw",
        help="draw a graph as an SVG picture",
        description="Draw a graph as an SVG picture, light or dark as the viewer is. Runs nothing.",
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("graph", metavar="GRAPH", help="a graph file")
    parser.add_argument("-o", "--output", metavar="FILE", type=Path, help="write to a file; printed if not given")
    add_variant(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Print or write the picture."""
    output: Path | None = arguments.output
    if output is not None and output.suffix.lower() != ".svg" and output.suffix:
        text = f"flow draw: {output}: the picture is an SVG, no {output.suffix}; write -o {output.with_suffix('.svg')}"
        print(f"{text}, and turn that into another with a browser or rsvg-convert", file=sys.stderr)
        return 2
    picture = draw(load_graph(arguments.graph, profile=arguments.profile, sets=arguments.sets, packages=False))
    if arguments.output is None:
        print(picture, end="")
        return 0
    try:
        arguments.output.write_text(picture, encoding="utf-8")
    except OSError as error:
        print(f"flow draw: {arguments.output} cannot be written: {error.strerror or error}", file=sys.stderr)
        return 2
    print(f"wrote {arguments.output}")
    return 0
