"""The copy of a page says what the page says; a log's copy grows by what was written; nothing else can be written."""

from __future__ import annotations

import os

import lz4.frame
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flow import stats_layout as layout
from flow.hosts import mirror
from flow.hosts.mirror import LogSource, PageSource
from flow.stats import Page, read_page

ACTS = st.lists(
    st.tuples(
        st.sampled_from(["count", "gauge", "record", "text", "beat", "mark", "ship"]),
        st.sampled_from(["a", "b", "loss"]),
        st.integers(1, 9),
    ),
    max_size=40,
)


@given(ACTS)
def test_a_copy_says_what_the_page_says(tmp_path_factory, acts):
    folder = tmp_path_factory.mktemp("pages")
    there, here = folder / "actor-0.page", folder / "copy" / "actor-0.page"
    page, source = Page.open(there, node="actor", worker="away"), PageSource([there])

    def ship():
        for name, text in source.changes():
            assert name == here.name
            mirror.apply(here, text)

    for act, name, value in acts:
        match act:
            case "count":
                page.counter(name).add(value)
            case "gauge":
                page.gauge(f"g_{name}").set(value)
            case "record":
                page.series(f"s_{name}").append(value)
            case "text":
                page.set_text(name * value)
            case "beat":
                page.beat()
            case "mark":
                page.mark()
            case "ship":
                ship()
    ship()
    page.close()
    original, copy = read_page(there), read_page(here)
    assert copy.away == layout.AWAY
    assert original.away == layout.HERE
    assert copy == type(original)(**{**vars(original), "away": layout.AWAY})


def test_a_copy_left_by_another_machine_holds_nothing_of_it_any_more(tmp_path):
    there, here = tmp_path / "a-0.page", tmp_path / "copy" / "a-0.page"
    old = Page.open(here, node="old")
    old.counter("frames").add(7)
    old.set_text("what the old one said")
    Page.open(there, node="a").counter("updates").add(1)
    for _, text in PageSource([there]).changes():
        mirror.apply(here, text)
    copy = read_page(here)
    assert (copy.node, copy.text, copy.counters) == ("a", "", {"updates": 1})


def test_only_what_has_changed_travels(tmp_path):
    page, source = Page.open(tmp_path / "a-0.page", node="a"), PageSource([tmp_path / "a-0.page"])
    counter = page.counter("frames")
    first = dict(source.changes())
    assert dict(source.changes()) == {}
    counter.add(1)
    (more,) = source.changes()
    assert len(more[1]) < 1000
    assert set(first) == {"a-0.page"}


def test_a_worker_that_is_gone_is_gone_in_the_copy(tmp_path):
    there, here = tmp_path / "a-0.page", tmp_path / "copy" / "a-0.page"
    Page.open(there, node="a")
    for _, text in PageSource([there]).changes():
        mirror.apply(here, text)
    assert read_page(here).has_process(lambda pid: False)
    mirror.mark_gone(here)
    assert not read_page(here).has_process(lambda pid: True)
    mirror.mark_gone(tmp_path / "none.page")


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"no lz4",
        lz4.frame.compress(b""),
        lz4.frame.compress(b"\0" * 700_000_0),
        mirror.packed(b"\xff\xff", bytes(mirror.PIECE), whole=False),
        mirror.packed(b"\1\0", b"short", whole=False),
        mirror.packed(b"\1\0\2\0", bytes(mirror.PIECE), whole=True),
    ],
)
def test_what_is_no_piece_of_a_page_is_refused_before_anything_is_written(tmp_path, text):
    with pytest.raises(ValueError, match=r"a-0\.page"):
        mirror.apply(tmp_path / "a-0.page", text)
    assert not (tmp_path / "a-0.page").exists()


@given(
    st.lists(st.tuples(st.sampled_from(["w.log", "w.out", "v.jsonl", "w.stack"]), st.binary(max_size=30)), max_size=20)
)
def test_a_copy_of_a_log_grows_by_what_was_written_since_the_beginning(tmp_path_factory, writes):
    there, here = tmp_path_factory.mktemp("there"), tmp_path_factory.mktemp("here")
    (there / "w.log").write_bytes(b"of an earlier start\n")
    (there / "notes.txt").write_bytes(b"no log")
    source, wanted = LogSource(there), {}
    for name, text in writes:
        with (there / name).open("ab") as file:
            file.write(text)
        wanted[name] = wanted.get(name, b"") + text
        for log, news in source.news():
            mirror.append(here, log, news)
    assert {path.name: path.read_bytes() for path in here.iterdir()} == {
        name: text for name, text in wanted.items() if text
    }


def test_a_stack_that_was_written_afresh_is_copied_again(tmp_path):
    (tmp_path / "w.stack").write_bytes(b"a long stack of long ago")
    source = LogSource(tmp_path)
    (tmp_path / "w.stack").write_bytes(b"new")
    assert list(source.news()) == [("w.stack", b"new")]


@pytest.mark.parametrize("name", ["../w.log", "/tmp/w.log", ".w.log", "graph.toml", "", "a/b.log", "run.json", "lock"])
def test_what_is_no_log_cannot_be_written(name):
    assert not mirror.is_log(name)
    assert mirror.is_log("w.log")
    assert os.sep == "/"
