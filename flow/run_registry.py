"""The runs of this machine: one small file a run, that says where its directory is.

Runs may lie anywhere, so something has to remember them; a file each, because two runs may start at once.
"""

from __future__ import annotations

import os
from pathlib import Path


def state_home() -> Path:
    """$FLOW_STATE_HOME, or flow's place below $XDG_STATE_HOME or ~/.local/state."""
    own = os.environ.get("FLOW_STATE_HOME")
    if own:
        return Path(own)
    base = os.environ.get("XDG_STATE_HOME", "")
    return (Path(base) if base.startswith("/") else Path.home() / ".local" / "state") / "flow"


def register(path: Path) -> None:
    """Remember a run. A home that can't be written to costs `flow ps` this run, not the run itself."""
    folder = state_home() / "runs"
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        (folder / path.name).write_text(f"{path}\n", encoding="utf-8", errors="surrogateescape")
    except OSError:
        return


def registered(proof: str) -> list[Path]:
    """Directories of runs, the one started last first; those without the file `proof` are forgotten."""
    folder, found = state_home() / "runs", []
    try:
        entries = list(os.scandir(folder))
    except OSError:
        return []
    for entry in entries:
        try:
            started = entry.stat().st_mtime_ns
            text = Path(entry.path).read_text(encoding="utf-8", errors="surrogateescape").strip()
            if not text:  # another process is writing it now
                continue
            os.stat(os.path.join(text, proof))
        except FileNotFoundError:
            Path(entry.path).unlink(missing_ok=True)
        except OSError:
            continue
        else:
            found.append((started, Path(text)))
    return [path for _, path in sorted(found, reverse=True)]
