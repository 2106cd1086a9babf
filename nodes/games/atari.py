"""Atari as MuZero plays it: what a network needs to know of a game, and lanes of the emulator with their history.

    task = atari_task("atari:pong(history=4,side=64,colour=false)")
    emulator = Emulator(task, lanes=16, seed=0)
    emulator.observations()          (16, planes, 64, 64) uint8
    emulator.step(actions)           rewards, and which games ended

As in the paper where nothing is said: 32 frames in colour, 96x96, with the 32 actions between them, every 4th frame,
all 18 actions of the console, rewards as they are.
"""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flow.errors import SettingError
from nodes.algo.frame_history import Bytes, History
from nodes.atari_games import action_count, require_game

ALL_ACTIONS = 18
SHRINKS = 16
"""A hidden state has a sixteenth of the pixels a side."""
_WRITTEN = re.compile(r"atari:(?P<rom>[^()]*)(?:\((?P<options>[^()]*)\))?")
EXAMPLE = '"atari:pong", "atari:pong(history=4,side=64,colour=false,all_actions=false)"'


@dataclass(frozen=True)
class AtariTask:
    """A game as it is shown to a network.

    name: as written. rom: of ale-py. history: frames in an observation. side: pixels of a frame. colour: three planes
    a frame, not one. all_actions: the console's 18, not those alone that do something in the game.
    """

    name: str
    rom: str
    history: int = 32
    side: int = 96
    colour: bool = True
    all_actions: bool = True

    @property
    def actions(self) -> int:
        """A."""
        return ALL_ACTIONS if self.all_actions else action_count(self.rom)

    @property
    def frame_planes(self) -> int:
        """C."""
        return 3 if self.colour else 1

    @property
    def observation_shape(self) -> tuple[int, ...]:
        """Of what is seen at one move."""
        return (self.history * (self.frame_planes + 1), self.side, self.side)

    def action_planes(self) -> NDArray[np.uint8] | None:
        """(A, A, H, W): an action's plane is all ones, as the paper has it (appendix E)."""
        hidden = self.side // SHRINKS
        one_hot = np.eye(self.actions, dtype=np.uint8)[..., None, None]
        return np.broadcast_to(one_hot, (self.actions, self.actions, hidden, hidden)).copy()


def atari_task(name: str) -> AtariTask:
    """Read a game's name with its options.

    Raises:
      SettingError: it is not written so, or an option cannot be.
      MissingError: ale-py is not installed, or has no such game.
    """
    match = _WRITTEN.fullmatch(name)
    if match is None:
        raise SettingError(f"{name!r} is no game of Atari; write {EXAMPLE}")
    require_game(match["rom"])
    given: dict[str, Any] = {}
    for option in filter(None, (match["options"] or "").split(",")):
        key, _, value = (word.strip() for word in option.partition("="))
        given[key] = _read(name, key, value)
    task = replace(AtariTask(name, match["rom"]), **given)
    if task.side % SHRINKS or task.side < SHRINKS:
        near = max(SHRINKS, round(task.side / SHRINKS) * SHRINKS)
        raise SettingError(f"{name}: side={task.side} must be a multiple of {SHRINKS}; set side = {near}")
    if task.history < 1:
        raise SettingError(f"{name}: history={task.history} must be 1 or more: what is seen has a frame at least")
    return task


def _read(name: str, key: str, value: str) -> int | bool:
    kinds = {field.name: str(field.type) for field in fields(AtariTask) if field.name not in ("name", "rom")}
    if key not in kinds:
        near = difflib.get_close_matches(key, kinds, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(kinds)}"
        raise SettingError(f"{name}: there is no option {key!r}; {hint}")
    if kinds[key] == "bool" and value in ("true", "false"):
        return value == "true"
    if kinds[key] == "int" and value.isdigit():
        return int(value)
    wanted = "true or false" if kinds[key] == "bool" else "a whole number"
    raise SettingError(f"{name}: {key}={value!r}, expected {wanted}")


@dataclass(frozen=True)
class Stepped:
    """What actions gave; the leading dimension is the lanes. Where a game ended the next one has begun.

    rewards: (B,) float32. terminated: (B,) bool, over by its rules. truncated: (B,) bool, cut for its length.
    """

    rewards: NDArray[np.float32]
    terminated: NDArray[np.bool_]
    truncated: NDArray[np.bool_]


class Emulator:
    """Lanes of one game, stepped together, in threads of C++; see the actor's settings for each.

    Opening takes a while, and so does a step: call both where the loop need not wait.
    """

    def __init__(
        self,
        task: AtariTask,
        lanes: int,
        seed: int,
        *,
        threads: int = 1,
        no_ops_max: int = 30,
        frames_max: int = 108_000,
        sticky: float = 0.0,
    ) -> None:
        from ale_py.vector_env import AtariVectorEnv  # heavy, and this worker has it imported already

        self.task = task
        self._env = AtariVectorEnv(
            task.rom,
            lanes,
            num_threads=threads,
            stack_num=1,
            grayscale=not task.colour,
            img_height=task.side,
            img_width=task.side,
            noop_max=no_ops_max,
            max_num_frames_per_episode=frames_max,
            repeat_action_probability=sticky,
            full_action_space=task.all_actions,
            reward_clipping=False,
            use_fire_reset=True,
            autoreset_mode="SameStep",
        )
        first, _ = self._env.reset(seed=seed % (1 << 31))
        self._history = History(self._frames(first), task.history, task.actions)

    def observations(self) -> Bytes:
        """What is seen now, (B, planes, S, S)."""
        return self._history.observations()

    @property
    def newest(self) -> Bytes:
        """The frame of it that is new, (B, C, S, S)."""
        return self._history.newest

    def step(self, actions: NDArray[np.int64]) -> Stepped:
        """Take an action in each lane."""
        seen, rewards, terminated, truncated, _ = self._env.step(actions)
        ended = terminated | truncated
        self._history.add(self._frames(seen), actions, ended)
        return Stepped(rewards.astype(np.float32), terminated.copy(), truncated & ~terminated)

    def _frames(self, seen: NDArray[np.uint8]) -> Bytes:
        """(B, 1, S, S) grey, or (B, 1, S, S, 3), as (B, C, S, S)."""
        return np.ascontiguousarray(np.moveaxis(seen[:, 0], -1, 1)) if self.task.colour else seen
