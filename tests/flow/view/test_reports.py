"""What a run leaves: metrics, TensorBoard files, the curve's picture, the closing summary."""

import json
import re
import sys

import pytest
from hypothesis import given, settings

from flow.errors import MissingError
from flow.logs import EventLog
from flow.monitor import Monitor
from flow.progress import CounterProgress, Curve, CurvePoint, NewValue, NodeProgress, Progress, SeriesProgress
from flow.run_directory import RunDirectory
from flow.stats import Page
from flow.view.curve import draw_curve, smoothed
from flow.view.summary import summary
from flow.view.tensorboard import MetricsWriter, read_curves
from tests.flow.view.progresses import progresses

POINTS = tuple(CurvePoint(20.0 * at, 100.0 * at, float(at % 7), 0.5, 3) for at in range(50))


@pytest.fixture(autouse=True)
def home(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("FLOW_STATE_HOME", str(tmp_path_factory.mktemp("home")))


def seen(now, values):
    new = tuple(NewValue(now, 10 * now, value) for value in values)
    return Progress(
        now=now, elapsed=now, x_name="frames", x=10 * now, series={"r": SeriesProgress(0.0, 0.0, 9, "", new)}
    )


def test_each_line_holds_the_values_since_the_line_before(tmp_path):
    with MetricsWriter(tmp_path) as writer:
        for second in range(6):
            writer.write(seen(float(second), [float(second), float(second) + 1]))
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert [line["series"]["r"] for line in lines] == [
        [0.5, 0.5, 2],
        [2.0, pytest.approx(0.5**0.5), 4],
        [4.0, pytest.approx(0.5**0.5), 4],
        [5.5, 0.5, 2],
    ]
    assert [line["x"] for line in lines] == [0, 20, 40, 50]
    curves, until = read_curves(tmp_path)
    assert (sum(point.count for point in curves["r"]), until) == (12, 5.0)


def test_a_torn_line_costs_only_itself(tmp_path):
    with MetricsWriter(tmp_path) as writer:
        writer.write(seen(1.0, [1.0]))
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write('{"time": 2, "x": 1, "ser')
    assert read_curves(tmp_path)[1] == 1.0
    assert read_curves(tmp_path / "none")[0] == {}


@settings(max_examples=20)
@given(progress=progresses())
def test_any_progress_is_written_as_json_that_any_reader_takes(tmp_path_factory, progress):
    folder = tmp_path_factory.mktemp("metrics")
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "tensorboardX", None)
        with MetricsWriter(folder) as writer:
            writer.write(progress)
    line = (folder / "metrics.jsonl").read_text()
    assert json.loads(line, parse_constant=lambda name: pytest.fail(name))


def test_tensorboard_files_are_written_where_the_package_is(tmp_path):
    pytest.importorskip("tensorboardX")
    with MetricsWriter(tmp_path) as writer:
        writer.write(seen(1.0, [2.0]))
        assert writer.note == ""
    assert [path for path in tmp_path.iterdir() if "tfevents" in path.name and path.stat().st_size > 50]


def test_without_the_packages_one_line_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorboardX", None)
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with MetricsWriter(tmp_path) as writer:
        writer.write(seen(1.0, [2.0]))
    assert "pip install 'flow-research[report]'" in writer.note
    assert "\n" not in writer.note
    assert (tmp_path / "metrics.jsonl").stat().st_size > 50
    with pytest.raises(MissingError, match=r"no c\.png; pip install"):
        draw_curve(Curve("r", "frames", POINTS), tmp_path / "c.png")


def test_the_curve_is_a_picture(tmp_path):
    pytest.importorskip("matplotlib")
    assert draw_curve(Curve("r", "frames", POINTS), tmp_path / "c.png", "LASER")
    assert (tmp_path / "c.png").read_bytes().startswith(b"\x89PNG")
    assert not draw_curve(Curve("r", "frames", POINTS[:1]), tmp_path / "d.png")
    assert [path.name for path in tmp_path.iterdir()] == ["c.png"]


def test_smoothing_keeps_a_constant_and_knows_the_whole_spread():
    means, spreads = smoothed([CurvePoint(at, at, 5.0, 2.0, 3) for at in range(30)])
    assert means == [pytest.approx(5.0)] * 30
    assert spreads == [pytest.approx(2.0)] * 30


