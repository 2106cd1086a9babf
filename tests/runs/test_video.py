"""Video files through whole runs: one that kills its decoder is left out, and nothing is decoded twice."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("av", reason='needs PyAV: pip install "flow-research[video]"')
pytest.importorskip("cv2", reason='needs OpenCV: pip install "flow-research[video]"')

from flow.cli.main import main
from storage.dataset import Dataset
from tests.nodes.video.clips_for_tests import written
from tests.runs.running import Home

pytestmark = pytest.mark.real_time
GRAPH = """
title = "videos"

[nodes.files]
run = "nodes.video.listing:listing"
path = "{clips}"
layout = "folders"
test_share = 0.0

[nodes.absent]
run = "nodes.video.store:absent"
path = "{dataset}"
side = 24

[nodes.queue]
run = "nodes.video.queue:queue"

[nodes.decoder]
run = "nodes.video.decode:decoder"

[nodes.flow]
run = "nodes.video.flow:flow"

[nodes.pack]
run = "nodes.video.flow:pack"

[nodes.passed]
run = "tests.runs.video_nodes:passed"

[nodes.store]
run = "nodes.video.store:store"
path = "{dataset}"

[nodes.noted]
run = "tests.runs.video_nodes:noted"
file = "{noted}"

[edges]
"files.files" = "absent.files"
"absent.missing" = "queue.files"
"absent.stored" = "noted.stored"
"decoder.work" = "queue.work"
"decoder.frames" = "flow.frames"
"flow.flows" = "pack.flows"
"pack.pieces" = "passed.pieces"
"passed.passed" = "store.pieces"
"store.stored" = "noted.stored"

[workers]
decoding = ["decoder", "flow", "pack", "passed"]
"""


def test_a_file_that_kills_its_decoder_is_left_out_and_all_others_are_decoded(home: Home):
    folder = home.path / "clips" / "class"
    folder.mkdir(parents=True)
    kinds = ["h264 mp4", "mpeg4 avi", "h264 mkv"]
    names = [written(folder, kind).name for kind in kinds]
    # The first of all, so that nothing is under way when it kills.
    (folder / "a_killer.avi").write_bytes((folder / "mpeg4_avi.avi").read_bytes() + b"x")
    text = GRAPH.format(clips=folder.parent, dataset=home.path / "dataset", noted=home.path / "noted")
    running = home.start(text)
    assert running.wait() == 0, running.story()
    assert sorted((home.path / "noted").read_text().split()) == sorted(f"class/{name}" for name in names)
    assert running.counter("killers") == 1
    said = "a_killer.avi is left out: its decoder was killed 2 times while at it"
    assert running.log("main").count(said) == 1
    with Dataset(home.path / "dataset") as dataset:
        assert sorted(record.counts["frames"] for record in dataset.records()) == [20, 20, 20]
        assert not dataset.unfinished()
    running.assert_nothing_left()


def test_what_is_imported_is_told_verified_and_not_made_again(tmp_path: Path, small_ucf101: Path, monkeypatch, capsys):
    monkeypatch.setenv("FLOW_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.chdir(tmp_path)
    words = ["data", "import", "ucf101", str(small_ucf101), "--into", "videos", "--side", "32", "--flow", "dis_fast"]
    assert main(words) == 0
    first = capsys.readouterr()
    assert "12 videos stored, 0 were there" in first.out
    assert main(words) == 0
    second = capsys.readouterr()
    assert "0 videos stored, 12 were there" in second.out
    for said in (*first, *second):  # all that is shown is counted, be it 0
        assert "nobody has counted" not in said
    assert main(["data", "info", "videos"]) == 0
    assert "12 records, 144 frames, 144 times, 132 flow" in capsys.readouterr().out
    assert main(["data", "verify", "videos"]) == 0
    assert "12 records read, 0 values missing or damaged" in capsys.readouterr().out
    assert main(["data", "import", "ucf101", str(small_ucf101 / "YoYo"), "--into", "videos"]) == 1


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (["import", "ucf101"], "expected LAYOUT FOLDER, found ucf101; write: flow data import LAYOUT FOLDER"),
        (["import", "kinetics", "x", "--into", "y"], "'kinetics' is no layout; there are ucf101, hmdb51, folders"),
        (["import", "folders", "x"], "say where the dataset is to be, as in --into my_dataset"),
        (["info", "nowhere"], "there is no dataset at nowhere; make one with: flow data import"),
        (["verify", "nowhere", "else"], "expected DATASET|RECORDING, found nowhere else"),
    ],
)
def test_wrong_words_are_said(words, problem, capsys):
    assert main(["data", *words]) == 1
    assert problem in capsys.readouterr().err
