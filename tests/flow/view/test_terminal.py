"""The terminal view: any state of a run fits any terminal."""

import contextlib
import io
import math
import os
import pty
import re
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.console import Console

from flow.logs import Event
from flow.progress import CounterProgress, Curve, CurvePoint, NodeProgress, Progress, SeriesProgress
from flow.view import numbers
from flow.view.chart import chart
from flow.view.plain import PlainView, plain_line
from flow.view.terminal import TerminalView, make_view, panel
from tests.flow.view.progresses import curves, progresses


def rendered(progress, width, height=60, title="LASER on Atari", name="laser_atari-20261124-014759-7f3c"):
    console = Console(width=width, height=height, file=io.StringIO(), force_terminal=False)
    console.print(panel(progress, title, name, width, height))
    return console.file.getvalue().rstrip("\n").split("\n")


def usual():
    points = tuple(CurvePoint(at, 1000.0 * at, math.tanh(at / 50 - 2), 0.1, 2) for at in range(200))
    return Progress(
        now=1204.0,
        elapsed=1204.0,
        left=740.0,
        fraction=0.63,
        x_name="frames",
        shown=("frames", "updates", "episode_return"),
        counters={
            "frames": CounterProgress(1_260_000, 5912.3, "", 2e6),
            "updates": CounterProgress(310, 4.1),
        },
        series={"episode_return": SeriesProgress(-20.3, 1.25, 412)},
        curve=Curve("episode_return", "frames", points),
        nodes=(
            *(NodeProgress("actor", replica, "running", worker="environments") for replica in range(16)),
            NodeProgress("learner", 0, "failed", 2, "inference", 1, "CUDA out of memory"),
        ),
        faults=("learner.0 failed: CUDA out of memory",),
        events=(Event(1000.0, "warning", "learner.0", "restarted"),),
    )


@given(progress=progresses(), width=st.sampled_from([80, 80, 40, 100, 110, 140, 200]), title=st.text(max_size=60))
def test_any_progress_is_drawn_and_no_line_is_wider_than_the_terminal(progress, width, title):
    for line in rendered(progress, width, title=title, name=title):
        assert cell_len(line) <= width
        assert "\x1b" not in line


@given(progress=progresses(), encoding=st.sampled_from(["utf-8", "ascii", "latin-1"]))
def test_any_progress_is_one_plain_line_in_any_encoding(progress, encoding):
    raw = io.BytesIO()
    view = PlainView(io.TextIOWrapper(raw, encoding=encoding), every_s=0.0)
    with view:
        view.show(progress)
        view.show(progress)
    told = [event for event in progress.events if event.level != "info"]
    lines = raw.getvalue().decode(encoding).removesuffix("\n").split("\n")
    # A warning of several lines keeps them, indented, the first time.
    assert sum(line != "" and not line.startswith("    ") for line in lines) == len(told) + 1
    assert len(lines) <= sum(event.text.count("\n") + 1 for event in told) + 1
    assert "\n" not in plain_line(progress)


def test_an_event_that_comes_to_its_log_late_is_told_and_none_is_told_twice():
    out = io.StringIO()
    early, late = Event(2.0, "error", "a-0", "one"), Event(1.0, "error", "b-0", "two")
    with PlainView(out) as view:
        for events in ((early,), (late, early), (late, early)):
            view.show(replace(usual(), events=events))
    assert out.getvalue().splitlines() == ["error: a-0 one", "error: b-0 two"]


@given(curve=curves, width=st.integers(0, 120), height=st.integers(0, 20))
def test_any_curve_fits_its_place(curve, width, height):
    lines = chart(curve, width, height)
    assert len(lines) in (0, height)
    assert all(len(line) <= width for line in lines)


@given(value=st.floats())
def test_numbers_are_short(value):
    for text in (numbers.whole(value), numbers.real(value), numbers.short(value)):
        assert 0 < len(text) <= 20
    assert numbers.duration(abs(value))
    assert numbers.about(abs(value))


def test_the_panel_says_what_a_user_asks():
    text = "\n".join(rendered(usual(), 100))
    for said in (
        "LASER on Atari",
        "63 %  elapsed 20 min 04 s   left 12 min",
        "1,260,000     5,912/s   of 2,000,000",
        "-20.3      ± 1.25   last 100 of 412",
        "actor 0-15  running         -  environments",
        "learner     failed          2  inference     CUDA out of memory",
        "learner.0 failed: CUDA out of memory",
        "learner.0  restarted",
        "laser_atari-20261124-014759-7f3c",
        "199k",
    ):
        assert said in text, text


def test_the_plain_line_reads_as_a_sentence():
    assert plain_line(usual()) == (
        "frames 1,260,000 (5,912/s)  updates 310 (4.1/s)  episode_return -20.3  faults 1  left 12 min"
    )


