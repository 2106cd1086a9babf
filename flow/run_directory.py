"""One run, one directory: where everything lies that a run writes, and who owns it now.

    laser_atari-20261124-014759-7f3c/       mode 0700
      graph.toml  run.json                  the resolved graph; what ran, with which versions, how it ended
      lock                                  held by the supervisor while the run is alive
      state/  logs/  metrics/               pages of counters; events; TensorBoard files and metrics.jsonl
      checkpoints/  replay/                 what a resumed run goes on from
      learning_curve.png

Sockets can't lie there: the path of a Unix socket holds at most 107 bytes. They get a short directory of
their own below $XDG_RUNTIME_DIR, or /tmp/flow-UID.
"""

from __future__ import annotations

import difflib
import hashlib
import json
import os
import re
import secrets
import shutil
import stat
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flow import run_lock
from flow.errors import RunError
from flow.run_lock import Ownership as Ownership
from flow.run_registry import register, registered

ABOUT = "run.json"
PACKAGES = ("flow-research", "trio", "numpy", "pyzmq", "msgpack", "lmdb", "torch", "ale-py", "rich")
"""Whose versions a run writes down, where installed."""


@dataclass(frozen=True)
class RunDirectory:
    """The directory of one run; see the top of this file for its layout."""

    path: Path

    @classmethod
    def create(cls, base: Path, title: str) -> RunDirectory:
        """Make a new run directory below `base`, and enter it in this machine's registry.

        Raises:
          RunError: `base` can't be written to.
        """
        name = f"{_plain(title)}-{time.strftime('%Y%m%d-%H%M%S')}-{secrets.token_hex(2)}"
        run = cls(Path(base).absolute() / name)
        try:
            run.path.parent.mkdir(parents=True, exist_ok=True)
            run.path.mkdir(mode=0o700)
            for folder in (run.state, run.logs, run.metrics, run.checkpoints, run.replay):
                folder.mkdir(mode=0o700)
            run._write_about({"title": title, "name": name, "created": time.time()})
        except OSError as error:
            raise RunError(
                f"{base}: can't make a run directory here: {error.strerror}; choose another place with --runs DIR"
            ) from error
        register(run.path)
        return run

    @classmethod
    def open(cls, path: Path) -> RunDirectory:
        """The run directory at `path`.

        Raises:
          RunError: there is none.
        """
        path = Path(path).absolute()
        if not (path / ABOUT).is_file():
            found = "has no run.json" if path.is_dir() else "is not there"
            raise RunError(f"{path}: not a run directory, it {found}; `flow ps` lists the runs of this machine")
        return cls(path)

    @property
    def name(self) -> str:
        return self.path.name

    def called_after(self, title: str) -> bool:
        """Whether `create` was given this title, a graph file's name for instance."""
        return re.fullmatch(rf"{re.escape(_plain(title))}-\d{{8}}-\d{{6}}-[0-9a-f]{{4}}", self.name) is not None

    @property
    def graph_file(self) -> Path:
        return self.path / "graph.toml"

    @property
    def about_file(self) -> Path:
        return self.path / ABOUT

    @property
    def lock_file(self) -> Path:
        return self.path / "lock"

    @property
    def state(self) -> Path:
        return self.path / "state"

    @property
    def logs(self) -> Path:
        return self.path / "logs"

    @property
    def metrics(self) -> Path:
        return self.path / "metrics"

    @property
    def checkpoints(self) -> Path:
        return self.path / "checkpoints"

    @property
    def replay(self) -> Path:
        return self.path / "replay"

    @property
    def curve_file(self) -> Path:
        return self.path / "learning_curve.png"

    @property
    def sockets(self) -> Path:
        """The directory of the run's sockets, made when it is asked for; about 30 bytes long.

        Raises:
          RunError: it belongs to someone else, or can't be made.
        """
        folder = sockets_base() / hashlib.sha256(os.fsencode(self.path)).hexdigest()[:10]
        _private(folder.parent)
        _private(folder)
        return folder

    def remove_sockets(self) -> None:
        """Remove the directory of the run's sockets; for the owner, when the run has ended."""
        shutil.rmtree(self.sockets, ignore_errors=True)

    def page_file(self, node: str, replica: int = 0) -> Path:
        """Where the counters of a node replica lie."""
        return self.state / f"{node.replace('/', '_')}-{replica}.page"

    def about(self) -> dict[str, Any]:
        """What run.json says: title, seed, versions, command, started, until, ended, outcome, cause.

        Raises:
          RunError: it can't be read.
        """
        try:
            about = json.loads(self.about_file.read_text(encoding="utf-8"))
        except FileNotFoundError as error:
            what = "the run's run.json is gone" if self.path.is_dir() else "the run's directory is gone"
            raise RunError(f"{self.path}: {what}; `flow ps` lists the runs that are there") from error
        except (OSError, ValueError) as error:
            raise RunError(f"{self.about_file}: can't be read: {error}") from error
        if not isinstance(about, dict):
            raise RunError(f"{self.about_file}: expected a JSON object, found {type(about).__name__}")
        return about

    def begin(self, graph: str, *, seed: int, until: dict[str, float] | None = None, **more: object) -> dict[str, Any]:
        """Write down what is about to run, at the first start and at each resumption.

        Args:
          graph: the resolved graph, as TOML.
          seed: the run's seed.
          until: counters and the totals at which the run is done.
          more: anything else that JSON can hold: `profile`, `show`, `curve`.

        Raises:
          RunError: it can't be written; what was there before is untouched.
        """
        about = self.about()
        for key in ("ended", "outcome", "cause"):
            about.pop(key, None)
        now = time.time()
        about |= {
            **more,
            "seed": seed,
            "until": until or {},
            "versions": versions(),
            "command": sys.argv,
            "pid": os.getpid(),
            "started": now,
            "starts": [*about.get("starts", []), now],
        }
        try:
            register(self.path)  # again: the run started last is the one that commands mean without a name
            for unfinished in self.path.glob(".*.[0-9]*"):  # of an owner that was killed while it wrote
                unfinished.unlink(missing_ok=True)
            _write(self.graph_file, graph)
            self._write_about(about)
        except OSError as error:
            raise self._unwritable(error) from error
        return about

    def finish(self, outcome: str, cause: str = "") -> None:
        """Write down how the run ended: "done", "stopped" or "failed", and for what first cause."""
        self._write_about(self.about() | {"ended": time.time(), "outcome": outcome, "cause": cause})

    def own(self) -> Ownership:
        """Become the run's owner, until the result is released or this process is gone.

        Raises:
          RunError: the run is alive in another process, or its directory can't be written to.
        """
        try:
            ownership = run_lock.take(self.lock_file)
        except OSError as error:
            raise self._unwritable(error) from error
        if ownership is not None:
            return ownership
        pid = self.owner()
        what = f"alive in process {pid}" if pid else "still held by a process that its dead owner left behind"
        raise RunError(
            f"{self.name}: this run is {what}; `flow inspect {self.name}` shows it, `flow stop {self.name}` ends it"
        )

    def owner(self) -> int | None:
        """Pid of the process that owns the run now; None when there is none, also after a SIGKILL."""
        return run_lock.holder(self.lock_file)

    def _unwritable(self, error: OSError) -> RunError:
        return RunError(
            f"{self.path}: can't be written to: {error.strerror}; what is there is untouched: free some space or "
            f"mend its permissions, then `flow run --resume {self.name}`"
        )

    def _write_about(self, about: dict[str, Any]) -> None:
        _write(self.about_file, json.dumps(about, indent=1, default=str) + "\n")


