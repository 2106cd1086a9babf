"""Any fault seen live can be had again offline: what passes is recorded, and played into one node alone."""

from __future__ import annotations

import os
import pty
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from storage.recording import RecordingReader, RecordingWriter
from tests.runs.nodes_for_runs import Number
from tests.runs.running import FLOW, ROOT, Home, graph_text, line_graph
from tests.runs.test_control import ended, told

pytestmark = pytest.mark.real_time


def numbers(path):
    with RecordingReader(path) as reader:
        return [int(each.message.values[0]) for each in reader.recorded(Number)], [
            each.missed for each in reader.recorded(Number)
        ]


def started(home: Home, at: int = 5000, **trouble: object):
    """source ──► step0, which raises at a certain number ──► sink"""
    text = line_graph({"run": "trouble", "fault": "raise", "at": at, **trouble}, source={"pause_ms": 2})
    running = home.start(text)
    running.until_arrived(5)
    return running


def recorder(home: Home, *words: str) -> subprocess.Popen[str]:
    """`flow record` of what the source sends, under way."""
    return subprocess.Popen(
        [*FLOW, "record", "source.numbers", *words],
        cwd=ROOT,
        env=home.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_what_a_node_died_of_is_had_again_from_the_recording(home: Home):
    running = started(home, at=1500, starts=1)
    recording = recorder(home, "--seconds", "100")
    running.until(lambda: "is too much" in running.log("main"), "a death")
    running.until_arrived(1600)  # it was started again: what it died of has reached the recording by then
    recording.send_signal(signal.SIGINT)
    said, _ = recording.communicate(timeout=20)
    (file,) = (running.run.path / "recordings").glob("*.flow")
    assert f"{file}: " in said
    assert f"flow replay {file} step0" in said
    died = re.search(r"number \d+ is too much", running.log("main"))
    assert died
    assert f"flow replay {file} step0" in running.log("supervisor")
    damaged = shutil.copytree(file, home.path / "damaged.flow") / "data.mdb"
    held = damaged.read_bytes()
    last = np.full(1, numbers(file)[0][-1]).tobytes()
    damaged.write_bytes(held.replace(last, bytes(reversed(last))))
    assert f"{file}: {len(numbers(file)[0])} messages Number (values: " in told(home, "data", "info", file)
    assert f"recorded at source.numbers of {running.run.path}, on the way to step0.numbers" in told(
        home, "data", "info", file
    )
    assert "messages read, 0 damaged" in told(home, "data", "verify", file)
    verified = home.flow("data", "verify", damaged.parent)
    assert (verified.returncode, "what is there is not what was written" in verified.stdout) == (1, True)
    # A run that ends while it is recorded leaves what passed until then.
    recording = recorder(home, "-n", "100000", "-o", str(home.path / "end.flow"))
    end = home.path / "end.flow"
    running.until(lambda: end.exists() and len(numbers(end)[0]) > 50, "a recording")
    ended(running)
    output, error = recording.communicate(timeout=20)
    assert recording.returncode == 0
    assert "messages, without a gap" in output
    assert "closed the connection" in error

    # The log says how to have it again; and so it is, the same error at the same message.
    (command,) = set(re.findall(r"to have this again: (flow replay \S+ step0) --debug", running.log()))
    replayed = home.flow(*command.split()[1:])
    assert replayed.returncode == 1
    recorded, missed = numbers(file)
    assert f"ValueError: {died[0]}" in replayed.stderr
    assert "nodes_for_runs.py" in replayed.stderr
    at = recorded.index(1499)
    assert f"step0.numbers: raised ValueError with message {at} of {file} in hand" in replayed.stderr
    assert replayed.stdout.count("step0.passed #") == at
    assert sum(missed) == 0
    assert recorded == list(range(recorded[0], recorded[0] + len(recorded)))


def test_a_recorder_that_is_killed_or_has_no_room_leaves_what_it_wrote_and_the_run_alone(home: Home, small_disk: Path):
    running = started(home)
    killed = home.path / "killed.flow"
    recording = recorder(home, "-n", "100000", "-o", str(killed))
    running.until(lambda: killed.exists() and len(numbers(killed)[0]) > 20, "a recording")
    recording.kill()
    recording.communicate(timeout=20)
    found, missed = numbers(killed)
    assert found == list(range(found[0], found[0] + len(found)))
    assert sum(missed) == 0
    assert "took 5 messages" in told(home, "replay", killed, "step0", "--set", "fault=none", "-n", "5")
    assert f"{killed}: {len(found)} messages Number" in told(home, "data", "info", killed)

    # Its own disk: it ends before that is full.
    room = os.statvfs(small_disk)
    (small_disk / "filler").write_bytes(bytes(room.f_bavail * room.f_frsize - (220 << 10)))
    full = home.flow("record", "source.numbers", "-n", "100000", "-o", small_disk / "full.flow")
    assert full.returncode == 1
    assert "MiB of 8 MiB are free on its disk, and left to others; the recording ends here" in full.stderr
    found, _ = numbers(small_disk / "full.flow")
    assert f"full.flow: {len(found)} messages, without a gap" in full.stdout
    assert len(found) > 5
    none = home.flow("record", "source.numbers", "-n", "1", "-o", small_disk / "none.flow")
    assert (none.returncode, "the recording ends here" in none.stderr) == (1, True), none.stderr
    assert "nothing passed" not in none.stderr
    assert not (small_disk / "none.flow").exists()
    running.until_arrived(len(running.received()) + 100)
    assert "started again" not in running.log()
    ended(running)


def test_a_recording_is_played_with_other_settings_outputs_are_recorded_and_parts_can_be_chosen(home: Home):
    running = started(home, at=10, starts=0)
    file = home.path / "numbers.flow"
    assert "60 messages, without a gap" in told(home, "record", "step0.numbers", "-n", "60", "-o", str(file))
    again = home.flow("record", "step0.numbers", "-n", "1", "-o", str(file))
    assert (again.returncode, "is there already" in again.stderr) == (2, True)
    ended(running)

    out = home.path / "passed.flow"
    said = told(home, "replay", file, "step0", "--set", "fault=none", "--record", f"passed={out}", "--start", "10")
    assert f"step0.numbers: took 50 messages of {file} and ended" in said
    assert numbers(out)[0] == numbers(file)[0][10:]
    few = told(home, "replay", file, "step0", "--set", "fault=none", "-n", "3")
    assert few.count("step0.passed #") == 3
    for words, message in (
        (("--set", "falt=none"), "step0 has no setting 'falt'; it has fault, at, starts"),
        (("--set", "at=soon"), "step0.at: expected int"),
        (("--port", "passed"), "step0.passed sends; a recording is played into a port that takes messages"),
        (("--port", "nowhere"), "step0 has no port 'nowhere'"),
        (("--record", f"numbers={out}"), "step0 has no port 'numbers' that sends"),
        (("--state",), "has no checkpoint with a state of step0-0"),
    ):
        refused = home.flow("replay", file, "step0", *words)
        assert (refused.returncode, message in refused.stderr) == (1, True), refused.stderr
    assert "has no node 'step9'; it has source, step0, sink" in home.flow("replay", file, "step9").stderr

    # A recording of a recording node, with a gap, that says nothing of a run.
    gaps = home.path / "gaps.flow"
    with RecordingWriter(gaps, Number) as writer:
        for number in (1, 7):
            writer.write(Number(np.full(1, number)))
            writer.miss(5)
    refused = home.flow("replay", gaps, "step0")
    assert (refused.returncode, "does not say of which run it is; give --run RUN" in refused.stderr) == (2, True)
    played = home.flow("replay", gaps, "step0", "--run", running.run.name)
    assert f"5 messages before message 1 are missing in {gaps}" in played.stderr
    assert "took 2 messages" in played.stdout
    assert (
        "there is no recording at"
        in home.flow("replay", home.path / "none.flow", "step0", "--run", running.run.name).stderr
    )


def test_a_call_is_fed_with_answers_that_were_recorded(home: Home):
    nodes = {
        "source": {"run": "source", "pause_ms": 2},
        "asker": {"run": "asker"},
        "server": {"run": "server"},
        "sink": {"run": "sink"},
    }
    edges = {
        "source.numbers": "asker.numbers",
        "asker.twice": "server.requests",
        "asker.doubled": "sink.numbers",
    }
    running = home.start(graph_text(nodes, edges))
    running.until_arrived(5)
    files = {name: home.path / f"{name}.flow" for name in ("numbers", "answers", "questions")}
    both = [
        subprocess.Popen([*FLOW, "record", *words, "-n", "40"], cwd=ROOT, env=home.environment)
        for words in (
            ("asker.numbers", "-o", files["numbers"]),
            ("asker.twice", "--answers", "-o", files["answers"]),
            ("asker.twice", "-o", files["questions"]),
        )
    ]
    assert [each.wait(30) for each in both] == [0, 0, 0]
    assert "answers come to a Call" in home.flow("record", "server.requests", "--answers").stderr
    assert "has no port 'asker.twise'; it has source.numbers" in home.flow("record", "asker.twise").stderr
    ended(running)
    alone = home.flow("replay", files["numbers"], "asker")
    assert "nothing answers asker.twice, its question 1: record answers with flow record asker.twice" in alone.stderr
    fed = told(home, "replay", files["numbers"], "asker", "--feed", f"twice={files['answers']}", "-n", "20")
    assert fed.count("asker.doubled #") == 20
    assert "asker.numbers: took 20 messages" in fed
    served = told(home, "replay", files["questions"], "server")
    assert served.count("answer Answer") == 40


def test_a_debugger_opens_at_what_was_raised(home: Home):
    running = started(home, at=10, starts=0)
    file = home.path / "numbers.flow"
    told(home, "record", "source.numbers", "-n", "40", "-o", str(file))
    ended(running)
    leader, follower = pty.openpty()
    debugging = subprocess.Popen(
        [*FLOW, "replay", str(file), "step0", "--set", "starts=1", "--debug"],
        cwd=ROOT,
        env=home.environment,
        stdin=follower,
        stdout=follower,
        stderr=follower,
    )
    os.close(follower)
    said = b""
    end = time.monotonic() + 20
    while b"(Pdb)" not in said and time.monotonic() < end:
        said += os.read(leader, 65536)
    os.write(leader, b"p number.values[0] % 10\nq\n")
    while debugging.poll() is None and time.monotonic() < end:
        try:
            said += os.read(leader, 65536)
        except OSError:
            break
    os.close(leader)
    assert debugging.wait(5) == 1
    assert re.search(rb"\(Pdb\).*\r?\n(np\.int64\()?9", said), said.decode()


def test_breakpoints_stop_in_a_node_under_pdb(home: Home):
    running = started(home)
    file = home.path / "numbers.flow"
    told(home, "record", "source.numbers", "-n", "5", "-o", str(file))
    ended(running)
    script = f"b tests/runs/nodes_for_runs.py:{line_of('await passed.send(number)')}\nc\np number.values\nq\n"
    found = subprocess.run(
        [sys.executable, "-m", "pdb", "-m", "flow", "replay", str(file), "step0"],
        cwd=ROOT,
        env=home.environment,
        input=script,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert "array([" in found.stdout, found.stdout + found.stderr


def line_of(text: str) -> int:
    lines = (ROOT / "tests/runs/nodes_for_runs.py").read_text().splitlines()
    return next(number for number, line in enumerate(lines, 1) if line.strip() == text)
