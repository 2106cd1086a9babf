"""General nodes in real graphs and real processes: many in one, recorded and played back, resumed after a kill."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import signal
import subprocess
import sys
import wave

import numpy as np
import pytest

from storage.recording import RecordingReader
from tests.runs.general_nodes import Doubled
from tests.runs.running import ROOT, Home

pytestmark = pytest.mark.real_time
COUNT = 40

STREAMS = """
title = "streams"
[nodes.source]
run = "tests.runs.general_nodes:source"
[nodes.map]
run = "nodes.stream.map:map"
function = "own.py:doubled"
[nodes.filter]
run = "nodes.stream.filter:filter"
function = "tests.runs.general_nodes:small"
arguments = ["most=60"]
threaded = true
[nodes.split]
run = "nodes.stream.split:split"
field = "rate"
values = ["16000"]
[nodes.shuffle]
run = "nodes.stream.shuffle:shuffle"
size = 5
[nodes.limit]
run = "nodes.stream.limit:limit"
per_second = 1000.0
[nodes.merge]
run = "nodes.stream.merge:merge"
by = "number"
[nodes.tee]
run = "nodes.sink.recording:tee"
path = "readings.flow"
[nodes.batch]
run = "nodes.stream.batch:batch"
size = 4
[nodes.unbatch]
run = "nodes.stream.batch:unbatch"
[nodes.window]
run = "nodes.stream.window:window"
length = 3
hop = 2
[nodes.zip]
run = "nodes.stream.zip:zip"
right_prefix = "window_"
[nodes.pairs]
run = "nodes.sink.recording:write"
[nodes.one_rate]
run = "nodes.stream.map:map"
function = "own.py:one_rate"
[nodes.cut]
run = "nodes.stream.window:cut"
length = 6
[nodes.wav]
run = "nodes.sink.wav:wav"
folder = "sounds"
[nodes.metrics]
run = "nodes.sink.metrics:metrics"
counters = ["number"]
prefix = "batch_"
[nodes.sink]
run = "tests.runs.general_nodes:sink"
[edges]
"source.readings" = "map.items"
"map.mapped" = "filter.items"
"filter.passed" = "split.items"
"split.matching" = "shuffle.items"
"split.others" = "limit.items"
"shuffle.shuffled" = "merge.left"
"limit.limited" = "merge.right"
"merge.merged" = "tee.items"
"tee.passed" = [
    { to = ["batch.items", "window.items", "sink.numbers"], mode = "copy" },
    { to = "zip.left", mode = "copy", credit = 50 },    # windows are half as many: what has no partner yet waits
]
"batch.batches" = { to = ["unbatch.batches", "metrics.items"], mode = "copy" }
"unbatch.items" = "one_rate.items"
"one_rate.mapped" = "cut.pieces"
"cut.windows" = "wav.clips"
"window.windows" = "zip.right"
"zip.pairs" = "pairs.items"
[workers]
begin = ["source", "map", "filter"]
middle = ["split", "shuffle", "limit", "merge", "tee", "batch"]
"""
OWN = """
from nodes.sink.wav import Audio
from tests.runs.general_nodes import Doubled, doubled

def one_rate(message: Doubled) -> Audio:  # a window is of one rate
    return Audio(message.samples, 8000)
