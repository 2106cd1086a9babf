"""What must hold when the nemesis has gone: everything acknowledged is stored once and true, and nothing is left."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from flow import checkpoints, ledger
from flow.run_directory import RunDirectory
from tools.chaos.nodes import columns_of, open_store
from tools.chaos.world import World

MEMORY_MAX = 2 << 30
# What nodes raise is logged, and there the word is not the first of its line.
_RAISED = re.compile(r"^(  \+ Exception Group )?Traceback", re.MULTILINE)


def violations(world: World) -> Iterator[str]:
    """What is wrong with a run that has ended."""
    left = world.gone()
    if left:
        yield f"outlived the run: {left}"
    world.end_all()
    run = world.run
    if run is None:
        yield "there is no run directory"
        return
    yield from stored_wrongly(run.path / "nodes" / "replay-0" / "replay", world.acknowledged)
    yield from ledger.problems(ledger.edge_counts(run.state))
    yield from left_behind(run)
    _, problems = checkpoints.newest(run.checkpoints)
    yield from problems
    for output in world.outputs:
        text = output.read_text(errors="replace")
        raised = _RAISED.search(text)
        if raised:
            yield f"{output.name}: the supervisor raised: …{text[raised.start() :][:3000]}"


def stored_wrongly(store: Path, acknowledged: Path) -> Iterator[str]:
    """What of the store is not as it was acknowledged and sent."""
    lines = [tuple(map(int, line.split())) for line in acknowledged.read_text().splitlines()]
    doubled = [line for line, times in Counter(lines).items() if times > 1]
    if doubled:
        yield f"acknowledged twice: {doubled[:5]} of {len(doubled)}"
    with open_store(store) as replay:
        known: Counter[int] = Counter()
        for stream, start, stop in lines:
            known[stream] += stop - start
        appended = {stream: steps for stream, _, _, steps in replay._log.streams()}
        lost = [stream for stream, steps in known.items() if appended.get(stream, 0) < steps]
        if lost:
            yield f"acknowledged and never stored: of streams {lost[:5]}"
        # The oldest go first: after the first that is still there all are.
        held = {(entry.stream, entry.start) for _, entry in replay._log.entries()}
        there = [(stream, start) in held for stream, start, _ in lines]
        gone = [line for line, is_there in zip(lines, there, strict=True) if not is_there]
        early = there.index(True) if True in there else len(there)
        if len(gone) > early:
            yield f"acknowledged and not stored: {gone[early:][:5]} of {len(gone) - early}"
        for number, entry in replay._log.entries():
            columns = replay.read(entry.stream, entry.start, entry.start + entry.steps)
            for name, wanted in columns_of(entry.stream, entry.start, entry.start + entry.steps).items():
                if not np.array_equal(columns[name], wanted):
                    yield f"chunk {number}: {name} of stream {entry.stream} from step {entry.start} was not sent so"


def left_behind(run: RunDirectory) -> Iterator[str]:
    """Sockets and unfinished files that an ended run has no more use for."""
    sockets = run.sockets  # asking makes the directory
    names = [path.name for path in sockets.iterdir()]
    if names:
        yield f"sockets left: {names}"
    else:
        sockets.rmdir()
    for pattern in ("*.part", ".*.*", "nodes/*/*.part", "checkpoints/*.part"):
        found = [str(path.relative_to(run.path)) for path in run.path.glob(pattern)]
        if found:
            yield f"unfinished files left: {found[:5]} of {len(found)}"
