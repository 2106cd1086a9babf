"""Checkpoints of a run: a directory each, complete when its manifest is there.

    checkpoints/000012/learner-0.safetensors  learner-0.msgpack  …  manifest.json

Everything is written under another name first, then the manifest with a hash of each file, then the directory is
renamed: at any moment of a kill there is a whole checkpoint or none of that number.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flow import disk, saved
from flow.errors import CheckpointError

KEEP = 2
# In 1 each node's state was taken by itself; nothing else differs.
FORMAT = 2
MANIFEST = "manifest.json"


@dataclass(frozen=True)
class Checkpoint:
    """A complete checkpoint. nodes: node type by node name, of the graph that made it.

    consistent: whether it is one cut through all streams, so that a resumed run loses and doubles no message.
    """

    number: int
    directory: Path
    nodes: dict[str, str]
    counters: dict[str, float]
    consistent: bool = True


def begin(checkpoints: Path, number: int, attempt: int) -> Path:
    """An empty directory to write checkpoint `number` into."""
    directory = checkpoints / f"{number:06d}.{attempt}.part"
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True)
    return directory


def complete(
    directory: Path, files: list[str], nodes: dict[str, str], counters: dict[str, float], *, consistent: bool
) -> Checkpoint:
    """Make what was written a checkpoint, and remove those before the last one.

    Raises:
      OSError: the disk is full, for instance; the checkpoint before is untouched.
    """
    number = int(directory.name.partition(".")[0])
    manifest: dict[str, Any] = {
        "format": FORMAT,
        "consistent": consistent,
        "number": number,
        "time": time.time(),
        "nodes": nodes,
        "counters": counters,
    }
    manifest["files"] = {name: _hash(directory / name) for name in sorted(files)}
    for name in files:
        _sync(directory / name)
    manifest["self"] = _digest(manifest)
    target = directory / MANIFEST
    disk.about_to("manifest", target)
    target.write_text(json.dumps(manifest, indent=1))
    _sync(target)
    _sync(directory)
    final = directory.with_name(f"{number:06d}")
    # Those of this number and above were found damaged: the run went on from one before them.
    for damaged in final.parent.glob("[0-9]*[0-9]"):
        if int(damaged.name) >= number:
            aside = damaged.with_suffix(".damaged")
            shutil.rmtree(aside, ignore_errors=True)
            damaged.rename(aside)
    os.rename(directory, final)
    _sync(final.parent)
    for old in sorted(final.parent.glob("[0-9]*[0-9]"))[:-KEEP]:
        shutil.rmtree(old)
    return Checkpoint(number, final, nodes, counters, consistent)


def discard(checkpoints: Path) -> None:
    """Remove what was written of checkpoints that did not become one; on a full disk it is in the way."""
    for left in checkpoints.glob("*.part"):
        shutil.rmtree(left, ignore_errors=True)


def carry_over(directory: Path, before: Checkpoint, node: str) -> list[str]:
    """Take a node's state from the checkpoint before, if it is there; returns the file names."""
    files = [path.name for path in sorted(before.directory.glob(f"{node}.*")) if path.stem == node]
    for name in files:
        os.link(before.directory / name, directory / name)
    return files


def newest(checkpoints: Path) -> tuple[Checkpoint | None, list[str]]:
    """The newest checkpoint that is whole, and what is wrong with newer ones that are not."""
    problems: list[str] = []
    for directory in sorted(checkpoints.glob("[0-9]*[0-9]"), reverse=True):
        try:
            return _open(directory), problems
        except CheckpointError as error:
            problems.append(str(error))
    return None, problems


def _open(directory: Path) -> Checkpoint:
    try:
        manifest = _manifest(directory)
        for name in manifest["files"]:
            _require_whole(directory, name, manifest)
        consistent = manifest.get("consistent", False)
        return Checkpoint(manifest["number"], directory, manifest["nodes"], manifest["counters"], consistent)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise CheckpointError(f"{directory}: incomplete or damaged ({error}); not used") from error


def _manifest(directory: Path) -> dict[str, Any]:
    manifest: dict[str, Any] = json.loads((directory / MANIFEST).read_text())
    if manifest.pop("self") != _digest(manifest):
        raise CheckpointError(f"{directory / MANIFEST}: damaged, its hash is not its own; not used")
    if manifest["format"] not in (1, FORMAT):
        raise CheckpointError(
            f"{directory / MANIFEST}: of format {manifest['format']}, this program reads 1 and {FORMAT}; resume with "
            "the version of flow that made it"
        )
    return manifest


def _require_whole(directory: Path, name: str, manifest: dict[str, Any]) -> None:
    if _hash(directory / name) != manifest["files"][name]:
        raise CheckpointError(f"{directory / name}: damaged, its hash is not the manifest's; not used")


def read_state(directory: Path, node: str) -> tuple[dict[str, Any] | None, list[str]]:
    """The state of a node in a checkpoint, or in the one before where that state is damaged.

    Returns:
      The state, None if the node keeps none, and what is wrong with those that were not used.

    Raises:
      CheckpointError: it is whole in none of them.
    """
    older = [path for path in directory.parent.glob("[0-9]*[0-9]") if path.name < directory.name]
    problems: list[str] = []
    for place in (directory, *sorted(older, reverse=True)):
        try:
            manifest = _manifest(place)
            files = state_files(node)
            if files[0] not in manifest["files"]:
                return None, problems
            for name in files:
                _require_whole(place, name, manifest)
            return saved.read(place, node), problems
        except (CheckpointError, OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            problems.append(str(error))
    raise CheckpointError("\n".join(problems))


def state_files(node: str) -> list[str]:
    """The files of a node's state."""
    return [f"{node}.msgpack", f"{node}.safetensors"]


def is_whole(directory: Path, node: str) -> bool:
    """Whether the state of a node in a checkpoint is as it was written, or it keeps none."""
    try:
        manifest = _manifest(directory)
        for name in state_files(node):
            if name in manifest["files"]:
                _require_whole(directory, name, manifest)
    except (CheckpointError, OSError, ValueError, KeyError, TypeError, AttributeError):
        return False
    return True


def require_same_graph(checkpoint: Checkpoint, nodes: dict[str, str]) -> None:
    """Refuse a checkpoint whose nodes are not this graph's.

    Raises:
      CheckpointError: says which nodes differ.
    """
    differing = [
        f"{name}: {checkpoint.nodes.get(name, 'none')} in the checkpoint, {nodes.get(name, 'none')} in the graph"
        for name in sorted(checkpoint.nodes.keys() | nodes.keys())
        if checkpoint.nodes.get(name) != nodes.get(name)
    ]
    if differing:
        raise CheckpointError(
            f"{checkpoint.directory}: a checkpoint of another graph\n  " + "\n  ".join(differing) + "\n"
            "  resume with the graph that made it (the run's own graph.toml), or start a new run"
        )


def _hash(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _digest(manifest: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(manifest, sort_keys=True).encode()).hexdigest()


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
