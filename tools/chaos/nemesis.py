"""What can go wrong, each as a function that makes it happen to a live run. Seeded: same seed, same choices."""

from __future__ import annotations

import contextlib
import os
import random
import resource
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import zmq

from flow import checkpoints
from flow.wire_layout import FORMAT, PREFIX
from tests.runs.running import marked
from tools.chaos.world import STALL_S, World

Fault = Callable[[World, random.Random], str]
"""Makes a fault happen; says to whom, "" when there was nobody to do it to."""

NODES = ("actor-0", "actor-1", "policy-0", "replay-0", "learner-0")
PINNING = """
import lmdb, os, sys, time
env = lmdb.open(sys.argv[1], max_dbs=4, readonly=True)
with env.begin() as txn:
    print("pinned", flush=True)
    time.sleep(30)
"""


def _signal(pid: int, number: int) -> bool:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return False
    return True


def _a_worker(world: World, rng: random.Random) -> tuple[int, str] | None:
    workers = sorted(world.workers().items(), key=lambda each: each[1])
    return rng.choice(workers) if workers else None


def kill_worker(world: World, rng: random.Random) -> str:
    chosen = _a_worker(world, rng)
    return chosen[1] if chosen and _signal(chosen[0], signal.SIGKILL) else ""


def kill_all_workers(world: World, rng: random.Random) -> str:
    return " ".join(name for pid, name in world.workers().items() if _signal(pid, signal.SIGKILL))


def kill_fork_server(world: World, rng: random.Random) -> str:
    servers = sorted(pid for pid, name in world.processes().items() if name == "fork server")
    return "fork server" if servers and _signal(rng.choice(servers), signal.SIGKILL) else ""


def kill_supervisor(world: World, rng: random.Random) -> str:
    """And resume, when nobody is left."""
    assert world.process is not None
    _signal(world.supervisor, signal.SIGKILL)
    world.process.wait()
    left = world.gone()
    if left:
        raise AssertionError(f"outlived their supervisor by 2 s: {left}")
    world.start()
    return "supervisor"


def damage_checkpoint(world: World, rng: random.Random) -> str:
    """One byte of the newest checkpoint is another, and the run is killed and resumed: the one before is used."""
    assert world.run is not None
    assert world.process is not None
    whole = sorted(world.run.checkpoints.glob("[0-9]*[0-9]"))
    if len(whole) < 2 or checkpoints.newest(world.run.checkpoints)[1]:
        return ""
    _signal(world.supervisor, signal.SIGKILL)
    world.process.wait()
    world.gone()
    checkpoint, _ = checkpoints.newest(world.run.checkpoints)
    files = sorted(checkpoint.directory.iterdir()) if checkpoint is not None else []
    if len(list(world.run.checkpoints.glob("[0-9]*[0-9]"))) < 2 or not files:
        world.start()
        return ""
    file = rng.choice(files)
    content = bytearray(file.read_bytes())
    content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
    file.write_bytes(content)
    world.start()
    return f"{file.parent.name}/{file.name}"


def interrupt(world: World, rng: random.Random) -> str:
    """Ctrl-C, and half the time a second one; then resumed."""
    assert world.process is not None
    _signal(world.supervisor, signal.SIGINT)
    twice = rng.random() < 0.5
    if twice:
        time.sleep(rng.uniform(0, 0.3))
        _signal(world.supervisor, signal.SIGINT)
    try:
        world.process.wait(timeout=20)
    except subprocess.TimeoutExpired:
        raise AssertionError("not ended 20 s after Ctrl-C") from None
    left = world.gone()
    if left:
        raise AssertionError(f"outlived a Ctrl-C: {left}")
    world.start()
    return "twice" if twice else "once"


def _stopped(pid: int, seconds: float) -> bool:
    if not _signal(pid, signal.SIGSTOP):
        return False
    time.sleep(seconds)
    _signal(pid, signal.SIGCONT)
    return True


def stop_worker(world: World, rng: random.Random) -> str:
    chosen = _a_worker(world, rng)
    return chosen[1] if chosen and _stopped(chosen[0], rng.uniform(0.05, 1.0)) else ""


def stop_worker_for_long(world: World, rng: random.Random) -> str:
    """Longer than a loop may stand still: it is killed."""
    chosen = _a_worker(world, rng)
    return chosen[1] if chosen and _stopped(chosen[0], STALL_S + 1.5) else ""


def stop_supervisor(world: World, rng: random.Random) -> str:
    return "supervisor" if _stopped(world.supervisor, rng.uniform(0.05, 1.5)) else ""


def _told(how: str, nodes: tuple[str, ...] = NODES) -> Fault:
    def fault(world: World, rng: random.Random) -> str:
        assert world.run is not None
        node = rng.choice(nodes)
        place = world.run.path / "nodes" / node
        if not place.is_dir():
            return ""
        try:
            (place / "fault").write_text(how)
        except OSError:
            return ""
        until = time.monotonic() + 1.5
        while (place / "fault").exists():  # taken when it is gone
            if time.monotonic() > until:
                (place / "fault").unlink(missing_ok=True)
                return ""
            time.sleep(0.01)
        return node

    return fault


def fill_disk(world: World, rng: random.Random) -> str:
    """Not a byte is left for a while."""
    filler = world.disk / "filler"
    try:
        with filler.open("wb") as file, contextlib.suppress(OSError):
            while True:
                file.write(bytes(1 << 16))
                file.flush()
    except OSError:
        pass  # the close writes what is left, and there is no room for it
    time.sleep(rng.uniform(0.2, 1.5))
    filler.unlink()
    return "tmpfs"


