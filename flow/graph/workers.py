"""The `[workers]` table: who shares a process."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from typing import Any

from flow.graph.members import Member, Members
from flow.graph.model import hosted_replicas
from flow.graph.params import NAME
from flow.graph.problems import Problems, described

WORKER_MAX = 50
"""Bytes of a worker's name: it is in the path of a socket, which holds 107."""
Workers = dict[str, tuple[str, ...]]


def read_workers(
    raw: dict[str, Any], members: Members, broken: Collection[str], problems: Problems, *, resolved: bool
) -> Workers:
    """Each worker's entries, by names of the whole graph; a name that stands for several becomes an entry for each."""
    workers: Workers = {}
    owner: dict[tuple[str, int], str] = {}
    for worker, entries in raw.items():
        if not (resolved or re.fullmatch(NAME, worker)):
            problems.add("workers", worker, "is no name of a worker; use letters, digits and _")
        elif not isinstance(entries, list) or not entries or any(type(entry) is not str for entry in entries):
            problems.add("workers", worker, f'expected a list of nodes, as in ["actor"], found {described(entries)}')
        else:
            good = [entry for entry in entries if re.split(r"[.\[]", entry, maxsplit=1)[0] not in broken]
            workers[worker] = tuple(
                one for entry in good for one in _host(worker, entry, members, owner, problems)
            )  # fmt: skip
    return {worker: entries for worker, entries in workers.items() if entries}


def _host(
    worker: str, entry: str, members: Members, owner: dict[tuple[str, int], str], problems: Problems
) -> list[str]:
    """What an entry stands for."""
    name, bracket, number = entry.partition("[")
    places = _placeable(members.values())
    if not re.fullmatch(r"[\w.,=+@-]+(\[\d+\])?", entry):
        problems.add("workers", worker, f'\'{entry}\' is no node; write "actor", or "actor[0]" for one replica')
        return []
    if name not in places:
        problems.unknown("workers", worker, f"there is no node '{name}'", name, places)
        return []
    found = []
    for node, replicas in places[name].items():
        try:
            hosted = hosted_replicas(f"{node}{bracket}{number}", places[name])
        except IndexError:
            text = f"there is no replica {entry}: {name} has {replicas}, counted from 0"
            problems.add("workers", worker, text)
            return []
        for one in hosted:
            if one in owner:
                shown = name if replicas == 1 else f"{name}[{one[1]}]"
                twice = "twice in it" if owner[one] == worker else f"in worker '{owner[one]}' too"
                problems.add("workers", worker, f"'{shown}' is {twice}; a replica lives in one worker")
                return []
            owner[one] = worker
        found.append(f"{node}{bracket}{number}")
    return found


def _placeable(members: Iterable[Member]) -> dict[str, dict[str, int]]:
    return {place: nodes for member in members for place, nodes in member.places.items()}


def merge_workers(own: Workers, included: Workers, replicas: Mapping[str, int]) -> Workers:
    """With the workers of an included graph, less what this one places itself."""
    placed = {one for entries in own.values() for entry in entries for one in hosted_replicas(entry, dict(replicas))}
    merged = dict(own)
    for worker, entries in included.items():
        left: list[str] = []
        for entry in entries:
            hosted = hosted_replicas(entry, dict(replicas))
            free = [one for one in hosted if one not in placed]
            left += [entry] if len(free) == len(hosted) else [f"{name}[{replica}]" for name, replica in free]
        if left:
            merged[worker] = (*merged.get(worker, ()), *left)
    return merged


def check_names(workers: Workers, problems: Problems) -> None:
    """Refuse names that a socket's path has no room for."""
    for worker in workers:
        if len(worker.encode()) > WORKER_MAX:
            text = f"is longer than {WORKER_MAX} bytes, which the path of its socket has no room for"
            problems.add("workers", worker, f"{text}; give it a shorter name")
