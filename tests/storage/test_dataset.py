"""Datasets: what is put is read, a record is whole or is not there, whoever is killed and however full the disk is."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
from pathlib import Path

import lmdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flow import disk
from flow.errors import DiskFullError, MissingError, NotStoredError, StorageError
from storage.dataset import Dataset, content_key

KEYS = st.integers(0, 5).map(lambda n: f"{n:032x}")
BLOBS = st.lists(st.binary(max_size=40), min_size=1, max_size=6)
ROOT = Path(__file__).parents[2]


def read_all(dataset: Dataset, key: str) -> dict[str, list[bytes]]:
    record = dataset.record(key)
    with dataset.reading(record) as value:
        return {name: [bytes(value(name, n)) for n in range(count)] for name, count in record.counts.items()}


@settings(max_examples=25)
@given(
    records=st.dictionaries(KEYS, st.dictionaries(st.sampled_from(["frames", "flow"]), BLOBS, min_size=1), max_size=4),
    draw=st.data(),
)
def test_what_is_put_in_any_order_and_any_pieces_is_read(tmp_path_factory, records, draw):
    pieces = [
        (key, name, number, value)
        for key, columns in records.items()
        for name, values in columns.items()
        for number, value in enumerate(values)
    ]
    order = draw.draw(st.permutations(pieces + pieces[:2]))  # some come twice
    path = tmp_path_factory.mktemp("dataset")
    with Dataset(path, create=True) as dataset:
        for key, name, number, value in order:
            dataset.put(key, {name: (number, [value])})
        for key, columns in records.items():
            assert not dataset.has(key)
            assert dataset.finish(key, {name: len(values) for name, values in columns.items()}, {"name": key[-2:]})
    with Dataset(path) as dataset:
        assert {record.key: read_all(dataset, record.key) for record in dataset.records()} == records
        assert dataset.unfinished() == []
        assert list(dataset.problems()) == []


def test_a_record_that_lacks_a_value_is_not_whole_until_it_comes(tmp_path):
    key = f"{7:032x}"
    with Dataset(tmp_path, create=True) as dataset:
        dataset.put(key, {"frames": (1, [b"b"])})
        assert not dataset.finish(key, {"frames": 2}, {})
        assert dataset.unfinished() == [key]
        with pytest.raises(NotStoredError, match="there is no record"):
            dataset.record(key)
        dataset.put(key, {"frames": (0, [b"a"])})
        assert dataset.finish(key, {"frames": 2}, {})
        assert dataset.finish(key, {"frames": 2}, {})  # twice does no harm
        dataset.put(key, {"frames": (0, [b"other"])})  # nor does putting again: the key says what it is
        assert read_all(dataset, key) == {"frames": [b"a", b"b"]}
        with dataset.reading(dataset.record(key)) as value, pytest.raises(NotStoredError, match="there is no frames 2"):
            value("frames", 2)


def test_what_is_dropped_is_gone_and_its_neighbours_are_not(tmp_path):
    first, second, third = (f"{n:032x}" for n in (1, 2, 3))
    with Dataset(tmp_path, create=True) as dataset:
        for key in (first, second, third):
            dataset.put(key, {"frames": (0, [key.encode()])})
        dataset.finish(third, {"frames": 1}, {})
        dataset.drop(second)
        dataset.drop(third)  # whole, so it stays
        assert dataset.unfinished() == [first]
        assert read_all(dataset, third) == {"frames": [third.encode()]}
        dataset.put(second, {"frames": (0, [b"anew"])})
        assert dataset.finish(second, {"frames": 1}, {})
        assert read_all(dataset, second) == {"frames": [b"anew"]}


def test_a_full_disk_is_said_and_what_was_imported_stays_valid(tmp_path):
    first, second = f"{1:032x}", f"{2:032x}"

    def full(what: str, path: Path) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with Dataset(tmp_path, create=True) as dataset:
        dataset.put(first, {"frames": (0, [b"a"])})
        dataset.finish(first, {"frames": 1}, {})
        with disk.watched(full), pytest.raises(DiskFullError, match=r"no space left .* is not\s+made again"):
            dataset.put(second, {"frames": (0, [b"b"])})
        assert dataset.unfinished() == []
    with Dataset(tmp_path) as dataset:
        assert read_all(dataset, first) == {"frames": [b"a"]}
        assert list(dataset.problems()) == []


def test_a_damaged_value_is_found_when_it_is_read_and_by_verify(tmp_path):
    key = f"{1:032x}"
    value = b"what was written" * 8
    with Dataset(tmp_path, create=True) as dataset:
        dataset.put(key, {"frames": (0, [value])})
        dataset.finish(key, {"frames": 1}, {})
        dataset.sync()
    file = tmp_path / "data.mdb"
    file.write_bytes(file.read_bytes().replace(value, b"x" + value[1:]))
    with Dataset(tmp_path) as dataset:
        assert len(list(dataset.problems())) == 1
        with dataset.reading(dataset.record(key)) as read, pytest.raises(StorageError, match="frames 0 is damaged"):
            read("frames", 0)


def test_several_in_one_process_share_an_environment_and_the_last_closes_it(tmp_path):
    with Dataset(tmp_path, create=True) as one:
        with Dataset(tmp_path) as other:
            one.put(f"{1:032x}", {"frames": (0, [b"a"])})
            one.finish(f"{1:032x}", {"frames": 1}, {})
            assert other.has(f"{1:032x}")
        assert one.has(f"{1:032x}")
    with Dataset(tmp_path) as again:
        assert again.has(f"{1:032x}")


def test_what_is_no_dataset_is_refused(tmp_path):
    with pytest.raises(MissingError, match="make one with: flow data import"):
        Dataset(tmp_path / "nothing")
    with Dataset(tmp_path, create=True) as dataset, pytest.raises(StorageError, match="expected 32 hexadecimal digits"):
        dataset.has("short")


def test_an_environment_of_another_kind_is_refused_and_stays_as_it_was(tmp_path):
    with lmdb.open(os.fspath(tmp_path), max_dbs=4) as env, env.begin(write=True) as txn:
        txn.put(b"other", b"1", db=env.open_db(b"values", txn))
    before = (tmp_path / "data.mdb").read_bytes()
    with pytest.raises(StorageError, match="is no dataset"):
        Dataset(tmp_path)
    assert (tmp_path / "data.mdb").read_bytes() == before


OPENED_BESIDE_A_WRITER = """
import sys, threading, time
from storage.dataset import Dataset
with Dataset(sys.argv[1], create=True) as dataset:
    with dataset._env.begin(write=True):
        opened = threading.Thread(target=lambda: Dataset(sys.argv[1], create=sys.argv[2] == "create").close())
        opened.start()
        time.sleep(0.3)
    opened.join()
