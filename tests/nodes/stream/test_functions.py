"""Plain functions as nodes: what they do in a stream, and what is said of those that cannot be one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from jaxtyping import Float32

from flow import Array, In, Message, Out, node
from flow.errors import GraphError, SettingError
from flow.graph.load import load_graph
from flow.graph.registry import install
from flow.setting import Beside
from flow.testing import drive
from nodes.stream.filter import filter as keep_those
from nodes.stream.functions import read_function
from nodes.stream.map import map as each
from tests.nodes.stream.streams import Clip, Numbered, bound, drive_in_parts, numbered, problem_of

HERE = "tests.nodes.stream.test_functions"
rests = st.lists(st.integers(1, 7), max_size=4)


class Value(Message):
    """What a function looks at: less than what is sent."""

    number: int


class Doubled(Message):
    twice: int


class Samples(Message):
    samples: Float32[Array, "time"]


def double(value: Value) -> Doubled:
    return Doubled(2 * value.number)


def times(value: Value, factor: int = 1, *, plus: int) -> Doubled:
    return Doubled(value.number * factor + plus)


def odd_doubled(value: Value) -> Doubled | None:
    return Doubled(2 * value.number) if value.number % 2 else None


def repeated(value: Value) -> list[Doubled]:
    return [Doubled(value.number)] * value.number


def counted_down(value: Value) -> Iterator[Doubled]:
    for n in range(value.number, 0, -1):
        yield Doubled(n)


def even(value: Value) -> bool:
    return value.number % 2 == 0


def over(value: Value, least: int) -> bool:
    return value.number >= least


def no_types(value): ...


def no_return(value: Value): ...


def no_message(value: int) -> Doubled: ...


async def waiting(value: Value) -> Doubled: ...


MAPS = {
    "double": lambda n: [2 * n],
    "odd_doubled": lambda n: [2 * n] if n % 2 else [],
    "repeated": lambda n: [n] * n,
    "counted_down": lambda n: list(range(n, 0, -1)),
}


@given(
    name=st.sampled_from(sorted(MAPS)),
    numbers=st.lists(st.integers(0, 4), max_size=6),
    threaded=st.booleans(),
    rests=rests,
)
async def test_a_map_sends_what_its_function_returns_also_when_it_is_killed(name, numbers, threaded, rests):
    settings = {"function": f"{HERE}:{name}", "threaded": threaded}
    expected = [result for number in numbers for result in MAPS[name](number)]
    made = bound(each, Value, **settings)
    sent = [Value(number) for number in numbers]
    assert [one.twice for one in (await drive(made, items=sent, **settings)).mapped] == expected
    in_parts = await drive_in_parts(made, rests, "mapped", ports={"items": sent}, **{**settings, "threaded": False})
    assert [one.twice for one in in_parts] == expected


@given(numbers=st.lists(st.integers(0, 9), max_size=8), threaded=st.booleans(), rests=rests)
async def test_a_filter_passes_whole_messages_that_its_function_sees_a_part_of(numbers, threaded, rests):
    settings = {"function": f"{HERE}:even"}
    made = bound(keep_those, Numbered, **settings)
    sent = numbered(numbers, "whole")
    result = await drive(made, items=sent, threaded=threaded, **settings)
    assert result.passed == [message for message in sent if message.number % 2 == 0]
    assert result.metrics.counters.get("filtered", 0) == len(sent) - len(result.passed)
    in_parts = await drive_in_parts(made, rests, "passed", ports={"items": sent}, **settings)
    assert [one.number for one in in_parts] == [one.number for one in result.passed]


async def test_arguments_are_given_by_name():
    settings = {"function": f"{HERE}:times", "arguments": ["factor=3", "plus=1"]}
    assert [one.twice for one in (await drive(each, items=[Value(2)], **settings)).mapped] == [7]
    least = {"function": f"{HERE}:over", "arguments": ["least=5"]}
    assert [one.number for one in (await drive(keep_those, items=numbered([4, 5]), **least)).passed] == [5]


@pytest.mark.parametrize(
    ("function", "arguments", "text"),
    [
        ("double", [], 'names no function; write "module:function", or "file.py:function" for a file'),
        (f"{HERE}:dubble", [], "has no function 'dubble'; did you mean 'double'?"),
        ("nodes.nowhere:double", [], "there is no module 'nodes.nowhere'"),
        ("sound.py:double", [], "there is no file 'sound.py'"),
        ("nodes.stream.shuffle:shuffle", [], "shuffle is a node type, which a graph runs by itself"),
        (f"{HERE}:no_types", [], r"its first parameter has to be a message; found no_types\(value\), write it as in"),
        (f"{HERE}:no_message", [], "its first parameter has to be a message"),
        (f"{HERE}:no_return", [], "has to say which message it returns, found None; write `-> Clip`, `-> Clip | None`"),
        (f"{HERE}:waiting", [], "is async; write `def`, or make it a node of its own with @node"),
        (f"{HERE}:times", [], r'needs plus, too: times\(.*; give it as in arguments = \["plus=…"\]'),
        (f"{HERE}:times", ["plus=1", "by=2"], r"takes no argument 'by'"),
        (f"{HERE}:times", ["plus"], "arguments: 'plus' has no value; write \"plus=true\""),
        (f"{HERE}:times", ["plus=a"], "arguments: 'plus=a' is not understood"),
    ],
)
async def test_a_function_that_cannot_be_mapped_says_why(function, arguments, text):
    with pytest.raises(SettingError, match=text):
        await drive(each, function=function, arguments=arguments)


def test_a_filter_says_what_it_misses_before_a_run():
    text = problem_of(keep_those, Samples, function=f"{HERE}:even")
    assert "takes Value, which Samples is not: field number: not sent; expected int; declare what it takes" in text
    assert "has to return a bool, found" in problem_of(keep_those, Numbered, function=f"{HERE}:double")


GRAPH = """
[nodes.source]
run = "tests.nodes.stream.test_functions:source"
[nodes.map]
run = "nodes.stream.map:map"
function = "{file}"
[nodes.sink]
run = "tests.nodes.stream.test_functions:sink"
[edges]
"source.sent" = "map.items"
"map.mapped" = "sink.heard"
"""
FILE = """
from tests.nodes.stream.streams import Clip
from tests.nodes.stream.test_functions import Doubled, Samples, Value

