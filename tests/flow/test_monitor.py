"""The monitor: sums over replicas, merges by time, and says how long it will take."""

import os
import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flow.downsample import Downsampled
from flow.logs import EventLog
from flow.monitor import Monitor
from flow.progress import CurvePoint
from flow.stats import Page

finite = st.floats(-1e6, 1e6)


def page(folder, node="actor", replica=0):
    return Page.open(folder / "state" / f"{node}-{replica}.page", node=node, replica=replica)


@given(values=st.lists(finite, max_size=300), most=st.integers(4, 40))
def test_a_downsampled_series_keeps_count_mean_and_spread(values, most):
    series = Downsampled(most)
    for place, value in enumerate(values):
        series.add(float(place), 2.0 * place, value)
    points = series.points()
    assert len(points) <= most
    assert sum(point.count for point in points) == len(values)
    at = 0
    for point in points:
        part = values[at : at + point.count]
        assert point.mean == pytest.approx(statistics.fmean(part), abs=1e-6)
        assert point.spread == pytest.approx(statistics.pstdev(part), abs=1e-2, rel=1e-6)
        assert point.x == pytest.approx(2 * point.time)
        at += point.count


@given(counts=st.lists(st.integers(0, 10**6), min_size=1, max_size=4))
def test_metrics_of_one_name_are_summed_over_whoever_counts(tmp_path_factory, counts):
    folder = tmp_path_factory.mktemp("run")
    for replica, count in enumerate(counts):
        one = page(folder, replica=replica)
        one.counter("frames").add(count)
        one.counter("edge.a->b.sent").add()
        one.gauge("fill", unit="GiB").set(count)
        one.series("reward").append(count)
    progress = Monitor(folder).poll()
    assert progress.counters["frames"].total == sum(counts)
    assert progress.gauges["fill"].value == pytest.approx(statistics.fmean(counts))
    assert progress.gauges["fill"].unit == "GiB"
    assert progress.series["reward"].mean == pytest.approx(statistics.fmean(counts))
    assert progress.series["reward"].count == len(counts)
    assert set(progress.shown) == {"frames", "fill", "reward"}
    assert len(progress.nodes) == len(counts)


def test_rates_time_left_and_fraction_come_from_the_counters(tmp_path):
    frames = page(tmp_path).counter("frames")
    monitor = Monitor(tmp_path, until={"frames": 10_000, "hours": 1}, started=1000.0)
    first = monitor.poll(now=1000.0)
    assert (first.counters["frames"].rate, first.left, first.fraction) == (0.0, 3600.0, 0.0)
    for step in range(1, 41):
        frames.add(50)
        progress = monitor.poll(now=1000.0 + step / 2)
    assert progress.counters["frames"].rate == pytest.approx(100)
    assert progress.left == pytest.approx(80)
    assert progress.fraction == pytest.approx(0.2)
    assert (progress.elapsed, progress.x_name, progress.x) == (20.0, "frames", 2000.0)
    progress = [monitor.poll(now=1020.0 + step) for step in range(30)][-1]
    assert progress.counters["frames"].rate == 0.0
    assert progress.left > 80


def test_series_of_replicas_are_merged_by_time_and_placed_on_the_x_axis(tmp_path, monkeypatch):
    clock = [0.0]
    monkeypatch.setattr("flow.stats.time.time", lambda: clock[0])
    pages = [page(tmp_path, replica=replica) for replica in range(2)]
    monitor = Monitor(tmp_path, until={"frames": 1e6}, started=0.0)
    monitor.poll(now=0.0)
    for step in range(1, 11):
        clock[0] = step / 10
        pages[step % 2].series("reward").append(float(step))
        pages[0].counter("frames").add(100)
    progress = monitor.poll(now=1.0)
    assert [new.value for new in progress.series["reward"].new] == [float(step) for step in range(1, 11)]
    assert [new.x for new in progress.series["reward"].new] == pytest.approx([100.0 * step for step in range(1, 11)])
    assert progress.curve.name == "reward"
    assert [point.mean for point in progress.curve.points] == [float(step) for step in range(1, 11)]
    assert monitor.poll(now=2.0).series["reward"].new == ()


def test_what_is_shown_is_what_was_asked_for(tmp_path):
    one = page(tmp_path)
    for name in ("b", "a", "_own"):
        one.counter(name).add()
    assert Monitor(tmp_path).poll().shown == ("b", "a")
    assert Monitor(tmp_path, until={"a": 2}).poll().shown == ("a", "b")
    assert Monitor(tmp_path, show=["_own", "b", "none"]).poll().shown == ("_own", "b")


def test_nodes_that_fail_hang_or_are_gone_are_faults(tmp_path):
    failed, hung, gone, well = (page(tmp_path, name) for name in ("failed", "hung", "gone", "well"))
    page(tmp_path, "well")
    failed.set_state("failed")
    failed.set_text("ValueError: no")
    gone._words[5] = 2**22 + 1  # no process has such a number
    for one in (hung, well):
        one.set_state("running")
        one.beat()
    monitor = Monitor(tmp_path)
    monitor.poll(now=0.0)
    well.beat()
    progress = monitor.poll(now=11.0)
    assert {node.node: node.state for node in progress.nodes} == {
        "failed": "failed",
        "hung": "hung",
        "gone": "gone",
        "well": "running",
    }
    assert progress.faults == (
        "failed.0 failed: ValueError: no",
        "gone.0 gone",
        "hung.0 hung",
        "well.0 restarted 1 time",
    )
    assert progress.nodes[0].pid == os.getpid()


