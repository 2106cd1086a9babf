"""The window of a link, beside a list of what is under way."""

from __future__ import annotations

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from flow.credit import Window

sizes = st.integers(0, 12)


class Windows(RuleBasedStateMachine):
    """A sender that asks before it sends, and a receiver that gives back what it took, a few at a time."""

    def __init__(self):
        super().__init__()
        self.window = Window(messages=3, size=10)
        self.under_way = []

    @rule(size=sizes)
    def send_if_it_fits(self, size):
        fits = not self.under_way or (len(self.under_way) < 3 and sum(self.under_way) + size <= 10)
        assert self.window.fits(size) == fits
        if fits:
            self.window.spend(size)
            self.under_way.append(size)

    @precondition(lambda self: self.under_way)
    @rule(data=st.data())
    def give_back(self, data):
        count = data.draw(st.integers(1, len(self.under_way)))
        self.window.give_back(count, sum(self.under_way[:count]))
        del self.under_way[:count]

    @rule(more=st.integers(1, 3))
    def give_back_too_much(self, more):
        with pytest.raises(ValueError, match="given back"):
            self.window.give_back(len(self.under_way) + more, 0)
        with pytest.raises(ValueError, match="given back"):
            self.window.give_back(0, sum(self.under_way) + more)

    @rule()
    def reset(self):
        assert self.window.reset() == len(self.under_way)
        self.under_way = []

    @invariant()
    def counts_what_is_under_way(self):
        assert (self.window.messages_under_way, self.window.size_under_way) == (
            len(self.under_way),
            sum(self.under_way),
        )

    @invariant()
    def never_more_than_the_window_unless_alone(self):
        assert len(self.under_way) <= 3
        assert sum(self.under_way) <= 10 or len(self.under_way) == 1


TestWindows = Windows.TestCase
