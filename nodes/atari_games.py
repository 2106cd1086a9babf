"""The Atari games that ale-py brings: their names, and what a node can know of one without stepping it.

The names come from the ROM files in the wheel, without importing ale-py, so that checking a graph stays quick.
"""

from __future__ import annotations

import difflib
import functools
import importlib.util
from pathlib import Path

from flow import Names
from flow.errors import MissingError

FRAME_SKIP = 4
"""Frames of the emulator to one step: an action is repeated so often (arXiv:1709.06009)."""
MISSING_PACKAGE = (
    'ale-py, which brings the Atari games, is not installed; install it with: pip install "flow-research[atari]"'
)


@functools.cache
def game_names() -> tuple[str, ...]:
    """The names of all games, such as "pong" and "space_invaders"; none if ale-py is not installed."""
    spec = importlib.util.find_spec("ale_py")
    if spec is None or not spec.submodule_search_locations:
        return ()
    roms = Path(spec.submodule_search_locations[0]) / "roms"
    return tuple(sorted(path.stem for path in roms.glob("*.bin")))


GAMES = Names(game_names, "a game of ale-py")


def require_game(game: str) -> None:
    """Refuse a game there is no ROM of.

    Raises:
      MissingError: names the nearest games.
    """
    names = game_names()
    if not names:
        raise MissingError(MISSING_PACKAGE)
    if game not in names:
        near = difflib.get_close_matches(game.lower().replace(" ", "_"), names, n=3)
        hint = (
            f"did you mean {' or '.join(map(repr, near))}?"
            if near
            else f"there are {len(names)}, from {names[0]} to {names[-1]}"
        )
        raise MissingError(f"there is no ROM of a game {game!r}; {hint}")


@functools.cache
def action_count(game: str) -> int:
    """How many actions a game has, those that do nothing in it left out."""
    require_game(game)
    from ale_py import ALEInterface, LoggerMode, roms  # takes as long to import as all of flow

    ALEInterface.setLoggerMode(LoggerMode.Error)
    emulator = ALEInterface()
    rom = roms.get_rom_path(game)
    assert rom is not None
    emulator.loadROM(rom)
    return len(emulator.getMinimalActionSet())
