"""What many simulated runs came to, for people and for scripts."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from typing import Any

from flow.testing.simulation.many import Failure, Outcome, Request

_EVENTS_SHOWN = 25
_LINES_SHOWN = 12


def text_of(outcome: Outcome) -> str:
    """A few lines, and for each failing seed what was wrong and how to see it again."""
    return "\n".join([*_failures(outcome), *_summary(outcome)])


def progress_of(outcome: Outcome) -> str:
    """One line while it goes on."""
    rate = outcome.runs / max(outcome.real_seconds, 1e-9) * 60
    return (
        f"{outcome.runs} of {outcome.request.runs} runs, {rate:.0f} a minute, {sum(outcome.injected.values())} faults"
    )


def _summary(outcome: Outcome) -> Iterator[str]:
    request = outcome.request
    last = request.seed + outcome.runs - 1
    ratio = outcome.virtual_seconds / max(outcome.real_seconds, 1e-9)
    yield (
        f"{request.graph}: {outcome.runs} runs, seeds {request.seed} to {last}, "
        f"{_counted(outcome.ended, 'none ended')}; {outcome.messages} messages"
    )
    yield f"faults: {_counted(outcome.injected, 'none')}"
    yield (
        f"{outcome.real_seconds:.1f} s, {outcome.runs / max(outcome.real_seconds, 1e-9) * 60:.0f} runs a minute, "
        f"{ratio:.1f} virtual seconds a second; {len(outcome.again)} runs were made twice and compared"
    )
    stopped = "interrupted: " if outcome.interrupted else ""
    yield stopped + (f"{len(outcome.failures)} failing seeds" if outcome.failures else "no violation")


def _counted(counts: Any, none: str) -> str:
    return ", ".join(f"{count} {name}" for name, count in sorted(counts.items())) or none


def _failures(outcome: Outcome) -> Iterator[str]:
    for failure in outcome.failures:
        yield f"seed {failure.seed}"
        for violation in failure.result.violations[:3]:
            yield f"  {violation.rule}: {_set_in(violation.text)}"
        yield f"  faults that it takes, of {len(failure.faults)}:"
        yield from (f"    {fault}" for fault in failure.result.faults or ("none",))
        yield "  the last events, in virtual seconds:"
        timeline = failure.result.violations[0].timeline if failure.result.violations else ()
        yield from (f"    {line}" for line in timeline[-_EVENTS_SHOWN:])
        yield f"  see it again: {command_of(outcome.request, failure.seed)}"
        yield ""


def _set_in(text: str) -> str:
    lines = text.strip().split("\n")
    if len(lines) > _LINES_SHOWN:  # of a trace, where it began and what it was
        lines = [*lines[:2], "…", *lines[-_LINES_SHOWN:]]
    return "\n    ".join(lines)


def command_of(request: Request, seed: int) -> str:
    """What shows a seed again."""
    words = ["flow", "test", "--simulate", str(request.graph)]
    if request.profile:
        words += ["--profile", request.profile]
    for change in request.sets:
        words += ["--set", change]
    if request.kinds:
        words += ["--faults", ",".join(request.kinds)]
    if request.check:
        words += ["--check", request.check]
    return shlex.join([*words, "--seed", str(seed), "--runs", "1"])


def json_of(outcome: Outcome) -> dict[str, Any]:
    """The same for scripts."""
    return {
        "graph": str(outcome.request.graph),
        "seed": outcome.request.seed,
        "runs": outcome.runs,
        "compared": len(outcome.again),
        "interrupted": outcome.interrupted,
        "messages": outcome.messages,
        "faults": dict(outcome.injected),
        "ended": dict(outcome.ended),
        "virtual_seconds": outcome.virtual_seconds,
        "real_seconds": outcome.real_seconds,
        "digests": {str(seed): digest for seed, digest in outcome.digests.items()},
        "failures": [_failure(outcome.request, failure) for failure in outcome.failures],
    }


def _failure(request: Request, failure: Failure) -> dict[str, Any]:
    return {
        "seed": failure.seed,
        "violations": [
            {"rule": violation.rule, "text": violation.text, "timeline": list(violation.timeline)}
            for violation in failure.result.violations
        ],
        "faults": [str(fault) for fault in failure.faults],
        "shrunk": [str(fault) for fault in failure.result.faults],
        "command": command_of(request, failure.seed),
    }