def sockets_base() -> Path:
    """Where the socket directories of this user's runs lie."""
    runtime = os.environ.get("XDG_RUNTIME_DIR", "")
    # A longer base would leave less than 60 bytes for the name of a socket.
    if runtime.startswith("/") and len(os.fsencode(runtime)) <= 30 and os.access(runtime, os.W_OK):
        return Path(runtime) / "flow"
    return Path(f"/tmp/flow-{os.getuid()}")


def versions() -> dict[str, str]:
    """Versions of python and of the packages a run depends on, read without importing them."""
    from importlib.metadata import PackageNotFoundError, version

    found = {"python": sys.version.split()[0]}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def _plain(title: str) -> str:
    """A title as the start of a file name: `LASER on Atari` -> `laser_on_atari`."""
    return re.sub(r"[^a-z0-9]+", "_", title.lower()).strip("_")[:40] or "run"


def _private(folder: Path) -> None:
    """Make a directory that only this user can enter; /tmp is everyone's, so one found there is looked at."""
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        status = folder.lstat()
        if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.getuid():
            raise RunError(f"{folder}: belongs to someone else; set XDG_RUNTIME_DIR to a directory of your own")
        if status.st_mode & 0o077:
            folder.chmod(0o700)
    except OSError as error:
        raise RunError(f"{folder}: can't make a directory for sockets: {error.strerror}") from error


