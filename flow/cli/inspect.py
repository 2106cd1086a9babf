"""`flow inspect`: the live inspector, in the terminal or as a page in the browser."""

from __future__ import annotations

import argparse
from typing import NoReturn

from flow.errors import MissingError
from flow.run_directory import RunDirectory

EXAMPLE = """examples:
  flow inspect                  attaches to the newest run, also to one that has ended or was killed
  flow inspect laser            to the run whose name begins so
  flow inspect --web            the same as a page: prints a link that opens it, once, in a browser of this machine
  flow inspect --web --control  a page that may also pause, step, restart and change
"""


def add(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register the command."""
    parser = subparsers.add_parser(
        "inspect",
        help="look into a run: its graph, nodes, messages; pause, step, change it",
        description="The live inspector. It reads pages of counters; only what a key asks for is asked of the run.",
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "name",
        nargs="?",
        metavar="RUN",
        help="name, beginning of a name or directory; else the newest, of ./runs if it has any",
    )
    parser.add_argument("--web", action="store_true", help="serve a page to the browsers of this machine alone")
    parser.add_argument("--control", action="store_true", help="with --web: the page may change the run")
    parser.add_argument("--port", type=int, metavar="N", help="with --web: listen there; else wherever it is free")
    parser.set_defaults(run=run, parser=parser)


def run(arguments: argparse.Namespace) -> int:
    """Attach until the user leaves."""
    if not arguments.web and (arguments.control or arguments.port is not None):
        arguments.parser.error("--control and --port are for the page; add --web")
    if arguments.port is not None and not 0 <= arguments.port <= 65535:
        arguments.parser.error(f"--port: expected 0 to 65535, found {arguments.port}")
    from flow.run_directory import find_run

    # A key of the screen may change the run, and so may a page with --control.
    found = find_run(arguments.name, to_change=not arguments.web or arguments.control)
    return _page(found, arguments) if arguments.web else _terminal(found)


def _terminal(found: RunDirectory) -> int:
    try:
        from flow.inspect.terminal.app import Inspector
    except ModuleNotFoundError as error:
        _missing(error, ("textual",), "the inspector's screen is made with Textual", "inspect", found)
    inspector = Inspector(found)
    inspector.run()
    if inspector.lost is not None:
        raise inspector.lost
    return inspector.return_code or 0


def _page(found: RunDirectory, arguments: argparse.Namespace) -> int:
    try:
        from flow.inspect.web.serve import serve
    except ModuleNotFoundError as error:
        said = "the inspector's page is served by Starlette and Hypercorn"
        _missing(error, ("starlette", "hypercorn", "anyio"), said, "web", found)

    def say(link: str) -> None:
        may = "and may change it" if arguments.control else "; it may only look, --control lets it change the run"
        print(f"{found.name} as a page, for this machine alone {may}\n\n  {link}\n", flush=True)
        print("The link opens it once. Ctrl-C ends the page; the run goes on.", flush=True)

    serve(found, control=arguments.control, port=arguments.port or 0, say=say)
    return 0


def _missing(
    error: ModuleNotFoundError, packages: tuple[str, ...], said: str, extra: str, found: RunDirectory
) -> NoReturn:
    if error.name is None or error.name.partition(".")[0] not in packages:
        raise error
    how = f"pip install 'flow-research[{extra}]'"
    which = "which is not installed" if len(packages) == 1 else "which are not installed"
    raise MissingError(f"{said}, {which}; run: {how}. Without it: flow top {found.name}") from error
