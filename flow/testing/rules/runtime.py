"""C18-C21: time, the loop it shares, what it opens, and live settings."""

from __future__ import annotations

import gc
import itertools
import os
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

from flow.node_type import NodeType
from flow.setting import Setting
from flow.testing.case import BEFORE, Case
from flow.testing.cases import Wants
from flow.testing.compare import difference
from flow.testing.rules.rule import BrokenError, Rule, Subject, UnfitError, always
from flow.testing.rules.said import otherwise
from flow.testing.surroundings import Surroundings
from flow.testing.trial import How

# So many trials in a row must each leave more behind before it is called a leak.
TRIALS = 4


def knows_one_clock(subject: Subject) -> None:
    one = subject.plain()
    mad = subject.play(How(surroundings=Surroundings(wall=True, module=subject.type.function.__module__)))
    if mad.complaints:
        raise BrokenError(mad.complaints[0])
    if mad.error is not None or mad.stuck:
        raise BrokenError(f"when the clock on the wall jumps, what went well fails: {mad.error or mad.stuck}")
    if where := otherwise(subject, one, mad):
        raise BrokenError(f"when the clock on the wall jumps it says something else: {where}; use trio.current_time()")


def lets_others_run(subject: Subject) -> None:
    record = subject.play()
    if "step after step" in record.stuck or "loop back" in record.stuck:
        raise BrokenError(f"it gives the loop no rest: {record.stuck}")
    if not record.hogs:
        return
    again = subject.play()
    both = {step: min(took, again.hogs[step]) for step, took in record.hogs.items() if step in again.hogs}
    # A third time: the first may import and compile, and another program may have had the core.
    both = {step: took for step, took in both.items() if step in subject.play().hogs}
    if both:
        step, took = max(both.items(), key=lambda item: item[1])
        raise BrokenError(
            f"step {step} computes for {1000 * took:.0f} ms without giving the loop back; `await compute(…)` does "
            "it in a thread"
        )


def gives_back(subject: Subject) -> None:
    subject.plain()
    counts = []
    for _ in range(TRIALS):
        subject.play(How())
        counts.append(_open())
    for what in counts[0]:
        numbers = [count[what] for count in counts]
        if all(after > before for before, after in itertools.pairwise(numbers)):
            gc.collect()
            left = _open()[what]
            if left > numbers[0]:
                raise BrokenError(f"each run leaves more {what} behind: {', '.join(map(str, numbers))}")


def _open() -> dict[str, int]:
    children = Path(f"/proc/self/task/{os.getpid()}/children")
    return {
        "open files": len(os.listdir("/proc/self/fd")),
        "threads": threading.active_count(),
        "child processes": len(children.read_text().split()) if children.exists() else 0,
    }


def follows_settings(subject: Subject) -> None:
    """A live setting that is changed before the first message counts as if it had been so from the start."""
    case = _later(subject.case)
    names = [name for name, setting in subject.type.settings.items() if setting.live]
    name = names[subject.case.choice(0) % len(names)]
    setting = subject.type.settings[name]
    now = subject.case.settings.get(name, setting.default)
    other = _another(setting, now, subject.case.choice(1))
    if other is None:
        raise UnfitError
    subject.plain()
    begun = subject.sound(subject.play(case=replace(case, settings={**case.settings, name: other})))
    changed = subject.play(How(live={name: (0.5, other)}), case=case)
    if changed.error is not None or changed.stuck:
        raise BrokenError(f"{name} changed from {now} to {other} while it runs, and {changed.error or changed.stuck}")
    if where := difference(begun.said(), changed.said(), subject.type.promises):
        raise BrokenError(
            f"{name} changed from {now} to {other} before the first message, and it does not follow: {where}; read "
            "`.value` each time it is used"
        )


def _later(case: Case) -> Case:
    return case.fed(
        {
            port: [(at if at <= BEFORE else at + 1.0, message) for at, message in items]
            for port, items in case.inputs.items()
        }
    )


def _another(setting: Setting, now: Any, which: int) -> Any:
    """Another value that the setting takes, None if there is none."""
    bounds = setting.bounds
    found: list[Any] = list(setting.choices)
    if setting.kind == "bool":
        found = [not now]
    elif setting.kind in ("int", "float"):
        kind = int if setting.kind == "int" else float
        ends = [end for end in (bounds.low, bounds.high) if end is not None]
        found = [kind(value) for value in (*ends, now + 1, now * 2, now / 2) if bounds.holds(kind(value))]
    found = [value for value in found if value != now]
    return found[which % len(found)] if found else None


def _live_applies(node_type: NodeType[Any]) -> str:
    if not any(setting.live for setting in node_type.settings.values()):
        return "it has no Live setting"
    kinds = {port.kind for port in node_type.ports.values()}
    return "" if kinds & {"In", "Serve"} else "it has no input before which a setting could change"


RULES = (
    Rule("C18", "it knows no time but trio's: no clock on the wall, no time.sleep", knows_one_clock, always),
    Rule("C19", "it lets others run: no long computation in the loop, no spinning", lets_others_run, always),
    Rule("C20", "files, threads and processes are back to where they were when it has ended", gives_back, always),
    Rule("C21", "a live setting that is changed counts", follows_settings, _live_applies, Wants(least=2)),
)
