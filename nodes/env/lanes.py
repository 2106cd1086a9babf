"""Lanes of a Gymnasium environment, stepped together, with what is known of each step.

Gymnasium's vector environments differ in what they do after an episode's end: most begin the next episode in the
step that follows and ignore its action (NEXT_STEP), some at once (SAME_STEP), some leave it to the caller. Here all
say the same: what followed the action, what is seen now, and in which lanes there was a step at all.
"""

from __future__ import annotations

import functools
import importlib.util
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from flow import Array, Names
from flow.errors import MissingError, SettingError
from flow.setting import named_values

if TYPE_CHECKING:
    import gymnasium


@functools.cache
def environment_names() -> tuple[str, ...]:
    """The environments that Gymnasium itself brings; none if it is not installed.

    Read from its source without importing it, so that checking a graph stays quick.
    """
    spec = importlib.util.find_spec("gymnasium")
    if spec is None or not spec.submodule_search_locations:
        return ()
    text = (Path(spec.submodule_search_locations[0]) / "envs" / "__init__.py").read_text(encoding="utf-8")
    return tuple(dict.fromkeys(re.findall(r'\bid="([^"]+)"', text)))


class EnvironmentNames(Names):
    """Names of environments; one that another package registers, "package:Name-v0", is looked for when it is made."""

    def problem(self, value: str) -> str:
        text = "" if ":" in value else super().problem(value)
        return text and f'{text} (write "package:Name-v0" for one that another package registers)'


ENVIRONMENTS = EnvironmentNames(environment_names, "an environment of Gymnasium")


@dataclass(frozen=True)
class Stepped:
    """What a step of all lanes gave; the leading dimension is the lanes.

    taken: whether there was a step in the lane; where not, an episode began. followed: what the action led to, at an
    end the last observation. seen: what the next action is for. first: whether `seen` begins an episode.
    """

    taken: Array
    followed: Array
    rewards: Array
    terminated: Array
    truncated: Array
    seen: Array
    first: Array


class Lanes:
    """`size` copies of an environment.

    float32: floats that it observes are rounded to float32. clip: actions outside a box are clipped to it.
    """

    def __init__(
        self, environment: str, size: int, options: list[str], *, vector: bool, float32: bool = True, clip: bool = True
    ) -> None:
        self.name = environment
        self._float32 = float32
        given = named_values(options, "options")
        self._env: Any = _native(environment, size, given) if vector else _lane_by_lane(environment, size, given)
        mode = self._env.metadata["autoreset_mode"]
        self._mode: str = mode.name
        self._over = np.zeros(size, bool)
        self._action_space = self._env.single_action_space
        self._clip = clip and hasattr(self._action_space, "low")
        self._discrete = hasattr(self._action_space, "start")

    def reset(self, seed: int) -> Array:
        """The first observation of each lane; lane n is seeded with `seed` + n."""
        observations, _ = self._env.reset(seed=seed)
        self._over[:] = False
        return self._held(observations)

    def step(self, actions: Array) -> Stepped:
        """Take the actions.

        Raises:
          SettingError: they are none of this environment's.
        """
        began = self._over.copy()
        found, rewards, terminated, truncated, info = self._env.step(self._actions(actions, began))
        terminated, truncated = np.array(terminated, bool), np.array(truncated, bool)
        over = terminated | truncated
        followed = seen = self._held(found)
        first = over
        if self._mode == "NEXT_STEP":
            # The action after an end is ignored, and what comes of it is a first observation.
            terminated, truncated, first = terminated & ~began, truncated & ~began, began
            self._over = over & ~began
        elif over.any() and self._mode == "DISABLED":
            # Where there is no reset the observation stays; what is kept here is the space's own memory.
            again, _ = self._env.reset(options={"reset_mask": over.copy()})
            seen = self._held(again)
        elif over.any():
            followed = _with_last(seen, over, info["final_obs"])
        return Stepped(~began, followed, np.array(rewards, np.float32), terminated, truncated, seen, first)

    def close(self) -> None:
        """Let go of windows, simulators and the like."""
        self._env.close()

    def _held(self, observations: Any) -> Array:
        """A copy: what is sent must not change, and some environments write into the same array again."""
        array: Array = np.array(observations)
        return array.astype(np.float32) if self._float32 and array.dtype == np.float64 else array

    def _actions(self, actions: Array, ignored: Array) -> Array:
        space = self._action_space
        actions = np.asarray(actions)
        if actions.shape[1:] != space.shape or not np.can_cast(actions.dtype, space.dtype, "same_kind"):
            expected = f"{space.dtype} ({', '.join(['rows', *map(str, space.shape)])})"
            raise SettingError(
                f"{self.name} takes actions of {space}, {expected}; the policy answered {actions.dtype} "
                f"{('rows', *actions.shape[1:])}; answer with `actions` of that dtype and shape"
            )
        if self._clip:
            clipped: Array = np.clip(actions, space.low, space.high)
            return clipped
        if self._discrete:
            low = int(space.start)
            wrong = ~ignored & ((actions < low) | (actions >= low + space.n)).reshape(len(actions), -1).any(1)
            if wrong.any():
                raise SettingError(
                    f"{self.name} takes actions from {low} to {low + space.n - 1}; the policy answered "
                    f"{actions[wrong][0]}; give it as many actions as the environment has"
                )
        return actions.astype(space.dtype, copy=False)


