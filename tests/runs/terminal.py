"""A run under a terminal of its own, whose keys and whose state the test holds."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import struct
import subprocess
import termios
import threading
from pathlib import Path
from typing import Any

from tests.runs.running import FLOW, ROOT, Home, Running

CTRL_C = b"\x03"


class AtTerminal(Running):
    """`flow run` in the foreground of a terminal."""

    def __init__(self, home: Home, arguments: list[str | Path]) -> None:
        self.home = home
        self._before = set(self._directories())
        self._run = None
        self._screen = bytearray()
        self._keys, self._line = pty.openpty()
        fcntl.ioctl(self._line, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 120, 0, 0))
        self.modes: list[Any] = termios.tcgetattr(self._line)
        self.process = subprocess.Popen(
            [*FLOW, *map(str, arguments)],
            cwd=ROOT,
            env={**home.environment, "TERM": "xterm-256color", "LANG": "C.UTF-8"},
            stdin=self._line,
            stdout=self._line,
            stderr=self._line,
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        with contextlib.suppress(OSError):
            while part := os.read(self._keys, 65536):
                self._screen += part

    @property
    def output(self) -> str:
        return self._screen.decode(errors="replace")

    def press(self, keys: bytes) -> None:
        os.write(self._keys, keys)

    def assert_terminal_restored(self) -> None:
        """As the shell left it: the same modes, and a cursor that is seen."""
        assert termios.tcgetattr(self._line) == self.modes
        hidden, shown = self.output.rfind("\x1b[?25l"), self.output.rfind("\x1b[?25h")
        assert shown >= hidden, "the cursor is still hidden"

    def close(self) -> None:
        """Give the terminal back."""
        os.close(self._line)  # the last end: the reader's read fails
        self._reader.join(5)
        os.close(self._keys)
