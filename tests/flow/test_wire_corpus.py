"""The decoder on its corpus, and on what `tools.fuzz` makes of it in a moment."""

from __future__ import annotations

import pytest

from flow.errors import WireError
from flow.wire import Schema, decode
from tools import fuzz

FILES = sorted(fuzz.CORPUS.glob("*.frames"))


@pytest.mark.parametrize("path", FILES, ids=[path.stem for path in FILES])
def test_each_of_the_corpus_is_read_or_refused_as_its_name_says_in_little_memory(path):
    kind, frames = fuzz.frames_of(path.read_bytes())
    schema = Schema(fuzz.TYPES[kind], {})
    assert fuzz.problem(schema, frames) == ""
    if path.stem.startswith("good"):
        assert decode(frames, lambda *_: schema).message is not None
    else:
        with pytest.raises(WireError):
            decode(frames, lambda *_: schema)
    assert fuzz.peak(frames, Schema(fuzz.TYPES[kind], {})) < fuzz.MEMORY_MAX


def test_a_moment_of_fuzzing_finds_nothing():
    count, found = fuzz.fuzz(0.5, 3, fuzz.read_corpus())
    assert found is None
    assert count.frames >= fuzz.BATCH


def test_the_fuzzer_finds_a_decoder_that_raises_something_else(monkeypatch):
    def careless(frames, lookup):
        if len(frames[0]) % 7 == 0:
            raise IndexError("out of range")
        raise WireError("no")

    monkeypatch.setattr(fuzz, "decode", careless)
    _, found = fuzz.fuzz(5, 3, fuzz.read_corpus())
    assert found is not None
    assert found[2] == "IndexError: out of range"
    assert fuzz.frames_of(fuzz.file_of(*found[:2])) == found[:2]
