"""All exceptions a user of flow can meet.

    FlowError
    ├── GraphError             a graph file is wrong: every problem at once, each with its place and a mend
    ├── NodeTypeError          a node function's signature is not a valid declaration
    ├── SettingError           a setting has a value its node cannot work with
    ├── MessageError           a message does not conform to its type, found where it was made
    ├── ForgottenAwaitError    a node called something that has to be awaited, and did not
    ├── WireError              bytes from another process are not a valid message; the receiver drops them
    ├── PeerRestarted          the server of a call was restarted before it answered, or a replica of a group was
    ├── MissingError           a file, a ROM or an optional package is not there
    ├── RunError               a run cannot start, go on or be found
    │   ├── CheckpointError    a checkpoint is incomplete, damaged or of another graph
    │   └── ControlError       a process of a run cannot be reached, or refuses what an inspector asks
    └── StorageError           a store cannot be opened, read or written
        ├── DiskFullError      no space is left where a run writes
        └── NotStoredError     what was asked for is not stored, or not any more

Each message says where, what was found, what was expected and what to do.
"""

from __future__ import annotations


class FlowError(Exception):
    """Base of everything flow raises on purpose."""


class GraphError(FlowError):
    """A graph file is wrong. `problems` holds one text a problem, in the order of the file."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n\n".join(problems))
        self.problems = problems


class NodeTypeError(FlowError):
    """A node function's signature is not a valid declaration of ports and settings."""


class SettingError(FlowError):
    """A setting has a value its node cannot work with."""


class MessageError(FlowError):
    """A message does not conform to its type; raised where it was made or where it entered a node."""


class ForgottenAwaitError(FlowError):
    """A node called something that has to be awaited, such as `Out.send`, without `await`."""


class WireError(FlowError):
    """Bytes from another process are not a valid message. Never raised past the receiving carrier."""


class PeerRestarted(FlowError):
    """Another node was restarted that this one needed.

    The server of a call before it answered, where the question is not safe to ask twice; or one of a group of replicas.
    """


class MissingError(FlowError):
    """A file, a ROM or an optional package is not there; the text says how to get it."""


class RunError(FlowError):
    """A run cannot start, go on or be found."""


class CheckpointError(RunError):
    """A checkpoint is incomplete, damaged or of another graph."""


class ControlError(RunError):
    """A process of a run cannot be reached, or refuses what an inspector asks of it."""


class StorageError(FlowError):
    """A store cannot be opened, read or written."""


class NotStoredError(StorageError):
    """What was asked for is not stored, or not any more; the store itself is well."""


class DiskFullError(StorageError):
    """No space is left where a run writes. What was committed before is whole."""
