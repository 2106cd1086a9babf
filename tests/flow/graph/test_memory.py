"""[memory]: a limit is kept as it was written, and reaches the worker that it is of."""

from __future__ import annotations

import tomllib
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from flow.graph.load import graph_of
from flow.graph.memory import written
from flow.graph.model import place
from flow.graph.problems import Problems
from flow.graph.write import write_graph
from flow.plan import Plan, make_plan

TEXT = """
[nodes.source]
run = "tests.nodes_for_tests:source"
[nodes.sink]
run = "tests.nodes_for_tests:sink"
[edges]
"source.frames" = "sink.frames"
[workers]
play = ["source"]
[memory]
play = "{size}"
"""


def read(text, **more):
    return graph_of(Path("some.toml"), tomllib.loads(text), Problems("some.toml"), **more)


@given(size=st.integers(1, 1 << 44))
def test_a_limit_is_the_same_when_it_was_written_and_read_to_the_byte(size):
    graph = read(TEXT.format(size=written(size)))
    assert graph.memory == {"play": size}
    assert read(write_graph(graph)) == graph


@given(size=st.integers(1, 64), unit=st.sampled_from(["MiB", "GiB"]), space=st.sampled_from(["", " "]))
def test_a_limit_reaches_its_worker_and_no_other(size, unit, space):
    graph = read(TEXT.format(size=f"{size}{space}{unit}"))
    plan = make_plan(dict(graph.nodes), graph.edges, place(graph), seed=0, memory=graph.memory)
    bytes_ = size * {"MiB": 1 << 20, "GiB": 1 << 30}[unit]
    assert {worker.name: worker.memory for worker in Plan.from_dict(plan.to_dict()).workers} == {
        "play": bytes_,
        "main": 0,
    }


def test_a_param_and_a_profile_set_it():
    text = (
        TEXT.format(size="{limit}")
        + """
[params]
limit = "2 GiB"
[profiles.small.memory]
main = "1 GiB"
[profiles.small.params]
limit = "3 GiB"
"""
    )
    assert read(text, sets=["limit=4 GiB"]).memory == {"play": 4 << 30}
    assert read(text, profile="small").memory == {"main": 1 << 30}