def _with_last(seen: Array, over: Array, final: Any) -> Array:
    """The observations with the last of each episode that is over in place of the first of the next."""
    followed = seen.copy()
    for lane in np.flatnonzero(over):
        followed[lane] = final[lane]
    return followed


def _lane_by_lane(environment: str, size: int, options: dict[str, Any]) -> Any:
    from gymnasium.vector import AutoresetMode, SyncVectorEnv

    def make() -> gymnasium.Env[Any, Any]:
        return _with_arrays(environment, _made(environment, options))

    return SyncVectorEnv([make] * size, autoreset_mode=AutoresetMode.DISABLED)


def _native(environment: str, size: int, options: dict[str, Any]) -> Any:
    import gymnasium

    try:
        env = gymnasium.make_vec(environment, size, vectorization_mode="vector_entry_point", **options)
    except gymnasium.error.Error as error:
        raise MissingError(f"{environment} cannot be made as a vector: {error}; set vector = false") from error
    for space in (env.single_observation_space, env.single_action_space):
        if not _is_array(space):
            raise SettingError(
                f"{environment} is made of {space}, which no vector of it can flatten; set vector = false"
            )
    return env


def _made(environment: str, options: dict[str, Any]) -> gymnasium.Env[Any, Any]:
    import gymnasium

    try:
        return gymnasium.make(environment, **options)
    except gymnasium.error.DependencyNotInstalled as error:
        raise MissingError(f"{environment} needs more than Gymnasium: {error}") from error
    except (gymnasium.error.Error, ModuleNotFoundError) as error:
        raise MissingError(f"{environment} cannot be made: {error}") from error
    except TypeError as error:
        raise SettingError(f"{environment} does not take the options {options}: {error}") from error


def _is_array(space: Any) -> bool:
    from gymnasium import spaces

    return isinstance(space, (spaces.Box, spaces.Discrete, spaces.MultiDiscrete, spaces.MultiBinary))


def _with_arrays(environment: str, env: gymnasium.Env[Any, Any]) -> gymnasium.Env[Any, Any]:
    """The environment with composite spaces flattened to vectors.

    Raises:
      SettingError: a space holds something that is no tensor.
    """
    from gymnasium import spaces, wrappers

    for what, space in (("observes", env.observation_space), ("takes", env.action_space)):
        if not _is_array(space) and not space.is_np_flattenable:
            raise SettingError(
                f"{environment} {what} {space}: graphs and sequences are no tensors; register it with a wrapper "
                "that makes arrays of them"
            )
    if not _is_array(env.observation_space):
        env = wrappers.FlattenObservation(env)
    if not _is_array(env.action_space):
        inner = env.action_space
        env = wrappers.TransformAction(env, lambda flat: spaces.unflatten(inner, flat), spaces.flatten_space(inner))
    return env
