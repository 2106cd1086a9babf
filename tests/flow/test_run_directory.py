"""A run directory: made private, found by name, owned by one living process."""

import errno
import json
import os
import signal
import stat
import subprocess
import sys
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flow.errors import RunError
from flow.run_directory import RunDirectory, find_run, find_runs


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("FLOW_STATE_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def test_a_new_run_is_private_named_and_found(tmp_path):
    run = RunDirectory.create(tmp_path / "runs", "LASER on Atari")
    assert run.name.startswith("laser_on_atari-20")
    assert stat.S_IMODE(run.path.stat().st_mode) == 0o700
    assert all(folder.is_dir() for folder in (run.state, run.logs, run.metrics, run.checkpoints, run.replay))
    assert RunDirectory.open(run.path) == run == find_run() == find_run(run.name[:16]) == find_run(run.path)


def test_what_ran_and_how_it_ended_is_written_down(tmp_path):
    run = RunDirectory.create(tmp_path, "x")
    run.begin("[nodes]\n", seed=7, until={"frames": 100}, profile="tiny")
    about = run.about()
    assert (about["title"], about["seed"], about["until"], about["pid"]) == (
        "x",
        7,
        {"frames": 100},
        os.getpid(),
    )
    assert about["versions"]["python"] == sys.version.split()[0]
    assert about["profile"] == "tiny"
    assert "outcome" not in about
    run.finish("failed", "learner.0: out of memory")
    assert run.about()["outcome"] == "failed"
    run.begin("[nodes]\n", seed=7)
    assert "outcome" not in run.about()
    assert len(run.about()["starts"]) == 2
    assert run.graph_file.read_text() == "[nodes]\n"


@given(title=st.text(max_size=80))
def test_any_title_makes_a_plain_name(tmp_path_factory, title):
    run = RunDirectory.create(tmp_path_factory.getbasetemp() / "titles", title)
    assert run.name.replace("_", "a").replace("-", "a").isalnum()
    assert run.name.isascii()
    assert run.about()["title"] == title


def test_places_that_do_not_work_are_named(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(RunError, match="can't make a run directory here: Not a directory; choose another"):
        RunDirectory.create(tmp_path / "file" / "runs", "x")
    with pytest.raises(RunError, match="not a run directory, it is not there"):
        RunDirectory.open(tmp_path / "nowhere")
    with pytest.raises(RunError, match=r"not a run directory, it has no run\.json"):
        find_run(tmp_path)
    run = RunDirectory.create(tmp_path, "x")
    run.about_file.write_text("{")
    with pytest.raises(RunError, match=r"run\.json: can't be read"):
        run.about()


def test_the_socket_directory_is_short_private_and_the_same_each_time(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / ("long" * 20)))
    run = RunDirectory.create(tmp_path / ("deep" * 20), "x")
    assert len(os.fsencode(run.sockets)) < 40
    assert run.sockets == run.sockets
    assert stat.S_IMODE(run.sockets.stat().st_mode) == 0o700
    folder = run.sockets
    run.remove_sockets()
    assert not folder.exists()


def test_someone_elses_socket_directory_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("flow.run_directory.sockets_base", lambda: tmp_path / "theirs")
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "theirs").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(RunError, match="belongs to someone else"):
        RunDirectory.create(tmp_path, "x").sockets  # noqa: B018


def test_names_that_mean_no_run_or_several_say_what_is_near(tmp_path):
    with pytest.raises(RunError, match="no run on this machine yet; start one"):
        find_run()
    with pytest.raises(RunError, match="no run 'x'; there is no run"):
        find_run("x")
    one, two = (RunDirectory.create(tmp_path, "laser") for _ in range(2))
    with pytest.raises(RunError, match="2 runs are called 'laser'…; say more of the name") as info:
        find_run("laser")
    assert one.name in str(info.value)
    assert two.name in str(info.value)
    with pytest.raises(RunError, match="no run 'lazer-20'; did you mean:\n  laser-20"):
        find_run("lazer-20")
    with pytest.raises(RunError, match="no run '§'; the newest are:"):
        find_run("§")