"""


@pytest.mark.real_time
@pytest.mark.parametrize("how", ["create", "read"])
def test_one_that_is_opened_while_a_thread_writes_does_not_hold_that_thread_up(tmp_path, how):
    words = [sys.executable, "-c", OPENED_BESIDE_A_WRITER, os.fspath(tmp_path), how]
    assert subprocess.run(words, cwd=ROOT, timeout=20).returncode == 0


def test_a_key_depends_on_the_bytes_and_on_what_is_made_of_them(tmp_path):
    one, other = tmp_path / "one", tmp_path / "other"
    one.write_bytes(b"a" * 3_000_000)
    other.write_bytes(b"a" * 3_000_000)
    assert content_key(one, "side 64") == content_key(other, "side 64") != content_key(one, "side 65")
    other.write_bytes(b"a" * 2_999_999 + b"b")
    assert content_key(one, "side 64") != content_key(other, "side 64")


WRITER = """
import sys
from storage.dataset import Dataset
with Dataset(sys.argv[1], create=True) as dataset:
    for number in range(1_000_000):
        key = f"{number:032x}"
        for frame in range(4):
            dataset.put(key, {"frames": (frame, [bytes([number % 256]) * 500])})
        assert dataset.finish(key, {"frames": 4}, {"number": number})
        print(number, flush=True)
"""


@pytest.mark.real_time
def test_a_killed_writer_leaves_what_it_finished(tmp_path):
    child = subprocess.Popen([sys.executable, "-c", WRITER, str(tmp_path)], stdout=subprocess.PIPE, cwd=ROOT)
    assert child.stdout is not None
    finished = [int(child.stdout.readline()) for _ in range(50)][-1]
    os.kill(child.pid, signal.SIGKILL)
    child.wait()
    child.stdout.close()
    with Dataset(tmp_path) as dataset:
        records = list(dataset.records())
        assert len(records) >= finished + 1
        for record in records:
            assert read_all(dataset, record.key) == {"frames": [bytes([record.facts["number"] % 256]) * 500] * 4}
        assert len(dataset.unfinished()) <= 1
        for key in dataset.unfinished():  # its writing goes on where it stopped
            number = int(key, 16)
            dataset.put(key, {"frames": (0, [bytes([number % 256]) * 500] * 4)})
            assert dataset.finish(key, {"frames": 4}, {"number": number})
