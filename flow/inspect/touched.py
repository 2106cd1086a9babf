"""What somebody changed in a run while it ran: written down, so that a curve can be explained a month later.

logs/touched.jsonl   {"time": …, "level": "warning", "node": "learner-0", "text": "learning_rate: 0.001 -> 0.0001"}
"""

from __future__ import annotations

import json
from dataclasses import dataclass

from flow.logs import EventLog
from flow.run_directory import RunDirectory

NAME = "touched"


@dataclass(frozen=True)
class Touch:
    """One change by hand."""

    time: float
    """Wall time, seconds since 1970."""
    node: str
    text: str


def touch(run: RunDirectory, node: str, text: str, **more: object) -> None:
    """Write a change down; safe from several processes of the run."""
    with EventLog(run.logs, NAME) as log:
        log.warning(node, text, **more)


def touched_text(times: int) -> str:
    """Whether anybody changed a run while it ran, in words."""
    return "untouched" if not times else f"touched {times} time{'s' if times > 1 else ''}"


def touches(run: RunDirectory) -> list[Touch]:
    """All changes by hand, oldest first; a torn line is left out."""
    try:
        lines = (run.logs / f"{NAME}.jsonl").read_text(errors="replace").splitlines()
    except OSError:
        return []
    found = []
    for line in lines:
        try:
            fields = json.loads(line)
            found.append(Touch(float(fields["time"]), str(fields["node"]), str(fields["text"])))
        except (ValueError, KeyError, TypeError):
            continue
    return found
