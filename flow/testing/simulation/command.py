"""What `flow test --simulate` does, apart from reading its options."""

from __future__ import annotations

import argparse
import difflib
import json
import sys
import time
from pathlib import Path

from flow.errors import SettingError
from flow.testing.simulation import report
from flow.testing.simulation.faults import KINDS, USUAL
from flow.testing.simulation.many import Outcome, Request, simulate

RUNS = 100
_SAY_EVERY_S = 5.0


def run(arguments: argparse.Namespace) -> int:
    """Simulate each graph that is asked for. Returns 0, or 1 where something was wrong."""
    kinds = kinds_of(arguments.faults)
    if not arguments.target:
        raise SettingError("flow test --simulate: name a graph, graphs/laser_atari.toml for instance")
    runs, jobs = (
        _counted(option, value, otherwise)
        for option, value, otherwise in (("--runs", arguments.runs, RUNS), ("--jobs", arguments.jobs, 1))
    )
    requests = [
        Request(
            Path(target),
            arguments.profile,
            tuple(arguments.sets),
            arguments.seed,
            runs,
            kinds,
            arguments.check,
            min(jobs, runs),
        )
        for target in arguments.target
    ]
    outcomes = [simulate(request, Saying()) for request in requests]
    if arguments.json:
        print(json.dumps([report.json_of(outcome) for outcome in outcomes], indent=1))
    else:
        print("\n".join(report.text_of(outcome) for outcome in outcomes))
    return 1 if any(outcome.failures for outcome in outcomes) else 0


def _counted(option: str, value: int | None, otherwise: int) -> int:
    if value is not None and value < 1:
        raise SettingError(f"{option} {value}: expected 1 or more")
    return value or otherwise


class Saying:
    """Says now and then how far it is: over and over in one line on a terminal, else rarely."""

    def __init__(self) -> None:
        self._said = time.monotonic()

    def __call__(self, outcome: Outcome) -> None:
        terminal = sys.stderr.isatty()
        if time.monotonic() - self._said > _SAY_EVERY_S * (0.1 if terminal else 1.0):
            self._said = time.monotonic()
            print(report.progress_of(outcome), file=sys.stderr, end="\r" if terminal else "\n", flush=True)


def kinds_of(asked: str | None) -> tuple[str, ...]:
    """The kinds of faults that an option names, with commas; "" for the usual ones, None for none.

    Raises:
      SettingError: there is no such kind.
    """
    if asked is None:
        return ()
    if not asked:
        return USUAL
    kinds = tuple(kind.strip() for kind in asked.split(","))
    for kind in kinds:
        if kind not in KINDS:
            near = difflib.get_close_matches(kind, KINDS, n=1)
            hint = f"did you mean '{near[0]}'?" if near else "name the graph before --faults"
            raise SettingError(f"--faults {asked}: '{kind}' is no kind of fault; {hint} Kinds: {', '.join(KINDS)}")
    return kinds
