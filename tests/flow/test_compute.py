"""Blocking work: in order, in a thread of the node's own, waited for whatever happens."""

from __future__ import annotations

import threading

import pytest
import trio
import trio.lowlevel
import trio.testing

from flow import compute, sleep_until
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
