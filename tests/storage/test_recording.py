"""A recording holds what was written to it, bit for bit, whatever happened to its writer."""

import os
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from jaxtyping import Float32, Shaped, UInt8

from flow import Array, Message, disk
from flow.errors import DiskFullError, MissingError, StorageError
from flow.testing import messages
from storage.recording import MAGIC, RecordingReader, RecordingWriter
from tests.nodes.stream.streams import assert_all_same


class Everything(Message):
    """Every kind of field, with arrays of any dtype."""

    anything: Shaped[Array, "..."]
    pixels: UInt8[Array, "rows 3"]
    tensors: dict[str, Float32[Array, "_"]]
    number: int
    level: float
    flag: bool
    text: str


class Other(Message):
    number: int


all_of = st.lists(messages(Everything), max_size=5)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("recordings")


def fresh(folder: Path) -> Path:
    return folder / f"{len(list(folder.iterdir()))}.flow"


def written(path: Path, sent: list[Everything]) -> None:
    with RecordingWriter(path, Everything) as writer:
        for message in sent:
            writer.write(message)


def read(path: Path, start: int = 0) -> list[Everything]:
    with RecordingReader(path) as reader:
        assert reader.fields == Everything.fields
        assert reader.name == "Everything"
        return list(reader.messages(Everything, start))


@given(parts=st.lists(all_of, min_size=1, max_size=3), start=st.integers(0, 6))
def test_what_several_writers_appended_is_read_back_bit_for_bit(folder, parts, start):
    path = fresh(folder)
    for part in parts:
        written(path, part)
    whole = [message for part in parts for message in part]
    assert_all_same(read(path), whole)
    assert_all_same(read(path, start), whole[start:])
    with RecordingReader(path) as reader:
        assert reader.count() == len(whole)


@given(sent=all_of, more=all_of, cut=st.integers(0, 10_000))
def test_a_file_cut_anywhere_holds_what_was_whole_and_goes_on_behind_it(folder, sent, more, cut):
    path = fresh(folder)
    written(path, sent)
    size = path.stat().st_size
    os.truncate(path, cut % (size + 1))
    with RecordingWriter(path, Everything) as writer:
        kept = writer.count
    assert_all_same(read(path), sent[:kept])
    assert kept == len(sent) or cut % (size + 1) < size
    written(path, more)
    assert_all_same(read(path), sent[:kept] + more)


@given(sent=st.lists(messages(Everything), min_size=1, max_size=3), at=st.integers(0, 10_000), bit=st.integers(0, 7))
def test_a_flipped_bit_is_never_read_as_a_message(folder, sent, at, bit):
    path = fresh(folder)
    written(path, sent)
    content = bytearray(path.read_bytes())
    content[at % len(content)] ^= 1 << bit
    path.write_bytes(content)
    try:
        found = read(path)
    except (StorageError, AssertionError):
        return
    assert_all_same(found, sent[: len(found)])


@given(sent=all_of)
def test_a_reader_sees_what_is_written_while_it_reads(folder, sent):
    path = fresh(folder)
    with RecordingWriter(path, Everything) as writer, RecordingReader(path) as reader:
        for number, message in enumerate(sent):
            writer.write(message)
            assert_all_same(list(reader.messages(Everything, number)), [message])


@given(sent=all_of, keep=st.integers(0, 8), more=all_of)
def test_a_writer_cuts_back_to_what_it_is_told_to_keep(folder, sent, keep, more):
    path = fresh(folder)
    written(path, sent)
    with RecordingWriter(path, Everything, keep=keep) as writer:
        assert writer.count == min(keep, len(sent))
        for message in more:
            writer.write(message)
    assert_all_same(read(path), [*sent[:keep], *more])


@pytest.mark.real_time
def test_a_killed_writer_loses_nothing_that_it_wrote(tmp_path):
    path = tmp_path / "killed.flow"
    code = f"""
import os, signal
from pathlib import Path
from storage.recording import RecordingWriter
from tests.storage.test_recording import Other
writer = RecordingWriter(Path({str(path)!r}), Other)
for number in range(1000):
    writer.write(Other(number))
os.kill(os.getpid(), signal.SIGKILL)
"""
    subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parents[2], check=False)
    with RecordingReader(path) as reader:
        assert [message.number for message in reader.messages(Other)] == list(range(1000))


def test_what_is_no_recording_of_these_messages_is_told(tmp_path):
    with pytest.raises(MissingError, match=r"no recording at .*nothing.flow; record one with nodes.sink.recording"):
        RecordingReader(tmp_path / "nothing.flow")
    text = tmp_path / "notes.txt"
    text.write_text("not a recording")
    with pytest.raises(StorageError, match="is no recording of flow"):
        RecordingReader(text)
    with pytest.raises(StorageError, match="is no recording of flow"):
        RecordingWriter(text, Other)
    path = tmp_path / "others.flow"
    written(path, [])
    with pytest.raises(
        StorageError, match="holds messages Everything of other fields than Other has; record to another"
    ):
        RecordingWriter(path, Other)
    path.write_bytes(MAGIC + struct.pack("<QI", 1, zlib.crc32(b"?")) + b"?")
    with pytest.raises(StorageError, match="what it says of its messages cannot be read"):
        RecordingReader(path)


def test_a_full_disk_costs_the_message_and_no_other(tmp_path):
    path = tmp_path / "full.flow"
    writer = RecordingWriter(path, Other)
    writer.write(Other(1))

    def full(what: str, where: Path) -> None:
        raise OSError(28, "No space left on device")

    with disk.watched(full), pytest.raises(DiskFullError, match="no space is left for a message; free some"):
        writer.write(Other(2))
    writer.write(Other(3))
    writer.close()
    with RecordingReader(path) as reader:
        assert [message.number for message in reader.messages(Other)] == [1, 3]


def test_large_arrays_are_read_as_they_were(tmp_path):
    large = Everything(np.arange(1 << 18), np.zeros((2, 3), np.uint8), {}, 1, 0.5, True, "")
    written(tmp_path / "large.flow", [large, large])
    assert_all_same(read(tmp_path / "large.flow"), [large, large])


@given(sent=all_of, gaps=st.lists(st.integers(0, 5), min_size=5, max_size=5), cut=st.integers(0, 5))
def test_where_messages_are_missing_is_said_also_by_one_that_is_written_on(folder, sent, gaps, cut):
    path = fresh(folder)
    for part in (slice(0, cut), slice(cut, None)):
        with RecordingWriter(path, Everything, {"run": "somewhere"}) as writer:
            for message, gap in zip(sent[part], gaps[part], strict=False):
                writer.miss(gap)
                writer.write(message)
    with RecordingReader(path) as reader:
        assert reader.origin == {"run": "somewhere"}
        found = list(reader.recorded(Everything))
        assert [each.missed for each in found] == gaps[: len(sent)]
        assert reader.missed(Everything) == sum(gaps[: len(sent)])
        assert_all_same([each.message for each in found], sent)
        assert_all_same(list(reader.messages(Everything, 1)), sent[1:])
