"""What MuZero sees of an Atari game: the last frames, and the actions between them (arXiv:1911.08265, appendix E).

    frames  … t-2  t-1  t    H of them, oldest first, C planes each
    actions … t-3  t-2  t-1  H of them: what led to each frame, each as a constant plane of a / A

All planes are bytes, of which 255 stands for 1. Before a game's first frame all is 0.

Letters: H frames of history, C planes of a frame (1 grey, 3 colour), A actions, S pixels a side.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from flow.errors import SettingError

Bytes = NDArray[np.uint8]
ACTIONS_MAX = 255


def action_bytes(actions: NDArray[Any], count: int) -> Bytes:
    """a / A as a byte, elementwise: different actions stay different.

    Raises:
      SettingError: more actions than bytes tell apart.
    """
    if count > ACTIONS_MAX:
        raise SettingError(f"{count} actions as planes of bytes, which tell {ACTIONS_MAX} apart")
    return np.round(255 / count * actions).astype(np.uint8)


def planes(frames: Bytes, actions: Bytes) -> Bytes:
    """Observations (B, H·C + H, S, S) of frames (B, H, C, S, S) and bytes of actions (B, H)."""
    rows, history, _, height, width = frames.shape
    seen = frames.reshape(rows, -1, height, width)
    led = np.broadcast_to(actions[..., None, None], (rows, history, height, width))
    return np.concatenate([seen, led], 1)


def rebuilt(frames: Bytes, actions: NDArray[Any], at: NDArray[np.int64], history: int, count: int) -> Bytes:
    """What was seen at moves `at` (B,) of a stored stretch, (B, H·C + H, S, S).

    Args:
      frames: (T, C, S, S), what was new at each move. actions: (T,), taken there.
      history: H. count: A.

    Raises:
      SettingError: these are no frames.
    """
    if frames.ndim != 4 or frames.dtype != np.uint8:
        found = f"{frames.dtype} ({', '.join(map(str, frames.shape))})"
        raise SettingError(
            f"history={history} is for games observed as frames, uint8 (moves, planes, side, side), found {found}; set "
            "history = 0"
        )
    back = at[:, None] - np.arange(history - 1, -1, -1)
    seen = frames[np.maximum(back, 0)]
    seen[back < 0] = 0
    led = action_bytes(actions, count)[np.maximum(back - 1, 0)]
    return planes(seen, np.where(back < 1, np.uint8(0), led))


class History:
    """The last H frames of B lanes, as they are played.

    Args:
      first: (B, C, S, S), the frame that each begins with.
      history: H. count: A.
    """

    def __init__(self, first: Bytes, history: int, count: int) -> None:
        self._count = count
        self._frames = np.zeros((len(first), history, *first.shape[1:]), np.uint8)
        self._frames[:, -1] = first
        self._actions = np.zeros((len(first), history), np.uint8)

    def add(self, frames: Bytes, actions: NDArray[Any], begins: NDArray[np.bool_]) -> None:
        """Another frame of each lane, and the action that led to it; where a game `begins` what was before is gone."""
        self._frames[:, :-1] = self._frames[:, 1:]
        self._actions[:, :-1] = self._actions[:, 1:]
        self._frames[:, -1], self._actions[:, -1] = frames, action_bytes(actions, self._count)
        self._frames[begins, :-1] = 0
        self._actions[begins] = 0

    @property
    def newest(self) -> Bytes:
        """(B, C, S, S), a copy."""
        return self._frames[:, -1].copy()

    def observations(self) -> Bytes:
        """(B, H·C + H, S, S)."""
        return planes(self._frames, self._actions)
