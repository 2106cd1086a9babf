"""Says early that the disk where a run writes gets full, and when there is room again."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

import trio

if TYPE_CHECKING:
    from flow.supervisor import Supervisor

LOOK_S = 2.0
LEAST_SHARE, LEAST_BYTES = 0.05, 2 << 30
# So much more must be free than what the warning came at, or a run at the limit would warn and take it back for ever.
ENOUGH = 1.25


@dataclass
class DiskSpace:
    """Whether there is little room: less than 5 % of the disk and less than 2 GiB. No clock, no I/O."""

    little: bool = False

    def told(self, free: int, size: int) -> str:
        """What to say of this, "" if nothing has changed."""
        least = min(LEAST_SHARE * size, LEAST_BYTES)
        if not self.little and free < least:
            self.little = True
            return (
                f"{free / 2**20:.0f} MiB of {size / 2**20:.0f} MiB are free on the run's disk: when it is full, "
                "no checkpoint is made and stores cannot take more; free some space"
            )
        if self.little and free > ENOUGH * least:
            self.little = False
            return f"the run's disk has room again: {free / 2**20:.0f} MiB"
        return ""


async def watch_disk(supervisor: Supervisor) -> None:
    """Look now and then, in a thread: a network file system may take its time."""
    space = DiskSpace()
    while True:
        room = await trio.to_thread.run_sync(os.statvfs, supervisor.directory.path, abandon_on_cancel=True)
        said = space.told(room.f_bavail * room.f_frsize, room.f_blocks * room.f_frsize)
        if said:
            (supervisor.log.warning if space.little else supervisor.log.info)("", said)
        await trio.sleep(LOOK_S)
