"""Runs over two hosts: `flow run` here, `flow worker --join` there; both on this machine, each with its own files."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import time

import pytest
import zmq

from flow.carrier.curve import KeyPair, be_client
from flow.hosts.channel import HEAD
from flow.hosts.secret import JoinSecret, read_secret
from flow.ledger import EdgeCount
from tests.runs.joining import address, free_ports, ip, join, two_hosts, two_networks
from tests.runs.running import Home, Running, graph_text

pytestmark = pytest.mark.real_time
COUNT = 300
SLOW = {"pause_ms": 5}
SOON = ("--lost-after", "2")


def end_at_once(running: Running) -> None:
    """Without a drain, where that is not what is looked at."""
    running.process.kill()
    running.process.wait()
    running.assert_no_process_left(2)


def test_a_finite_graph_over_two_hosts_ends_by_itself_with_every_message_processed(home: Home):
    first, second = (f"127.0.0.1:{port}" for port in free_ports(2))
    text = two_hosts({"run": "doubler"}, source={"count": COUNT}, rig=second).replace('"127.0.0.1"', f'"{first}"')
    text = text.replace(f'listen = "{first}"', 'listen = "127.0.0.1"')  # at home any port: three are listened at
    running = home.start(text)
    rig = join(running, "--as", "rig")
    assert running.wait() == 0, running.story() + rig.output
    assert rig.wait() == 0, rig.story()
    assert running.received() == [2 * number for number in range(COUNT)]
    for edge, count in running.ledger().items():
        assert count == EdgeCount(COUNT, COUNT, 0, 0), edge
    assert "host rig joined" in running.log()
    assert "joined" in rig.output
    assert rig.output.splitlines()[-1] == "the run has ended"
    assert not (running.run.path / "join.secret").exists()
    running.assert_nothing_left()
    rig.assert_nothing_left()


def test_ctrl_c_drains_both_hosts_and_saves_what_is_on_the_other(home: Home):
    running = home.start(two_hosts())
    rig = join(running)
    running.until(lambda: running.counter("arrived") > 50, "counters of the other host")
    running.process.send_signal(signal.SIGINT)
    assert running.wait() == 0, running.story()
    assert rig.wait() == 0, rig.story()
    count = running.ledger()["source.numbers->sink.numbers"]
    assert count.sent == count.received > 50
    assert rig.received() == list(range(count.sent))
    files = {path.name for path in running.checkpoints()[-1].parent.iterdir()}
    assert {"sink-0.msgpack", "sink-0.safetensors", "source-0.msgpack", "manifest.json"} <= files
    # The logs of the other host's worker are here too.
    assert "begins after 0" in running.log("far")
    resumed = home.resume(running.run)
    again = join(resumed)
    resumed.until(lambda: resumed.counter("arrived") > count.received + 50, "the resumed run to go on")
    resumed.process.send_signal(signal.SIGINT)
    assert resumed.wait() == 0, resumed.story()
    assert again.wait() == 0
    assert again.received() == list(range(len(again.received())))
    assert f"begins after {count.received}" in resumed.log("far")
    resumed.assert_no_process_left()


def test_a_worker_that_dies_on_the_other_host_is_started_again_there(home: Home):
    running = home.start(two_hosts({"run": "doubler"}, source=SLOW))
    rig = join(running)
    running.until_arrived(20)
    os.kill(running.worker_pids()["far"], signal.SIGKILL)
    running.until(lambda: running.log().count("started, pid") == 4, "a second start")
    seen = len(running.received())
    running.until_arrived(seen + 20)
    assert "worker far was killed by SIGKILL; starting it again" in running.log()
    running.process.send_signal(signal.SIGINT)
    assert running.wait() == 0, running.story()
    assert rig.wait() == 0


def test_a_counter_of_another_host_ends_the_run_that_it_is_the_goal_of(home: Home):
    running = home.start(two_hosts(until={"arrived": 100}))
    rig = join(running)
    assert (running.wait(), rig.wait()) == (0, 0), running.story()
    assert running.output.splitlines()[-1] == "ended because: arrived reached 100"


@pytest.mark.soak
def test_a_worker_that_hangs_on_the_other_host_is_killed_and_started_again(home: Home):
    running = home.start(two_hosts({"run": "doubler"}, source=SLOW), "--stall", "2")
    rig = join(running)
    running.until_arrived(10)
    os.kill(running.worker_pids()["far"], signal.SIGSTOP)
    running.until(lambda: "; killed" in running.log(), "it to be killed", 8)
    seen = len(running.received())
    running.until_arrived(seen + 10)
    running.process.send_signal(signal.SIGINT)
    assert (running.wait(), rig.wait()) == (0, 0), running.story()


@pytest.mark.soak
def test_a_host_that_dies_is_noticed_and_may_join_again(home: Home):
    running = home.start(two_hosts({"run": "doubler"}, source=SLOW), *SOON)
    rig = join(running)
    running.until_arrived(10)
    far = running.worker_pids()["far"]
    rig.process.kill()
    rig.process.wait()
    rig.until(lambda: far not in home.processes(), "its worker to be gone with it", 2)
    running.until(lambda: "host rig is gone: nothing was heard of it for 2 s" in running.log(), "the run to say so", 6)
    assert "workers lost with it: far; to go on it must join again: flow worker --join" in running.log()
    seen = len(running.received())
    rig = join(running)
    running.until_arrived(seen + 10)
    running.process.send_signal(signal.SIGINT)
    assert running.wait() == 0, running.story()
    assert rig.wait() == 0


@pytest.mark.soak
def test_nothing_outlives_a_supervisor_that_was_killed(home: Home):
    running = home.start(two_hosts({"run": "doubler"}, source=SLOW), *SOON)
    rig = join(running)
    running.until_arrived(10)
    running.process.kill()
    running.process.wait()
    assert rig.wait(8) == 1
    assert "nothing was heard of the run at" in rig.output
    running.assert_no_process_left(2)


def test_a_host_that_leaves_by_ctrl_c_is_missed_at_once(home: Home):
    running = home.start(two_hosts({"run": "doubler"}, source=SLOW))
    rig = join(running)
    running.until_arrived(10)
    rig.process.send_signal(signal.SIGINT)
    assert rig.wait(3) == 130
    running.until(lambda: "host rig is gone: it was ended by SIGINT" in running.log(), "the run to say so", 2)
    end_at_once(running)


@pytest.mark.soak
def test_a_run_that_nobody_joins_can_be_ended_at_once(home: Home):
    running = home.start(two_hosts({"run": "doubler"}, source=SLOW))
    address(running)
    running.until(lambda: "started, pid" in running.log(), "what is here to start")
    began = time.monotonic()
    running.process.send_signal(signal.SIGINT)
    assert running.wait() == 0, running.story()
    assert time.monotonic() - began < 10
    running.assert_nothing_left()


def test_a_run_that_nobody_joins_in_time_fails_and_says_what_to_type(home: Home):
    running = home.start(two_hosts(), "--await-hosts", "0.5")
    assert running.wait() == 1
    last = running.output.splitlines()[-1]
    assert "worker far cannot start: host rig did not join within 0.5 s; there: flow worker --join 127.0.0.1:" in last


def test_who_does_not_fit_is_sent_away_and_told_why(home: Home):
    running = home.start(two_hosts())
    wrong = join(running, "--as", "rigg")
    assert wrong.wait() == 1
    assert wrong.output == "there is no host 'rigg' in this run to be joined as; did you mean 'rig'?\n"
    rig = join(running)
    running.until(lambda: running.counter("arrived"), "the right one to take part")
    late = join(running, "--as", "rig")
    assert late.wait() == 1
    assert "host rig has joined already; if that one is dead it is forgotten within 10 s: try again" in late.output
    assert running.log().count("a host that wanted to join was sent away") == 2
    running.process.send_signal(signal.SIGINT)
    assert (running.wait(), rig.wait()) == (0, 0)


def test_a_host_that_lacks_the_code_of_a_node_says_which(home: Home, tmp_path):
    file = tmp_path / "own.py"
    file.write_text("from tests.runs.nodes_for_runs import doubler, sink, source\n")
    text = two_hosts({"run": "doubler"}, source=SLOW).replace("tests.runs.nodes_for_runs:doubler", f"{file}:doubler")
    file.write_text(
        "from flow import In, Out, node\nfrom tests.runs.nodes_for_runs import Number\n\n\n"
        "@node\nasync def doubler(numbers: In[Number], doubled: Out[Number]) -> None:\n"
        '    """Send twice what comes."""\n    async for number in numbers:\n        await doubled.send(number)\n'
    )
    running = home.start(text)
    address(running)
    file.write_text(file.read_text() + "# changed\n")
    rig = join(running)
    assert rig.wait() == 1
    assert f"host rig cannot take part:\n  the file {file} of a node differs from the one at home" in rig.output
    running.until(lambda: "sent away: host rig cannot take part" in running.log(), "the run to say so too")
    end_at_once(running)


def test_who_gets_no_answer_is_told_why_that_may_be(home: Home, tmp_path):
    running = home.start(two_hosts())
    secret = tmp_path / "other.secret"
    JoinSecret(KeyPair.make().public, KeyPair.make()).write(secret)
    wrong = join(running, "--wait", "1", secret=secret)
    nobody = join(running, "--wait", "1", "--join", f"127.0.0.1:{free_ports(1)[0]}")
    for rig, why in ((wrong, "does not take this secret"), (nobody, "it cannot be reached")):
        assert rig.wait() == 1
        assert "answered within 1 s" in rig.output
        assert why in rig.output
    end_at_once(running)


def test_a_node_of_another_host_is_looked_at_and_changed_as_one_of_this_is(home: Home):
    nodes = {
        "source": {"run": "source", "pause_ms": 2},
        "step0": {"run": "scaler", "factor": 2},
        "sink": {"run": "sink"},
    }
    text = graph_text(nodes, {}, {"making": ["source"], "far": ["step0"]}).replace(
        '"tests.runs.nodes_for_runs:scaler"', '"tests.runs.live_nodes:scaler"'
    )
    edges = '"source.numbers" = "step0.numbers"\n"step0.scaled" = "sink.numbers"\n'
    text = text.replace("[edges]\n", f"[edges]\n{edges}")
    text += '[hosts]\nhome = { listen = "127.0.0.1" }\nrig = { listen = "127.0.0.1", workers = ["far"] }\n'
    running = home.start(text)
    rig = join(running)
    running.until(lambda: (running.run.state / "step0-0.page").exists(), "counters of the other host")
    run = running.run.name
    tapped = home.flow("tap", run, "step0.scaled", "-n", "3")
    assert tapped.returncode == 0, tapped.stderr
    assert tapped.stdout.count("values") == 3, tapped.stdout
    assert home.flow("set", run, "step0.factor", "7").returncode == 0
    running.until(lambda: any(number % 7 == 0 and number % 2 for number in running.received()), "the new factor")
    assert home.flow("pause", run, "step0").returncode == 0
    running.until(lambda: '"state": "paused"' in home.flow("top", run, "--once", "--json").stdout, "it to say so here")
    assert "scaler" in home.flow("stack", run, "step0").stdout
    refused = home.flow("restart", run, "step0", "--lose-state").stderr
    assert "step0-0 lives on host rig, and the checkpoints lie at home; to have it go on from the last one" in refused
    assert home.flow("resume", run, "step0").returncode == 0
    assert "factor" in running.log("touched")  # written down at home, too
    running.process.send_signal(signal.SIGINT)
    assert (running.wait(), rig.wait()) == (0, 0)
    running.assert_nothing_left()


HTTP = b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n\r\nhello"


def test_strangers_at_the_door_disturb_nobody(home: Home):
    running = home.start(two_hosts({"run": "doubler"}, source=SLOW), *SOON)
    host, _, port = address(running).rpartition(":")
    doors = [int(port)]
    with contextlib.ExitStack() as stack:

        def knock():
            for door in doors:
                for words in (HTTP, b"", b"\xff" * 200):
                    for _ in range(10):
                        line = stack.enter_context(socket.create_connection((host, door)))
                        line.sendall(words)
                for server in (None, KeyPair.make().public, joined.server):
                    context = stack.enter_context(zmq.Context())
                    push = stack.enter_context(context.socket(zmq.DEALER))
                    push.setsockopt(zmq.LINGER, 0)
                    if server is not None:
                        be_client(push, KeyPair.make(), server)
                    push.connect(f"tcp://{host}:{door}")
                    push.send_multipart([HEAD.pack(1, 0, 0), b"let me in"])

        joined = read_secret(str(running.run.path / "join.secret"))
        knock()  # before anybody joined
        rig = join(running)
        running.until_arrived(10)
        knock()
        seen = len(running.received())
        running.until_arrived(seen + 400)  # two seconds, in which who is disturbed would be lost
        # Of all who knocked, one kind came so far as to be refused: a key that is none of this run's.
        running.until(
            lambda: "refused a connection from 127.0.0.1: its key is none of this run's" in running.log(), "it"
        )
    assert "host rig is gone" not in running.log()
    assert running.log().count("host rig joined") == 1
    running.process.send_signal(signal.SIGINT)
    assert (running.wait(), rig.wait()) == (0, 0)
    count = running.ledger()["source.numbers->step0.numbers"]
    assert count.sent == count.received


@pytest.mark.soak
@pytest.mark.parametrize("trouble", ["cut", "one_way", "other_way"])
def test_two_hosts_go_on_after_the_network_between_them_was_away(home: Home, trouble):
    with two_networks() as (one, two):
        text = two_hosts({"run": "doubler"}, source={"count": 1200, **SLOW}, home="10.78.0.1", rig="10.78.0.2")
        running = home.start(text, within=("ip", "netns", "exec", one))
        rig = join(running, within=("ip", "netns", "exec", two))
        running.until_arrived(100)
        if trouble == "cut":
            ip("-n", two, "link", "set", "v0", "down")
            time.sleep(5)
            ip("-n", two, "link", "set", "v0", "up")
        else:
            host, other = {"one_way": (two, "10.78.0.1"), "other_way": (one, "10.78.0.2")}[trouble]
            ip("-n", host, "route", "add", "blackhole", other)
            time.sleep(5)
            ip("-n", host, "route", "del", "blackhole", other)
        assert running.wait(40) == 0, running.story()
        assert rig.wait() == 0
        assert running.received() == [2 * number for number in range(1200)]
        assert "is gone" not in running.log()


@pytest.mark.soak
def test_a_network_that_stays_away_ends_the_other_host_which_joins_again_when_it_is_back(home: Home):
    with two_networks() as (one, two):
        text = two_hosts({"run": "doubler"}, source=SLOW, home="10.78.0.1", rig="10.78.0.2")
        running = home.start(text, *SOON, within=("ip", "netns", "exec", one))
        rig = join(running, within=("ip", "netns", "exec", two))
        running.until_arrived(20)
        ip("-n", two, "link", "set", "v0", "down")
        running.until(lambda: "host rig is gone" in running.log(), "the run to notice", 6)
        assert rig.wait(6) == 1
        assert not [line for line in home.processes().values() if "rig" in line]
        ip("-n", two, "link", "set", "v0", "up")
        seen = len(running.received())
        rig = join(running, within=("ip", "netns", "exec", two))
        running.until_arrived(seen + 20)
        running.process.send_signal(signal.SIGINT)
        assert (running.wait(), rig.wait()) == (0, 0)


def test_an_address_that_is_not_of_this_host_is_told_before_anything_starts(home: Home):
    running = home.start(two_hosts(home="203.0.113.7", rig="203.0.113.8"))
    assert running.wait() == 1
    assert "flow run cannot listen at 203.0.113.7: Cannot assign requested address" in running.output
    assert "Traceback" not in running.output


def test_wrong_use_of_flow_worker_says_what_was_expected(home: Home):
    found = home.flow("worker", "--join", "rig", "--secret", "x")
    assert (found.returncode, "expected HOST:PORT" in found.stderr) == (2, True)
    found = home.flow("worker", "--join", "127.0.0.1:1", "--secret", home.path / "none")
    assert (found.returncode, "the secret cannot be read" in found.stderr) == (1, True)