def test_a_run_without_pages_and_a_file_that_is_none_do_no_harm(tmp_path):
    assert Monitor(tmp_path).poll().nodes == ()
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / "a-0.page").write_bytes(b"garbage")
    with EventLog(tmp_path / "logs", "supervisor") as log:
        log.info("a.0", "started")
    progress = Monitor(tmp_path).poll()
    assert "not a page of counters" in progress.faults[0]
    assert progress.events[0].text == "started"


def test_curves_of_earlier_starts_come_first_and_are_not_counted_twice(tmp_path):
    reward = page(tmp_path).series("reward")
    reward.append(1.0)
    first = Monitor(tmp_path, started=0.0)
    first.poll()
    again = Monitor(tmp_path, started=0.0)
    again.restore({"reward": list(first.points("reward"))}, until=4e9)
    assert len(again.poll().curve.points) == 1


def test_what_copies_of_a_sweep_say_is_kept_for_all_and_for_each(tmp_path):
    learners = {"learner@rate=0.1": 30, "learner@rate=0.2": 10, "shared": 5}
    pages = {name: page(tmp_path, node=name) for name in learners}
    for name, one in pages.items():
        one.counter("frames").add(learners[name])
        one.gauge("lag").set(learners[name])
        one.series("recall@5").append(learners[name])  # no copy, whatever it looks like
    pages["shared"].gauge("fill").set(0.5)
    monitor = Monitor(tmp_path, until={"frames": 100}, curve="recall@5")
    progress = monitor.poll()
    assert progress.copies == ("rate=0.1", "rate=0.2")
    assert {name: one.total for name, one in progress.counters.items()} == {
        "frames": 45, "frames@rate=0.1": 30, "frames@rate=0.2": 10
    }  # fmt: skip
    assert progress.gauges["lag@rate=0.2"].value == 10
    assert progress.shown == (
        "frames", "frames@rate=0.1", "frames@rate=0.2", "lag", "lag@rate=0.1", "lag@rate=0.2",
        "fill", "recall@5", "recall@5@rate=0.1", "recall@5@rate=0.2",
    )  # fmt: skip
    assert [progress.parted(name) for name in progress.shown[-3:]] == [
        ("recall@5", ""), ("recall@5", "rate=0.1"), ("recall@5", "rate=0.2")
    ]  # fmt: skip
    assert (progress.curve.name, [curve.name for curve in progress.copy_curves]) == (
        "recall@5", ["recall@5@rate=0.1", "recall@5@rate=0.2"]
    )  # fmt: skip
    # each over what that copy has done
    assert all(0 < curve.points[0].x <= done for curve, done in zip(progress.copy_curves, (30, 10), strict=True))


def test_what_is_shown_by_name_has_its_copies_below_it(tmp_path):
    for copy in ("a=1", "a=2"):
        page(tmp_path, node=f"actor@{copy}").counter("frames").add(1)
        page(tmp_path, node=f"actor@{copy}").counter("hidden").add(1)
    assert Monitor(tmp_path, ["frames"]).poll().shown == ("frames", "frames@a=1", "frames@a=2")


def test_one_copy_can_be_the_goal(tmp_path):
    for copy, done in (("a=1", 3), ("a=2", 6)):
        page(tmp_path, node=f"actor@{copy}").counter("frames").add(done)
    progress = Monitor(tmp_path, until={"frames@a=2": 12}).poll()
    assert (progress.fraction, progress.x, progress.counters["frames@a=2"].target) == (0.5, 6, 12)


def test_the_time_left_is_what_remains_at_the_rate_that_is_shown(tmp_path):
    frames = page(tmp_path).counter("frames")
    monitor = Monitor(tmp_path, until={"frames": 10_000}, started=1000.0)
    assert monitor.poll(now=1000.0).left is None, "nothing before there is a rate"
    for step in range(1, 41):  # quick while nothing is learned, then a tenth of it
        frames.add(100 if step < 9 else 10)
        seen = monitor.poll(now=1000.0 + step / 2)
        counter = seen.counters["frames"]
        assert seen.left == pytest.approx((10_000 - counter.total) / counter.rate)


def test_the_last_look_finds_what_was_said_just_before_it(tmp_path):
    monitor = Monitor(tmp_path)
    with EventLog(tmp_path / "logs", "play") as log:
        monitor.poll()
        log.error("actor-0", "it failed")
    assert [event.text for event in monitor.poll(last=True).events] == ["it failed"]


def test_what_an_earlier_start_had_to_say_is_no_news(tmp_path):
    with EventLog(tmp_path / "logs", "main") as log:
        before = log.warning("shaping-0", "paused")
        after = log.warning("shaping-0", "hot")
    monitor = Monitor(tmp_path, started=(before.time + after.time) / 2)
    assert [event.text for event in monitor.poll().events] == ["hot"]


@given(values=st.lists(st.lists(finite, min_size=1, max_size=40), min_size=3, max_size=8))
def test_the_mean_of_the_last_hundred_goes_on_after_a_resumption(tmp_path_factory, values):
    folder = tmp_path_factory.mktemp("run")
    points = [
        CurvePoint(float(at), float(at), statistics.fmean(those), statistics.pstdev(those), len(those))
        for at, those in enumerate(values)
    ]
    monitor = Monitor(folder, started=100.0)
    monitor.restore({"reward": points}, until=50.0)
    page(folder).series("reward").append(1.0)
    seen = monitor.poll(now=101.0).series["reward"]
    all_of_them = [value for those in values for value in those] + [1.0]
    if len(all_of_them) <= 100:
        assert seen.mean == pytest.approx(statistics.fmean(all_of_them), abs=1e-6)
        assert seen.spread == pytest.approx(statistics.pstdev(all_of_them), rel=0.3, abs=1e-3) or any(
            len(those) % 2 for those in values
        )
