"""Settings of a node that were changed while it ran; they hold over its restarts and when the run is resumed.

nodes/learner-0/live.json   {"learning_rate": 0.0001}
"""

from __future__ import annotations

import json
import os
import tomllib
from pathlib import Path
from typing import Any

from flow.errors import ControlError, SettingError
from flow.setting import Setting

NAME = "live.json"


def read_live(directory: Path) -> dict[str, Any]:
    """What was changed, by setting.

    Raises:
      SettingError: the file is damaged.
    """
    path = directory / NAME
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise SettingError(f"{path}: what was set by hand cannot be read ({error}); remove the file") from error
    if not isinstance(values, dict):
        raise SettingError(f"{path}: expected a JSON object, found {type(values).__name__}; remove the file")
    return values


def write_live(directory: Path, values: dict[str, Any]) -> None:
    """Write down what was changed; a reader sees the old text or the new."""
    unfinished = directory / f".{NAME}.{os.getpid()}"
    unfinished.write_text(json.dumps(values, indent=1) + "\n", encoding="utf-8")
    os.replace(unfinished, directory / NAME)


def value_of(text: str) -> Any:
    """A value as a graph file writes it; what is none there is a text."""
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def accept(node: str, settings: dict[str, Setting], name: str, value: Any) -> Any:
    """A value for a live setting, as the node gets it.

    Raises:
      ControlError: there is no such setting, it is not live, or it does not take the value.
    """
    live = [each for each, setting in settings.items() if setting.live]
    can = f"{node} can change {', '.join(live)} while it runs" if live else f"{node} has no live setting"
    if name not in settings:
        raise ControlError(f"{node} has no setting '{name}'; {can}")
    if not settings[name].live:
        raise ControlError(f"{node}.{name} is fixed while a run goes; {can}. Another value needs a new run")
    try:
        return settings[name].accept(value)
    except SettingError as error:
        raise ControlError(f"{node}.{name}: {error}") from error
