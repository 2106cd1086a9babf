"""Hosts that join a run: `flow worker --join` in processes of their own, also in networks of their own."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from flow.run_directory import RunDirectory
from tests.runs.running import Home, Running, line_graph


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens at now."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


def two_hosts(*between: dict, home: str = "127.0.0.1", rig: str = "127.0.0.1", **ends: dict) -> str:
    """source ──► step0 on host rig ──► sink; without a step the sink is there."""
    step = [f"step{number}" for number in range(len(between))] or ["sink"]
    text = line_graph(*between, workers={"making": ["source"], "far": step}, **ends)
    return f'{text}[hosts]\nhome = {{ listen = "{home}" }}\nrig = {{ listen = "{rig}", workers = ["far"] }}\n'


def address(running: Running) -> str:
    """Where the run says that hosts join."""
    running.until(lambda: "--join" in running.output, "an invitation")
    return running.output.partition("--join ")[2].split()[0]


def join(running: Running, *arguments: str, within: Sequence[str] = (), secret: Path | None = None) -> Running:
    """Another host of a run, whose files lie in a folder of its own."""
    home = Home(running.home.path / "rig", running.home.mark)
    home.path.mkdir(exist_ok=True)
    where = address(running)
    secret = secret or running.run.path / "join.secret"
    options = ["worker", "--join", where, "--secret", secret, "--runs", home.path / "runs", *arguments]
    return Running(home, options, RunDirectory(home.path / "runs" / f"{running.run.name}.rig"), within)


def ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True, text=True)


@contextlib.contextmanager
def two_networks() -> Iterator[tuple[str, str]]:
    """Names of two network namespaces, 10.78.0.1 and 10.78.0.2, joined by a cable of the kernel's."""
    if shutil.which("ip") is None:
        pytest.skip("needs the command ip: install iproute2")
    one, two = f"flowrun{os.getpid()}a", f"flowrun{os.getpid()}b"
    try:
        try:
            for name in (one, two):
                ip("netns", "add", name)
            ip("link", "add", "v0", "netns", one, "type", "veth", "peer", "name", "v0", "netns", two)
        except subprocess.CalledProcessError as error:
            pytest.skip(f"network namespaces are not permitted here: {error.stderr.strip()}")
        for number, name in enumerate((one, two), 1):
            ip("-n", name, "addr", "add", f"10.78.0.{number}/24", "dev", "v0")
            ip("-n", name, "link", "set", "v0", "up")
            ip("-n", name, "link", "set", "lo", "up")
        yield one, two
    finally:
        for name in (one, two):
            subprocess.run(["ip", "netns", "del", name], capture_output=True, check=False)
