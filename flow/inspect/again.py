"""How a node's fault can be had again: the command that plays a recording into it, where there is one."""

from __future__ import annotations

from flow.errors import FlowError
from flow.logs import EventLog
from flow.plan import Plan
from flow.run_directory import RunDirectory


def commands(run: RunDirectory, node: str) -> list[str]:
    """What to type to play what a node took into it alone, newest recording first.

    Args:
      node: its name, without a replica.
    """
    files = sorted((run.path / "recordings").glob("*.flow"), key=lambda path: path.stat().st_mtime, reverse=True)
    found = []
    for file in files:
        from storage.recording import RecordingReader  # only where somebody recorded

        try:
            with RecordingReader(file) as reader:
                into = [str(each).rpartition(".")[0] for each in reader.origin.get("into", [])]
        except FlowError:  # one that is begun, or no recording at all
            continue
        if node in into:
            found.append(f"flow replay {file} {node} --debug")
    return found


def tell(log: EventLog, run: RunDirectory, plan: Plan, died: str) -> None:
    """Write into a run's log how what died can be looked at again, if it was recorded.

    Args:
      died: a node's replica, "actor-0", or a worker, which takes all its nodes along.
    """
    for worker in plan.workers:
        nodes = {node.name: node.key for node in worker.nodes if died in (worker.name, node.key)}
        for name, key in nodes.items():
            for command in commands(run, name)[:1]:
                log.info(key, f"what it was sent is recorded; to have this again: {command}")
