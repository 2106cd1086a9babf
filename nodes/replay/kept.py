"""Priorities in checkpoints: those of a store that is opened only once the first message says what is in it."""

from __future__ import annotations

from typing import Any, Protocol


class Prioritised(Protocol):
    """A store of games, or a table over a replay."""

    def state_dict(self) -> dict[str, Any]:
        """The priorities of all that it holds."""
        ...

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Give what it still holds the priorities that it had."""
        ...


class KeptPriorities:
    """What a replay node keeps: the data itself is on disk already."""

    def __init__(self) -> None:
        self._of: Prioritised | None = None
        self._restored: dict[str, Any] = {}

    def attach(self, prioritised: Prioritised) -> None:
        """Say whose priorities these are; those of a checkpoint, if there are any, are given to it."""
        self._of = prioritised
        if self._restored:
            prioritised.load_state_dict(self._restored)
            self._restored = {}

    def state_dict(self) -> dict[str, Any]:
        """As it is now; what was restored and not yet asked for stays."""
        return self._of.state_dict() if self._of is not None else self._restored

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """From a checkpoint."""
        self._restored = state