def _write(path: Path, text: str) -> None:
    """Replace a file as a whole: a reader sees the old text or the new."""
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        unfinished.write_text(text, encoding="utf-8")
        os.replace(unfinished, path)
    except OSError:
        unfinished.unlink(missing_ok=True)  # on a full disk it would be in the way
        raise


def find_runs() -> list[RunDirectory]:
    """All runs of this machine whose directories are still there, newest first."""
    return [RunDirectory(path) for path in registered(ABOUT)]


def find_run(name: str | os.PathLike[str] | None = None, *, to_change: bool = False) -> RunDirectory:
    """The run of that name, of that directory, or whose name begins so.

    Without a name the newest of ./runs, or else of this machine. One from elsewhere may be somebody else's, so where
    several are alive none of them is taken to be changed.

    Args:
      to_change: whether it is looked for to change it: to stop it, to go on with it, to set something.

    Raises:
      RunError: no such run, or several; the text names those that are near.
    """
    if name is not None and (os.sep in os.fspath(name) or os.path.isfile(os.path.join(name, "run.json"))):
        return RunDirectory.open(Path(name))
    runs = find_runs()
    if name is None:
        if not runs:
            raise RunError("no run on this machine yet; start one: flow run graphs/laser_atari.toml")
        return _newest(runs, to_change=to_change)
    name = os.fspath(name)
    exact = [run for run in runs if run.name == name]
    matches = exact or [run for run in runs if run.name.startswith(name)]
    if len(matches) == 1:
        return matches[0]
    if matches:
        raise RunError(f"{len(matches)} runs are called {name!r}…; say more of the name:{_listed(matches)}")
    near = difflib.get_close_matches(name, [run.name for run in runs], n=5, cutoff=0.4)
    inside = [run.name for run in runs if name and name in run.name and run.name not in near]
    chosen = [run for run in runs if run.name in {*near, *inside}] or runs
    said = "did you mean" if near or inside else "the newest are"
    if not runs:
        raise RunError(f"no run {name!r}; there is no run on this machine yet")
    raise RunError(f"no run {name!r}; {said}:{_listed(chosen)}")


def _newest(runs: list[RunDirectory], *, to_change: bool) -> RunDirectory:
    """The newest of ./runs, or else of all."""
    here = Path("runs").absolute()
    own = [run for run in runs if run.path.parent == here]
    if own or not to_change:
        return (own or runs)[0]
    alive = [run for run in runs if run.owner() is not None]
    if len(alive) > 1:
        raise RunError(f"no run in {here}, and {len(alive)} are alive elsewhere; name the one meant:{_listed(alive)}")
    return runs[0]


def _listed(runs: list[RunDirectory]) -> str:
    more = f"\n  and {len(runs) - 5} more" if len(runs) > 5 else ""
    return "".join(f"\n  {run.name}" for run in runs[:5]) + more
