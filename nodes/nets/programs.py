"""Any torch module, from its constructor and a checkpoint, or from a file that holds the program too.

No pickle is opened: checkpoints are safetensors, or a state dict of nothing but tensors. A file of torch.export is
looked through first, since torch itself would unpickle parts of it.
"""

from __future__ import annotations

import io
import json
import re
import warnings
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from flow.errors import MissingError, SettingError

EXPORTED = ".pt2"


def built(name: str, constructor: Callable[..., Any], arguments: Mapping[str, Any]) -> nn.Module:
    """The module that a constructor makes.

    Raises:
      SettingError: it does not take the arguments, or makes no module.
    """
    try:
        module = constructor(**arguments)
    except TypeError as error:
        raise SettingError(f"module = {name!r} cannot be made with {dict(arguments)}: {error}") from error
    if not isinstance(module, nn.Module):
        raise SettingError(f"module = {name!r} makes a {type(module).__name__}, no torch.nn.Module")
    return module


def load_checkpoint(module: nn.Module, path: Path, device: torch.device) -> None:
    """Put a checkpoint's weights into a module: a .safetensors file, or what `torch.save(state_dict)` wrote.

    Raises:
      MissingError: there is no such file.
      SettingError: it is no checkpoint, or of another module.
    """
    _require_file(path, "checkpoint")
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            state = load_file(path, device=str(device))
        else:
            state = torch.load(path, map_location=device, weights_only=True)
    except Exception as error:  # each format has errors of its own, and no common base
        raise SettingError(
            f"weights = '{path}' cannot be read: {_brief(error)}; write it with safetensors.torch.save_file, or with "
            "torch.save of a state dict of tensors"
        ) from error
    try:
        module.load_state_dict(state)
    except (RuntimeError, TypeError, AttributeError) as error:
        raise SettingError(f"weights = '{path}' are not of a {type(module).__name__}: {_brief(error)}") from error


def load_program(path: Path, device: torch.device) -> Callable[..., Any]:
    """The module in a file of TorchScript, or of torch.export (.pt2).

    Raises:
      MissingError: there is no such file.
      SettingError: it is neither, or holds a pickle.
    """
    _require_file(path, "program")
    if path.suffix != EXPORTED:
        try:
            with warnings.catch_warnings():  # who has such a file is told by nobody here to make another
                warnings.simplefilter("ignore", DeprecationWarning)
                script: Any = torch.jit.load(str(path), map_location=device)  # type: ignore[no-untyped-call]
        except RuntimeError as error:
            hint = f"; a file of torch.export is called {EXPORTED}"
            raise SettingError(f"file = '{path}' is no TorchScript: {_brief(error)}{hint}") from error
        return script.eval()  # type: ignore[no-any-return]
    _refuse_pickles(path)
    try:
        program = torch.export.load(path)
    except (RuntimeError, AssertionError, ValueError, KeyError) as error:
        raise SettingError(f"file = '{path}' is no program of torch.export: {_brief(error)}") from error
    return program.module().to(device)


def _brief(error: Exception) -> str:
    """What torch says, in a line: of a pickle, what it would have called."""
    text = str(error)
    called = re.search(r"Unsupported global: GLOBAL (\S+)", text)
    return f"it calls {called[1]}" if called else " ".join(text.split())[:400]


def _require_file(path: Path, what: str) -> None:
    if not path.is_file():
        near = sorted(each.name for each in path.parent.glob(f"*{path.suffix}")) if path.parent.is_dir() else []
        hint = f"; beside it there {'are' if len(near) > 1 else 'is'} {', '.join(near[:5])}" if near else ""
        raise MissingError(f"there is no {what} at {path}{hint}")


def _refuse_pickles(path: Path) -> None:
    """torch.export.load unpickles objects that are no tensors; a file that has one is not opened."""
    try:
        with zipfile.ZipFile(path) as archive:
            for entry in archive.namelist():
                if entry.endswith("_config.json"):
                    _refuse_objects(path, json.loads(archive.read(entry)))
                elif entry.endswith(".pt") and (content := archive.read(entry)):
                    torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except SettingError:
        raise
    except Exception as error:  # what torch finds in a pickle that it does not take has no type of its own
        raise SettingError(
            f"file = '{path}' holds more than a program and its tensors, and is not opened: {_brief(error)}"
        ) from error


def _refuse_objects(path: Path, described: Any) -> None:
    for name, payload in described.get("config", {}).items():
        kind = str(payload.get("path_name", ""))
        if payload.get("use_pickle") or not kind.startswith(("weight", "tensor")):
            raise SettingError(
                f"file = '{path}' holds {name} as a pickle, which is not opened; export it with tensors alone"
            )
