"""Whether a host that wants to join fits to the run: the same versions, and all that its workers import is there."""

from __future__ import annotations

import hashlib
import importlib.util
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from flow import node_files, wire_layout
from flow.carrier.codecs import INSTALL, is_installed
from flow.hosts import channel
from flow.plan import Plan

Facts = dict[str, str]


def facts() -> Facts:
    """What this end is made of, read without importing it."""
    major, minor, _ = platform.python_version_tuple()
    found = {"format": f"{wire_layout.FORMAT}.{channel.FORMAT}", "python": f"{major}.{minor}"}
    for name, package in (("flow", "flow-research"), ("torch", "torch")):
        try:
            # What follows the + names the device a build is for, in which hosts may well differ.
            found[name] = version(package).partition("+")[0]
        except PackageNotFoundError:
            continue
    return found


def differing(home: Facts, there: Facts, *, torch: bool) -> str:
    """What keeps two versions from working together, "" if nothing does. torch: whether it matters."""
    for name in ("flow", "format", "python", *(["torch"] if torch else [])):
        if home.get(name) != there.get(name):
            what = "the format of messages" if name == "format" else name
            return (
                f"{what} is {home.get(name, 'not installed')} at home and {there.get(name, 'not installed')} there; "
                f"install the same {what if name != 'format' else 'flow'} on both"
            )
    return ""


def needs_torch(plan: Plan, host: str) -> bool:
    return any("torch" in worker.needs for worker in plan.workers if worker.host == host)


def node_modules(plan: Plan) -> dict[str, str]:
    """The modules of all node types of a run, which each worker knows; of files, a hash of what stands in them."""
    names = {node.type.rpartition(":")[0] for worker in plan.workers for node in worker.nodes}
    return {name: _hash(Path(name)) if node_files.is_file(name) else "" for name in sorted(names)}


def missing(modules: dict[str, str], plan: Plan, host: str) -> list[str]:
    """What this host lacks to take its part, each with a mend."""
    problems = []
    for name, digest in modules.items():
        if node_files.is_file(name):
            problems += _file_problems(Path(name), digest)
        elif not _is_found(name):
            text = f"the module '{name}' of a node is not found there"
            problems.append(f"{text}; install it, or start `flow worker` in the folder that it lies in")
    packages = {package for worker in plan.workers if worker.host == host for package in worker.needs}
    problems += [
        f"the package '{package}' that a node needs is not installed there; install it"
        for package in sorted(packages)
        if not _is_found(package)
    ]
    if any(link.compress == "zstd" for link in plan.links) and not is_installed("zstd"):
        problems.append(f"an edge is compressed with zstd, whose package is not installed there; {INSTALL}")
    return problems


def _file_problems(path: Path, digest: str) -> list[str]:
    if not path.is_file():
        return [f"the file {path} of a node is not there; copy it to the same place, or put the node into a package"]
    if _hash(path) != digest:
        return [f"the file {path} of a node differs from the one at home; copy it again"]
    return []


def _is_found(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except (ImportError, ValueError):  # a package around it is not there, or fails
        return False


def _hash(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
