"""Torments a small LASER graph in real processes, and then looks whether anything was lost, doubled or left.

    python -m tools.chaos --minutes 5 --seed 1

It needs no rights but those of `unshare`: the run lies on a small file system in a namespace of its own. Exit status
1 on a violation; the seed gives the same choices again, though not the same instants.
"""

from __future__ import annotations

import argparse
import os
import random
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from tools.chaos import judge
from tools.chaos.nemesis import ENDS_RUNS, FAULTS, left_of_viewers
from tools.chaos.world import World

INSIDE = "FLOW_CHAOS_INSIDE"
DISK_BYTES = 96 << 20
FLOWS_S = 60.0
# Under faults alone nothing may come for a while: fork servers import anew, workers wait for each other.
STARVED_S = 120.0


class Timeline:
    """Says what happened, with the second it happened at."""

    def __init__(self) -> None:
        self.began = time.monotonic()
        self.violations: list[str] = []
        self.done: Counter[str] = Counter()

    def say(self, text: str) -> None:
        print(f"{time.monotonic() - self.began:8.2f} s  {text}", flush=True)

    def violation(self, text: str) -> None:
        self.violations.append(text)
        self.say(f"VIOLATION: {text}")


def torment(world: World, arguments: argparse.Namespace, timeline: Timeline) -> int:
    """Make faults until the time is over; returns the most bytes that its processes had."""
    rng = random.Random(arguments.seed)
    kinds = arguments.only or list(FAULTS)
    memory, last = 0, ""
    until = time.monotonic() + 60 * arguments.minutes
    flowed = time.monotonic()
    before = world.counter("updates")
    while time.monotonic() < until and not timeline.violations:
        time.sleep(rng.uniform(*arguments.every))
        if not world.alive:
            timeline.say(f"the run ended after {last}: {world.outputs[-1].read_text(errors='replace')[-200:]!r}")
            if last not in ENDS_RUNS:
                timeline.violation(f"the run ended after {last}")
            world.start()
        kind = rng.choice(kinds)
        if world.run is None or not world.alive:
            continue
        try:
            whom = FAULTS[kind](world, rng)
        except AssertionError as error:
            timeline.violation(f"{kind}: {error}")
            break
        if whom:
            timeline.done[kind] += 1
            timeline.say(f"{kind}: {whom}")
            last = kind if kind in ENDS_RUNS or last not in ENDS_RUNS or world.alive else last
        memory = max(memory, world.memory())
        if (now := world.counter("updates")) > before:
            before, flowed = now, time.monotonic()
        elif time.monotonic() - flowed > STARVED_S:
            timeline.violation(f"nothing was learned for {STARVED_S:g} s")
    return memory


def quiet(world: World, timeline: Timeline) -> None:
    """No more faults: it must flow again, and end when it is asked to."""
    assert world.process is not None
    if not world.alive:
        world.start()
    took = world.flows(FLOWS_S)
    if took is None:
        timeline.violation(f"not everything flowed again in {FLOWS_S:g} s of quiet")
    else:
        timeline.say(f"quiet: all flows again after {took:.1f} s")
    os.kill(world.supervisor, signal.SIGINT)
    try:
        status = world.process.wait(timeout=30)
        if status:
            timeline.violation(f"ended with status {status}: {world.outputs[-1].read_text()[-300:]}")
    except subprocess.TimeoutExpired:
        timeline.violation("not ended 30 s after Ctrl-C")


def main() -> int:
    """Parse, torment, judge, tell."""
    parser = argparse.ArgumentParser(prog="python -m tools.chaos", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--minutes", type=float, default=1.0)
    parser.add_argument("--seed", type=int, default=secrets.randbelow(1 << 31))
    parser.add_argument("--every", type=float, nargs=2, default=(0.5, 3.0), metavar="S", help="pause between faults")
    parser.add_argument("--only", nargs="+", choices=list(FAULTS), help="these kinds alone")
    parser.add_argument("--keep", type=Path, help="where to copy the run's directory when something is wrong")
    arguments = parser.parse_args()
    if INSIDE not in os.environ:
        own = ["unshare", "--mount", *(["--map-root-user"] if os.getuid() else [])]
        arguments_again = [*sys.argv[1:], *([] if "--seed" in sys.argv else ["--seed", str(arguments.seed)])]
        command = [*own, sys.executable, "-m", "tools.chaos", *arguments_again]
        return subprocess.run(command, env={**os.environ, INSIDE: "1"}, check=False).returncode
    timeline = Timeline()
    timeline.say(f"seed {arguments.seed}, {len(arguments.only or FAULTS)} kinds of fault")
    with tempfile.TemporaryDirectory(prefix="flow-chaos-") as folder:
        disk = Path(folder) / "disk"
        disk.mkdir()
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "none", str(disk)], check=True)
        try:
            return _whole(World(Path(folder), disk, secrets.token_hex(8)), arguments, timeline)
        finally:
            subprocess.run(["umount", "--lazy", str(disk)], check=True)


def _whole(world: World, arguments: argparse.Namespace, timeline: Timeline) -> int:
    world.start()
    try:
        if world.run is None and world.flows(60.0, 50) is None:
            timeline.violation("the run did not begin")
        memory = torment(world, arguments, timeline)
        quiet(world, timeline)
        for text in judge.violations(world):
            timeline.violation(text)
        if memory > judge.MEMORY_MAX:
            timeline.violation(f"{memory} bytes of memory, at most {judge.MEMORY_MAX} are expected")
        if left_of_viewers(world):
            timeline.violation("a viewer is left")
        timeline.say(f"memory: {memory / 2**20:.0f} MiB at most; stored: {world.counter('stored')} steps")
        if timeline.violations and arguments.keep and world.run is not None:
            shutil.copytree(world.run.path, arguments.keep, dirs_exist_ok=True, ignore_dangling_symlinks=True)
            for output in world.outputs:
                shutil.copy(output, arguments.keep)
    finally:
        world.end_all()
    for kind, times in sorted(timeline.done.items()):
        timeline.say(f"{times:5d}  {kind}")
    told = f"{sum(timeline.done.values())} faults of {len(timeline.done)} kinds"
    timeline.say(f"{told}, {len(timeline.violations)} violations; seed {arguments.seed}")
    return 1 if timeline.violations else 0


if __name__ == "__main__":
    sys.exit(main())
