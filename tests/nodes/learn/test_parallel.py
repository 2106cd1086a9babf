"""Replicas of a learner: two with half batches are one with the whole; all have the same weights; one that dies.

Each replica learns in a thread of its own, so that they wait for each other as processes do; one test has processes.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

torch = pytest.importorskip("torch", reason='needs PyTorch: pip install "flow-research[torch]"')

import trio  # noqa: E402

from flow.computing import WorkThreads, current_threads  # noqa: E402
from flow.context import Context, Live  # noqa: E402
from flow.errors import PeerRestarted  # noqa: E402
from flow.saved import Saved, pack, unpack  # noqa: E402
from flow.testing.memory_ports import publish_to, stream  # noqa: E402
from nodes.learn.classifier import Labelled, learner  # noqa: E402
from nodes.messages import Weights  # noqa: E402
from tests.nodes.learn.test_classifier import SETTINGS, batches  # noqa: E402

pytestmark = pytest.mark.real_time
torch.set_num_threads(1)


@dataclass
class Replica:
    """One replica: what it takes, publishes and keeps. failed: what it raised."""

    number: int
    taken: list[Labelled]
    told: list[tuple[int, Weights]] = field(default_factory=list)
    saved: Saved = field(default_factory=Saved)
    failed: BaseException | None = None
    context: Any = None

    async def run(self, place, replicas, incarnation=0, **more):
        threads = WorkThreads(f"learner-{self.number}")
        current_threads.set(threads)
        out, into = stream(Labelled, credit=100)
        for batch in self.taken:
            await out.send(batch)
        out.end()
        directory = place / f"learner-{self.number}"
        self.context = Context("learner", self.number, replicas, 7 + self.number, directory, incarnation)
        weights = publish_to(Weights, lambda version, message: self.told.append((version, message)))
        words = {**SETTINGS, "learning_rate": Live(1e-2), "publish_every": 1000, **more}
        try:
            await learner.function(into, weights, self.context, self.saved, **words)
        except PeerRestarted as error:
            self.failed = error
        finally:
            threads.stop()

    def network(self):
        return {name: value.numpy() for name, value in self.saved.state()["network"].items()}


async def learned(place, parts):
    """The replicas that learned these lists of batches together, from the same weights as any others.

    Replicas in threads of one process draw their first weights from one generator, so they are given some.
    """
    first = Replica(0, [])
    await first.run(place, 1)
    state = pack(first.saved.state())
    replicas = [
        Replica(number, part, saved=Saved(unpack(state.tensors, state.rest))) for number, part in enumerate(parts)
    ]
    with trio.fail_after(120):
        async with trio.open_nursery() as nursery:
            for replica in replicas:
                nursery.start_soon(partial(replica.run, place, len(parts)))
    return replicas


def assert_close(found, expected, tolerance=1e-5):
    for name, value in expected.items():
        np.testing.assert_allclose(found[name], value, rtol=tolerance, atol=tolerance, err_msg=name)


@settings(max_examples=4)
@given(cut=st.integers(1, 15), seed=st.integers(0, 9))
async def test_two_replicas_with_parts_of_a_batch_are_one_with_the_whole(tmp_path_factory, cut, seed):
    whole = batches(20, 16, seed)
    parts = [
        [Labelled(b.image[:cut], b.label[:cut]) for b in whole],
        [Labelled(b.image[cut:], b.label[cut:]) for b in whole],
    ]
    two = await learned(tmp_path_factory.mktemp("two"), parts)
    (one,) = await learned(tmp_path_factory.mktemp("one"), [whole])
    # Adam divides by the gradient's size: where that is little but rounding, so is the step
    assert_close(two[0].network(), one.network(), 1e-3)
    for name, value in two[0].network().items():
        np.testing.assert_array_equal(value, two[1].network()[name])
    assert [version for version, _ in two[0].told] == [20]
    assert not two[1].told  # only replica 0 speaks
    assert two[0].context.metrics.counters["updates"] == 20
    assert two[0].context.metrics.series["loss"] == pytest.approx(one.context.metrics.series["loss"], rel=1e-3)


@pytest.mark.parametrize("counts", [(5, 2), (0, 3), (2, 4, 1)])
async def test_one_whose_batches_have_ended_goes_on_with_the_others(tmp_path, counts):
    replicas = await learned(tmp_path, [batches(count, 4, seed) for seed, count in enumerate(counts)])
    assert {replica.saved.state()["progress"]["updates"] for replica in replicas} == {max(counts)}
    for replica in replicas[1:]:
        for name, value in replicas[0].network().items():
            np.testing.assert_array_equal(value, replica.network()[name])


async def test_replicas_begin_with_what_replica_0_has(tmp_path):
    """Their checkpoints may be of moments a step apart."""
    behind, ahead = (
        (await learned(tmp_path, [batches(3, 4, 1), batches(3, 4, 2)])),
        await learned(tmp_path / "other", [batches(5, 4, 1)]),
    )
    states = [pack(ahead[0].saved.state()), pack(behind[1].saved.state())]
    replicas = [Replica(number, [], saved=Saved(unpack(s.tensors, s.rest))) for number, s in enumerate(states)]
    with trio.fail_after(60):
        async with trio.open_nursery() as nursery:
            for replica in replicas:
                nursery.start_soon(partial(replica.run, tmp_path, 2, 1))
    for name, value in ahead[0].network().items():
        np.testing.assert_array_equal(value, replicas[1].network()[name])
    assert replicas[1].saved.state()["progress"]["updates"] == 5


@pytest.mark.parametrize("dies", [0, 1])
async def test_when_one_dies_the_others_are_told_and_all_meet_again(tmp_path, dies):
    replicas = [Replica(0, batches(4, 4, 0)), Replica(1, batches(4, 4, 1))]
    bad = Labelled(np.zeros((4, 2, 3), np.float32), np.full(4, 9))
    replicas[dies].taken[2] = bad  # its step fails there
    with trio.fail_after(60):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(partial(_ignoring_its_error, replicas[dies], tmp_path))
            nursery.start_soon(partial(replicas[1 - dies].run, tmp_path, 2))
    assert "a replica of this learner ended or was restarted" in str(replicas[1 - dies].failed)
    assert replicas[1 - dies].saved.state()["progress"]["updates"] == 2
    again = [Replica(number, batches(2, 4, number)) for number in range(2)]
    with trio.fail_after(60):
        async with trio.open_nursery() as nursery:
            for replica in reversed(again):
                nursery.start_soon(partial(replica.run, tmp_path, 2, 1))
    assert {replica.saved.state()["progress"]["updates"] for replica in again} == {2}


async def _ignoring_its_error(replica, place):
    from flow.errors import MessageError

    with pytest.raises(MessageError):
        await replica.run(place, 2)
