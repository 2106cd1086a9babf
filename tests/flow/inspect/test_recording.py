"""What a tap missed is missing in the recording, and said there; what cannot be recorded whole is refused."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from jaxtyping import Float32, Int64

from flow import Array, Message
from flow.errors import ControlError
from flow.inspect.recording import Source, record
from flow.inspect.samples import fields_of, message_of, read_fields, read_sample
from flow.run_directory import RunDirectory
from flow.testing import messages
from storage.recording import RecordingReader, RecordingWriter
from tests.nodes.stream.streams import assert_all_same


class Mixed(Message):
    """Arrays, a table of them, and scalars."""

    values: Int64[Array, "rows 2"]
    table: dict[str, Float32[Array, "_"]]
    count: int
    text: str


class TappedSession:
    """A session whose tap has heard all already."""

    def __init__(self, samples):
        self.samples = samples

    def replicas(self, address):
        return ["only"]

    def tap(self, replicas, port, **wanted):
        assert wanted["only"] == "message"
        yield from (("only", sample) for sample in self.samples)


def sample(message, dropped, most=1 << 20):
    words = {"type": "Mixed", "what": "message", "number": 0, "time": 0.0, "skipped": 0}
    return read_sample({**words, "dropped": dropped, "fields": fields_of(message, most)})


def recorded(path, samples):
    source = Source(RunDirectory(path), "node", "port", "message", Mixed, {})
    with RecordingWriter(path / "some.flow", Mixed) as writer:
        return list(record(TappedSession(samples), source, writer, wait_s=1.0, until=0.0)), writer.missed


@given(sent=st.lists(st.tuples(messages(Mixed), st.integers(0, 4)), max_size=5))
def test_what_passed_is_recorded_as_it_was_and_what_was_dropped_is_said(tmp_path_factory, sent):
    path = tmp_path_factory.mktemp("run")
    counts, missed = recorded(path, [sample(*each) for each in sent])
    assert counts == list(range(1, len(sent) + 1))
    assert missed == sum(dropped for _, dropped in sent)
    with RecordingReader(path / "some.flow") as reader:
        found = list(reader.recorded(Mixed))
    assert_all_same([each.message for each in found], [message for message, _ in sent])
    assert [each.missed for each in found] == [dropped for _, dropped in sent]


def test_a_message_that_came_cut_is_refused(tmp_path):
    large = Mixed(np.zeros((1000, 2), np.int64), {}, 1, "")
    with pytest.raises(ControlError, match=r"a message with values of \(1000, 2\) is larger than 64 MiB and came cut"):
        recorded(tmp_path, [sample(large, 0, most=100)])


@given(message=messages(Mixed))
def test_a_message_is_the_same_after_its_fields_were_told(message):
    assert_all_same([message_of(read_fields(fields_of(message, 1 << 20)), Mixed)], [message])


def test_fields_that_make_no_message_are_named():
    with pytest.raises(ControlError, match="Mixed needs values: int64"):
        message_of({"count": 1}, Mixed)
    with pytest.raises(ControlError, match="Mixed has no field 'more'; it has values, table, count, text"):
        message_of({"values": np.zeros((1, 2)), "count": 1, "text": "", "more": 2}, Mixed)
    with pytest.raises(ControlError, match="what came is no sample of a message"):
        read_fields([["values", "int64", [1], [1], b""]])
