"""The claims that are quick enough to be held on every change."""

from __future__ import annotations

import json
import math

import pytest

from flow.run_directory import RunDirectory
from tools.claims import digits, laser_t1, two_stream
from tools.claims.seeds import last_gauge, last_mean


def test_laser_t1_holds(monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["laser_t1", "--quick"])
    assert laser_t1.main() == 0
    assert "FAILS" not in capsys.readouterr().out


def test_a_claim_that_fails_is_an_exit_status(monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["laser_t1", "--quick"])
    monkeypatch.setitem(laser_t1.BANDIT, 0.0, 0.9)
    assert laser_t1.main() == 1
    assert "FAILS   Prop. 2, 3" in capsys.readouterr().out


def test_an_unknown_argument_is_refused(monkeypatch):
    monkeypatch.setattr("sys.argv", ["laser_t1", "--fast"])
    with pytest.raises(SystemExit):
        laser_t1.main()


@pytest.mark.real_time
@pytest.mark.slow
@pytest.mark.parametrize(("epochs", "least", "status"), [("4", "0.5", 0), ("1", "1.1", 1)])
def test_a_run_of_the_digits_is_judged_by_its_last_accuracy(epochs, least, status, tmp_path, monkeypatch, capfd):
    pytest.importorskip("torch")
    pytest.importorskip("sklearn")
    monkeypatch.setenv("FLOW_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", ["digits", "--seeds", "1", "--epochs", epochs, "--least", least, "--minutes", "2"])
    assert digits.main() == status
    assert ("FAILS   test_accuracy is at least 1.1" in capfd.readouterr().out) == bool(status)


def test_the_last_mean_is_of_the_last_values(tmp_path):
    run = RunDirectory.create(tmp_path, "made")
    run.metrics.mkdir(exist_ok=True)
    lines = [{"series": {"x": [0.0, 0.0, 500]}, "gauges": {}}, {"series": {}, "gauges": {"g": 1.0}}]
    lines += [{"series": {"x": [float(n), 0.0, 40]}, "gauges": {"g": 2.0}} for n in (1, 2, 3)]
    (run.metrics / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert last_mean(run, "x", 100) == 2.0
    assert last_mean(run, "x", 80) == 2.5
    assert math.isnan(last_mean(run, "x", 1000))
    assert last_gauge(run, "g") == 2.0


def two_stream_accuracies(**change: float) -> dict[str, float]:
    held = {
        "A flow of 10, less its mean": 0.95, "A flow of 10": 0.9, "A flow of 1, less its mean": 0.5, "A 11 frames": 0.6,
        "B spatial": 0.22, "B temporal": 0.21, "B fused by the mean": 0.6, "B fused by an SVM": 0.9, "B 11 frames": 0.5,
    }  # fmt: skip
    return {**held, **{name.replace("_", " "): value for name, value in change.items()}}


@pytest.mark.parametrize(
    ("change", "failing"),
    [
        ({}, 0),
        ({"A_11_frames": 0.85}, 1),
        ({"A_flow_of_10": 0.93}, 1),
        ({"B_fused_by_an_SVM": 0.5}, 3),
        ({"B_11_frames": math.nan}, 1),  # what was not measured holds nothing
    ],
)
def test_the_two_stream_claims_can_fail(change, failing):
    found = two_stream_accuracies(**change)
    held = two_stream.claims_a(found) | two_stream.claims_b(found)
    assert list(held.values()).count(False) == failing
