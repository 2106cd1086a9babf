"""A chess or shogi engine as an opponent: a program that speaks UCI or USI on its standard input and output.

    uci ─► … uciok        isready ─► readyok        position fen FEN, go nodes N ─► … bestmove e2e4

No engine comes with this package; the path of one that is installed is a setting.
"""

from __future__ import annotations

import contextlib
import select
import shlex
import subprocess
import time
from typing import IO

import numpy as np

from flow.errors import FlowError, MissingError, SettingError
from nodes.games.encoded import EncodedPosition
from nodes.games.interface import Game, Position

ANSWER_S = 60.0
SHOWN = 20
DIALECTS = {"chess": ("uci", "fen"), "shogi": ("usi", "sfen")}


class EngineError(FlowError):
    """An engine ended, does not answer, or answers with what is no legal move."""


class Engine:
    """An engine that is running. Not for several threads at once.

    Args:
      command: as a shell would read it: a path, and arguments.
      nodes: how many it searches for a move.

    Raises:
      SettingError: a game that no such engine plays, or no command.
      MissingError: there is no such program.
      EngineError: it does not speak the protocol.
    """

    def __init__(self, command: str, game: Game, nodes: int, answer_s: float = ANSWER_S) -> None:
        known = DIALECTS.get(game.name.partition(":")[0])
        if known is None:
            raise SettingError(f'opponent="engine" plays chess and shogi, found {game.name!r}; take another opponent')
        if not command:
            raise SettingError('opponent="engine" needs engine, the path of a UCI or USI engine')
        self._command, self._nodes, self._answer_s = command, nodes, answer_s
        self._dialect, self._board = known
        self._buffer = b""
        try:
            self._process = subprocess.Popen(
                shlex.split(command), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
            )
        except OSError as error:
            raise MissingError(f"engine {command!r} cannot be started: {error.strerror}; give its path") from error
        self._ask(self._dialect, f"{self._dialect}ok")
        self._ask("isready", "readyok")

    def move(self, position: Position) -> int:
        """See `nodes.games.opponents`.

        Raises:
          EngineError: it answers with a move that is not legal, or with none.
        """
        assert isinstance(position, EncodedPosition)
        self._say(f"position {self._board} {position.written}")
        answer = self._ask(f"go nodes {self._nodes}", "bestmove")
        word = answer.removeprefix("bestmove").split(" ponder")[0].strip()
        legal = {position.words(action)[-1]: action for action in np.flatnonzero(position.legal()).tolist()}
        if word not in legal:
            shown = " ".join(sorted(legal)[:SHOWN]) + (" …" if len(legal) > SHOWN else "")
            raise EngineError(
                f"engine {self._command!r} answers {answer!r} to {position.written!r}, which is not a legal move; "
                f"legal: {shown}"
            )
        return legal[word]

    def close(self) -> None:
        """End the program."""
        with contextlib.suppress(OSError, EngineError):  # it may have ended by itself
            self._say("quit")
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe is not None
            with contextlib.suppress(OSError):
                pipe.close()

    def _ask(self, text: str, wanted: str) -> str:
        """Say something and read lines up to one that begins so."""
        self._say(text)
        deadline = time.monotonic() + self._answer_s
        while True:
            line, newline, rest = self._buffer.partition(b"\n")
            if newline:
                self._buffer = rest
                said = line.decode(errors="replace").strip()
                if said.startswith(wanted):
                    return said
                continue
            self._read(deadline, text, wanted)

    def _read(self, deadline: float, text: str, wanted: str) -> None:
        out = self._out
        ready, _, _ = select.select([out], [], [], max(0.0, deadline - time.monotonic()))
        if not ready:
            self.close()
            raise EngineError(
                f"engine {self._command!r} did not answer {text!r} with {wanted!r} in {self._answer_s:g} s; it is ended"
            )
        part = out.read1()  # type: ignore[attr-defined]
        if not part:
            raise EngineError(f"engine {self._command!r} ended before it answered {text!r} with {wanted!r}")
        self._buffer += part

    @property
    def _out(self) -> IO[bytes]:
        assert self._process.stdout is not None
        return self._process.stdout

    def _say(self, text: str) -> None:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(text.encode() + b"\n")
            self._process.stdin.flush()
        except BrokenPipeError as error:
            raise EngineError(f"engine {self._command!r} has ended; it was to be told {text!r}") from error
