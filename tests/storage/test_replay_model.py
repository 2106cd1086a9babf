"""Replay beside a plain model: a deque of chunks, and legality written down as in the docstring."""

import shutil
import tempfile
from collections import deque
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from flow.errors import StorageError
from storage.replay import Mix
from tests.storage.replay_steps import chunk, open_replay, steps_of, window_of

# Chunks: stream, steps that are missing before it, and of each step whether an episode begins there.
GROUPS = st.lists(
    st.tuples(
        st.integers(0, 2),
        st.sampled_from([0, 0, 0, 0, 1, 3]),
        st.lists(st.sampled_from([False] * 4 + [True]), min_size=1, max_size=6),
    ),
    min_size=1,
    max_size=5,
)


class ReplayBesideDeque(RuleBasedStateMachine):
    @initialize(
        capacity=st.integers(8, 24) | st.integers(8, 60),
        shapes=st.lists(st.tuples(st.integers(1, 4), st.integers(0, 3)), min_size=1, max_size=2),
        kept_steps=st.sampled_from([0, 1, 6, 15, 1000]),
        context_column=st.sampled_from(["frames", "wide"]),
    )
    def begin(self, capacity, shapes, kept_steps, context_column):
        self.folder = tempfile.mkdtemp()
        self.capacity = capacity
        self.chunks = deque()  # (stream, start, stop), oldest first
        self.ends, self.births, self.appended = {}, {}, 0
        self.firsts = {}  # stream -> all steps at which an episode ever began
        step_bytes = sum(column[0].nbytes for column in steps_of(0, 0, 1).values())
        self.ways = {"cache_bytes": kept_steps * step_bytes, "context_column": context_column}
        self.replay = open_replay(self.folder, capacity, **self.ways)
        self.seed = 0
        self.shapes = shapes
        self.numbers = {}  # (stream, step) -> which of all steps that ever came it is
        self.priorities = [{} for _ in shapes]  # by number, where one was said
        self.largest = [1.0 for _ in shapes]
        self.tables = [self.replay.table(*shape, newest=6, kernel="numpy") for shape in shapes]
        self.save()

    @rule(group=GROUPS, birth=st.integers(0, 5))
    def append(self, group, birth):
        made, planned = [], []
        ends, firsts = dict(self.ends), {s: list(f) for s, f in self.firsts.items()}
        for stream, gap, flags in group:
            start = ends.get(stream, birth) + (gap if stream in ends else 0)
            stop = ends[stream] = start + len(flags)
            firsts.setdefault(stream, []).extend(start + i for i, flag in enumerate(flags) if flag)
            planned.append((stream, start, stop))
            made.append(chunk(stream, start, stop, firsts[stream]))
        if sum(stop - start for _, start, stop in planned) > self.capacity:
            with pytest.raises(StorageError, match="more than the whole capacity"):
                self.replay.append(made)
            return
        self.replay.append(made)
        self.ends, self.firsts = ends, firsts
        for stream, start, stop in planned:
            self.births.setdefault(stream, start)
            for step in range(start, stop):
                self.numbers[stream, step] = len(self.numbers)
                for given, largest in zip(self.priorities, self.largest, strict=True):
                    given[self.numbers[stream, step]] = largest
            self.appended += stop - start
            self.chunks.append((stream, start, stop))
        while sum(stop - start for _, start, stop in self.chunks) > self.capacity:
            self.chunks.popleft()

    @rule(first=GROUPS, second=GROUPS, birth=st.integers(0, 5))
    def append_more(self, first, second, birth):
        # Most of what can go wrong takes more steps than fit.
        self.append(first, birth)
        self.append(second, birth)

    @rule(stream=st.integers(0, 2), back=st.integers(1, 4))
    def overlapping_steps_are_refused(self, stream, back):
        start = self.ends.get(stream, 0) - back
        if start >= 0:
            with pytest.raises(StorageError, match=f"stream {stream} is recorded up to step {start + back}"):
                self.replay.append([chunk(stream, start, start + 2)])

    @rule()
    def save(self):
        self.saved = [
            (table.state_dict(), dict(given)) for table, given in zip(self.tables, self.priorities, strict=True)
        ]

    @rule()
    def reopen(self):
        self.replay.close()
        self.replay = open_replay(self.folder, self.capacity, **self.ways)
        self.tables = [self.replay.table(*shape, newest=6, kernel="numpy") for shape in self.shapes]
        for which, (table, (state, given)) in enumerate(zip(self.tables, self.saved, strict=True)):
            table.load_state_dict(state)
            # What came since it was saved, and what was said since, is as if it had just come.
            self.largest[which] = state["largest"]
            self.priorities[which] = {number: given.get(number, state["largest"]) for number in self.numbers.values()}

    @rule(which=st.integers(0, 1), numbers=st.lists(st.integers(0, 200), max_size=5), priority=st.sampled_from([0, 3]))
    def a_priority_changes_what_is_stored_and_nothing_else(self, which, numbers, priority):
        table, given = self.tables[which % len(self.tables)], self.priorities[which % len(self.tables)]
        late = table.update(np.array(numbers, np.int64), np.full(len(numbers), priority))
        stored = {self.numbers[step] for step in self.stored()}
        assert late == sum(number not in stored for number in numbers)
        given.update({number: priority for number in numbers if number in stored})
        if numbers:
            self.largest[which % len(self.tables)] = max(self.largest[which % len(self.tables)], priority)

    @rule(which=st.integers(0, 1), law=st.sampled_from(["uniform", "prioritised", "recent"]))
    def torchrl_2208_a_table_draws_every_window_that_is_whole_and_no_other(self, which, law):
        which %= len(self.tables)
        table, (length, context) = self.tables[which], self.shapes[which]
        legal = {self.numbers[step]: step for step in self.legal(length, context)}
        if law == "recent":
            legal = {n: step for n, step in legal.items() if n >= len(self.numbers) - 6} or legal
        if law == "prioritised":
            legal = {n: step for n, step in legal.items() if self.priorities[which][n]}
        weight = self.priorities[which] if law == "prioritised" else dict.fromkeys(legal, 1)
        self.seed += 1
        rng = np.random.default_rng(self.seed)
        mix = Mix(**{law: 1.0})
        if not legal:
            with pytest.raises(StorageError, match="there is nothing to draw"):
                self.replay.sample(table, rng, 3, mix)
            return
        drawn, windows = self.replay.sample(table, rng, 60 * len(legal), mix)
        assert set(drawn.handles.tolist()) == set(legal)
        total = sum(weight[number] for number in legal)
        for row, (number, anchor, chance) in enumerate(
            zip(drawn.handles.tolist(), drawn.anchors.tolist(), drawn.chances, strict=True)
        ):
            # LightZero #490: the handle, the chance and the data are of one and the same step.
            assert tuple(anchor) == legal[number]
            np.testing.assert_allclose(chance, weight[number] / total)
            assert windows["step"][row, 0] == anchor[0] * 1_000_000 + anchor[1]
        column = self.ways["context_column"]
        for number, row in zip(*np.unique(drawn.handles, return_index=True), strict=True):
            stream, t = legal[number]
            seen = steps_of(stream, t, t + length + 1)[column]
            np.testing.assert_array_equal(windows[column][row, context:], seen)

    @rule(length=st.integers(1, 7), context=st.integers(0, 4))
    def windows_are_the_models_and_only_legal_ones_are_drawn(self, length, context):
        legal = self.legal(length, context)
        assert self.replay.count_anchors(length, context) == len(legal)
        self.seed += 1
        rng = np.random.default_rng(self.seed)
        if not legal:
            with pytest.raises(StorageError, match="is stored yet"):
                self.replay.sample_anchors(rng, 3, length, context)
            return
        drawn = self.replay.sample_anchors(rng, 8, length, context)
        assert set(map(tuple, drawn.tolist())) <= legal
        # All legal windows at once, into one buffer that holds rubbish before.
        anchors = np.array(sorted(legal))
        out = self.replay.window_buffers(len(anchors), length, context)
        for array in out.values():
            array.view(np.uint8)[:] = 201
        found = self.replay.windows(anchors, length, context, out)
        for row, (stream, t) in enumerate(anchors.tolist()):
            column = self.ways["context_column"]
            expected = window_of(stream, t, length, context, self.births[stream], self.firsts[stream], column)
            for name, array in expected.items():
                np.testing.assert_array_equal(found[name][row], array, err_msg=f"{name} at {stream}, {t}")

    @rule(stream=st.integers(0, 2), t=st.integers(0, 40), length=st.integers(1, 5), context=st.integers(0, 3))
    def an_anchor_that_is_not_legal_is_refused(self, stream, t, length, context):
        if (stream, t) not in self.legal(length, context):
            with pytest.raises(StorageError, match=f"stream {stream}, step {t}, with {context} steps before"):
                self.replay.windows(np.array([[stream, t]]), length, context)

    @rule(stream=st.integers(0, 2), start=st.integers(0, 40), steps=st.integers(1, 12))
    def reads_give_the_steps_or_say_that_they_are_not_stored(self, stream, start, steps):
        if {(stream, t) for t in range(start, start + steps)} <= self.stored():
            found = self.replay.read(stream, start, start + steps, ["step", "frames"])
            expected = steps_of(stream, start, start + steps)
            assert list(found) == ["step", "frames"]
            for name, array in found.items():
                np.testing.assert_array_equal(array, expected[name])
        else:
            with pytest.raises(StorageError, match=f"stream {stream} does not hold all of steps {start} to"):
                self.replay.read(stream, start, start + steps)

    @rule()
    def episodes_are_the_models(self):
        episodes = self.episodes()
        assert self.replay.statistics().episodes == len(episodes)
        if episodes:
            drawn = self.replay.sample_episodes(np.random.default_rng(0), 60 * len(episodes))
            # 60 draws an episode: one is missed once in e^60 / episodes.
            assert set(map(tuple, drawn.tolist())) == episodes

    @invariant()
    def counts_agree(self):
        if not hasattr(self, "replay"):
            return
        statistics = self.replay.statistics()
        assert self.replay.ends == self.ends
        assert statistics.chunks == len(self.chunks)
        assert statistics.steps == len(self.stored())
        assert statistics.appended_steps == self.appended
        assert statistics.evicted_steps == self.appended - statistics.steps
        assert statistics.segments == len(self.segments())
        for table, shape in zip(self.tables, self.shapes, strict=True):
            assert table.drawable == len(self.legal(*shape))

    def teardown(self):
        self.replay.close()
        shutil.rmtree(self.folder)

    def stored(self):
        return {(stream, t) for stream, start, stop in self.chunks for t in range(start, stop)}

    def segments(self):
        """(stream, start, stop) of each stretch without a gap."""
        stored = self.stored()
        starts = sorted((s, t) for s, t in stored if (s, t - 1) not in stored)
        stops = sorted((s, t + 1) for s, t in stored if (s, t + 1) not in stored)
        return [(s, start, stop) for (s, start), (_, stop) in zip(starts, stops, strict=True)]

    def legal(self, length, context):
        """Every step of t-context..t+length is stored, or lies before the stream's stored first step."""
        stored = self.stored()
        return {
            (s, t)
            for s, t in stored
            if all(
                (s, at) in stored or (at < self.births[s] and (s, self.births[s]) in stored)
                for at in range(t - context, t + length + 1)
            )
        }

    def episodes(self):
        found = set()
        for stream, start, stop in self.segments():
            firsts = [f for f in self.firsts.get(stream, []) if start <= f < stop]
            found |= {(stream, a, b) for a, b in pairwise(firsts)}
            if firsts and stop - firsts[-1] >= 2:
                found.add((stream, firsts[-1], stop))
        return found


TestReplayBesideDeque = ReplayBesideDeque.TestCase
TestReplayBesideDeque.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