@pytest.mark.parametrize("width", [80, 140])
@pytest.mark.parametrize("height", [12, 18, 24, 50])
def test_a_low_terminal_leaves_out_events_and_curve_first(width, height):
    lines = rendered(usual(), width, height)
    assert len(lines) <= height
    assert any("episode_return" in line for line in lines)


def test_many_metrics_and_nodes_are_cut_to_the_height():
    progress = Progress(
        now=1.0,
        elapsed=1.0,
        shown=tuple(f"m{at}" for at in range(40)),
        counters={f"m{at}": CounterProgress(at, 0.0) for at in range(40)},
        nodes=tuple(NodeProgress(f"n{at}", 0, "gone" if at == 39 else "running") for at in range(40)),
    )
    lines = rendered(progress, 80, 30)
    assert len(lines) <= 30
    assert "more" in "\n".join(lines)
    assert "gone" in "\n".join(lines), "trouble is never what is hidden"


def test_a_narrow_terminal_cuts_words_before_numbers():
    assert any("1,260,000" in line for line in rendered(usual(), 40))


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0 s"), (59.6, "1 min 00 s"), (200, "3 min 20 s"), (7500, "2 h 05 min"), (270000, "3 d 03 h")],
)
def test_durations(seconds, text):
    assert numbers.duration(seconds) == text


def test_a_plain_line_comes_every_five_seconds_and_events_at_once():
    stream = io.StringIO()
    view = make_view("t", "r", stream)
    for second in range(12):
        more = (Event(3.0, "error", "a.0", "died\x1b[2J"),) if second >= 3 else ()
        view.show(Progress(now=float(second), elapsed=float(second), events=more))
    assert stream.getvalue() == "error: a.0 died [2J\nat 5 s\nat 10 s\n"


TRACE = """  + Exception Group Traceback (most recent call last):
  |   File "balance.py", line 55, in balance
  |     rows[9]
  | IndexError: list index out of range
  +------------------------------------
in node balance, replica 0, start {start}
"""


def test_a_traceback_keeps_its_lines_and_is_told_in_full_once():
    stream = io.StringIO()
    view = make_view("t", "r", stream)
    events = tuple(Event(float(at), "error", "balance-0", TRACE.format(start=at)) for at in range(1, 4))
    for second in range(4):
        view.show(Progress(now=float(second), elapsed=float(second), events=events[:second]))
    lines = stream.getvalue().splitlines()
    assert lines[0] == "error: balance-0   + Exception Group Traceback (most recent call last):"
    assert '      |   File "balance.py", line 55, in balance' in lines
    assert (
        lines[6:] == ["error: balance-0 IndexError: list index out of range (the traceback is the same as above)"] * 2
    )


def test_the_last_frame_stays_on_the_screen():
    master, slave = pty.openpty()
    with os.fdopen(slave, "w", encoding="utf-8") as stream:
        console = Console(file=stream, force_terminal=True, width=80, height=16)
        with TerminalView("LASER", "run", console) as view:
            view.show(usual())
            view.show(usual())
    drawn = b""
    with contextlib.suppress(OSError):  # the end of a pty
        while True:
            drawn += os.read(master, 65536)
    os.close(master)
    assert drawn.count(b"elapsed") >= 2
    assert b"\x1b[?1049" not in drawn, "no alternate screen"
    assert drawn.rstrip().endswith(b"\x1b[?25h"), "the cursor is back"
    assert drawn.rindex(b"elapsed") > drawn.rindex(b"\x1b[2K"), "nothing is wiped after the last frame"


def test_copies_of_a_sweep_stand_below_what_all_have_and_beside_it_in_a_plain_line():
    copies = ("learning_rate=0.0003,entropy_cost=0.005", "learning_rate=0.0003,entropy_cost=0.01")
    means = dict(zip(copies, (1.0, 2.0), strict=True))
    series = {"episode_return": SeriesProgress(1.5, 0.0, 2)}
    series |= {f"episode_return@{copy}": SeriesProgress(mean, 0.0, 1) for copy, mean in means.items()}
    progress = replace(usual(), shown=tuple(series), series=series, copies=copies)
    lines = rendered(progress, 120)
    at = next(number for number, line in enumerate(lines) if "episode_return" in line)
    for line, (copy, value) in zip(lines[at + 1 :], means.items(), strict=False):
        assert re.search(rf"{copy} +{value:.2f}", line), lines
    assert plain_line(progress).startswith(f"episode_return 1.50 ({copies[0]} 1.00, {copies[1]} 2.00)")
    # where there is no room, only how well each does is left of them
    many = {f"metric{number}@{copy}": SeriesProgress(0.0, 0.0, 1) for number in range(20) for copy in copies}
    crowded = replace(progress, shown=(*many, *series), series=series | many)
    text = "\n".join(rendered(crowded, 120, 30))
    assert all(copy in text for copy in copies)