def double(value: Value) -> Doubled:
    return Doubled(2 * value.number)

def silence(samples: Samples) -> Doubled:
    return Doubled(0)
"""


def test_a_file_beside_the_graph_is_found_from_anywhere_and_its_types_are_checked(tmp_path, monkeypatch):
    (tmp_path / "here").mkdir()
    (tmp_path / "here" / "own.py").write_text(FILE)
    graph = tmp_path / "here" / "graph.toml"
    graph.write_text(GRAPH.format(file="own.py:double"))
    monkeypatch.chdir(tmp_path)
    loaded = load_graph(Path("here/graph.toml"))
    assert loaded.nodes["map"].settings["function"] == f"{tmp_path}/here/own.py:double"
    assert read_function(loaded.nodes["map"].settings["function"]).function(Value(4)).twice == 8
    graph.write_text(GRAPH.format(file="own.py:silence"))
    with pytest.raises(GraphError) as caught:
        load_graph(graph)
    (problem,) = caught.value.problems
    assert '"source.sent" -> "map.items": the two ends do not fit' in problem
    assert "no samples, only number, name, at" in problem
    graph.write_text(GRAPH.format(file="ownn.py:double"))
    with pytest.raises(GraphError, match=r"there is no file '.*ownn.py'; did you mean '.*own.py'"):
        load_graph(graph)


def test_a_function_of_tensors_gets_tensors():
    torch = pytest.importorskip("torch")
    from tests.nodes.stream.tensor_functions import halved

    plain = read_function("tests.nodes.stream.tensor_functions:halved")
    clip = Clip(np.ones(2, np.float32), np.ones((2, 3), np.uint8), np.array(True), np.ones(1), {}, 1, 1.0, True)
    (result,) = plain(clip)
    assert halved.__annotations__
    assert isinstance(result.samples, torch.Tensor)
    assert result.samples.tolist() == [0.5, 0.5]


@node
async def source(sent: Out[Numbered]) -> None:
    """Send nothing."""


@node
async def sink(heard: In[Doubled]) -> None:
    """Hear nothing."""


def test_a_file_is_beside_the_graph_that_says_it_also_where_another_extends_that(tmp_path):
    for folder in ("base", "variant"):
        (tmp_path / folder).mkdir()
    (tmp_path / "base" / "own.py").write_text(FILE)
    (tmp_path / "base" / "graph.toml").write_text(GRAPH.format(file="own.py:double"))
    variant = tmp_path / "variant" / "graph.toml"
    variant.write_text('extends = "../base/graph.toml"\n')
    assert load_graph(variant).nodes["map"].settings["function"] == f"{tmp_path}/base/own.py:double"
    (tmp_path / "variant" / "mine.py").write_text(FILE)
    variant.write_text('extends = "../base/graph.toml"\n[nodes.map]\nfunction = "mine.py:double"\n')
    assert load_graph(variant).nodes["map"].settings["function"] == f"{tmp_path}/variant/mine.py:double"
    assert Beside().placed("", tmp_path) == ""
    assert Beside(function=True).placed("a.module:function", tmp_path) == "a.module:function"


@pytest.mark.parametrize(
    ("package", "extra"),
    [("gymnasium", "gymnasium"), ("pettingzoo", "pettingzoo"), ("PIL", "image"), ("torch", "torch")],
)
def test_a_missing_package_is_told_by_the_extra_that_brings_it(package, extra):
    assert install(package) == f'pip install "flow-research[{extra}]"'
