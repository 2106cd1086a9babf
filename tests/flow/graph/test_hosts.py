"""[hosts]: what a graph says of machines is kept, and each worker that speaks to another host has a port of its own."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flow.cli.main import main
from flow.errors import GraphError
from flow.graph.bound import check_memory
from flow.graph.draw import draw
from flow.graph.hosts import placement
from flow.graph.load import graph_of
from flow.graph.model import place
from flow.graph.problems import Problems
from flow.graph.write import write_graph
from flow.plan import make_plan

TEXT = """
[nodes.source]
run = "tests.nodes_for_tests:source"
[nodes.sink]
run = "tests.nodes_for_tests:sink"
replicas = 3
[edges]
"source.frames" = {{ to = "sink.frames", compress = "lz4" }}
[workers]
one = ["source"]
two = ["sink[0]"]
three = ["sink[1]"]
four = ["sink[2]"]
[hosts]
{hosts}
"""


def read(text):
    return graph_of(Path("some.toml"), tomllib.loads(text), Problems("some.toml"))


@st.composite
def hosts(draw):
    """A table of hosts, the source at home, in which there are ports enough."""
    workers = draw(st.permutations(["two", "three", "four"]))
    away = draw(st.integers(1, 3))
    split = draw(st.integers(1, away))
    parts = [part for part in (workers[:split], workers[split:away]) if part]
    ports = draw(st.booleans())
    lines = ['home = { listen = "10.0.0.1' + (":7000-7009" if ports else "") + '" }']
    for number, part in enumerate(parts):
        listen = f"10.0.0.{number + 2}" + (f":{7000 + number}-7019" if draw(st.booleans()) else "")
        lines.append(f'rig{number} = {{ listen = "{listen}", workers = {part!r} }}'.replace("'", '"'))
    return "\n".join(lines)


@given(hosts())
def test_a_graph_with_hosts_is_the_same_when_it_was_written_and_read(table):
    graph = read(TEXT.format(hosts=table))
    assert graph.hosts
    assert read(write_graph(graph)) == graph


@given(hosts())
def test_who_speaks_to_another_host_listens_at_a_port_of_that_hosts_own(table):
    graph = read(TEXT.format(hosts=table).replace(', compress = "lz4"', ""))
    where = placement(graph)
    plan = make_plan(dict(graph.nodes), graph.edges, place(graph), seed=0, hosts=where.hosts, listen=where.listen)
    speak = {
        worker
        for link in plan.links
        for ends in [(plan.worker_of(*link.sender[:2]), plan.worker_of(*link.receiver[:2]))]
        if where.hosts[ends[0]] != where.hosts[ends[1]]
        for worker in ends
    }
    assert set(where.listen) == speak
    fixed = [endpoint for endpoint in (where.join, *where.listen.values()) if not endpoint.endswith(":*")]
    assert len(fixed) == len(set(fixed))
    for worker, endpoint in where.listen.items():
        host = graph.hosts[where.hosts[worker]]
        address, _, port = endpoint.removeprefix("tcp://").rpartition(":")
        assert address == host.address
        assert port == "*" if host.ports is None else host.ports[0] <= int(port) <= host.ports[1]


def test_only_what_ties_two_hosts_is_compressed():
    table = 'home = { listen = "10.0.0.1" }\nrig = { listen = "10.0.0.2", workers = ["two"] }'
    graph = read(TEXT.format(hosts=table))
    where = placement(graph)
    plan = make_plan(dict(graph.nodes), graph.edges, place(graph), seed=0, hosts=where.hosts, listen=where.listen)
    assert {link.receiver[1]: link.compress for link in plan.links} == {0: "lz4", 1: "", 2: ""}


def test_a_profile_may_say_where_it_runs():
    text = TEXT.format(hosts="").replace("[hosts]", "").replace(', compress = "lz4"', "")
    text += '[profiles.two.hosts]\nhome = { listen = "h1" }\nrig = { listen = "h2", workers = ["two"] }\n'
    graph = graph_of(Path("some.toml"), tomllib.loads(text), Problems("some.toml"), profile="two")
    assert list(graph.hosts) == ["home", "rig"]
    assert placement(read(text)).join == ""


def test_pictures_and_checks_name_the_host_of_each_worker(tmp_path, capsys):
    table = 'home = { listen = "10.0.0.1" }\nrig = { listen = "10.0.0.2", workers = ["two"] }'
    graph = read(TEXT.format(hosts=table))
    assert "worker two on rig<" in draw(graph)
    assert "worker one on home<" in draw(graph)
    file = tmp_path / "two.toml"
    file.write_text(write_graph(graph))
    assert main(["check", str(file)]) == 0
    assert "(one, two on rig, three, four)" in capsys.readouterr().out


def test_what_only_other_hosts_hold_is_not_held_against_this_one():
    text = TEXT.format(
        hosts='home = { listen = "h0" }\nrig = { listen = "h1", workers = ["one", "two", "three", "four"] }'
    )
    graph = read(text.replace(', compress = "lz4"', ""))
    check_memory(graph, 1)
    with pytest.raises(GraphError, match="this machine has 1 B"):
        check_memory(read(TEXT.format(hosts="").replace("[hosts]", "").replace(', compress = "lz4"', "")), 1)
