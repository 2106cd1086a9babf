"""Items drawn by priority beside a plain dictionary of them; each bug that other replays had is a property here."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from flow.errors import StorageError
from storage.priorities import Mix, Priorities
from storage.sum_tree import SumTree

PRIORITIES = st.sampled_from([0.0, 0.5, 1.0, 3.0, 1e-6, 1e6])
LAWS = [
    Mix.parse(text) for text in ("uniform", "prioritised", "recent", "0.5 prioritised + 0.25 uniform + 0.25 recent")
]


class PrioritiesBesideADict(RuleBasedStateMachine):
    """Each item's priority and whether it may be drawn, by handle, written down as in the docstring."""

    @initialize(capacity=st.integers(1, 12), alpha=st.sampled_from([0.0, 0.5, 1.0]), newest=st.integers(1, 5))
    def begin(self, capacity, alpha, newest):
        self.made = {"exponent": alpha, "newest": newest, "kernel": "numpy"}
        self.capacity, self.alpha, self.newest = capacity, alpha, newest
        self.ring = Priorities(capacity, **self.made)
        self.held: dict[int, list] = {}  # handle -> [priority, allowed]
        self.next, self.largest, self.seed = 0, 1.0, 0

    @rule(count=st.integers(0, 4), priority=st.none() | PRIORITIES, allowed=st.booleans())
    def append(self, count, priority, allowed):
        if len(self.held) + count > self.capacity:
            with pytest.raises(StorageError, match="above the capacity"):
                self.ring.append(count, priority, allowed=allowed)
            return
        self.ring.append(count, priority, allowed=allowed)
        self.largest = max(self.largest, priority or 0.0)
        for handle in range(self.next, self.next + count):
            self.held[handle] = [self.largest if priority is None else np.float32(priority), allowed]
        self.next += count

    @rule(count=st.integers(0, 4))
    def forget(self, count):
        self.ring.forget(count)
        for handle in sorted(self.held)[:count]:
            del self.held[handle]

    @rule(start=st.integers(0, 40), length=st.integers(0, 9), allowed=st.booleans())
    def allow(self, start, length, allowed):
        self.ring.allow(start, start + length, allowed)
        for handle in range(start, start + length):
            if handle in self.held:
                self.held[handle][1] = allowed

    @rule(said=st.lists(st.tuples(st.integers(0, 40), PRIORITIES), max_size=6, unique_by=lambda one: one[0]))
    def torchrl_generations_an_update_of_what_has_gone_or_was_overwritten_changes_nothing(self, said):
        handles, priorities = np.array([h for h, _ in said], np.int64), np.array([p for _, p in said])
        late = self.ring.update(handles, priorities)
        assert late == sum(handle not in self.held for handle, _ in said)
        for handle, priority in said:
            self.largest = max(self.largest, priority)
            if handle in self.held:
                self.held[handle][0] = np.float32(priority)

    @rule(alpha=st.sampled_from([0.0, 0.5, 1.0, 2.0]))
    def torchrl_2211_the_exponent_is_applied_once_whenever_it_changes(self, alpha):
        self.alpha = self.ring.exponent = alpha

    @staticmethod
    def drawn(ring):
        """What is drawn with the same dice; None where there is nothing to draw."""
        try:
            return ring.draw(np.random.default_rng(5), 6, LAWS[-1])
        except StorageError:
            return None

    @rule()
    def torchrl_3871_saved_and_loaded_it_is_the_same(self):
        saved = self.ring.state_dict()
        first = min(self.held, default=self.next)
        fresh = Priorities(self.capacity, **{**self.made, "exponent": self.alpha}, first=first)
        for handle in sorted(self.held):
            fresh.append(1, allowed=self.held[handle][1])
        fresh.load_state_dict(saved)
        before, after = (self.drawn(ring) for ring in (self.ring, fresh))
        assert (before is None) == (after is None)
        if before is not None and after is not None:
            np.testing.assert_array_equal(before.handles, after.handles)
            np.testing.assert_array_equal(before.chances, after.chances)
        self.ring = fresh

    @rule(mix=st.sampled_from(LAWS))
    def draws_have_the_chances_that_the_definition_gives(self, mix):
        chances = self.chances(mix)
        self.seed += 1
        rng = np.random.default_rng(self.seed)
        if chances is None:
            with pytest.raises(StorageError, match="there is nothing to draw"):
                self.ring.draw(rng, 3, mix)
            return
        drawn = self.ring.draw(rng, 20, mix)
        for handle, chance in zip(drawn.handles.tolist(), drawn.chances, strict=True):
            # In `chances` is no item of priority 0 unless another law draws it too.
            np.testing.assert_allclose(chance, chances[handle], rtol=1e-5)

    def chances(self, mix):
        drawable = [h for h, (_, allowed) in self.held.items() if allowed]
        weights = {h: float(self.held[h][0]) ** self.alpha if self.held[h][0] else 0.0 for h in drawable}
        if not drawable or (mix.prioritised and not sum(weights.values())):
            return None
        recent = [h for h in drawable if h >= self.next - self.newest] or drawable
        total = math.fsum(weights.values())
        found = {}
        for handle in drawable:
            chance = mix.uniform / len(drawable) + mix.recent * (handle in recent) / len(recent)
            chance += mix.prioritised * weights[handle] / total if mix.prioritised else 0.0
            if chance:
                found[handle] = chance
        return found

    @invariant()
    def counts_agree(self):
        if hasattr(self, "ring"):
            assert len(self.ring) == len(self.held)
            assert self.ring.next == self.next
            assert self.ring.drawable == sum(allowed for _, allowed in self.held.values())


