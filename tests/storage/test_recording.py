"""A recording holds what was written to it, bit for bit, whatever happened to its writer."""

import os
import random
import select
import shutil
import signal
import struct
import subprocess
import sys
import time
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import lmdb
import msgpack
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from jaxtyping import Float32, Shaped, UInt8

from flow import Array, Message, disk
from flow.errors import DiskFullError, MissingError, StorageError
from flow.testing import messages
from storage import recording
from storage.dataset import Dataset
from storage.environment import DATA, Environment, acquire
from storage.recording import HEAD, RecordingReader, RecordingWriter, is_recording
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


class Wave(Message):
    samples: Float32[Array, "time"]


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


@given(sent=all_of, cut=st.integers(1, 10_000))
def test_one_that_was_cut_off_in_a_copy_is_told_and_crashes_nobody(folder, sent, cut):
    path = fresh(folder)
    written(path, [*sent, Everything(np.arange(1 << 12), np.zeros((2, 3), np.uint8), {}, 1, 0.5, True, "")])
    size = (path / DATA).stat().st_size
    os.truncate(path / DATA, size - cut % (size - (2 << 12)) - 1)
    with pytest.raises(StorageError, match=r"data.mdb is cut off: it has \d+ bytes of \d+; copy it again"):
        read(path)
    with pytest.raises(StorageError, match="is cut off"):
        RecordingWriter(path, Everything)
    with pytest.raises(StorageError, match="is cut off"):
        is_recording(path)


