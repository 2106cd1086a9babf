"""Ray beside flow: a process of another interpreter that does a round of the same job when asked."""

from __future__ import annotations

import argparse
import json
import subprocess
from pathlib import Path
from types import TracebackType
from typing import Any

PEER = Path(__file__).with_name("ray_peer.py")
HOW = "install it away from here: python -m venv RAY && RAY/bin/pip install ray numpy; then --ray-python RAY/bin/python"


def add_option(parser: argparse.ArgumentParser) -> None:
    """The option that names the interpreter."""
    parser.add_argument("--ray-python", default=None, metavar="PATH", help="an interpreter that can import ray")


class Ray:
    """Ray's cluster of one machine, for as long as the bench runs. there: whether it came up; note: what to print."""

    def __init__(self, python: str | None) -> None:
        self.there = False
        self.note = f"Ray: no interpreter given; {HOW}"
        self._process: subprocess.Popen[str] | None = None
        if python is None:
            return
        self._process = subprocess.Popen(
            [python, str(PEER)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd="/",  # what lies here must not shadow what Ray imports
        )
        try:
            self.note = f"Ray {self._hear()['version']}, actor calls; its own processes' CPU is not counted"
            self.there = True
        except (json.JSONDecodeError, KeyError):
            assert self._process.stderr is not None
            last = (self._process.stderr.read().strip().splitlines() or ["it said nothing"])[-1]
            self.note = f"Ray: {python} cannot run it ({last:.200}); {HOW}"

    def _hear(self) -> dict[str, Any]:
        assert self._process is not None
        assert self._process.stdout is not None
        said: dict[str, Any] = json.loads(self._process.stdout.readline())
        return said

    def round(self, job: str) -> dict[str, Any]:
        """Do one round of a job."""
        assert self._process is not None
        assert self._process.stdin is not None
        print(job, file=self._process.stdin, flush=True)
        return self._hear()

    def __enter__(self) -> Ray:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process is not None and self._process.poll() is None:
            assert self._process.stdin is not None
            self._process.stdin.close()
            try:
                self._process.wait(15)
            except subprocess.TimeoutExpired:
                self._process.kill()