def test_the_newest_is_that_of_this_folder_and_one_from_elsewhere_is_not_changed_while_several_live(
    tmp_path, monkeypatch
):
    own, other = tmp_path / "own", tmp_path / "other"
    ours = RunDirectory.create(own / "runs", "ours")
    theirs = [RunDirectory.create(other / "runs", name) for name in ("one", "two")]
    monkeypatch.chdir(own)
    assert find_run() == find_run(to_change=True) == ours
    (own / "runs").rename(own / "moved")
    assert find_run() == theirs[1]
    with theirs[0].own():
        assert find_run(to_change=True) == theirs[1]
        with theirs[1].own():
            assert find_run() == theirs[1]
            with pytest.raises(RunError) as caught:
                find_run(to_change=True)
            assert str(caught.value) == (
                f"no run in {own}/runs, and 2 are alive elsewhere; name the one meant:"
                f"\n  {theirs[1].name}\n  {theirs[0].name}"
            )
            assert find_run(theirs[0].name, to_change=True) == theirs[0]


def test_runs_are_listed_newest_first_and_the_gone_are_forgotten(tmp_path, home):
    runs = []
    for _ in range(3):
        runs.append(RunDirectory.create(tmp_path, "x"))
        time.sleep(0.01)
    assert find_runs() == runs[::-1]
    runs[0].begin("", seed=0)
    assert find_runs()[0] == runs[0], "a resumed run is the newest"
    runs[1].about_file.unlink()
    assert runs[1] not in find_runs()
    assert {entry.name for entry in (home / "runs").iterdir()} == {runs[0].name, runs[2].name}


def test_a_home_that_can_not_be_written_costs_only_the_list(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("FLOW_STATE_HOME", str(tmp_path / "file"))
    assert RunDirectory.create(tmp_path, "x").path.is_dir()
    assert find_runs() == []


OWNER = """
import sys, os, time
from pathlib import Path
from flow.run_directory import RunDirectory
lock = RunDirectory.open(Path(sys.argv[1])).own()
if os.fork() == 0:
    time.sleep(60)          # inherits the lock, as the child of a killed supervisor does
    os._exit(0)
print("mine", flush=True)
time.sleep(60)
"""


@pytest.mark.real_time
def test_the_owner_is_known_while_it_lives_and_not_after_a_kill(tmp_path):
    run = RunDirectory.create(tmp_path, "x")
    assert run.owner() is None
    owner = subprocess.Popen(
        [sys.executable, "-c", OWNER, str(run.path)], stdout=subprocess.PIPE, start_new_session=True
    )
    try:
        assert owner.stdout.readline() == b"mine\n"
        assert run.owner() == owner.pid
        with pytest.raises(RunError, match=f"alive in process {owner.pid}; `flow inspect"):
            run.own()
        owner.kill()
        owner.wait()
        assert run.owner() is None
        with pytest.raises(RunError, match="still held by a process that its dead owner left behind"):
            run.own()
    finally:
        os.killpg(owner.pid, signal.SIGKILL)
        owner.wait()
        owner.stdout.close()
    for _ in range(200):
        try:
            ownership = run.own()
            break
        except RunError:
            time.sleep(0.01)
    with ownership:
        assert run.owner() == os.getpid()
    assert run.owner() is None


def test_about_is_json_that_others_can_read(tmp_path):
    run = RunDirectory.create(tmp_path, "x")
    run.begin("", seed=1, show=["frames"], odd=tmp_path)
    assert json.loads(run.about_file.read_text())["show"] == ["frames"]


def test_what_a_killed_owner_left_half_written_is_removed_by_the_next(tmp_path):
    run = RunDirectory.create(tmp_path, "x")
    (run.path / ".graph.toml.4711").write_text("half of it")
    run.begin("[nodes]\n", seed=7)
    assert not list(run.path.glob(".*"))


def test_a_run_that_cannot_be_written_says_so_and_leaves_nothing_unfinished(tmp_path, monkeypatch):
    run = RunDirectory.create(tmp_path, "x")
    run.begin("before", seed=7)

    def full(path, text, **_):
        path.touch()
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(type(tmp_path), "write_text", full)
    with pytest.raises(RunError, match=rf"can't be written to: No space left.*flow run --resume {run.name}"):
        run.begin("after", seed=7)
    assert not list(run.path.glob(".*"))
    assert run.graph_file.read_text() == "before"