TestPrioritiesBesideADict = PrioritiesBesideADict.TestCase
TestPrioritiesBesideADict.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)


@settings(max_examples=10)
@given(seed=st.integers(0, 99), mix=st.sampled_from(LAWS))
def test_lightzero_490_after_updates_draws_follow_the_law_by_a_chi_square_bound(seed, mix):
    rng = np.random.default_rng(seed)
    ring = Priorities(16, exponent=0.6, newest=5, kernel="numpy")
    plain = {}
    for _ in range(12):  # adds, evictions and updates in any order
        if len(ring) < 12:
            plain.update({ring.next + i: 1.0 for i in range(4)})
            ring.append(4, 1.0)
        else:
            ring.forget(3)
            plain = {h: p for h, p in plain.items() if h >= ring.oldest}
        said = rng.integers(0, ring.next, 5)
        values = rng.random(5) * 4 + 0.1
        ring.update(said, values)
        plain.update({h: v for h, v in zip(said.tolist(), values, strict=True) if h in plain})
    count = 20_000
    drawn = ring.draw(rng, count, mix)
    weights = {h: p**0.6 for h, p in plain.items()}
    newest = [h for h in plain if h >= ring.next - 5]
    chi = 0.0
    for handle, weight in weights.items():
        chance = mix.uniform / len(plain) + mix.prioritised * weight / sum(weights.values())
        chance += mix.recent * (handle in newest) / len(newest)
        seen = int((drawn.handles == handle).sum())
        if chance == 0:
            assert seen == 0
        else:
            chi += (seen - count * chance) ** 2 / (count * chance)
    # Mean len - 1, variance twice that: six standard deviations above.
    assert chi < len(plain) + 6 * math.sqrt(2 * len(plain))


@given(seed=st.integers(0, 999), kernel=st.sampled_from(["numpy", "numba"]))
@settings(max_examples=20)
def test_flashbax_float32_nothing_of_priority_zero_is_ever_drawn(seed, kernel):
    pytest.importorskip(kernel)
    rng = np.random.default_rng(seed)
    size = int(rng.integers(1, 70))
    tree, plain = SumTree(size, kernel), np.zeros(size)
    for _ in range(5):
        numbers = rng.choice(size, rng.integers(1, size + 1), replace=False)
        plain[numbers] = np.where(rng.random(len(numbers)) < 0.5, 0, 10.0 ** rng.integers(-12, 12, len(numbers)))
        tree.set(numbers, plain[numbers])
        if plain.any():
            assert (plain[tree.draw(rng, 500)] > 0).all()


def test_reverb_rebuild_threshold_the_root_is_the_sum_of_the_leaves_after_a_million_changes():
    rng = np.random.default_rng(0)
    tree, plain = SumTree(1000, "numpy"), np.zeros(1000)
    for _ in range(500):
        numbers = rng.integers(0, 1000, 2000)
        weights = 10.0 ** rng.uniform(-8, 8, 2000)
        plain[numbers] = weights
        tree.set(numbers, weights)
    # Sums of 10 levels, each rounded once.
    assert abs(tree.total - math.fsum(plain)) <= 10 * np.finfo(float).eps * math.fsum(plain)


def test_acme_what_comes_without_a_priority_is_as_likely_as_the_likeliest():
    ring = Priorities(9, kernel="numpy")
    ring.append(1, 5.0)
    ring.append(1)
    assert set(ring.draw(np.random.default_rng(0), 50, LAWS[1]).chances) == {0.5}


@pytest.mark.parametrize("wrong", [[-1.0], [math.nan], [math.inf]])
def test_reverb_priorities_that_are_no_number_of_0_or_more_are_refused_and_change_nothing(wrong):
    ring = Priorities(4, kernel="numpy")
    ring.append(2, 1.0)
    with pytest.raises(StorageError, match=r"priorities must be finite numbers of 0 or more, found"):
        ring.update(np.array([0]), np.array(wrong))
    with pytest.raises(StorageError, match="priorities must be finite numbers"):
        ring.append(1, wrong[0])
    assert (len(ring), ring.largest) == (2, 1.0)
    assert set(ring.draw(np.random.default_rng(0), 20, LAWS[1]).chances) == {0.5}


@given(shares=st.lists(st.integers(0, 4), min_size=3, max_size=3).filter(any))
def test_a_mix_is_read_as_it_is_written(shares):
    whole = sum(shares)
    text = " + ".join(f"{share / whole} {law}" for law, share in zip(Mix._fields, shares, strict=True))
    np.testing.assert_allclose(Mix.parse(text), np.array(shares) / whole)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("prioritized", "is no law to draw by; write"),
        ("0.5 uniform + 0.5 uniform", "each once"),
        ("x uniform", "is no law to draw by"),
        ("0.5 uniform + 0.25 recent", "the shares sum to 0.75; let them sum to 1"),
        ("", "is no law to draw by"),
    ],
)
def test_what_is_no_mix_is_told(text, says):
    with pytest.raises(StorageError, match=says):
        Mix.parse(text)
