"""Names in [until] and [report] that nobody counts are told, with the nearest name that somebody does."""

import pytest

from flow.graph.load import load_graph
from flow.launch import launch
from flow.missing import AFTER_S, MissingMetrics
from flow.progress import CounterProgress, GaugeProgress, Progress, SeriesProgress
from flow.run_directory import RunDirectory

SEEN = {
    "counters": {"balanced": CounterProgress(3, 0.0)},
    "gauges": {"fill": GaugeProgress(0.5)},
    "series": {"loss": SeriesProgress(1.0, 0.0, 3)},
}


def test_what_is_missing_is_told_once_soon_after_the_start_and_again_at_the_end():
    missing = MissingMetrics(["balancd", "hours", "loss"], ["blanced", "frames"], "los")
    assert missing.early(Progress(now=0.0, elapsed=AFTER_S - 1, **SEEN)) == []
    told = missing.early(Progress(now=0.0, elapsed=AFTER_S, **SEEN))
    assert told == [
        "[until] balancd: nobody has counted that yet; did you mean balanced?",
        "[until] loss: it is a series; only what is counted, or a time, ends a run",
        "[report] blanced: nobody has counted or recorded that yet; did you mean balanced?",
        "[report] los: nobody has counted or recorded that yet; did you mean loss?",
    ]
    end = Progress(now=0.0, elapsed=99.0, **SEEN)
    assert missing.early(end) == []
    assert missing.late(end, "stopped") == [text.replace(" yet", "") for text in told]
    assert "[report] frames: nobody has counted or recorded that" in missing.late(end, "done")
    assert missing.late(end, "failed") == []


def test_of_names_that_are_there_nothing_is_said():
    missing = MissingMetrics(["balanced", "minutes"], ["fill", "loss"], "loss")
    end = Progress(now=0.0, elapsed=99.0, **SEEN)
    assert (missing.early(end), missing.late(end, "done")) == ([], [])


def test_a_name_that_comes_late_is_not_taken_for_one_that_is_asked_for_beside_it():
    missing = MissingMetrics([], ["fill", "fall"], "fill")
    assert missing.early(Progress(now=0.0, elapsed=AFTER_S, **SEEN)) == []
    assert MissingMetrics([], ["fall"], None).early(Progress(now=0.0, elapsed=AFTER_S, **SEEN))


@pytest.mark.real_time
def test_a_run_says_so_at_its_end(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("FLOW_STATE_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    from flow.cli.main import main

    assert main(["new", "graph", "tallied"]) == 0
    text = (tmp_path / "tallied.toml").read_text()
    assert '"samples"' in text
    (tmp_path / "tallied.toml").write_text(text.replace('"samples"', '"sampels"') + "\n[until]\nsampls = 9\n")
    run = RunDirectory.create(tmp_path, "tallied")
    assert launch(load_graph(tmp_path / "tallied.toml"), run, seed=1, resumed=False) == 0
    said = capsys.readouterr().out
    assert "[until] sampls: nobody has counted that; did you mean samples?" in said
    assert "[report] sampels: nobody has counted or recorded that; did you mean samples?" in said