@pytest.mark.parametrize("count", [1, 30, 1000])
def test_whether_one_that_was_cut_off_is_a_recording_is_asked_without_a_crash(tmp_path, count):
    path = tmp_path / "cut.flow"
    with RecordingWriter(path, Other) as writer:
        for number in range(count):
            writer.write(Other(number))
    assert is_recording(path)
    size = (path / DATA).stat().st_size
    for cut in sorted({2 << 12, (2 << 12) + 1, 3 << 12, size // 2, size - (1 << 12), size - 1}, reverse=True):
        if 2 << 12 <= cut < size:
            os.truncate(path / DATA, cut)
            with pytest.raises(StorageError, match=r"data.mdb is cut off: it has \d+ bytes of \d+; copy it again"):
                is_recording(path)


def test_pages_that_lmdb_cannot_read_are_told_in_our_words(tmp_path):
    path = tmp_path / "zeros.flow"
    with RecordingWriter(path, Other) as writer:
        writer.write(Other(1))
    content = (path / DATA).read_bytes()
    (path / DATA).write_bytes(content[: 2 << 12] + bytes(len(content) - (2 << 12)))
    for ask in (RecordingReader, is_recording):
        with pytest.raises(StorageError, match=r"zeros\.flow: .*mdb_"):
            ask(path)


@given(payload=st.binary(min_size=1, max_size=3000), at=st.integers(0, 10_000), bit=st.integers(0, 7))
def test_a_flipped_bit_is_never_read_as_a_message(folder, payload, at, bit):
    path = fresh(folder)
    marked = np.frombuffer(b"here it begins" + payload, np.uint8)
    written(path, [Everything(marked, np.zeros((0, 3), np.uint8), {}, 1, 0.5, True, "")])
    content = bytearray((path / DATA).read_bytes())
    # LMDB keeps no checksums of its own pages: only what it was given to keep is looked after here.
    content[content.index(b"here it begins") + at % len(marked)] ^= 1 << bit
    (path / DATA).write_bytes(content)
    with pytest.raises(StorageError, match="message 0 is damaged: what is there is not what was written"):
        read(path)
    with RecordingReader(path) as reader:
        (problem,) = reader.problems(Everything)
    assert "message 0 is damaged" in problem


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


class Killed(BaseException):
    pass


class KilledBehindACommit:
    """An LMDB environment in which nothing happens behind a commit."""

    def __init__(self, env: lmdb.Environment) -> None:
        self._env = env

    def __getattr__(self, name: str) -> Any:
        return getattr(self._env, name)

    @contextmanager
    def begin(self, write: bool = False, **more: Any) -> Iterator[lmdb.Transaction]:
        with self._env.begin(write=write, **more) as transaction:
            yield transaction
        if write:
            raise Killed


@pytest.mark.parametrize(("count", "keep"), [(1000, 1), (1000, 500), (1000, 999), (2000, 666)])
def test_a_writer_that_is_killed_while_it_cuts_back_leaves_a_whole_recording(tmp_path, monkeypatch, count, keep):
    path = tmp_path / "killed.flow"
    # Of these sizes LMDB takes pages at the end of its file for what it let go, and does not write them.
    sent = [Wave(np.full(300, number, np.float32)) for number in range(count)]
    with RecordingWriter(path, Wave) as writer:
        for message in sent:
            writer.write(message)

    def killed(path: Path) -> Environment:
        environment = acquire(path)
        environment.env = KilledBehindACommit(environment.env)
        return environment

    with monkeypatch.context() as patch:
        patch.setattr(recording, "acquire", killed)
        with pytest.raises(Killed):
            RecordingWriter(path, Wave, keep=keep)
    with RecordingReader(path) as reader:
        assert_all_same(list(reader.messages(Wave)), sent[:keep])


@pytest.mark.real_time
def test_killed_writers_lose_nothing_that_was_committed_and_the_next_goes_on_behind_it(tmp_path):
    path = tmp_path / "killed.flow"
    code = f"""
import os
from pathlib import Path
from storage.recording import RecordingWriter
from tests.storage.test_recording import Other
writer = RecordingWriter(Path({str(path)!r}), Other)
print("begun", writer.count, flush=True)
while True:
    writer.write(Other(writer.count))
    os.write(1, b"%d\\n" % writer.count)
"""
    dice, told = random.Random(7), 0
    for _ in range(4):
        writer = subprocess.Popen([sys.executable, "-c", code], cwd=Path(__file__).parents[2], stdout=subprocess.PIPE)
        assert select.select([writer.stdout], [], [], 30)[0]
        time.sleep(dice.uniform(0.0, 0.05))
        writer.send_signal(signal.SIGKILL)
        lines = writer.communicate()[0].split(b"\n")[:-1]
        assert told <= int(lines[0].split()[1]) <= told + 1  # one may be there that was not told of
        told = int(lines[-1].split()[-1])
        with RecordingReader(path) as reader:
            numbers = [message.number for message in reader.messages(Other)]
        assert numbers == list(range(len(numbers)))
        assert told <= len(numbers) <= told + 1
    assert told > 100


def test_what_is_no_recording_of_these_messages_is_told(tmp_path):
    with pytest.raises(MissingError, match=r"no recording at .*nothing.flow; record one with nodes.sink.recording"):
        RecordingReader(tmp_path / "nothing.flow")
    text = tmp_path / "notes.txt"
    text.write_text("not a recording")
    before = tmp_path / "before.flow"
    before.write_bytes(b"flowrec\x01 and more")
    for kind in (RecordingReader, lambda path: RecordingWriter(path, Other)):
        with pytest.raises(StorageError, match="is no recording of flow: it is a file, and a recording is a directory"):
            kind(text)
        with pytest.raises(StorageError, match=r"was recorded by an earlier version of flow, .*; record it again"):
            kind(before)
        with pytest.raises(StorageError, match="is no recording of flow: it is a directory that holds"):
            kind(tmp_path)
    path = tmp_path / "others.flow"
    written(path, [])
    with pytest.raises(
        StorageError, match="holds messages Everything of other fields than Other has; record to another"
    ):
        RecordingWriter(path, Other)
    with RecordingWriter(tmp_path / "here.flow", Other, {"port": "a.b", "into": ("c.d",)}):
        pass
    with RecordingWriter(tmp_path / "here.flow", Other, {"port": "a.b", "into": ["c.d"]}):
        pass
    with pytest.raises(StorageError, match=r"was recorded elsewhere: .*'a\.b'.*, expected .*'e\.f'.*; record"):
        RecordingWriter(tmp_path / "here.flow", Other, {"port": "e.f"})
    (path / DATA).write_bytes(b"?" * 20_000)
    with pytest.raises(StorageError, match="not an LMDB file"):
        RecordingReader(path)
    with Dataset(tmp_path / "dataset", create=True):
        pass
    with pytest.raises(StorageError, match="is an LMDB environment of another kind, no recording"):
        RecordingReader(tmp_path / "dataset")
    assert not is_recording(tmp_path / "dataset")
    assert is_recording(before)  # that it can't be read is said by who reads it


def test_a_description_of_another_format_is_told(tmp_path):
    path = tmp_path / "future.flow"
    written(path, [])
    environment = lmdb.open(str(path))
    described = msgpack.packb({"format": 99, "name": "Everything", "fields": []})
    for head, message in ((described, "is of wire format 99, this program reads"), (b"?", "of its messages cannot be")):
        with environment.begin(write=True) as txn:
            txn.put(HEAD, struct.pack("<I", zlib.crc32(head)) + head)
        with pytest.raises(StorageError, match=message):
            RecordingReader(shutil.copytree(path, tmp_path / f"{len(head)}.flow"))


def test_two_writers_of_one_recording_do_not_mix(tmp_path):
    path = tmp_path / "both.flow"
    with RecordingWriter(path, Other) as one, RecordingWriter(path, Other) as other:
        one.write(Other(1))
        with pytest.raises(StorageError, match="is written by another process too"):
            other.write(Other(2))
        one.write(Other(3))
    with RecordingReader(path) as reader:
        assert [message.number for message in reader.messages(Other)] == [1, 3]


def test_what_may_only_be_read_is_read(tmp_path):
    path = tmp_path / "theirs.flow"
    with RecordingWriter(path, Other) as writer:
        writer.write(Other(5))
    (path / "lock.mdb").unlink()
    (path / DATA).chmod(0o400)
    path.chmod(0o500)
    with RecordingReader(path) as reader:
        assert [message.number for message in reader.messages(Other)] == [5]
    path.chmod(0o700)


def test_a_full_disk_costs_the_message_and_no_other(tmp_path):
    path = tmp_path / "full.flow"
    writer = RecordingWriter(path, Other)
    writer.write(Other(1))

    def full(what: str, where: Path) -> None:
        raise OSError(28, "No space left on device")

    with (
        disk.watched(full),
        pytest.raises(DiskFullError, match=r"no space left on the file system.*whole.*free some"),
    ):
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