def pin_map(world: World, rng: random.Random) -> str:
    """A reader of the store that holds its pages until the map is full, and then is killed: nobody says it has gone."""
    assert world.run is not None
    store = world.run.path / "nodes" / "replay-0" / "replay"
    if not (store / "data.mdb").exists():
        return ""
    reader = subprocess.Popen(
        [sys.executable, "-c", PINNING, str(store)], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    assert reader.stdout is not None
    held = reader.stdout.readline()
    time.sleep(rng.uniform(0.5, 1.5))
    reader.kill()
    reader.wait()
    reader.stdout.close()
    return "replay" if held else ""


def _sockets(world: World) -> list[Path]:
    assert world.run is not None
    folder = world.run.sockets
    return sorted(path for path in folder.iterdir() if path.is_socket()) if folder.exists() else []


def corrupt_frames(world: World, rng: random.Random) -> str:
    """Messages that are none, by the hundred, into a worker's inbox, from someone who speaks ZeroMQ."""
    inboxes = [path for path in _sockets(world) if path.stem in ("main", "model")]
    if not inboxes:
        return ""
    inbox = rng.choice(inboxes)
    context = zmq.Context()
    push = context.socket(zmq.PUSH)
    push.setsockopt(zmq.LINGER, 200)
    push.setsockopt(zmq.SNDTIMEO, 200)
    push.connect(f"ipc://{inbox}")
    with contextlib.suppress(zmq.Again):
        for _ in range(300):
            head = PREFIX.pack(FORMAT, rng.randrange(12), rng.randrange(60), 0, rng.randrange(12), 0, 1 << 62, 0)
            parts = [rng.choice((head, head[: rng.randrange(48)])) + rng.randbytes(rng.randrange(200))]
            push.send_multipart(parts + [rng.randbytes(rng.randrange(100)) for _ in range(rng.randrange(3))])
    push.close()
    context.term()
    return inbox.name


def knock(world: World, rng: random.Random) -> str:
    """Bytes that are not ZeroMQ's to every socket there is: an HTTP request, noise, and nothing at all."""
    sockets = _sockets(world)
    open_ones = []
    for path in sockets:
        for said in (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", rng.randbytes(500), b""):
            client = socket.socket(socket.AF_UNIX)
            client.settimeout(0.2)
            with contextlib.suppress(OSError):
                client.connect(str(path))
                client.sendall(said)
            open_ones.append(client)
    time.sleep(0.2)
    for client in open_ones:
        client.close()
    return f"{len(sockets)} sockets" if sockets else ""


def stop_viewer(world: World, rng: random.Random) -> str:
    """A tap whose owner is stopped while it is open, and then killed."""
    assert world.run is not None
    port = rng.choice(("actor.unrolls", "learner.weights", "replay.samples"))
    viewer = subprocess.Popen(
        [sys.executable, "-m", "flow", "tap", str(world.run.path), port],
        env={**world.environment, "FLOW_TEST_MARK": f"viewer-{world.mark}"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    time.sleep(1.0)
    _signal(viewer.pid, signal.SIGSTOP)
    time.sleep(rng.uniform(0.3, 1.0))
    viewer.kill()
    viewer.wait()
    return port


def _limited(limit: int, soft: Callable[[int], int]) -> Fault:
    """For a while a worker may have no more of something than it has."""

    def fault(world: World, rng: random.Random) -> str:
        chosen = _a_worker(world, rng)
        if chosen is None:
            return ""
        pid, name = chosen
        try:
            before = resource.prlimit(pid, limit)
            resource.prlimit(pid, limit, (soft(pid), before[1]))
            time.sleep(rng.uniform(0.2, 1.0))
            resource.prlimit(pid, limit, before)
        except (ProcessLookupError, OSError):
            return ""
        return name

    return fault


def _address_space(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE") + (1 << 20)


def _descriptors(pid: int) -> int:
    return len(os.listdir(f"/proc/{pid}/fd"))


FAULTS: dict[str, Fault] = {
    "kill worker": kill_worker,
    "kill all workers": kill_all_workers,
    "kill fork server": kill_fork_server,
    "kill supervisor": kill_supervisor,
    "damage checkpoint": damage_checkpoint,
    "interrupt": interrupt,
    "stop worker": stop_worker,
    "stop worker for long": stop_worker_for_long,
    "stop supervisor": stop_supervisor,
    "raise": _told("raise"),
    "segfault": _told("segfault"),
    "exit": _told("exit"),
    "hang": _told("hang"),
    "hang in C": _told("hang with the interpreter's lock"),
    "slow reader": _told("slow", ("replay-0", "learner-0", "policy-0")),
    "clock forward": _told("clock forward"),
    "clock back": _told("clock back"),
    "out of memory": _told("memory"),
    "full disk": fill_disk,
    "full map": pin_map,
    "corrupt frames": corrupt_frames,
    "knock": knock,
    "stopped viewer": stop_viewer,
    "memory limit": _limited(resource.RLIMIT_AS, _address_space),
    "descriptor limit": _limited(resource.RLIMIT_NOFILE, _descriptors),
    "file size limit": _limited(resource.RLIMIT_FSIZE, lambda pid: 1 << 14),
}
ENDS_RUNS = {"full disk", "file size limit", "memory limit", "descriptor limit"}
"""What may end a run, with that cause: it is resumed then."""


def left_of_viewers(world: World) -> dict[int, str]:
    return marked(f"viewer-{world.mark}")
