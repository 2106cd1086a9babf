"""Prometheus' own parser reads what `flow metrics` serves, and finds in it what the run's pages say."""

from __future__ import annotations

import http.client
import subprocess

import pytest

pytest.importorskip("prometheus_client")

from prometheus_client.openmetrics.parser import text_string_to_metric_families as strict_families
from prometheus_client.parser import text_string_to_metric_families

from tests.runs.running import FLOW, ROOT, Home
from tests.runs.test_control import ended, scaling, told

pytestmark = pytest.mark.real_time


def values(text):
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def asked(port, path="/metrics", **headers):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    connection.request("GET", path, headers=headers)
    answer = connection.getresponse()
    body = answer.read().decode()
    connection.close()
    return answer.status, body


def test_a_live_run_is_scraped_and_an_ended_one_is_printed(home: Home):
    running = scaling(home)
    running.until_arrived(20)
    serving = subprocess.Popen(
        [*FLOW, "metrics", "--port", "0"], cwd=ROOT, env=home.environment, stdout=subprocess.PIPE, text=True
    )
    try:
        said = serving.stdout.readline()
        port = int(said.partition("127.0.0.1:")[2].partition("/")[0])
        before = running.counter("made")
        status, text = asked(port)
        assert status == 200
        found = values(text)
        source = (("node", "source"), ("replica", "0"))
        assert before <= found["flow_user_made_total", source] <= running.counter("made")
        assert found["flow_run_up", ()] == 1
        assert found["flow_node_state", (("node", "step0"), ("replica", "0"), ("state", "running"))] == 1
        edge = (("receiver", "step0.numbers"), ("sender", "source.numbers"))
        assert found["flow_edge_messages_sent_total", edge] >= found["flow_edge_messages_received_total", edge] > 0
        assert found["flow_edge_credit_messages", edge] == 8
        doing = {name: value for (name, labels), value in found.items() if name == "flow_node_time_seconds_total"}
        assert doing
        # The strictest parser there is: names, units, types, no sample twice.
        assert list(strict_families(asked(port, Accept="application/openmetrics-text")[1]))
        for line in text.splitlines():
            assert not line.startswith("# HELP") or line.endswith(".") or "flow_user" in line, line
        # A name that a page in a browser made lead here is not this one's.
        assert asked(port, Host="evil.example:9464")[0] == 403
        assert asked(port, Host=f"localhost:{port}")[0] == 200
        assert asked(port, path="/elsewhere")[0] == 404
        taken = home.flow("metrics", "--port", str(port))
        assert f"127.0.0.1:{port} cannot be had: Address already in use; take another with --port" in taken.stderr
    finally:
        serving.terminate()
        serving.wait()
        serving.stdout.close()
    ended(running)
    found = values(told(home, "metrics", "--once"))
    assert found["flow_run_up", ()] == 0
    assert found["flow_run_state", (("state", "stopped"),)] == 1
    assert found["flow_user_arrived_total", (("node", "sink"), ("replica", "0"))] == len(running.received())


def test_names_that_prometheus_has_no_letters_for_stay_apart():
    from prometheus_client.exposition import generate_latest
    from prometheus_client.registry import Collector, CollectorRegistry

    from flow.inspect.prometheus import _of_users
    from flow.stats_reader import PageView, SeriesView

    view = PageView(
        "learner@trust=0.3", 0, "main", 1, 0, "running", 1, 0.0, 0.0, "",
        counters={"loss/v": 1, "loss.v": 2, "seen_total": 3, "_busy_us": 4, "edge.a->b.sent": 5},
        gauges={"fill": 0.5, "häufig": 1.0},
        series={"return": SeriesView(2, (1.0, 2.0), (3.0, 4.0))},
    )  # fmt: skip

    class One(Collector):
        def collect(self):
            return _of_users([view])

    registry = CollectorRegistry()
    registry.register(One())
    found = values(generate_latest(registry).decode())
    node = (("node", "learner@trust=0.3"), ("replica", "0"))
    assert {found["flow_user_loss_v_total", node], found["flow_user_loss_v__total", node]} == {1, 2}
    assert found["flow_user_seen_total", node] == 3
    assert found["flow_user_return", node] == 4.0
    assert found["flow_user_h_ufig", node] == 1.0
    assert not any("busy" in name or "edge" in name for name, _ in found)
