"""Blocking work: in order, in a thread of the node's own, waited for whatever happens."""

from __future__ import annotations

import queue
import threading

import pytest
import trio
import trio.lowlevel
import trio.testing

from flow import Arriving, compute, sleep_until
from flow.computing import WorkThreads, current_threads
from flow.occupancy import Occupancy
from flow.stats import Page

pytestmark = pytest.mark.real_time


@pytest.fixture
def threads():
    made = WorkThreads("node-0")
    yield made
    made.stop()


async def test_calls_of_one_thread_run_in_the_order_they_were_made(threads):
    ran = []

    async def call(number):
        await threads.run("compute", lambda: ran.append((number, threading.current_thread().name)))

    async with trio.open_nursery() as nursery:
        asked = []
        for number in range(50):
            nursery.start_soon(call, number)
            asked.append(number)
    assert sorted(number for number, _ in ran) == asked
    assert {name for _, name in ran} == {"node-0 compute"}
    ran.clear()
    for number in range(20):
        await call(number)
    assert [number for number, _ in ran] == list(range(20))


async def test_threads_of_other_names_work_side_by_side(threads):
    met = threading.Barrier(2)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(threads.run, "one", met.wait, 5)
        nursery.start_soon(threads.run, "two", met.wait, 5)


async def test_an_error_is_raised_where_the_work_was_asked_for(threads):
    with pytest.raises(ZeroDivisionError):
        await threads.run("compute", lambda: 1 / 0)
    assert await threads.run("compute", lambda: 7) == 7
    assert threads.busy == 0


async def test_work_once_begun_is_waited_for_when_cancelled(threads):
    may_end, ended = threading.Event(), []

    def work():
        may_end.wait(5)
        ended.append(True)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(threads.run, "compute", work)
        while not threads.busy:
            await trio.lowlevel.checkpoint()
        await trio.sleep(0.01)
        nursery.cancel_scope.cancel()
        threading.Timer(0.02, may_end.set).start()
    assert ended == [True]
    assert threads.busy == 0


async def test_a_node_is_busy_until_the_task_that_computes_goes_on():
    seen = []
    threads = WorkThreads("node-0")

    async def compute_and_look():
        await threads.run("compute", lambda: None)
        seen.append(threads.busy)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(compute_and_look)
        await trio.testing.wait_all_tasks_blocked()
        while not seen:
            assert threads.busy, "between the work and what its caller does with it the node is not at rest"
            await trio.lowlevel.checkpoint()
    threads.stop()
    assert seen == [0]


async def test_compute_uses_the_threads_of_its_node_and_works_without_any(threads):
    assert "node-0" not in await compute(lambda: threading.current_thread().name)
    token = current_threads.set(threads)
    try:
        assert await compute(lambda: threading.current_thread().name, thread="codec") == "node-0 codec"
    finally:
        current_threads.reset(token)


async def test_a_node_that_sleeps_waits_and_is_not_busy(tmp_path):
    page = Page.open(tmp_path / "n.page", node="n")
    occupancy = Occupancy(page)
    token = current_threads.set(WorkThreads("n", occupancy))
    try:
        occupancy.start()
        await sleep_until(trio.current_time() + 0.1)
        occupancy.settle()
    finally:
        current_threads.reset(token)
    assert page.counter("_starved_us").value >= 0.09e6 > page.counter("_busy_us").value


class Device:
    """Answers what was begun, and waits as long as nothing was."""

    def __init__(self):
        self.begun, self.waiting = queue.SimpleQueue(), 0

    def wait(self):
        self.waiting += 1
        answer = self.begun.get()
        if isinstance(answer, Exception):
            raise answer
        return answer


async def until(holds):
    while not holds():  # noqa: ASYNC110 (what it waits for happens in a thread)
        await trio.sleep(0.001)


def device_threads():
    return [thread for thread in threading.enumerate() if thread.name == "node-0 device"]


async def test_results_arrive_in_order_whether_they_are_early_or_late(threads):
    current_threads.set(threads)
    device = Device()
    with Arriving(device.wait, thread="device", release=lambda: device.begun.put(None)) as arriving:
        await until(lambda: device.waiting)  # before anything was asked for
        assert threads.computing() == []
        for number in range(5):
            device.begun.put(number)
        await until(lambda: device.waiting == 6)
        assert [await arriving.next() for _ in range(5)] == list(range(5))
        assert threads.busy == 0
        async with trio.open_nursery() as nursery:
            nursery.start_soon(arriving.next)
            await trio.testing.wait_all_tasks_blocked()
            assert [each.thread for each in threads.computing()] == ["device"]
            assert threads.busy == 1
            nursery.cancel_scope.cancel()
            device.begun.put(5)  # it is waited for all the same
        assert threads.busy == 0
        device.begun.put(ZeroDivisionError())
        with pytest.raises(ZeroDivisionError):
            await arriving.next()
    await until(lambda: not device_threads())


async def test_who_waits_for_what_nobody_begins_is_let_go_at_the_end(threads):
    current_threads.set(threads)
    device = Device()
    with Arriving(device.wait, thread="device", release=lambda: device.begun.put(None)):
        assert device_threads()
    await until(lambda: not device_threads())


async def test_without_threads_each_call_is_made_when_it_is_asked_for():
    device = Device()
    with Arriving(device.wait, thread="device", release=lambda: pytest.fail("nobody waits")) as arriving:
        for number in range(3):
            assert device.waiting == number
            device.begun.put(number)
            assert await arriving.next() == number
