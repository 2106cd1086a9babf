"""What the sending end of a stream counts."""

from __future__ import annotations

import numpy as np
import pytest
import trio

from flow.credit import Window
from flow.links import StreamLink
from flow.tally import Tally
from tests.flow.sample_messages import Block


class Route:
    """Sees what is counted when a message goes, and may refuse it."""

    def __init__(self):
        self.link, self.counted, self.refuses = None, [], False

    def data(self, sequence, message):
        self.counted.append((sequence, self.link.tally.messages.value, self.link.tally.size.value))
        if self.refuses:
            raise ValueError


def test_a_message_is_counted_before_it_goes_and_one_that_is_refused_was_never_sent():
    route = Route()
    route.link = link = StreamLink(0, Window(4, 1 << 20), route, Tally(), trio.lowlevel.ParkingLot())
    block = Block(1, np.zeros(10, np.uint8))
    link.send(block, 10)
    route.refuses = True
    with pytest.raises(ValueError):  # noqa: PT011 (the route's own)
        link.send(block, 10)
    route.refuses = False
    link.send(block, 10)
    assert route.counted == [(0, 1, 10), (1, 2, 20), (1, 2, 20)]
    assert (link.tally.messages.value, link.tally.size.value, link.sequence) == (2, 20, 2)
