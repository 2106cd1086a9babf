"""`flow stop`: end a live run, with everything saved."""

from __future__ import annotations

import argparse
import os
import signal
import sys
import time

from flow.errors import RunError
from flow.run_directory import RunDirectory, find_run

EXAMPLE = """example:
  flow stop                     the newest run of ./runs: drains, saves, ends
  flow stop laser_atari --now   at once, without draining
"""
LOOK_EVERY_S = 0.1
SAY_AFTER_S = 2.0
BETWEEN_SIGNALS_S = 0.5
"""Two signals of one kind that come together are one."""


def add(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register the command."""
    parser = subparsers.add_parser(
        "stop",
        help="end a live run; everything is saved first",
        description="End a live run as Ctrl-C does: it drains, saves a checkpoint and ends. Waits for that.",
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "name",
        nargs="?",
        metavar="RUN",
        help="name, beginning of a name or directory; else the newest, of ./runs if it has any",
    )
    parser.add_argument("--now", action="store_true", help="a second Ctrl-C: stop at once, lose what is under way")
    parser.add_argument("--wait", type=float, default=600.0, metavar="S", help="give up after S seconds [%(default)g]")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Stop the run and say what happened."""
    try:
        found = find_run(arguments.name, to_change=True)
        pid = found.owner()
        if pid is None:
            print(f"{found.name}: not alive, {_outcome(found)}")
            return 0
        return stop(found, pid, now=arguments.now, wait_s=arguments.wait)
    except RunError as error:
        print(f"flow stop: {error}", file=sys.stderr)
        return 2


def stop(found: RunDirectory, pid: int, *, now: bool, wait_s: float) -> int:
    """Signal the owner and wait until it no longer owns the run."""
    begin = time.monotonic()
    said = False
    _interrupt(found, pid)
    if now and not _wait_ended(found, pid, begin + BETWEEN_SIGNALS_S):
        _interrupt(found, pid)
    while not _wait_ended(found, pid, min(time.monotonic() + SAY_AFTER_S, begin + wait_s)):
        if time.monotonic() >= begin + wait_s:
            print(
                f"flow stop: {found.name} (process {pid}) is still alive after {wait_s:g} s; "
                f"`flow stop {found.name} --now` does not drain, `kill -9 {pid}` is the last resort",
                file=sys.stderr,
            )
            return 1
        if not said:
            print(f"{found.name}: told process {pid}; waiting until it has saved and ended", flush=True)
            said = True
    print(f"{found.name}: ended after {time.monotonic() - begin:.1f} s, {_outcome(found)}")
    return 0


def _interrupt(found: RunDirectory, pid: int) -> None:
    """Send SIGINT, if that process still owns the run.

    Raises:
      RunError: it belongs to another user.
    """
    if found.owner() != pid:
        return
    try:
        os.kill(pid, signal.SIGINT)
    except ProcessLookupError:
        return
    except PermissionError as error:
        raise RunError(f"{found.name}: process {pid} belongs to another user, who has to stop it") from error


def _wait_ended(found: RunDirectory, pid: int, until: float) -> bool:
    """Whether the process gave the run up before `until`."""
    while found.owner() == pid:
        if time.monotonic() >= until:
            return False
        time.sleep(LOOK_EVERY_S)
    return True


def _outcome(found: RunDirectory) -> str:
    """How it ended, as the run itself wrote down."""
    about = found.about()
    outcome, cause = about.get("outcome"), about.get("cause")
    if not outcome:
        return "without saying how" if "started" in about else "never started"
    return f"{outcome}: {cause}" if cause else f"{outcome}"
