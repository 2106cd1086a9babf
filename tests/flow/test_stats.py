"""Pages of counters: what one process writes is what any other reads, at any moment, also after a kill."""

import math
import os
import signal
import subprocess
import sys
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flow import stats_layout as layout
from flow.errors import RunError
from flow.stats import Page, PageReader, read_page

names = st.text(min_size=1, max_size=20)
numbers = st.floats(allow_nan=False)
operations = st.lists(
    st.one_of(
        st.tuples(st.just("counter"), st.sampled_from("abc"), st.integers(0, 10**9)),
        st.tuples(st.just("gauge"), st.sampled_from("def"), numbers),
        st.tuples(st.just("series"), st.sampled_from("ghi"), numbers),
        st.tuples(st.just("state"), st.sampled_from(layout.STATES), st.none()),
        st.tuples(st.just("text"), st.text(max_size=400), st.none()),
        st.tuples(st.just("beat"), st.none(), st.none()),
        st.tuples(st.just("restart"), st.none(), st.none()),
        st.tuples(st.just("poll"), st.none(), st.none()),
    ),
    max_size=40,
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("pages")


def fresh(folder):
    path = folder / "actor-0.page"
    path.unlink(missing_ok=True)
    return path


class Model:
    """What a page should say, kept in plain dicts."""

    def __init__(self):
        self.counters, self.gauges, self.series, self.polled = {}, {}, {}, {}
        self.state, self.text, self.beat, self.incarnation = "starting", "", 0, 0


def apply(page, model, kind, name, value):
    if kind == "counter":
        page.counter(name, unit="1/s").add(value)
        model.counters[name] = model.counters.get(name, 0) + value
    elif kind == "gauge":
        page.gauge(name).set(value)
        model.gauges[name] = value
    elif kind == "series":
        page.series(name).append(value)
        model.series.setdefault(name, []).append(value)
    elif kind == "state":
        page.set_state(name)
        model.state = name
    elif kind == "text":
        page.set_text(name)
        model.text = name.encode("utf-8", "replace")[:1024].decode("utf-8", "ignore")
    elif kind == "beat":
        page.beat()
        model.beat += 1


@given(operations=operations)
def test_a_reader_sees_what_was_written_whatever_was_done(folder, operations):
    path, model = fresh(folder), Model()
    page, reader = Page.open(path, node="actor", replica=3, worker="w1"), PageReader(path)
    for kind, name, value in operations:
        if kind == "restart":
            page.close()
            page = Page.open(path, node="actor", replica=3, worker="w1")
            model.incarnation, model.state = model.incarnation + 1, "starting"
        elif kind == "poll":
            for key, new in reader.poll().series.items():
                model.polled.setdefault(key, []).extend(new.values)
        else:
            apply(page, model, kind, name, value)
        view = read_page(path)
        assert (view.node, view.replica, view.worker, view.pid) == ("actor", 3, "w1", os.getpid())
        assert (view.state, view.text, view.beat) == (model.state, model.text, model.beat)
        assert view.incarnation == model.incarnation
        assert (view.counters, view.gauges) == (model.counters, model.gauges)
        assert {key: list(one.values) for key, one in view.series.items()} == model.series
    for key, new in reader.poll().series.items():
        assert model.polled.get(key, []) + list(new.values) == model.series[key]
        assert new.lost == 0
    page.close()


@given(batches=st.lists(st.integers(0, 1500), max_size=5))
def test_a_poll_loses_nothing_up_to_512_values_and_counts_what_it_lost(folder, batches):
    path = fresh(folder)
    series, reader, written = Page.open(path, node="n").series("r"), PageReader(path), 0
    for batch in batches:
        for number in range(batch):
            series.append(float(written + number))
        written += batch
        new = reader.poll().series["r"]
        kept = min(batch, layout.RING)
        assert list(new.values) == [float(number) for number in range(written - kept, written)]
        assert (new.count, new.lost, len(new.times)) == (written, batch - kept, kept)
        assert read_page(path).series["r"].values[-kept or written :] == new.values


def test_reopening_keeps_what_was_counted_and_counts_the_restart(tmp_path):
    page = Page.open(tmp_path / "a.page", node="a")
    frames = page.counter("frames")
    frames.add(41)
    page.close()
    frames.add()  # a thread that outlives its node does no harm
    again = Page.open(tmp_path / "a.page", node="a")
    assert again.counter("frames").value == 42
    assert read_page(tmp_path / "a.page").incarnation == 1
    assert Page.open(tmp_path / "a.page", node="a", incarnation=7).path.exists()
    assert read_page(tmp_path / "a.page").incarnation == 7


def test_a_gauge_is_not_shown_before_it_is_set(tmp_path):
    gauge = Page.open(tmp_path / "a.page", node="a").gauge("fill", unit="GiB", help="of the replay")
    assert math.isnan(gauge.value)
    assert read_page(tmp_path / "a.page").gauges == {}
    gauge.set(1.5)
    view = read_page(tmp_path / "a.page")
    assert (view.gauges, view.units, view.helps) == (
        {"fill": 1.5},
        {"fill": "GiB"},
        {"fill": "of the replay"},
    )


@given(name=names)
def test_any_name_up_to_its_limit_is_kept(folder, name):
    path = fresh(folder)
    if len(name.encode("utf-8", "replace")) > layout.NAME_MAX:
        return
    Page.open(path, node="a").counter(name).add(2)
    assert list(read_page(path).counters.values()) == [2]


def test_wrong_use_of_names_says_what_to_do(tmp_path):
    page = Page.open(tmp_path / "a.page", node="a")
    page.counter("x")
    with pytest.raises(RunError, match="'x' is a counter, asked for as a gauge"):
        page.gauge("x")
    with pytest.raises(RunError, match="1 to 248 bytes"):
        page.counter("x" * 249)
    with pytest.raises(RunError, match=r"no room for series .* holds 1024 names and 21 series"):
        [page.series(f"s{number}") for number in range(100)]
    with pytest.raises(RunError, match="no room for counter"):
        [page.counter(f"c{number}") for number in range(1100)]


@given(raw=st.binary(max_size=64))
def test_a_file_that_is_no_page_is_refused_by_readers_and_writers(folder, raw):
    path = fresh(folder)
    path.write_bytes(raw)
    if not raw:
        assert read_page(path) is None
        return
    with pytest.raises(RunError, match="not a page of counters"):
        read_page(path)
    with pytest.raises(RunError, match="not a page of counters"):
        Page.open(path, node="a")
    assert path.read_bytes() == raw


def test_no_file_yet_is_none_and_another_version_is_named(tmp_path):
    assert read_page(tmp_path / "none.page") is None
    reader = PageReader(tmp_path / "a.page")
    assert reader.poll() is None
    Page.open(tmp_path / "a.page", node="a").counter("x").add(1)
    assert reader.poll().counters == {"x": 1}
    raw = bytearray((tmp_path / "a.page").read_bytes())
    raw[8] = 9
    (tmp_path / "b.page").write_bytes(raw)
    with pytest.raises(RunError, match="a page of version 9, this flow reads version 2"):
        read_page(tmp_path / "b.page")


@given(damage=st.lists(st.tuples(st.integers(24, 4096), st.integers(0, 255)), max_size=30))
def test_a_damaged_page_never_breaks_its_reader(folder, damage):
    path = fresh(folder)
    page = Page.open(path, node="a")
    page.series("r").append(1.0)
    page.counter("c").add(1)
    page.set_text("fine")
    raw = bytearray(path.read_bytes())
    for at, value in damage:
        raw[at] = value
    path.unlink()
    path.write_bytes(raw)
    try:
        view = PageReader(path).poll()
    except RunError:
        return
    assert view is not None
    assert len(view.series.get("r", view).values if "r" in view.series else ()) <= layout.RING


def test_a_writer_killed_inside_set_text_leaves_a_readable_page(tmp_path):
    page = Page.open(tmp_path / "a.page", node="a")
    page.set_text("before")
    reader = PageReader(tmp_path / "a.page")
    assert reader.read().text == "before"
    page._words[layout.W_TEXT_SEQUENCE] += 1
    assert reader.read().text == "before"
    Page.open(tmp_path / "a.page", node="a").set_text("after")
    assert reader.read().text == "after"


WRITER = """
import sys
from pathlib import Path
from flow.stats import Page
page = Page.open(Path(sys.argv[1]), node="w")
page.set_state("running")
series, counter, number = page.series("r"), page.counter("n"), 0
while True:
    series.append(float(number))
    counter.add()
    page.set_text("x" * (number % 1024))
    number += 1
"""


@pytest.mark.real_time
def test_reading_while_another_process_writes_and_after_it_is_killed(tmp_path):
    path = tmp_path / "w.page"
    writer = subprocess.Popen([sys.executable, "-c", WRITER, str(path)])
    try:
        reader, last, polls, end = PageReader(path), -1.0, 0, time.monotonic() + 20
        while polls < 200 and time.monotonic() < end:
            view = reader.poll()
            if view is None or "r" not in view.series:
                continue
            new = view.series["r"]
            last += new.lost  # also where a reader that was held up finds none that is whole
            if new.values:
                assert new.values[0] == last + 1, "a value was lost or shown twice"
                assert list(new.values) == [new.values[0] + step for step in range(len(new.values))]
                assert new.times == tuple(sorted(new.times))
                last = new.values[-1]
            assert set(view.text) <= {"x"}
            polls += 1
        assert polls == 200
        writer.send_signal(signal.SIGKILL)
        writer.wait()
        view = reader.read()
        assert view.pid == writer.pid
        assert view.state == "running"
        assert 0 <= view.series["r"].count - view.counters["n"] <= 1
        assert view.series["r"].values[-1] == view.series["r"].count - 1
    finally:
        writer.kill()
        writer.wait()


def test_a_mark_tells_what_counters_were_and_the_older_of_two_counts(tmp_path):
    page = Page.open(tmp_path / "a.page", node="a")
    first = read_page(page.path).marked
    frames = page.counter("frames")
    frames.add(10)
    page.mark()
    frames.add(5)
    late = page.counter("late")
    late.add(3)
    view = read_page(page.path)
    assert (view.before, view.marked) == ({"frames": 0, "late": 0}, first)
    page.mark()
    frames.add(1)
    view = read_page(page.path)
    assert (view.before["frames"], view.counters["frames"], view.marked > first) == (10, 16, True)
    page.close()
    Page.open(page.path, node="a")
    assert read_page(page.path).before["frames"] == 15


def test_a_histogram_counts_what_it_is_told_and_fades_with_each_mark(tmp_path):
    page = Page.open(tmp_path / "a.page", node="a")
    took = page.histogram("took", "us")
    took.add(3)
    took.add(1_000_000, times=8)
    counts = read_page(page.path).histograms["took"]
    assert (sum(counts), counts[3]) == (9, 1)
    page.mark()
    took.add(3)
    assert (sum(read_page(page.path).histograms["took"]), read_page(page.path).units["took"]) == (5.5, "us")


def test_a_beat_says_when(tmp_path):
    page = Page.open(tmp_path / "a.page", node="a")
    assert read_page(page.path).beaten == 0
    page.beat()
    assert abs(read_page(page.path).beaten - time.time()) < 60
