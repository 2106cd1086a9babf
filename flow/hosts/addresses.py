"""Where workers listen for each other: a path within a host, an endpoint with a key between hosts."""

from __future__ import annotations

import socket
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import zmq

from flow.carrier.curve import Address
from flow.control import Words
from flow.errors import RunError
from flow.plan import WorkerPlan

if TYPE_CHECKING:
    from flow.carrier.zeromq import Hub
    from flow.processes import Process


def listen(hub: Hub, plan: WorkerPlan) -> tuple[str, bytes] | None:
    """Open a worker's door to other hosts, and say where it is and which key it proves to have; None if it has none.

    Raises:
      RunError: the address is none of this host's, or its port is taken.
    """
    if hub.gate is None:
        return None
    try:
        address = hub.gate.bind(numeric(plan.listen))
    except zmq.ZMQError as error:
        raise RunError(cannot_listen(f"worker {plan.name}", plan.host, plan.listen, error)) from error
    return address.endpoint, address.key


def cannot_listen(who: str, host: str, endpoint: str, error: Exception) -> str:
    """What to say, and what to do."""
    where = endpoint.removeprefix("tcp://").removesuffix(":*")
    return (
        f"{who} cannot listen at {where}: {getattr(error, 'strerror', None) or error}; [hosts] of the graph says that "
        f"host {host} has this address and may use this port: correct it, or end what listens there"
    )


def numeric(endpoint: str) -> str:
    """The endpoint with its host's name resolved, since a socket binds to numbers.

    Raises:
      RunError: the name is not known here.
    """
    name, _, port = endpoint.removeprefix("tcp://").rpartition(":")
    try:
        return f"tcp://{socket.gethostbyname(name)}:{port}"
    except OSError as error:
        raise RunError(
            f"{name}: no such host is known here ({error.strerror}); write its address in numbers"
        ) from error


def introductions(process: Process, others: Iterable[Process]) -> Iterator[tuple[Process, Words]]:
    """What a worker and those that listen already are told of each other: whom, and what."""
    for other in others:
        if other is not process and other.inbox:
            yield other, _introduction(process, other)
            yield process, _introduction(other, process)


def _introduction(process: Process, to: Process) -> Words:
    where: Words = {"inbox": process.inbox}
    if process.host != to.host and process.address is not None:
        where = dict(zip(("inbox", "key"), process.address, strict=True))
    return {"do": "peer", "worker": process.worker, "epoch": process.epoch, **where}


def where(words: Words) -> Path | Address:
    """Where that worker listens, as it was told."""
    return Address(words["inbox"], words["key"]) if "key" in words else Path(words["inbox"])
