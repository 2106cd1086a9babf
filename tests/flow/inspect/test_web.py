"""The page's parts without a server: what it is told is JSON whatever passed, and the picture holds every node."""

from __future__ import annotations

import base64
import json
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flow.cli.main import main
from flow.inspect.figures import EdgeFigures, NodeFigures, Overview
from flow.inspect.pictures import picture_of, sampled_picture
from flow.inspect.samples import Sample, SampledArray
from flow.inspect.sound import pcm
from flow.inspect.web.picture import picture
from flow.inspect.web.shown import SIDE_MOST, SOUND_MOST, shown
from flow.message import DTYPES
from flow.run_directory import RunDirectory

SHAPES = st.lists(st.integers(0, 40), max_size=4).map(tuple)
SCALARS = st.one_of(st.integers(-(2**40), 2**40), st.floats(), st.booleans(), st.text(max_size=20))


@st.composite
def arrays(draw):
    dtype = np.dtype(draw(st.sampled_from(sorted(DTYPES))))
    shape = draw(SHAPES)
    size = int(np.prod(shape)) * dtype.itemsize
    seed = draw(st.integers(0, 2**16))
    values = np.random.default_rng(seed).integers(0, 256, size, np.uint8)
    if dtype.kind == "b":
        values &= 1
    return SampledArray(values.view(dtype).reshape(shape) if size else np.zeros(shape, dtype), shape)


def a_sample(fields):
    return Sample("Anything", "message", 0, 1.0, 0, 0, fields)


@given(st.dictionaries(st.text(max_size=8), st.one_of(SCALARS, arrays()), max_size=5), st.integers(1, 48_000))
def test_whatever_passes_is_told_in_strict_json_and_bounded(fields, rate):
    told = shown("node.port", a_sample({**fields, "rate": rate}))
    assert len(json.dumps(told, allow_nan=False)) < 4_000_000
    for field in told["fields"]:
        if "picture" in field:
            assert max(field["picture"]["width"], field["picture"]["height"]) <= SIDE_MOST
        if field.get("histogram"):
            assert sum(field["histogram"]["counts"]) > 0
        if "sound" in field:
            assert len(field["sound"]["bytes"]) <= SOUND_MOST * 3


def test_frames_that_were_cut_to_three_are_no_picture_in_colour():
    values = np.zeros((1, 3, 84, 84), np.uint8)
    assert sampled_picture(SampledArray(values, (16, 24, 84, 84))).ndim == 2
    assert picture_of(values).ndim == sampled_picture(SampledArray(values, (16, 3, 84, 84))).ndim == 3


def test_a_large_picture_is_thinned_and_sound_is_16_bit():
    told = shown("n.p", a_sample({"frame": SampledArray(np.zeros((600, 900, 3), np.uint8), (600, 900, 3))}))
    assert (told["fields"][0]["picture"]["width"], told["fields"][0]["picture"]["channels"]) == (225, 3)
    told = shown("n.p", a_sample({"samples": SampledArray(np.ones(8, np.float32), (8,)), "rate": 8000}))
    assert told["fields"][0]["sound"]["rate"] == 8000


def node(name, replica=0):
    shares = dict.fromkeys(("busy", "starved", "blocked", "paused"), 0.25)
    times = dict.fromkeys(
        ("handling_p50_ms", "handling_p99_ms", "answer_p50_ms", "answer_p99_ms", "batch_p50", "batch_max")
    )
    return NodeFigures(
        node=name, replica=replica, state="running", worker="main", pid=1, restarts=0, **shares, received=1.0,
        sent=1.0, **times, memory=0, device_memory=0, last_error="",
    )  # fmt: skip


def edge(sender, receiver, kind):
    return EdgeFigures(
        sender=f"{sender}.out", receiver=f"{receiver}.in", kind=kind, rate=1.0, bytes_rate=0.0, depth=0, credit=1,
        sender_waits=0.0, receiver_waits=0.0, sent=0, received=0, dropped=0,
    )  # fmt: skip


NAMES = st.sampled_from(["actor", "learner@trust=0.3", "learner@trust=0.5", "agent.policy", "agent.replay", "sink"])


@given(
    st.lists(NAMES, min_size=1, unique=True),
    st.lists(st.tuples(NAMES, NAMES, st.sampled_from(["stream", "call", "newest"])), unique_by=lambda each: each[:2]),
)
def test_every_node_and_edge_is_in_the_picture_once_whatever_the_cycles(names, ends):
    kinds = {sender: kind for sender, _, kind in ends}
    edges = tuple(edge(a, b, kinds[a]) for a, b, _ in ends if a in names and b in names)
    overview = Overview("run", "", "running", "", 1, 1.0, 0, 0, "", None, tuple(map(node, names)), edges)
    drawn = picture(RunDirectory(Path("/nowhere")), overview)
    assert sorted(box["node"] for box in drawn["boxes"]) == sorted({name.partition("@")[0] for name in names})
    json.dumps(drawn, allow_nan=False)
    assert len(drawn["edges"]) == len({(each["sender"], each["receiver"]) for each in drawn["edges"]})
    assert bool(drawn["edges"]) == bool(edges)


def test_what_is_for_the_page_alone_is_refused_without_it(capsys):
    for words in (["--control"], ["--port", "80"], ["--web", "--port", "70000"]):
        with pytest.raises(SystemExit):
            main(["inspect", *words])
        assert ("add --web" in (said := capsys.readouterr().err)) or "expected 0 to 65535, found 70000" in said


def test_without_its_packages_the_page_says_what_to_install(tmp_path, monkeypatch, capsys):
    run = RunDirectory.create(tmp_path, "old")
    monkeypatch.setitem(sys.modules, "hypercorn", None)
    monkeypatch.delitem(sys.modules, "flow.inspect.web.serve", raising=False)
    assert main(["inspect", "--web", str(run.path)]) == 1
    assert "pip install 'flow-research[web]'" in capsys.readouterr().err


@given(
    st.sampled_from([np.int8, np.int16, np.int32, np.int64, np.float16, np.float32, np.float64]),
    st.lists(st.floats(-1, 1), min_size=3, max_size=50),
    st.sampled_from([None, 0, 1]),
)
def test_sound_of_any_dtype_and_layout_is_as_loud_as_it_was(dtype, amplitudes, channels_axis):
    wave = np.array(amplitudes)
    full = 1.0 if np.issubdtype(dtype, np.floating) else 0.999 * np.iinfo(dtype).max
    values = (wave * full).astype(dtype)
    if channels_axis is not None:
        values = np.stack([values, -values], axis=channels_axis)
    heard = pcm(values).astype(np.float64) / 32767
    assert heard.shape == (len(wave), 1 if channels_axis is None else 2)
    np.testing.assert_allclose(heard[:, 0], wave, atol=0.02)
    if channels_axis is not None:
        np.testing.assert_allclose(heard[:, 1], -wave, atol=0.02)
    told = shown("n.p", a_sample({"samples": SampledArray(values, values.shape), "rate": 8000}))["fields"][0]["sound"]
    assert told["channels"] == heard.shape[1]
    assert base64.b64decode(told["bytes"]) == pcm(values).tobytes()


def test_sound_that_is_no_number_is_silent_and_what_is_too_loud_is_clipped():
    heard = pcm(np.array([np.nan, np.inf, -np.inf, 2.0], np.float32))
    assert heard[:, 0].tolist() == [0, 32767, -32767, 32767]
