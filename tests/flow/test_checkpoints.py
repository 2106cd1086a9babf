"""Checkpoints: whole or not there, whatever is damaged and whenever a run dies."""

from __future__ import annotations

import json
import os
import shutil

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from flow import checkpoints, saved
from flow.errors import CheckpointError

NODES = {"learner": "nodes.learn:learner"}


def write(folder, number, content=b"weights"):
    directory = checkpoints.begin(folder, number, 7)
    (directory / "learner-0.msgpack").write_bytes(content)
    (directory / "learner-0.safetensors").write_bytes(content * 2)
    files = ["learner-0.msgpack", "learner-0.safetensors"]
    return checkpoints.complete(directory, files, NODES, {"frames": number}, consistent=True)


def test_the_newest_is_used_and_those_before_the_last_are_removed(tmp_path):
    made = [write(tmp_path, number) for number in (1, 2, 3)]
    assert checkpoints.newest(tmp_path) == (made[-1], [])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["000002", "000003"]
    assert checkpoints.newest(tmp_path / "none") == (None, [])


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_whatever_byte_is_damaged_the_one_before_is_used(tmp_path, data):
    shutil.rmtree(tmp_path)
    first, second = write(tmp_path, 1), write(tmp_path, 2)
    path = data.draw(st.sampled_from(sorted(second.directory.iterdir())))
    content = bytearray(path.read_bytes())
    # Drawn as parts of the whole: the manifest holds the time, so its length differs from run to run.
    content[int(data.draw(st.floats(0, 0.999)) * len(content))] ^= data.draw(st.integers(1, 255))
    if data.draw(st.booleans()):
        del content[int(data.draw(st.floats(0, 0.999)) * len(content)) :]
    path.write_bytes(content)
    found, problems = checkpoints.newest(tmp_path)
    if found == second:  # white space of the manifest
        assert problems == []
        return
    assert found == first
    assert len(problems) == 1
    assert "not used" in problems[0]
    # The run goes on from the first, and its next one takes the damaged one's place.
    again = write(tmp_path, 2, b"new")
    assert checkpoints.newest(tmp_path) == (again, [])


@pytest.mark.parametrize("dies_at", range(60))
def test_a_crash_between_any_two_steps_leaves_a_whole_one(tmp_path, monkeypatch, dies_at):
    first = write(tmp_path, 1)
    write(tmp_path, 2)
    left = [dies_at]

    class Killed(BaseException):
        pass

    def dying(function):
        def step(*arguments, **keywords):
            left[0] -= 1
            if left[0] < 0:
                raise Killed
            return function(*arguments, **keywords)

        return step

    for name in ("fsync", "rename", "mkdir", "rmdir", "unlink", "open"):
        monkeypatch.setattr(os, name, dying(getattr(os, name)))
    try:
        made = write(tmp_path, 3)
        died = False
    except Killed:
        died = True
    monkeypatch.undo()
    found, problems = checkpoints.newest(tmp_path)
    assert problems == []
    if died:
        assert found.number in (2, 3)
        made = write(tmp_path, found.number + 1)  # and the run goes on
        assert checkpoints.newest(tmp_path)[0] == made
    else:
        assert found == made
        assert left[0] >= 0
    assert first.number == 1


def test_a_node_that_is_away_keeps_the_state_it_will_go_on_from(tmp_path):
    before = write(tmp_path, 1)
    directory = checkpoints.begin(tmp_path, 2, 1)
    files = checkpoints.carry_over(directory, before, "learner-0")
    assert checkpoints.carry_over(directory, before, "learner") == []
    made = checkpoints.complete(directory, files, NODES, {}, consistent=False)
    assert (made.directory / "learner-0.msgpack").read_bytes() == b"weights"
    write(tmp_path, 3)
    write(tmp_path, 4)  # the first is removed; what was carried over stays
    assert checkpoints.newest(tmp_path)[1] == []


def test_a_checkpoint_of_another_graph_is_refused(tmp_path):
    made = write(tmp_path, 1)
    checkpoints.require_same_graph(made, NODES)
    with pytest.raises(CheckpointError) as caught:
        checkpoints.require_same_graph(made, {"learner": "nodes.learn:other", "actor": "nodes.env:actor"})
    assert str(caught.value) == (
        f"{made.directory}: a checkpoint of another graph\n"
        "  actor: none in the checkpoint, nodes.env:actor in the graph\n"
        "  learner: nodes.learn:learner in the checkpoint, nodes.learn:other in the graph\n"
        "  resume with the graph that made it (the run's own graph.toml), or start a new run"
    )


def written(folder, number, value):
    directory = checkpoints.begin(folder, number, 7)
    files = saved.pack({"progress": {"done": value}}).write(directory, "learner-0")
    return checkpoints.complete(directory, files, {"learner": "l:l"}, {}, consistent=True).directory


def as_of_format(directory, number):
    """The same checkpoint as another version of the program would have written it."""
    path = directory / checkpoints.MANIFEST
    manifest = json.loads(path.read_text())
    del manifest["self"], manifest["consistent"]
    manifest["format"] = number
    manifest["self"] = checkpoints._digest(manifest)
    path.write_text(json.dumps(manifest))


def test_a_checkpoint_of_the_format_before_is_read_and_one_of_a_later_one_refused(tmp_path):
    as_of_format(write(tmp_path, 1).directory, 1)
    found, problems = checkpoints.newest(tmp_path)
    assert (found.number, found.consistent, problems) == (1, False, [])
    as_of_format(write(tmp_path, 2).directory, 3)
    found, (problem,) = checkpoints.newest(tmp_path)
    assert found.number == 1
    assert "of format 3, this program reads 1 and 2; resume with the version of flow that made it" in problem


@pytest.mark.parametrize("file", ["learner-0.msgpack", "learner-0.safetensors", "manifest.json"])
def test_a_node_started_again_from_a_damaged_checkpoint_goes_on_from_the_one_before_and_says_so(tmp_path, file):
    """Each byte of it in turn."""
    written(tmp_path, 1, "old")
    newest = written(tmp_path, 2, "new")
    assert checkpoints.read_state(newest, "learner-0") == ({"progress": {"done": "new"}}, [])
    whole = (newest / file).read_bytes()
    same: list[int] = []
    for at in range(len(whole)):
        damaged = bytearray(whole)
        damaged[at] ^= 1
        (newest / file).write_bytes(damaged)
        state, said = checkpoints.read_state(newest, "learner-0")
        if said:
            assert state == {"progress": {"done": "old"}}
        else:  # the last digit of a time, which is the same time
            assert (file, state) == ("manifest.json", {"progress": {"done": "new"}})
            same.append(at)
    assert len(same) <= 2
    (newest / "learner-0.msgpack").write_bytes(b"")
    (newest / file).write_bytes(whole[:-1])
    (newest.parent / "000001" / "learner-0.msgpack").unlink()
    with pytest.raises(CheckpointError, match="000001"):
        checkpoints.read_state(newest, "learner-0")


def test_a_node_that_keeps_nothing_reads_nothing(tmp_path):
    assert checkpoints.read_state(written(tmp_path, 1, 1), "actor-0") == (None, [])
