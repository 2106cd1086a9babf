"""Records what passes a port of a live run to disk, to be played into a node later: `flow record`, `flow replay`.

    node ── port ── tap ──► here ──► RecordingWriter

The tap drops what this end is too slow for, as any tap does; how many is written into the recording, where they are
missing. A recording ends before the disk is full: by default it lies where the run writes, which needs room more.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flow.errors import ControlError, DiskFullError
from flow.graph.model import End
from flow.inspect.protocol import split_port
from flow.inspect.resolved import receivers_of, resolved_graph
from flow.inspect.samples import Sample, SampledArray, message_of
from flow.inspect.session import Session
from flow.message import Message
from flow.run_directory import RunDirectory

if TYPE_CHECKING:
    from storage.recording import RecordingWriter

BYTES_MAX = 64 << 20
"""Of a message's arrays; a larger one cannot be recorded."""
LEAST_SHARE, LEAST_BYTES = 0.01, 256 << 20
"""Of a disk this much is left: the smaller of the two."""
WHAT = {"In": "message", "Out": "message", "Call": "question", "Serve": "batch", "Publish": "value"}


@dataclass(frozen=True)
class Source:
    """What is recorded. what: "message", "question", "answer", "batch" or "value"."""

    run: RunDirectory
    address: str
    port: str
    what: str
    message_type: type[Message]
    origin: dict[str, Any]


def source_of(run: RunDirectory, address: str, *, answers: bool = False) -> Source:
    """What passes a port, as the run's graph tells.

    Args:
      address: NODE.PORT.
      answers: those that come to a Call, not its questions.

    Raises:
      ControlError: there is no such port, or it has nothing of that kind.
    """
    node, replica, port = split_port(address)
    graph = resolved_graph(run)
    if node not in graph.nodes or port not in graph.nodes[node].type.ports:
        has = [f"{name}.{each}" for name, one in graph.nodes.items() for each in one.type.ports]
        raise ControlError(f"{run.name} has no port '{address}'; it has {', '.join(has)}")
    kind = graph.nodes[node].type.ports[port].kind
    if kind not in WHAT:
        raise ControlError(f"{address} reads what another node publishes; record that node's port")
    if answers and kind != "Call":
        raise ControlError(f"{address} is {kind}: answers come to a Call; record the port of a node that asks")
    what = "answer" if answers else WHAT[kind]
    end = End(node, port)
    origin = {
        "run": str(run.path),
        "port": address,
        "what": what,
        "into": [address] if answers else receivers_of(graph, end),
    }
    message_type = graph.port(end).messages[int(answers)]
    return Source(run, node if replica is None else f"{node}[{replica}]", port, what, message_type, origin)


def new_file(source: Source) -> Path:
    """Where a recording goes that was given no place."""
    stamp = time.strftime("%Y%m%d-%H%M%S")
    return recordings(source.run) / f"{source.address}.{source.port}-{stamp}.flow"


def recordings(run: RunDirectory) -> Path:
    """The directory of a run's recordings."""
    return run.path / "recordings"


def record(session: Session, source: Source, writer: RecordingWriter, *, wait_s: float, until: float) -> Iterator[int]:
    """Write down what passes; tells after each message how many there are.

    Args:
      wait_s: it ends when nothing passed for so long.
      until: it ends then at the latest, of `time.monotonic`.

    Raises:
      ControlError: a message is too large.
      DiskFullError: little room is left on the disk; what came before is recorded.
    """
    replicas = session.replicas(source.address)
    wanted = {"most_bytes": BYTES_MAX, "only": source.what}
    for _, sample in session.tap(replicas, source.port, seconds=wait_s, until=until, **wanted):
        _assert_room(writer.path)
        writer.miss(sample.dropped)
        writer.write(_whole(sample, source.message_type))
        yield writer.count


def _assert_room(path: Path) -> None:
    room = os.statvfs(path)
    free, size = room.f_bavail * room.f_frsize, room.f_blocks * room.f_frsize
    if free < min(LEAST_SHARE * size, LEAST_BYTES):
        raise DiskFullError(
            f"{path}: {free / 2**20:.1f} MiB of {size / 2**20:.0f} MiB are free on its disk, and left to others; the "
            "recording ends here, whole. Free some space, or record to another disk with -o"
        )


def _whole(sample: Sample, message_type: type[Message]) -> Message:
    """A sample as the message it was.

    Raises:
      ControlError: it was cut.
    """
    for name, value in sample.fields.items():
        if isinstance(value, SampledArray) and value.is_cut:
            raise ControlError(
                f"a message with {name} of {value.shape} is larger than {BYTES_MAX >> 20} MiB and came cut; put a "
                "nodes.sink.recording:tee into the graph instead"
            )
    return message_of(sample.fields, message_type)