"""


def test_a_graph_of_all_that_streams_need_ends_with_every_message_where_it_belongs(home: Home):
    (home.path / "own.py").write_text(OWN)
    running = home.start(STREAMS)
    assert running.wait() == 0, running.story()
    expected = sorted(2 * number for number in range(COUNT) if 2 * number <= 60)
    with RecordingReader(home.path / "readings.flow") as reader:
        recorded = [message.number for message in reader.messages(Doubled)]
    assert sorted(recorded) == expected
    assert running.counter("arrived") == len(expected)
    assert running.counter("total") == sum(expected)
    assert running.counter("batch_number") == sum(expected)
    assert running.counter("filtered") == COUNT - len(expected)
    slow = [number for number in recorded if (number // 2) % 2]
    assert slow == sorted(slow)
    pairs = running.run.path / "nodes" / "pairs-0" / "recording.flow"
    with RecordingReader(pairs) as reader:
        assert reader.count() == (len(expected) - 3) // 2 + 1
        assert [field.name for field in reader.fields][:2] == ["number", "rate"]
        assert str(reader.fields[4]) == "int64 (3)"
    sounds = sorted((home.path / "sounds").glob("*.wav"))
    assert len(sounds) == len(expected) * 4 // 6
    with wave.open(str(sounds[0])) as sound:
        assert sound.getnframes() == 6
    assert all(count.under_way == 0 for count in running.ledger().values()), running.ledger()
    running.assert_nothing_left()


PLAYED = """
title = "played"
[nodes.read]
run = "nodes.data.recording:read"
path = "readings.flow"
passes = 3
[nodes.shuffle]
run = "nodes.stream.shuffle:shuffle"
size = 7
seed = 3
[nodes.limit]
run = "nodes.stream.limit:limit"
per_second = {rate}
[nodes.write]
run = "nodes.sink.recording:write"
path = "again.flow"
[nodes.sink]
run = "tests.runs.general_nodes:sink"
[edges]
"read.messages" = "shuffle.items"
"shuffle.shuffled" = "limit.items"
"limit.limited" = {{ to = ["write.items", "sink.numbers"], mode = "copy" }}
"""
RECORD = """
title = "record"
[nodes.source]
run = "tests.runs.general_nodes:source"
[nodes.map]
run = "nodes.stream.map:map"
function = "tests.runs.general_nodes:doubled"
[nodes.write]
run = "nodes.sink.recording:write"
path = "readings.flow"
[edges]
"source.readings" = "map.items"
"map.mapped" = "write.items"
"""


def test_what_was_recorded_is_played_back_in_a_shuffled_order_also_across_a_kill(home: Home):
    assert home.start(RECORD).wait() == 0
    running = home.start(PLAYED.format(rate=1000.0))
    assert running.wait() == 0, running.story()
    whole = played(home)
    assert sorted(whole) == sorted(3 * [2 * number for number in range(COUNT)])
    assert whole != sorted(whole)
    shutil.rmtree(home.path / "again.flow")
    slow = home.start(PLAYED.format(rate=100.0))
    slow.until(lambda: slow.counter("recorded") >= 20, "20 messages to be written")
    (worker,) = slow.worker_pids().values()
    os.kill(worker, signal.SIGKILL)
    assert slow.wait(60) == 0, slow.story()
    assert set(played(home)) == set(whole)
    again = slow.counter("recorded")
    assert len(played(home)) == again >= len(whole)


def played(home: Home) -> list[int]:
    with RecordingReader(home.path / "again.flow") as reader:
        return [message.number for message in reader.messages(Doubled)]


CART = """
title = "cart"
[nodes.actor]
run = "nodes.env.gymnasium:actor"
environment = "CartPole-v1"
lanes = 4
steps = 5
groups = 2
[nodes.policy]
run = "nodes.serve.module:module_with_weights"
module = "net.py:Policy"
inputs = ["observations"]
answers = ["actions: int64 (rows)", "certainty: float32 (rows)", "version: int"]
[nodes.learner]
run = "tests.runs.general_nodes:learner"
[nodes.image]
run = "nodes.sink.image:image"
field = "observations"
most = 3
[edges]
"actor.policy" = "policy.requests"
"actor.transitions" = { to = ["learner.steps", "image.items"], mode = "copy" }
"learner.weights" = "policy.weights"
[until]
learned = 400
"""
NET = """
import torch
from torch import nn

class Policy(nn.Module):
    def __init__(self):
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(1))

    def forward(self, observations):
        return (observations[:, 2] + observations[:, 3] > 0).long(), self.bias.expand(len(observations))
"""


@pytest.mark.skipif(
    any(importlib.util.find_spec(name) is None for name in ("torch", "gymnasium", "PIL")),
    reason='needs PyTorch, Gymnasium and Pillow: pip install "flow-research[torch,gymnasium,image]"',
)
def test_cart_pole_is_played_by_a_served_module_under_published_weights(home: Home):
    (home.path / "net.py").write_text(NET)
    running = home.start(CART)
    assert running.wait(90) == 0, running.story()
    assert running.output.splitlines()[-1] == "ended because: learned reached 400"
    assert running.counter("steps") >= 400
    metrics = [json.loads(line) for line in (running.run.metrics / "metrics.jsonl").read_text().splitlines()]
    assert metrics[-1]["gauges"]["certainty"] == 0.25
    assert len(list((running.run.path / "nodes" / "image-0").glob("*.png"))) == 3
    running.assert_nothing_left()


GAMES = """
title = "games"
[nodes.play]
run = "nodes.env.pettingzoo:selfplay"
environment = "classic/tictactoe-v3"
lanes = 3
[nodes.match]
run = "nodes.env.pettingzoo:match"
environment = "classic/tictactoe-v3"
[nodes.policy]
run = "tests.runs.general_nodes:first_legal"
[nodes.trainer]
run = "tests.runs.general_nodes:trainer"
[nodes.board]
run = "nodes.sink.recording:write"
[edges]
"play.policy" = "policy.requests"
"match.first" = "policy.requests"
"match.second" = "policy.requests"
"play.games" = "trainer.games"
"match.games" = "board.items"
[workers]
play = ["play", "match"]
[until]
learned = 100
first_won = 5
"""


@pytest.mark.skipif(
    importlib.util.find_spec("pettingzoo") is None, reason='needs PettingZoo: pip install "flow-research[pettingzoo]"'
)
def test_games_are_played_against_oneself_and_each_other(home: Home):
    running = home.start(GAMES)
    assert running.wait(60) == 0, running.story()
    assert running.counter("illegal") == 0
    assert running.counter("games") >= 5
    board = running.run.path / "nodes" / "board-0" / "recording.flow"
    with RecordingReader(board) as reader:
        assert reader.count() >= 5
        assert np.all([field.name for field in reader.fields])


@pytest.mark.parametrize("text", [STREAMS, RECORD, CART, GAMES])
def test_a_graph_is_checked_without_importing_what_it_runs(home: Home, text: str):
    (home.path / "own.py").write_text(OWN)
    heavy = ("torch", "gymnasium", "pettingzoo", "PIL")
    code = (
        "import sys; from flow.graph.load import load_graph; "
        f"load_graph({str(home.graph(text))!r}, packages=False); print(*set({heavy!r}) & set(sys.modules))"
    )
    checked = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert checked.stdout.strip() == ""
