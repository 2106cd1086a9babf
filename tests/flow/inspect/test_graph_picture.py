"""The graph in letters: whatever the graph, every node and edge is there, and boxes do not lie on each other."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flow.inspect.figures import EdgeFigures, NodeFigures, Overview
from flow.inspect.terminal.canvas import Canvas
from flow.inspect.terminal.graph import find_layers, graph_rows
from flow.inspect.terminal.lanes import find_ways


def node(name, state="running", busy=0.5, replica=0):
    shares = (busy, 1 - busy, 0.0, 0.0) if busy is not None else (None,) * 4
    numbers = dict.fromkeys(
        ["handling_p50_ms", "handling_p99_ms", "answer_p50_ms", "answer_p99_ms", "batch_p50", "batch_max"]
    )
    zeros = dict.fromkeys(["received", "sent", "memory", "device_memory"], 0)
    return NodeFigures(name, replica, state, "main", 1, 0, *shares, **zeros, last_error="", **numbers)


def edge(sender, receiver, kind, number):
    return EdgeFigures(f"{sender}.o{number}", f"{receiver}.i", kind, 11 * (number + 1), 0, 1, 4, 0, 0, 0, 0, 0)


def overview(nodes, edges, bottleneck=None):
    return Overview("run", "t", "running", "", 1, 0.0, 0, 0, "", bottleneck, tuple(nodes), tuple(edges))


@st.composite
def graphs(draw):
    """Any graph, with cycles, edges to oneself, several edges between two nodes, and nodes without any."""
    names = [f"node{at}" for at in range(draw(st.integers(0, 8)))]
    ends = st.tuples(*[st.sampled_from(names)] * 2, st.sampled_from(["stream", "call", "newest"]))
    found = draw(st.lists(ends, max_size=12)) if names else []
    return [node(name) for name in names], [edge(*each, number) for number, each in enumerate(found)]


def text_of(rows):
    return "\n".join("".join(letters for letters, _ in row) for row in rows)


@given(graph=graphs())
def test_every_node_and_every_edge_is_drawn_once(graph):
    nodes, edges = graph
    text = text_of(graph_rows(overview(nodes, edges)))
    for one in nodes:
        assert text.count(f" {one.node} ") == 1
    assert text.count("►") == len(edges)
    assert text.count("50%") == len(nodes)
    assert all(f" {11 * (number + 1)}/s" in text for number in range(len(edges)))


AHEAD = {"right": (1, 0), "left": (-1, 0), "down": (0, 1), "up": (0, -1)}
TURNS = {
    "┐": {"right": "down", "up": "left"},
    "┘": {"right": "up", "down": "left"},
    "┌": {"left": "down", "up": "right"},
    "└": {"left": "up", "down": "right"},
}


def box_of(text, name):
    """The rows and columns inside a node's box."""
    rows = text.split("\n")
    y, x = next((at, row.index(f"┌ {name} ")) for at, row in enumerate(rows) if f"┌ {name} " in row)
    right = rows[y].index("┐", x)
    bottom = next(at for at in range(y + 1, len(rows)) if rows[at][x] == "└" and rows[at][right] == "┘")
    return y, bottom, x, right


def followed(rows, x, y, way):
    """Where a line ends, as the eye follows it: straight over crossings and letters, round corners, nowhere else."""
    for _ in range(20_000):
        x, y = x + AHEAD[way][0], y + AHEAD[way][1]
        letter = rows[y][x]
        if letter in TURNS:
            way = TURNS[letter][way]
        elif letter in "►├":
            return letter, x, y
        else:
            straight = "│" if way in ("up", "down") else "─"
            # A label stands on level lines alone.
            assert letter in (straight, "┼") or (letter not in "─│┬┴┤" and way in ("left", "right")), (letter, x, y)
    raise AssertionError("it goes round and round")


@given(graph=graphs())
def test_every_edge_can_be_followed_from_its_sender_to_its_receiver(graph):
    nodes, edges = graph
    text = text_of(graph_rows(overview(nodes, edges)))
    rows = text.split("\n")
    boxes = {one.node: box_of(text, one.node) for one in nodes}
    for number, one in enumerate(edges):
        rate = f" {11 * (number + 1)}/s"
        ((x, y),) = [(row.index(rate) + 1, y) for y, row in enumerate(rows) if rate in row]
        ends = {}
        for way in ("left", "right"):
            letter, *place = followed(rows, x, y, way)
            ends[letter] = place
        assert ends.keys() == {"►", "├"}, text
        (from_x, from_y), (to_x, to_y) = ends["├"], ends["►"]
        top, bottom, _, right = boxes[one.sender.partition(".")[0]]
        assert (top < from_y < bottom, from_x) == (True, right), text
        top, bottom, left, _ = boxes[one.receiver.partition(".")[0]]
        assert (top < to_y < bottom, to_x) == (True, left - 1), text


LINES = st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), max_size=7).filter(
    lambda those: all(len({each[end] for each in those}) == len(those) for end in (0, 1))
)


@given(lines=LINES)
def test_lines_of_one_space_share_no_piece_of_a_row_and_no_lane(lines):
    ways, lanes = find_ways(dict(enumerate(lines)), range(20, 23))
    level, upright = [], []
    for number, (y, to_y) in enumerate(lines):
        way = ways[number]
        if way.first is None:
            assert y == to_y
            level.append((y, -1, lanes))
            continue
        last = way.first if way.second is None else way.second
        level += [(y, -1, way.first), (to_y, last, lanes)]
        upright += [way.first] if way.second is None else [way.first, way.second]
        if way.second is not None:
            assert way.row not in range(20, 23)
            level.append((way.row, *sorted((way.first, way.second))))
    assert sorted(upright) == list(range(lanes))
    for at, (row, begin, end) in enumerate(level):
        for other, other_begin, other_end in level[:at]:
            assert row != other or end < other_begin or other_end < begin


@given(graph=graphs())
def test_a_column_is_to_the_right_of_all_that_leads_to_it_but_where_that_would_close_a_cycle(graph):
    nodes, edges = graph
    names = [one.node for one in nodes]
    layers = find_layers(names, edges)
    assert layers.keys() == set(names)
    assert sorted(set(layers.values())) == list(range(max(layers.values(), default=-1) + 1))
    acyclic = [one for one in edges if one.kind == "stream" and one.sender[:5] < one.receiver[:5]]
    layers = find_layers(names, acyclic)
    assert all(layers[one.sender[:5]] < layers[one.receiver[:5]] for one in acyclic)


def test_what_is_wrong_and_what_is_full_stands_out():
    full = EdgeFigures("a.o", "b.i", "stream", 5, 0, 4, 4, 0, 0, 0, 0, 0)
    rows = graph_rows(overview([node("a", "hung"), node("b"), node("c", "paused")], [full], "b"))
    styles = {letters.strip(): style for row in rows for letters, style in row if letters.strip()}
    assert styles["hung"] == "trouble"
    assert {"bottleneck", "paused", "full"} <= set(styles.values())


def test_replicas_are_one_box_and_states_that_differ_are_told():
    text = text_of(graph_rows(overview([node("a", "running", 0.2), node("a", "failed", None, 1)], [])))
    assert text.count(" a ") == 1
    assert "failed/running" in text


def test_lines_that_meet_get_the_letter_for_it():
    canvas = Canvas()
    canvas.path([(0, 1), (4, 1)])
    canvas.path([(2, 0), (2, 2)])
    assert text_of(canvas.rows()).split("\n") == ["  │  ", "──┼──", "  │  "]
    with pytest.raises(ValueError, match="neither level nor upright"):
        canvas.path([(0, 0), (1, 1)])