def test_a_resumed_run_goes_on_with_its_curve(tmp_path):
    run = RunDirectory.create(tmp_path, "x")
    series = Page.open(run.page_file("a"), node="a").series("episode_return")
    series.append(1.0)
    first = Monitor(run)
    with MetricsWriter(run.metrics) as writer:
        writer.write(first.poll())
    series.append(2.0)
    again = Monitor(run)
    again.restore(*read_curves(run.metrics))
    assert [point.mean for point in again.poll().curve.points] == [1.0, 2.0]


def test_the_summary_says_how_it_ended_and_where_everything_is(tmp_path):
    run = RunDirectory.create(tmp_path, "laser")
    run.graph_file.touch()
    (run.checkpoints / "12").touch()
    progress = Progress(
        now=1.0,
        elapsed=754.0,
        shown=("episode_return",),
        series={"episode_return": SeriesProgress(-8.3, 3.2, 412)},
        nodes=(NodeProgress("actor", 1, "ended", 2),),
    )
    text = summary(progress, run, "failed", "learner.0: CUDA out of memory")
    assert text.startswith(
        f"{run.name}: failed after 12 min 34 s\n\n  episode_return  -8.30  ± 3.20, last 100 of 412\n"
    )
    assert "restarts: actor.1 2" in text
    assert f"  {run.path}\n    checkpoints" in text
    assert f"flow run --resume {run.name}" in text
    assert "traceback" not in text, "there is no error in a log"
    with EventLog(run.logs, "main") as log:
        log.error("learner-0", "Traceback (most recent call last): …")
    assert f"\n  with its traceback: {run.logs / 'main.log'}\n\nfirst" in summary(progress, run, "failed", "oh")
    assert "learning_curve.png" not in text, "only what is there is listed"
    assert text.endswith("\n\nfirst cause: learner.0: CUDA out of memory")
    assert "flow run --resume" not in summary(progress, run, "done")


@given(progress=progresses())
def test_any_progress_can_be_summed_up(tmp_path_factory, progress):
    assert summary(progress, RunDirectory(tmp_path_factory.getbasetemp()), "done")


def swept(now=1.0):
    series = {
        name: SeriesProgress(mean, 0.0, 1, "", (NewValue(now, 3.0, mean),))
        for name, mean in (("r", 1.5), ("r@a=1", 1.0), ("r@a=2", 2.0))
    }
    frames = {"frames": CounterProgress(30, 1.0), "frames@a=1": CounterProgress(10, 1.0)}
    shown = ("frames", "frames@a=1", *series)
    curves = [Curve(name, "frames", POINTS) for name in series]
    return Progress(
        now=now, elapsed=now, x_name="frames", x=30.0, shown=shown, counters=frames, series=series, curve=curves[0],
        copies=("a=1", "a=2"), copy_curves=tuple(curves[1:]),
    )  # fmt: skip


def test_each_copy_of_a_sweep_has_its_own_line_in_all_that_is_kept(tmp_path):
    run = RunDirectory.create(tmp_path, "swept")
    with MetricsWriter(run.metrics) as writer:
        writer.write(swept())
    (line,) = [json.loads(line) for line in (run.metrics / "metrics.jsonl").read_text().splitlines()]
    assert line["series"] == {"r": [1.5, 0.0, 1], "r@a=1": [1.0, 0.0, 1], "r@a=2": [2.0, 0.0, 1]}
    said = summary(swept(), run, "done")
    for name, mean in (("r", "1.50"), ("r@a=1", "1.00"), ("r@a=2", "2.00")):
        assert re.search(rf"^  {re.escape(name)} +{mean} ", said, re.MULTILINE), said


def test_copies_are_runs_of_their_own_in_tensorboard_over_their_own_frames(tmp_path):
    pytest.importorskip("tensorboardX")
    with MetricsWriter(tmp_path) as writer:
        writer.write(swept())
    for folder, tag in ((tmp_path, b"total/frames"), (tmp_path / "a=1", b"total/frames"), (tmp_path / "a=2", b"r")):
        (events,) = folder.glob("events.out.tfevents.*")
        assert tag in events.read_bytes()
        assert b"a_1" not in events.read_bytes()  # what a copy would be called in a tag


def test_copies_are_drawn_beside_each_other(tmp_path):
    pytest.importorskip("matplotlib")
    progress = swept()
    alone, beside = tmp_path / "alone.png", tmp_path / "beside.png"
    assert draw_curve(progress.curve, alone)
    assert draw_curve(progress.curve, beside, copies=progress.copy_curves)
    assert beside.read_bytes().startswith(b"\x89PNG")
    assert beside.read_bytes() != alone.read_bytes()
