"""Simulated runs: the same seed gives the same run, and a graph of every kind of port keeps all rules under faults."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flow.cli.main import main
from flow.errors import SettingError
from flow.graph import load_graph
from flow.testing.simulation import command
from flow.testing.simulation.faults import KINDS, USUAL, Fault, Faults, Survey, draw_faults
from flow.testing.simulation.many import Request, Runner, simulate
from flow.testing.simulation.run import Case, simulate_once

FIVE = Path(__file__).with_name("five_nodes.toml")


@pytest.fixture(scope="module")
def five():
    return Runner(Request(FIVE, kinds=KINDS))


def test_the_same_seed_gives_the_same_run_and_another_seed_another(five):
    digests = {}
    for seed in (1, 2, 3):
        once, again = five.run(seed), five.run(seed, attempt=1)
        assert once.digest == again.digest
        assert (once.messages, once.seconds, once.injected) == (again.messages, again.seconds, again.injected)
        digests[seed] = once.digest
    assert len(set(digests.values())) == 3


def test_the_same_seed_gives_the_same_run_under_another_order_of_hashes():
    code = (
        "from pathlib import Path\n"
        "from flow.testing.simulation.many import Request, Runner\n"
        f"runner = Runner(Request(Path({str(FIVE)!r}), kinds=('kill', 'raise')))\n"
        "print(*[runner.run(seed).digest for seed in range(4)])"
    )
    told = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(told) == 1


def test_runs_with_faults_keep_all_rules():
    outcome = simulate(Request(FIVE, runs=40, kinds=USUAL))
    assert [violation for failure in outcome.failures for violation in failure.result.violations] == []
    assert outcome.runs == 40
    assert set(outcome.injected) == set(USUAL)
    assert outcome.ended == Counter(done=40)
    assert len(outcome.again) == 2


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_of_fault_happens_and_the_run_goes_on_or_ends_as_it_should(kind):
    outcome = simulate(Request(FIVE, profile="tiny", runs=8, kinds=(kind,)))
    assert [violation for failure in outcome.failures for violation in failure.result.violations] == []
    assert outcome.injected[kind]
    expected = {"full": {"done", "failed"}, "stop": {"done", "stopped"}}.get(kind, {"done"})
    assert set(outcome.ended) <= expected


def test_a_store_on_disk_survives_a_kill_with_what_was_committed(five):
    # The kill is counted in events of the worker of the store; every place in its life is tried.
    for at in range(1, 120, 17):
        result = simulate_once(five.case, 5, (Fault("kill", "back", at), Fault("kill", "back", at + 40)))
        assert result.violations == ()
        assert result.outcome == "done"


@given(seed=st.integers(0, 1 << 32), count=st.integers(1, 1000))
def test_drawn_faults_are_of_the_kinds_asked_for_and_the_same_for_a_seed(seed, count):
    survey = Survey(Counter({("steps", "a-0"): count, ("events", "main"): count, ("packets", ""): count}))
    kinds = ("raise", "kill", "late")
    drawn = draw_faults(Random(seed), survey, kinds)
    assert drawn == draw_faults(Random(seed), survey, kinds)
    assert 1 <= len(drawn) <= 5
    assert all(fault.kind in kinds and 1 <= fault.at <= max(1, round(1.2 * count)) for fault in drawn)
    assert all((fault.seconds > 0) == (fault.kind == "late") for fault in drawn)


@given(counts=st.lists(st.integers(1, 8), min_size=1, max_size=5))
def test_each_fault_happens_once_at_its_count(counts):
    faults = Faults([Fault("raise", "a-0", at) for at in counts])
    came = [len(faults.come("steps", "a-0")) for _ in range(10)]
    assert came == [counts.count(at) for at in range(1, 11)]


def test_several_processes_find_what_one_finds():
    one, two = (simulate(Request(FIVE, profile="tiny", runs=30, kinds=USUAL, jobs=jobs)) for jobs in (1, 2))
    assert one.digests == two.digests
    assert (one.runs, one.messages, one.injected) == (two.runs, two.messages, two.injected)


@pytest.mark.slow
def test_laser_gives_the_same_bits_twice_with_the_emulator_and_torch():
    pytest.importorskip("torch")
    pytest.importorskip("ale_py")
    graph = load_graph("graphs/laser_atari.toml", profile="tiny", sets=["frames=1000"])
    once, again = (simulate_once(Case(graph), 3, attempt=attempt) for attempt in (0, 1))
    assert once.violations == again.violations == ()
    assert once.digest == again.digest


# The command


def test_the_command_says_what_it_did(capsys):
    assert main(["test", "--simulate", str(FIVE), "--profile", "tiny", "--faults", "--runs", "3"]) == 0
    said = capsys.readouterr().out
    assert "3 runs, seeds 0 to 2, 3 done" in said
    assert "faults: " in said
    assert "no violation" in said


def test_the_command_tells_scripts_the_same(capsys):
    assert main(["test", "--simulate", str(FIVE), "--profile", "tiny", "--runs", "2", "--json"]) == 0
    (told,) = json.loads(capsys.readouterr().out)
    assert (told["runs"], told["faults"], told["failures"]) == (2, {}, [])
    assert list(told["digests"]) == ["0"]


def test_a_failing_seed_is_shown_with_the_command_that_shows_it_again(capsys, tmp_path):
    graph = tmp_path / "fails.toml"
    wrong = "tests.flow.testing.simulation.wrong_nodes"
    graph.write_text(
        f'[nodes.numbers]\nrun = "{wrong}:numbers"\n[nodes.wrong]\nrun = "{wrong}:rolls_dice_of_all"\n'
        f'[nodes.sink]\nrun = "{wrong}:sink"\n'
        '[edges]\n"numbers.out" = "wrong.into"\n"wrong.out" = "sink.into"\n'
    )
    assert main(["test", "--simulate", str(graph), "--seed", "7", "--runs", "1"]) == 1
    said = capsys.readouterr().out
    assert "not the same run: the same seed gave 'sent wrong.out->sink.into" in said
    assert f"flow test --simulate {graph} --seed 7 --runs 1" in said
    assert "1 failing seed" in said


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--simulate"], "name a graph"),
        (["--simulate", str(FIVE), "--runs", "0"], "--runs 0: expected 1 or more"),
        (["--simulate", str(FIVE), "--jobs", "0"], "--jobs 0: expected 1 or more"),
        (["--simulate", str(FIVE), "--faults", "kil"], "'kil' is no kind of fault; did you mean 'kill'?"),
        (["--simulate", str(FIVE), "--check", "nowhere:check"], "--check nowhere:check: expected module:function"),
        (["--runs", "5", str(FIVE)], "--runs is about simulated runs: say --simulate too"),
    ],
)
def test_wrong_use_is_an_error_that_says_what_to_do(words, said, capsys):
    assert main(["test", *words]) == 1
    assert said in capsys.readouterr().err


def test_a_graph_taken_for_kinds_of_faults_is_told_apart():
    with pytest.raises(SettingError, match="name the graph before --faults"):
        command.kinds_of("graphs/laser_atari.toml")
