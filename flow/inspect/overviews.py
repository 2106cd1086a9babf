"""How the run stands, pushed at a rate to inspectors that subscribed: for those who cannot map its pages.

One look at the pages serves all subscribers. It is taken in a thread and at most `HZ_MAX` times a second, so that the
supervisor's loop does no more than hand a frame to outboxes. Each frame is a whole picture: a subscriber that was
behind misses some, sees it by their numbers, and is right again with the next.
"""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass, field

import trio

from flow.errors import ControlError
from flow.inspect.overview import Look
from flow.inspect.protocol import Words, pack
from flow.inspect.server import Client, asked
from flow.run_directory import RunDirectory

HZ_MAX = 4.0


@dataclass
class _Subscriber:
    client: Client
    gap_s: float
    next_at: float = 0.0


@dataclass
class Overviews:
    """Pushes overviews of one run."""

    directory: RunDirectory
    _subscribers: list[_Subscriber] = field(default_factory=list)
    _came: trio.lowlevel.ParkingLot = field(default_factory=trio.lowlevel.ParkingLot)
    _number: int = 0

    async def subscribe(self, client: Client, request: Words) -> Words:
        """Push to this client from now on; 0 Hz ends it."""
        hertz = asked(request, "hz_max", float, 1.0)
        if not 0 <= hertz <= HZ_MAX:
            raise ControlError(f"subscribe: expected hz_max from 0 to {HZ_MAX:g}, found {hertz:g}")
        self._leave(client)
        if hertz:
            self._subscribers.append(_Subscriber(client, 1 / hertz))
            client.closing[Overviews] = lambda: self._leave(client)
            self._came.unpark_all()
        return {}

    def _leave(self, client: Client) -> None:
        self._subscribers = [each for each in self._subscribers if each.client is not client]

    async def run(self) -> None:
        """Push until cancelled; with no subscribers it sleeps."""
        look = Look(self.directory)

        def frame() -> bytes:
            return pack({"number": self._number, "overview": asdict(look.now())})

        try:
            while True:
                while not self._subscribers:
                    await self._came.park()
                now = time.monotonic()
                if any(each.next_at <= now for each in self._subscribers):
                    self._number += 1
                    packed = await trio.to_thread.run_sync(frame)
                    for each in self._subscribers:
                        if each.next_at <= now:
                            each.client.offer(packed)
                            each.next_at = now + each.gap_s
                soonest = min((each.next_at for each in self._subscribers), default=0.0)
                # Not before: a subscriber that comes and goes must not make it look more often.
                await trio.sleep(max(soonest - time.monotonic(), 1 / HZ_MAX))
        finally:
            look.close()
