"""What comes to home of a host's files: pages, logs and state for checkpoints; and the state that goes out to it.

A host may write copies of its own nodes' pages and state, and logs; nothing else of what it names is touched.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import lz4.frame
import trio

from flow import checkpoints
from flow.control import Words
from flow.hosts import mirror
from flow.hosts.channel import CHUNK
from flow.logs import EventLog
from flow.plan import Plan
from flow.run_directory import RunDirectory

_UNFINISHED = re.compile(r"\d{6,}(\.\d+)?\.part")


class Inflow:
    """The files of a run that other hosts have a part in."""

    def __init__(self, plan: Plan, directory: RunDirectory, log: EventLog) -> None:
        self._plan, self._directory, self._log = plan, directory, log
        self._problems: dict[str, list[str]] = {}  # by host, of the checkpoint that comes in
        self._told: set[str] = set()

    def _keys(self, host: str) -> set[str]:
        return {node.key for worker in self._plan.workers if worker.host == host for node in worker.nodes}

    def _pages(self, host: str) -> list[Path]:
        nodes = [node for worker in self._plan.workers if worker.host == host for node in worker.nodes]
        return [self._directory.page_file(node.name, node.replica) for node in nodes]

    def pages(self, host: str) -> dict[str, bytes]:
        """Copies of a host's pages from before: a host that has none goes on counting from them."""
        return {path.name: lz4.frame.compress(path.read_bytes()) for path in self._pages(host) if path.exists()}

    def gone(self, worker: str) -> None:
        """A worker is gone: its pages say so."""
        for node in self._plan.worker(worker).nodes:
            mirror.mark_gone(self._directory.page_file(node.name, node.replica))

    def take(self, host: str, words: Words) -> None:
        """Write what came of a host's files.

        Raises:
          ValueError: it is no file that the host may write.
        """
        try:
            match words["say"]:
                case "page":
                    path = next((path for path in self._pages(host) if path.name == words["name"]), None)
                    if path is None:
                        raise ValueError(f"{words['name']!r:.100} is no page of host {host}")
                    mirror.apply(path, words["text"])
                case "log":
                    if not mirror.is_log(words["name"]):
                        raise ValueError(f"{words['name']!r:.100} is no log")
                    mirror.append(self._directory.logs, words["name"], words["text"])
                case "state":
                    self._take_state(host, words)
                case other:
                    raise ValueError(f"{other!r:.100} is nothing that a host says")
        except OSError as error:
            text = f"what host {host} sends cannot be written: {error}"
            if text not in self._told:  # a full disk would be filled by saying so
                self._told.add(text)
                self._log.error("", text)

    def _take_state(self, host: str, words: Words) -> None:
        checkpoint, name = words["checkpoint"], words["name"]
        own = isinstance(name, str) and any(name.startswith(f"{key}.") for key in self._keys(host))
        if not own or "/" in name or not _UNFINISHED.fullmatch(checkpoint):
            raise ValueError(f"{checkpoint!r:.100}/{name!r:.100} is no state of host {host}")
        folder = self._directory.checkpoints / checkpoint
        if not folder.is_dir():  # it was given up
            return
        try:
            with (folder / name).open("wb" if words["first"] else "ab") as file:
                file.write(words["text"])
        except OSError as error:
            self._problems.setdefault(host, []).append(f"{name}: {error}")

    def reply(self, host: str, words: Words) -> Words:
        """What a worker of a host said, with what went wrong on the way."""
        if words.get("say") == "checkpointed":
            words["problems"] = [*words["problems"], *self._problems.pop(host, [])]
        return words

    async def state_for(self, words: Words) -> AsyncIterator[Words]:
        """The state that a node is to begin with, in pieces, before it is told to."""
        if not words.get("restore"):
            return
        newest, node = Path(words["restore"]), words["node"]
        places = [newest]
        if not await trio.to_thread.run_sync(checkpoints.is_whole, newest, node):
            # As a worker of this host would: with that of an older one.
            older = [path for path in newest.parent.glob("[0-9]*[0-9]") if path.name < newest.name]
            places += sorted(older, reverse=True)
        for place in places:
            own = sorted(path.name for path in place.glob(f"{node}.*"))
            for name in (checkpoints.MANIFEST, *own):
                for first, text in pieces(place / name):
                    yield {"do": "state", "checkpoint": place.name, "name": name, "first": first, "text": text}


def pieces(path: Path) -> Iterator[tuple[bool, bytes]]:
    """A file in pieces, each with whether it is the first; none where there is no such file."""
    if not path.exists():
        return
    first = True
    with path.open("rb") as file:
        while (text := file.read(CHUNK)) or first:
            yield first, text
            first = False
